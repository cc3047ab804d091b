//! The overview: queues and workers, sent to all listings when something has changed.

use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::body::Bytes;
use serde_json::json;
use surefoot::{Store, StoreError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::text;

/// Minimum interval between broadcasts; polling interval when no hint arrives.
const MIN_INTERVAL: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_secs(2);

/// The last message, shared by all listeners.
#[derive(Debug, Default)]
pub(super) struct Overview(pub(super) watch::Sender<Bytes>);

/// Reads as long as there are listeners.
pub(super) async fn read(store: Arc<dyn Store>, overview: Weak<Overview>, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = run(store, overview) => {}
    }
}

async fn run(store: Arc<dyn Store>, overview: Weak<Overview>) {
    let mut hints = store.hints();
    let mut hinted = true;
    let mut before = Bytes::new();
    loop {
        hints.any.mark_unchanged();
        let result = read_message(store.as_ref()).await;
        let Some(overview) = overview.upgrade() else {
            return;
        };
        match result {
            Ok(message) if hinted || message != before => {
                before = message.clone();
                overview.0.send_replace(message);
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "failed to read the overview; trying again"),
        }
        drop(overview);
        tokio::time::sleep(MIN_INTERVAL).await;
        hinted = matches!(
            tokio::time::timeout(POLL, hints.any.changed()).await,
            Ok(Ok(()))
        );
    }
}

async fn read_message(store: &dyn Store) -> Result<Bytes, StoreError> {
    let (queues, workers) = tokio::try_join!(store.queues(), store.workers())?;
    let queue = |queue: &surefoot::QueueInfo| {
        json!({
            "name": queue.name,
            "paused": queue.paused,
            "queued": queue.queued,
            "waiting": queue.waiting,
            "running": queue.running,
        })
    };
    let queues: Vec<_> = queues.iter().map(queue).collect();
    Ok(text::message(
        None,
        "changed",
        &json!({ "queues": queues, "workers": workers.len() }),
    ))
}
