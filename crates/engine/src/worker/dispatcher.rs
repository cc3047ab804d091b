//! The dispatcher: claims runs while slots are free and starts a driver for each.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::slots::Capacity;
use super::{Shared, driver};
use crate::store::{ClaimRequest, RunFilter};
use crate::{Run, RunStatus, StoreError, Timestamp};

/// Jittered interval between claims without a hint, because hints may be lost.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Delay before a failed claim is retried.
const RETRY: Duration = Duration::from_millis(100);

/// Largest number of runs in one claim.
const BATCH: usize = 64;

/// Minimum interval between claims for reserved slots only: hints announce all runs, few of which
/// may use them.
const RESERVED_INTERVAL: Duration = Duration::from_millis(500);

/// Result of a claim.
enum Look {
    /// As many runs as requested: there may be more.
    Full,
    /// Nothing more to claim before this time.
    Done(Option<Timestamp>),
}

pub(super) async fn run(shared: Arc<Shared>) {
    let mut work = shared.store.hints().work;
    let mut looked_at = None;
    let _alive = shared.metrics.claims().until_dropped();
    while !shared.draining.is_cancelled() {
        shared.metrics.claims().beat();
        if shared.in_doubt.swap(false, Ordering::SeqCst)
            && resume_unacknowledged(&shared).await.is_err()
        {
            shared.in_doubt.store(true, Ordering::SeqCst);
        }
        // The claim reserves no slot, so that a submission meanwhile still starts at once. If both
        // fill the last slot, the claimed run's driver waits for one.
        // The flag is set before the slots are counted: a slot released now is either counted or
        // wakes this task.
        shared.wants_slot.store(true, Ordering::SeqCst);
        let capacity = shared.slots.capacity();
        if capacity.count == 0
            || capacity.is_reserved
                && looked_at.is_some_and(|at: Instant| at.elapsed() < RESERVED_INTERVAL)
        {
            wait(&shared, &mut work, None).await;
            continue;
        }
        looked_at = Some(Instant::now());
        if let Look::Done(next_at) = look(&shared, capacity).await {
            wait(&shared, &mut work, next_at).await;
        }
    }
}

async fn look(shared: &Arc<Shared>, capacity: Capacity) -> Look {
    let limit = capacity.count.min(BATCH);
    let workflows = shared.options.allow.workflows.clone();
    let resources = shared.options.resources.clone();
    let request = ClaimRequest {
        worker: shared.id(),
        limit,
        actions: capacity.actions,
        workflows,
        resources,
    };
    match shared.store.claim(request).await {
        Ok(claimed) => {
            let count = claimed.runs.len();
            shared.metrics.claimed.add(count as u64);
            for run in claimed.runs {
                driver::spawn(shared, run);
            }
            if count == limit {
                return Look::Full;
            }
            // Without runs held back, a released slot needs no claim: new runs are hinted at.
            shared.wants_slot.store(claimed.held_back, Ordering::SeqCst);
            Look::Done(claimed.next_at)
        }
        Err(StoreError::LeaseLost) => {
            // A heartbeat registers the worker again; request it now.
            shared.lease_clock.request_heartbeat();
            Look::Done(None)
        }
        Err(error) => {
            tracing::warn!(%error, "failed to claim runs; retrying");
            shared.note_unacknowledged(&error);
            tokio::time::sleep(shared.jitter.apply(RETRY)).await;
            Look::Done(None)
        }
    }
}

/// Starts drivers for runs that the store leased to this worker although the answer was lost.
///
/// No claim is in progress here, and submitted runs are registered before they are sent. So a run
/// that is leased to this worker and was not active during the query has no driver. (A run that was
/// active may have ended since the answer was made.)
async fn resume_unacknowledged(shared: &Arc<Shared>) -> Result<(), StoreError> {
    let worker = shared.id();
    let mut filter = RunFilter {
        status: Some(RunStatus::Running),
        worker: Some(worker),
        ..RunFilter::default()
    };
    loop {
        shared.active_runs.track_removed();
        let page = shared.store.runs(filter.clone()).await?;
        filter.before = page.last().map(|run| run.id);
        let full = page.len() == filter.limit;
        let held = shared.active_runs.held_since_tracking(&page);
        let ours = |run: &Run| run.head.worker == Some(shared.id()) && run.unreadable.is_none();
        for (run, held) in page.into_iter().zip(held) {
            if ours(&run) && !held {
                tracing::info!(run = %run.id, "resuming a run leased to this worker without a driver");
                driver::spawn(shared, run);
            }
        }
        if !full {
            return Ok(());
        }
    }
}

async fn wait(shared: &Shared, work: &mut watch::Receiver<()>, next_at: Option<Timestamp>) {
    let poll = shared.jitter.apply(POLL_INTERVAL);
    let until_next = next_at.map_or(poll, |at| at.since(shared.store.now()).min(poll));
    let hint = async {
        if work.changed().await.is_err() {
            // The store is shutting down and sends no more hints; polling continues.
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        biased;
        () = shared.draining.cancelled() => {}
        () = shared.freed.notified() => {}
        () = hint => {}
        () = tokio::time::sleep(until_next) => {}
    }
}
