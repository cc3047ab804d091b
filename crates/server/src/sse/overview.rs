//! How everything stands: the queues and workers, told anew when something has changed, to all who show listings.

use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::body::Bytes;
use serde_json::json;
use surefoot::{Store, StoreError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::text;

/// How often at most it is told, and how often at least it is looked whether there was a change without a hint.
const SOONEST: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_secs(2);

/// The last message, shared by all who listen.
#[derive(Debug, Default)]
pub(super) struct Overview(pub(super) watch::Sender<Bytes>);

/// Reads for as long as anybody listens.
pub(super) async fn read(store: Arc<dyn Store>, overview: Weak<Overview>, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = go(store, overview) => {}
    }
}

async fn go(store: Arc<dyn Store>, overview: Weak<Overview>) {
    let mut hints = store.hints();
    let mut hinted = true;
    let mut before = Bytes::new();
    loop {
        hints.any.mark_unchanged();
        let told = tell(store.as_ref()).await;
        let Some(overview) = overview.upgrade() else {
            return;
        };
        match told {
            Ok(message) if hinted || message != before => {
                before = message.clone();
                overview.0.send_replace(message);
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "cannot read what listings show; trying again"),
        }
        drop(overview);
        tokio::time::sleep(SOONEST).await;
        hinted = matches!(
            tokio::time::timeout(POLL, hints.any.changed()).await,
            Ok(Ok(()))
        );
    }
}

async fn tell(store: &dyn Store) -> Result<Bytes, StoreError> {
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
