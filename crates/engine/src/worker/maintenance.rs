//! Background maintenance of the store: reclaims runs of dead workers and prunes expired history.
//!
//! Both jobs can be slow, so each runs in its own task and never delays the heartbeat.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Shared;
use super::observation::Observation;
use crate::store::Heartbeats;

/// Interval between looks at the heartbeats of all workers.
///
/// Jittered to 375 ms at most. The last heartbeat is seen up to one interval late, and its end
/// another interval later. With the default 5 s lease that leaves 250 ms for the reclaim itself
/// within the promised 6 s.
const LOOK_INTERVAL: Duration = Duration::from_millis(300);

/// Interval between searches for expired history.
const PRUNE_INTERVAL: Duration = Duration::from_secs(60);

/// Runs whose details one commit removes.
const PRUNE_BATCH: usize = 100;

/// Observes the heartbeats of all workers and reclaims the runs of dead ones.
pub(super) async fn reclaim_dead_workers(shared: Arc<Shared>) {
    let mut observation = Observation::default();
    loop {
        tokio::time::sleep(shared.jitter.apply(LOOK_INTERVAL)).await;
        // Renew our own lease first. After an outage or a suspend it may have expired too, and the
        // reclaim would take this worker's own runs.
        shared
            .lease_clock
            .wait_until_renewed_within(shared.store.as_ref(), shared.options.lease / 2)
            .await;
        let Some(heartbeats) = look(&shared).await else {
            observation.start_over();
            continue;
        };
        let dead = observation.note(Instant::now(), &heartbeats.workers);
        if dead.is_empty() && !heartbeats.has_orphans {
            continue;
        }
        let runs = match shared.store.reclaim(dead).await {
            Ok(runs) => runs,
            Err(error) => {
                tracing::warn!(%error, "failed to reclaim runs of dead workers");
                continue;
            }
        };
        if runs.is_empty() {
            continue;
        }
        for run in &runs {
            tracing::info!(run = %run.id, status = %run.head.status, "reclaimed from a dead worker");
        }
        shared.metrics.recovered.add(runs.len() as u64);
        shared.freed.notify_one();
        // A delayed reclaim may have hit our own runs; a heartbeat reports those still held.
        shared.lease_clock.request_heartbeat();
    }
}

/// Reads the heartbeats of all workers; `None` when the store fails or is silent for too long.
async fn look(shared: &Shared) -> Option<Heartbeats> {
    let look = tokio::time::timeout(shared.options.lease / 4, shared.store.heartbeats());
    match look.await {
        Ok(Ok(heartbeats)) => return Some(heartbeats),
        Ok(Err(error)) => tracing::warn!(%error, "failed to read the heartbeats of workers"),
        Err(_) => tracing::warn!("the store did not return the heartbeats of workers in time"),
    }
    None
}

/// Prunes expired history in batches. After a failure the next round continues.
pub(super) async fn prune_history(shared: Arc<Shared>) {
    let mut wait = LOOK_INTERVAL;
    loop {
        tokio::time::sleep(shared.jitter.apply(wait)).await;
        wait = match shared.store.prune(PRUNE_BATCH).await {
            // There may be more.
            Ok(PRUNE_BATCH..) => Duration::ZERO,
            Ok(_) => PRUNE_INTERVAL,
            Err(error) => {
                tracing::warn!(%error, "failed to prune expired history");
                PRUNE_INTERVAL
            }
        };
    }
}
