//! The pulse: renews the worker's lease, and learns what people asked for.
//!
//! It does nothing else: whatever takes long would keep the lease from being renewed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::Shared;
use super::renewal::Sent;
use crate::{RunId, StoreError, WorkerId};

/// A heartbeat that failed is tried again after this. Others observe this worker: after an outage it has a lease to renew in.
const AGAIN: Duration = Duration::from_millis(250);

/// A hint brings the next heartbeat forward, but not more often than this.
const SOONEST: Duration = Duration::from_millis(50);

pub(super) async fn run(shared: Arc<Shared>) {
    let mut work = shared.store.hints().work;
    let mut beat_at = Instant::now() + beat(&shared);
    let mut stray = BTreeSet::new();
    loop {
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(beat_at) => {}
            // Somebody has to know whether the lease holds.
            () = shared.renewal.is_asked() => beat_at = Instant::now(),
            // A person may have asked for a cancel: the heartbeat brings the answer.
            changed = work.changed() => {
                tokio::time::sleep(if changed.is_ok() { SOONEST } else { AGAIN }).await;
                work.mark_unchanged();
                if shared.held.len() > 0 {
                    beat_at = Instant::now();
                }
            }
        }
        if Instant::now() >= beat_at {
            let renewed = heartbeat(&shared, &mut stray).await;
            let wait = beat(&shared);
            beat_at = Instant::now()
                + if renewed {
                    wait
                } else {
                    wait.min(shared.chance.spread(AGAIN))
                };
        }
    }
}

/// The time to the next heartbeat: there are three in a lease, or some more.
fn beat(shared: &Shared) -> Duration {
    shared.chance.spread(shared.options.lease * 4 / 15)
}

/// Renews the lease. Returns whether this worker has one now.
async fn heartbeat(shared: &Shared, stray: &mut BTreeSet<RunId>) -> bool {
    let asked = Sent::now(shared.store.as_ref());
    // A call that is given up gets a connection of its own the next time: the one that it had may be silent for ever.
    let late =
        |_| StoreError::Unavailable("the store did not answer a heartbeat in time".to_owned());
    let beat = tokio::time::timeout(
        shared.options.lease / 4,
        shared.store.heartbeat(shared.id()),
    );
    match beat.await.map_err(late).and_then(|answer| answer) {
        Ok(heartbeat) => {
            shared.renewal.renewed(asked);
            shared.note_written();
            heartbeat
                .cancels
                .into_iter()
                .for_each(|(run, mode)| shared.held.cancel(run, mode));
            look_for_strays(shared, heartbeat.held, stray);
            true
        }
        Err(StoreError::LeaseLost) => {
            stray.clear();
            begin_anew(shared).await
        }
        Err(error) => {
            tracing::warn!(%error, "cannot renew the lease; trying again");
            shared.note_trouble(&error);
            false
        }
    }
}

/// A call that leases runs and was given up may take place long after: then the store has runs for us that nobody drives.
/// Two heartbeats in a row have to say so, for a claim may just be under way; the dispatcher then looks closely.
fn look_for_strays(shared: &Shared, held: Vec<RunId>, stray: &mut BTreeSet<RunId>) {
    let unknown: BTreeSet<RunId> = held
        .into_iter()
        .filter(|run| !shared.held.has(*run))
        .collect();
    if unknown.iter().any(|run| stray.contains(run)) {
        shared.in_doubt.store(true, Ordering::SeqCst);
        shared.freed.notify_one();
    }
    *stray = unknown;
}

/// Others took this worker for dead: what it held is theirs. It goes on as a new one, if the store lets it.
async fn begin_anew(shared: &Shared) -> bool {
    tracing::warn!(worker = %shared.id(), "taken for dead: dropping every run held, and beginning anew");
    shared.measures.leases_lost.add(shared.held.len() as u64);
    shared.renewal.lapsed();
    shared.held.lose_all();
    let asked = Sent::now(shared.store.as_ref());
    let registered = shared.register(WorkerId::new()).await;
    if let Err(error) = &registered {
        tracing::warn!(%error, "cannot register anew; trying again");
        shared.note_trouble(error);
    }
    if registered.is_ok() {
        shared.renewal.renewed(asked);
        shared.freed.notify_one();
    }
    registered.is_ok()
}
