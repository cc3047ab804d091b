//! The pulse: renews the worker's lease, learns what people asked for, takes up what dead workers left, and tidies.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::Shared;
use crate::{RunId, StoreError, WorkerId, maintenance};

/// Looks for the runs of dead workers.
const SWEEP: Duration = Duration::from_secs(1);

/// Removes details that retention lets go.
const TIDY: Duration = Duration::from_secs(60);

/// A hint brings the next heartbeat forward, but not more often than this.
const SOONEST: Duration = Duration::from_millis(50);

pub(super) async fn run(shared: Arc<Shared>) {
    let mut work = shared.store.hints().work;
    let beat = shared.options.lease / 3;
    let (mut beat_at, mut sweep_at, mut tidy_at) =
        (Instant::now() + beat, Instant::now() + SWEEP, Instant::now() + SWEEP);
    let mut renewed = true;
    let mut stray = BTreeSet::new();
    loop {
        let next = beat_at.min(sweep_at).min(tidy_at);
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(next) => {}
            // Somebody has to know whether the lease holds.
            () = shared.renewal.is_asked() => beat_at = Instant::now(),
            // A person may have asked for a cancel: the heartbeat brings the answer.
            changed = work.changed() => {
                tokio::time::sleep(if changed.is_ok() { SOONEST } else { SWEEP }).await;
                work.mark_unchanged();
                if shared.held.len() > 0 {
                    beat_at = Instant::now();
                }
            }
        }
        let now = Instant::now();
        // Whoever could not renew its lease does so before it looks for the dead: it would find itself among them.
        if now >= beat_at || (now >= sweep_at && !renewed) {
            renewed = heartbeat(&shared, &mut stray).await;
            beat_at = Instant::now() + beat;
        }
        if now >= sweep_at {
            if renewed && sweep(&shared).await {
                // A sweep that was long on its way may have taken our own: the next heartbeat tells.
                beat_at = Instant::now();
            }
            sweep_at = Instant::now() + SWEEP;
        }
        if now >= tidy_at {
            maintenance::tidy(shared.store.as_ref()).await;
            tidy_at = Instant::now() + TIDY;
        }
    }
}

/// Renews the lease. Returns whether this worker has one now.
async fn heartbeat(shared: &Shared, stray: &mut BTreeSet<RunId>) -> bool {
    let asked = Instant::now();
    match shared.store.heartbeat(shared.id()).await {
        Ok(heartbeat) => {
            shared.renewal.renewed(asked);
            shared.note_written();
            heartbeat.cancels.into_iter().for_each(|(run, mode)| shared.held.cancel(run, mode));
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
    let unknown: BTreeSet<RunId> = held.into_iter().filter(|run| !shared.held.has(*run)).collect();
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
    shared.held.lose_all();
    let asked = Instant::now();
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

/// Takes what dead workers left. Returns whether there was anything.
async fn sweep(shared: &Shared) -> bool {
    match shared.store.reclaim().await {
        Ok(runs) if runs.is_empty() => false,
        Ok(runs) => {
            shared.measures.recovered.add(runs.len() as u64);
            runs.iter()
                .for_each(|run| tracing::info!(run = %run.id, status = %run.head.status, "taken from a dead worker"));
            shared.freed.notify_one();
            true
        }
        Err(error) => {
            tracing::warn!(%error, "cannot look for the runs of dead workers");
            false
        }
    }
}
