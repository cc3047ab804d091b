//! The dispatcher: claims runs while there is room, and gives each a driver.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::places::Room;
use super::{Shared, driver};
use crate::store::{ClaimRequest, RunFilter};
use crate::{Run, RunStatus, StoreError, Timestamp};

/// The time without a look at the store: hints may be lost. It is spread, for many workers look.
const POLL: Duration = Duration::from_secs(1);

/// Between two tries while the store is away.
const AWAY: Duration = Duration::from_millis(100);

/// Runs claimed in one go.
const BATCH: usize = 64;

/// Between two looks for what has kept places while there is room for nothing else: hints speak of all runs.
const SELDOM: Duration = Duration::from_millis(500);

/// What a look at the store came to.
enum Look {
    /// As many runs as were asked for: there may be more.
    Full,
    /// Nothing more to claim before this time.
    Done(Option<Timestamp>),
}

pub(super) async fn run(shared: Arc<Shared>) {
    let mut work = shared.store.hints().work;
    let mut looked_at = None;
    let _alive = shared.measures.claims().until_dropped();
    while !shared.draining.is_cancelled() {
        shared.measures.claims().beat();
        if shared.in_doubt.swap(false, Ordering::SeqCst) && adopt(&shared).await.is_err() {
            shared.in_doubt.store(true, Ordering::SeqCst);
        }
        // No place is reserved while the store is asked: a submission that comes meanwhile still starts at once. Should
        // both fill the last place, the claimed run's driver waits for one.
        // Said before the places are counted, so that one which is given back now is either counted or heard of.
        shared.wants_place.store(true, Ordering::SeqCst);
        let room = shared.places.room();
        if room.count == 0
            || room.is_kept && looked_at.is_some_and(|at: Instant| at.elapsed() < SELDOM)
        {
            wait(&shared, &mut work, None).await;
            continue;
        }
        looked_at = Some(Instant::now());
        if let Look::Done(next_at) = look(&shared, room).await {
            wait(&shared, &mut work, next_at).await;
        }
    }
}

async fn look(shared: &Arc<Shared>, room: Room) -> Look {
    let limit = room.count.min(BATCH);
    let workflows = shared.options.allow.workflows.clone();
    let resources = shared.options.resources.clone();
    let request = ClaimRequest {
        worker: shared.id(),
        limit,
        actions: room.actions,
        workflows,
        resources,
    };
    match shared.store.claim(request).await {
        Ok(claimed) => {
            let count = claimed.runs.len();
            shared.measures.claimed.add(count as u64);
            claimed
                .runs
                .into_iter()
                .for_each(|run| driver::spawn(shared, run));
            if count == limit {
                return Look::Full;
            }
            // Otherwise an end leaves nothing to take up, and what comes is hinted at.
            shared
                .wants_place
                .store(claimed.held_back, Ordering::SeqCst);
            Look::Done(claimed.next_at)
        }
        Err(StoreError::LeaseLost) => {
            // Taken for dead: the pulse begins anew, now and not at the next heartbeat.
            shared.renewal.ask();
            Look::Done(None)
        }
        Err(error) => {
            tracing::warn!(%error, "cannot claim runs; trying again");
            shared.doubt(&error);
            tokio::time::sleep(shared.chance.spread(AWAY)).await;
            Look::Done(None)
        }
    }
}

/// Drives the runs that the store leased to this worker without an answer that got through. No claim is under way here,
/// and submissions are held before they are sent, so a run that is ours and was not held while we asked is driven by nobody.
/// (One that was held may have ended since: the answer is as old as its way here is long.)
async fn adopt(shared: &Arc<Shared>) -> Result<(), StoreError> {
    let worker = shared.id();
    let mut filter = RunFilter {
        status: Some(RunStatus::Running),
        worker: Some(worker),
        ..RunFilter::default()
    };
    loop {
        shared.held.note_forgotten();
        let page = shared.store.runs(filter.clone()).await?;
        filter.before = page.last().map(|run| run.id);
        let full = page.len() == filter.limit;
        let held = shared.held.held_meanwhile(&page);
        let ours = |run: &Run| run.head.worker == Some(shared.id()) && run.unreadable.is_none();
        let left = page
            .into_iter()
            .zip(held)
            .filter(|(run, held)| ours(run) && !held);
        left.for_each(|(run, _)| {
            tracing::info!(run = %run.id, "leased to this worker, and driven by nobody: taken up");
            driver::spawn(shared, run);
        });
        if !full {
            return Ok(());
        }
    }
}

async fn wait(shared: &Shared, work: &mut watch::Receiver<()>, next_at: Option<Timestamp>) {
    let poll = shared.chance.spread(POLL);
    let until_next = next_at.map_or(poll, |at| at.since(shared.store.now()).min(poll));
    let hint = async {
        if work.changed().await.is_err() {
            // The store is being taken down and gives no more hints; the poll goes on.
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
