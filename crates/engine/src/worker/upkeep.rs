//! Upkeep: takes up what dead workers left, and removes the details that retention lets go.
//!
//! Both may take long, and neither may keep the heartbeat waiting: each is an actor of its own.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Shared;
use super::observation::Observation;
use crate::store::Heartbeats;

/// Between two looks for dead workers. Spread, it is 375 ms at most: a heartbeat is seen that much later, and its lease found
/// over that much later again. With the lease of 5 s, a quarter of a second is left for the work itself until others have a
/// dead worker's runs, which they shall within 6 s.
const SWEEP: Duration = Duration::from_millis(300);

/// Between two looks for details that retention lets go.
const TIDY: Duration = Duration::from_secs(60);

/// Runs whose details go in one commit.
const BATCH: usize = 100;

/// Observes the heartbeats of all workers, and takes what dead ones left.
pub(super) async fn sweep(shared: Arc<Shared>) {
    let mut observation = Observation::default();
    loop {
        tokio::time::sleep(shared.chance.spread(SWEEP)).await;
        // Whoever could not renew its lease does so before it looks for the dead: it would find itself among them. That is
        // after an outage, and on a machine that was asleep or whose clock was set: there the lease ran out in a moment.
        shared
            .renewal
            .holds(shared.store.as_ref(), shared.options.lease / 2)
            .await;
        let Some(heartbeats) = look(&shared).await else {
            observation.start_over();
            continue;
        };
        let dead = observation.note(Instant::now(), &heartbeats.workers);
        if dead.is_empty() && !heartbeats.has_orphans {
            continue;
        }
        match shared.store.reclaim(dead).await {
            Ok(runs) if runs.is_empty() => {}
            Ok(runs) => {
                shared.measures.recovered.add(runs.len() as u64);
                runs.iter().for_each(
                    |run| tracing::info!(run = %run.id, status = %run.head.status, "taken from a dead worker"),
                );
                shared.freed.notify_one();
                // One that was long on its way may have taken our own: the next heartbeat tells.
                shared.renewal.ask();
            }
            Err(error) => tracing::warn!(%error, "cannot look for the runs of dead workers"),
        }
    }
}

/// The heartbeats that the store shows; none when it cannot be asked. A store that is silent for long is as good as away.
async fn look(shared: &Shared) -> Option<Heartbeats> {
    let look = tokio::time::timeout(shared.options.lease / 4, shared.store.heartbeats());
    match look.await {
        Ok(Ok(heartbeats)) => return Some(heartbeats),
        Ok(Err(error)) => tracing::warn!(%error, "cannot look for dead workers"),
        Err(_) => tracing::warn!("cannot look for dead workers: the store does not answer"),
    }
    None
}

/// Removes what may go, a batch at a time. A failure is no harm: the next time goes on.
pub(super) async fn tidy(shared: Arc<Shared>) {
    let mut wait = SWEEP;
    loop {
        tokio::time::sleep(shared.chance.spread(wait)).await;
        wait = match shared.store.prune(BATCH).await {
            // There may be more.
            Ok(BATCH..) => Duration::ZERO,
            Ok(_) => TIDY,
            Err(error) => {
                tracing::warn!(%error, "cannot remove old details");
                TIDY
            }
        };
    }
}
