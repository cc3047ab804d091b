//! Upkeep of a store: removes the details of ended runs that retention lets go, a batch at a time.

use crate::Store;

/// Runs whose details go in one commit.
const BATCH: usize = 100;

/// Removes what may go. A failure is no harm: the next time goes on.
pub(crate) async fn tidy(store: &dyn Store) {
    loop {
        match store.prune(BATCH).await {
            Ok(removed) if removed == BATCH => tokio::task::yield_now().await,
            Ok(_) => return,
            Err(error) => {
                tracing::warn!(%error, "cannot remove old details");
                return;
            }
        }
    }
}
