//! Runs that a worker could claim, and since when. Listings are in order of submission, so a run
//! scheduled for later may precede many that are due.

use surefoot::store::RunFilter;
use surefoot::{Run, RunStatus, Store, StoreError, Timestamp};

/// Page size of listings.
const PAGE: usize = 100;

/// Limit of runs read for one answer. Beyond it, scheduled runs hide the ones behind them.
const MAX_READ: usize = 5000;

/// Queued runs of a queue in order of submission, oldest first.
struct Queued<'a> {
    store: &'a dyn Store,
    filter: RunFilter,
    read: usize,
    ended: bool,
}

impl<'a> Queued<'a> {
    fn new(store: &'a dyn Store, queue: &str) -> Self {
        let status = Some(RunStatus::Queued);
        let queue = Some(queue.to_owned());
        let filter = RunFilter {
            status,
            queue,
            oldest_first: true,
            limit: PAGE,
            ..RunFilter::default()
        };
        Self {
            store,
            filter,
            read: 0,
            ended: false,
        }
    }

    async fn page(&mut self) -> Result<Vec<Run>, StoreError> {
        if self.ended {
            return Ok(Vec::new());
        }
        let page = self.store.runs(self.filter.clone()).await?;
        self.filter.before = page.last().map(|run| run.id);
        self.read += page.len();
        self.ended = page.len() < self.filter.limit || self.read >= MAX_READ;
        self.filter.limit = PAGE;
        Ok(page)
    }
}

/// Queued runs of a queue that a worker could have claimed by `until`: the oldest `limit`.
pub(crate) async fn claimable_runs(
    store: &dyn Store,
    queue: &str,
    until: Timestamp,
    limit: usize,
) -> Result<Vec<Run>, StoreError> {
    let mut queued = Queued::new(store, queue);
    queued.filter.until = Some(until);
    let mut found = Vec::new();
    while !queued.ended && found.len() < limit {
        let page = queued.page().await?;
        found.extend(
            page.into_iter()
                .filter(|run| run.head.available_at.is_some_and(|at| at <= until)),
        );
    }
    found.truncate(limit);
    Ok(found)
}

/// The earliest time since which a run of the queue has been claimable; `None` if none is.
pub(crate) async fn longest_waiting_since(
    store: &dyn Store,
    queue: &str,
    now: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    let mut queued = Queued::new(store, queue);
    // Usually the oldest run is the answer.
    queued.filter.limit = 1;
    let mut first: Option<Timestamp> = None;
    while !queued.ended {
        for run in queued.page().await? {
            first = run
                .head
                .available_at
                .filter(|at| *at <= now)
                .into_iter()
                .chain(first)
                .min();
            // No run is claimable before its submission, so the runs that follow cannot have waited
            // longer.
            if first.is_some_and(|first| first <= run.created_at) {
                return Ok(first);
            }
        }
    }
    Ok(first)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use surefoot::{Client, ManualClock, Submit, Workflow};
    use surefoot_store_tests::MemoryStore;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn scheduled_runs_hide_no_claimable_ones() {
        let clock = Arc::new(ManualClock::new(Timestamp::from_micros(
            1_800_000_000_000_000,
        )));
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(clock.clone()));
        let workflow = Arc::new(Workflow::builder("q").step("only", "work").build().unwrap());
        let client = Client::new(store.clone());
        let start = store.now();
        let later = |seconds: u32| Submit::new(workflow.clone()).at(start + SECOND * seconds);
        for _ in 0..250 {
            client.submit(later(1000)).await.unwrap();
        }
        client.submit(later(90)).await.unwrap();
        let longest = async || {
            longest_waiting_since(store.as_ref(), "q", store.now())
                .await
                .unwrap()
                .map(|at| at.since(start).as_secs())
        };
        let due = async || {
            claimable_runs(store.as_ref(), "q", store.now(), 500)
                .await
                .unwrap()
                .len()
        };
        assert_eq!((longest().await, due().await), (None, 0));
        clock.advance(SECOND * 10);
        client.submit(Submit::new(workflow.clone())).await.unwrap();
        clock.advance(SECOND);
        assert_eq!(
            (longest().await, due().await),
            (Some(10), 1),
            "250 older ones are not due"
        );
        clock.advance(SECOND * 90);
        client.submit(Submit::new(workflow.clone())).await.unwrap();
        clock.advance(SECOND);
        assert_eq!(
            (longest().await, due().await),
            (Some(10), 3),
            "the one that was due at 90 is older and waits less"
        );
        clock.advance(SECOND * 1000);
        assert_eq!((longest().await, due().await), (Some(10), 253));
    }
}
