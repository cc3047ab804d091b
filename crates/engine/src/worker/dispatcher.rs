//! The dispatcher: claims runs while there is room, and gives each a driver.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::watch;

use super::{Shared, driver};
use crate::Timestamp;
use crate::store::{ClaimRequest, Claimed};

/// The longest time without a look at the store: hints may be lost.
const POLL: Duration = Duration::from_secs(1);

/// Runs claimed in one go.
const BATCH: usize = 64;

enum Wake {
    /// There may be something to claim.
    Look,
    /// The worker stops.
    Stop,
}

pub(super) async fn run(shared: Arc<Shared>) {
    let mut work = shared.store.hints().work;
    let mut next_at = None;
    loop {
        let permits = room(&shared).await;
        let asked = permits.len();
        let taken = match claim(&shared, permits).await {
            Some(claimed) => {
                next_at = claimed.next_at;
                claimed.runs.len()
            }
            None => 0,
        };
        // A full batch may have left more behind: look again at once.
        if taken == asked {
            if shared.draining.is_cancelled() {
                return;
            }
            continue;
        }
        if let Wake::Stop = wait(&shared, &mut work, next_at).await {
            return;
        }
    }
}

/// At least one free place, and as many as a batch takes if there are.
async fn room(shared: &Shared) -> Vec<OwnedSemaphorePermit> {
    let mut permits = Vec::new();
    permits.extend(shared.slots.clone().acquire_owned().await);
    while permits.len() < BATCH {
        match shared.slots.clone().try_acquire_owned() {
            Ok(permit) => permits.push(permit),
            Err(_) => break,
        }
    }
    permits
}

async fn claim(shared: &Arc<Shared>, mut permits: Vec<OwnedSemaphorePermit>) -> Option<Claimed> {
    if shared.draining.is_cancelled() {
        return None;
    }
    let request = ClaimRequest { worker: shared.id(), limit: permits.len(), actions: shared.actions.clone() };
    match shared.store.claim(request).await {
        Ok(mut claimed) => {
            for run in &mut claimed.runs {
                driver::spawn(shared, run.clone(), permits.pop());
            }
            Some(claimed)
        }
        Err(error) => {
            tracing::warn!(%error, "cannot claim runs; trying again");
            shared.note_trouble(Some(&error));
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

async fn wait(shared: &Shared, work: &mut watch::Receiver<()>, next_at: Option<Timestamp>) -> Wake {
    let until_next = next_at.map_or(POLL, |at| at.since(shared.store.now()).min(POLL));
    tokio::select! {
        biased;
        () = shared.draining.cancelled() => Wake::Stop,
        () = shared.freed.notified() => Wake::Look,
        changed = work.changed() => {
            if changed.is_err() {
                // The store is being taken down and gives no more hints; the poll goes on.
                tokio::time::sleep(until_next).await;
            }
            Wake::Look
        }
        () = tokio::time::sleep(until_next) => Wake::Look,
    }
}
