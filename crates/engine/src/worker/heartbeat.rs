//! The heartbeat: renews the worker's lease and learns of requested cancels.
//!
//! It does nothing else, because slow work here would delay the renewal.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::Shared;
use super::lease_clock::SentAt;
use crate::{RunId, StoreError, WorkerId};

/// Delay before a failed heartbeat is retried. After an outage other workers give this one a full
/// lease period to renew in.
const RETRY: Duration = Duration::from_millis(250);

/// Minimum interval between heartbeats that a hint triggers.
const HINT_DELAY: Duration = Duration::from_millis(50);

pub(super) async fn run(shared: Arc<Shared>) {
    let mut work = shared.store.hints().work;
    let mut next_at = Instant::now() + interval(&shared);
    let mut stray = BTreeSet::new();
    loop {
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(next_at) => {}
            // Another task must know whether the lease still holds.
            () = shared.lease_clock.heartbeat_requested() => next_at = Instant::now(),
            // The hint may announce a cancel request, which the heartbeat's answer carries.
            changed = work.changed() => {
                tokio::time::sleep(if changed.is_ok() { HINT_DELAY } else { RETRY }).await;
                work.mark_unchanged();
                if shared.active_runs.len() > 0 {
                    next_at = Instant::now();
                }
            }
        }
        if Instant::now() >= next_at {
            let renewed = heartbeat(&shared, &mut stray).await;
            let wait = interval(&shared);
            next_at = Instant::now()
                + if renewed {
                    wait
                } else {
                    wait.min(shared.jitter.apply(RETRY))
                };
        }
    }
}

/// Jittered time to the next heartbeat: at least three fit into a lease.
fn interval(shared: &Shared) -> Duration {
    shared.jitter.apply(shared.options.lease * 4 / 15)
}

/// Renews the lease. Returns true if this worker holds one now.
async fn heartbeat(shared: &Shared, stray: &mut BTreeSet<RunId>) -> bool {
    let sent = SentAt::now(shared.store.as_ref());
    // After a timeout the next call uses another connection: this one may stay silent for ever.
    let late =
        |_| StoreError::Unavailable("the store did not answer a heartbeat in time".to_owned());
    let answer = tokio::time::timeout(
        shared.options.lease / 4,
        shared.store.heartbeat(shared.id()),
    );
    match answer.await.map_err(late).and_then(|answer| answer) {
        Ok(heartbeat) => {
            shared.lease_clock.renewed(sent);
            shared.note_written();
            for (run, mode) in heartbeat.cancels {
                shared.active_runs.cancel(run, mode);
            }
            look_for_strays(shared, heartbeat.held, stray);
            true
        }
        Err(StoreError::LeaseLost) => {
            stray.clear();
            register_again(shared).await
        }
        Err(error) => {
            tracing::warn!(%error, "failed to renew the lease; retrying");
            shared.note_trouble(&error);
            false
        }
    }
}

/// Detects runs that the store leased to this worker although it has no driver for them.
///
/// A claim that timed out here may still commit later. Because a claim may also be in progress,
/// only a run that two heartbeats in a row report makes the dispatcher check.
fn look_for_strays(shared: &Shared, held: Vec<RunId>, stray: &mut BTreeSet<RunId>) {
    let unknown: BTreeSet<RunId> = held
        .into_iter()
        .filter(|run| !shared.active_runs.has(*run))
        .collect();
    if unknown.iter().any(|run| stray.contains(run)) {
        shared.in_doubt.store(true, Ordering::SeqCst);
        shared.freed.notify_one();
    }
    *stray = unknown;
}

/// Registers again after the lease was lost. The runs that it held belong to other workers now.
async fn register_again(shared: &Shared) -> bool {
    let dropped = shared.active_runs.len();
    tracing::warn!(worker = %shared.id(), dropped, "lease lost: dropped all runs, registering again");
    shared.metrics.leases_lost.add(dropped as u64);
    shared.lease_clock.expire();
    shared.active_runs.lose_all();
    let sent = SentAt::now(shared.store.as_ref());
    let registered = shared.register(WorkerId::new()).await;
    if let Err(error) = &registered {
        tracing::warn!(%error, "failed to register again; retrying");
        shared.note_trouble(error);
    }
    if registered.is_ok() {
        shared.lease_clock.renewed(sent);
        shared.freed.notify_one();
    }
    registered.is_ok()
}
