//! Upkeep: takes up what dead workers left, and removes the details that retention lets go.
//!
//! Both may take long, and neither may keep the heartbeat waiting: each is an actor of its own.

use std::sync::Arc;
use std::time::Duration;

use super::Shared;

/// Between two looks for the runs of dead workers. Spread, it is 750 ms at most: with the lease of 5 s, a quarter of a second is
/// left for the work itself until others have a dead worker's runs, which they shall within 6 s.
const SWEEP: Duration = Duration::from_millis(600);

/// Between two looks for details that retention lets go.
const TIDY: Duration = Duration::from_secs(60);

/// Runs whose details go in one commit.
const BATCH: usize = 100;

/// Takes what dead workers left, again and again.
pub(super) async fn sweep(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(shared.chance.spread(SWEEP)).await;
        // Whoever could not renew its lease does so before it looks for the dead: it would find itself among them. That is
        // after an outage, and on a machine that was asleep or whose clock was set: there the lease ran out in a moment.
        shared.renewal.holds(shared.store.as_ref(), shared.options.lease / 2).await;
        match shared.store.reclaim().await {
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
