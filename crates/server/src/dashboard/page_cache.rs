//! Values cached between page views: the alerts, which every page counts, and the start of each
//! lease, which must be searched for at the end of a run's history.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use surefoot::{Run, RunId, Store, StoreError, Timestamp};
use tokio::time::Instant;

use super::recent_events::last_event_number;
use crate::alerts::{self, Alert};

/// Time during which the cached alerts count as current.
const ALERTS_LIFETIME: Duration = Duration::from_secs(1);
/// Number of concurrent searches; events per read and limit of reads of one search for a lease's
/// start.
const CONCURRENT_SEARCHES: usize = 8;
const EVENTS_PER_READ: u64 = 500;
const MAX_READS: usize = 80;
/// Limit of remembered leases. Beyond it, all are searched for again.
const MAX_LEASES: usize = 10_000;

/// A lease on a run: the run and its epoch.
type Lease = (RunId, u64);

/// The cache.
#[derive(Debug, Default)]
pub(crate) struct PageCache {
    alerts: tokio::sync::Mutex<Option<(Instant, Arc<[Alert]>)>>,
    lease_starts: Mutex<HashMap<Lease, Option<Timestamp>>>,
}

impl PageCache {
    /// The alerts, at most one second old. Concurrent requests share one read.
    pub(crate) async fn alerts(&self, store: &dyn Store) -> Result<Arc<[Alert]>, StoreError> {
        let mut cached = self.alerts.lock().await;
        if let Some((_, alerts)) = cached
            .as_ref()
            .filter(|(at, _)| at.elapsed() < ALERTS_LIFETIME)
        {
            return Ok(alerts.clone());
        }
        let alerts: Arc<[Alert]> = alerts::list(store).await?.into();
        *cached = Some((Instant::now(), alerts.clone()));
        Ok(alerts)
    }

    /// Reads the alerts again and returns them.
    pub(crate) async fn reload_alerts(
        &self,
        store: &dyn Store,
    ) -> Result<Arc<[Alert]>, StoreError> {
        self.alerts.lock().await.take();
        self.alerts(store).await
    }

    /// The time since which each run is held by its current worker, as far as the history shows it.
    pub(crate) async fn held_since(
        &self,
        store: &dyn Store,
        runs: &[Run],
    ) -> Result<HashMap<RunId, Timestamp>, StoreError> {
        let held = || runs.iter().filter(|run| run.head.worker.is_some());
        let unknown: Vec<&Run> = {
            let taken = self.lease_starts();
            held()
                .filter(|run| !taken.contains_key(&lease(run)))
                .collect()
        };
        let search = |run: &Run| {
            let lease = lease(run);
            async move { Ok::<_, StoreError>((lease, lease_started_at(store, lease).await?)) }
        };
        let searches = unknown.into_iter().map(search).collect::<Vec<_>>();
        let found: Vec<_> = stream::iter(searches)
            .buffer_unordered(CONCURRENT_SEARCHES)
            .try_collect()
            .await?;
        let mut taken = self.lease_starts();
        if taken.len() > MAX_LEASES {
            taken.clear();
        }
        taken.extend(found);
        Ok(held()
            .filter_map(|run| Some((run.id, taken.get(&lease(run)).copied()??)))
            .collect())
    }

    fn lease_starts(&self) -> std::sync::MutexGuard<'_, HashMap<Lease, Option<Timestamp>>> {
        self.lease_starts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn lease(run: &Run) -> Lease {
    (run.id, run.head.epoch)
}

/// The start of a lease. The start of the current step is not a substitute: that is the start of
/// its first attempt, possibly on another worker.
async fn lease_started_at(
    store: &dyn Store,
    (run, epoch): Lease,
) -> Result<Option<Timestamp>, StoreError> {
    let mut end = last_event_number(store, run, EVENTS_PER_READ).await?;
    for _ in 0..MAX_READS {
        let after = end.saturating_sub(EVENTS_PER_READ);
        let limit = usize::try_from(EVENTS_PER_READ).unwrap_or(usize::MAX);
        let events = store.events(run, after, limit).await?;
        let taken = events
            .iter()
            .rev()
            .find(|event| event.kind == "run.started" && event.data["epoch"] == epoch);
        if taken.is_some() || after == 0 {
            return Ok(taken.map(|event| event.at));
        }
        end = after;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use surefoot::state::CancelMode;
    use surefoot::store::{ClaimRequest, NewWorker};
    use surefoot::{AllowList, Client, Clock as _, ManualClock, Submit, WorkerId, Workflow};
    use surefoot_store_tests::MemoryStore;

    use super::*;

    const LEASE: Duration = Duration::from_secs(10);

    async fn claim(store: &dyn Store) -> Run {
        let id = WorkerId::new();
        let actions = Arc::new(["x".to_owned()].into_iter().collect());
        let name = "w".to_owned();
        let version = "1".to_owned();
        let worker = NewWorker {
            id,
            name,
            lease: LEASE,
            version,
            actions: Arc::clone(&actions),
            workflows: AllowList::default(),
            resources: Arc::default(),
        };
        store.register_worker(worker).await.unwrap();
        store
            .claim(ClaimRequest {
                worker: id,
                limit: 1,
                actions,
                workflows: AllowList::default(),
                resources: Arc::default(),
            })
            .await
            .unwrap()
            .runs
            .remove(0)
    }

    #[tokio::test]
    async fn a_run_is_held_since_its_current_lease_began() {
        let clock = Arc::new(ManualClock::new(Timestamp::from_micros(
            1_800_000_000_000_000,
        )));
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(clock.clone()));
        let plan = Arc::new(Workflow::builder("w").step("a", "x").build().unwrap());
        Client::new(store.clone())
            .submit(Submit::new(plan))
            .await
            .unwrap();
        let cache = PageCache::default();
        let first = claim(store.as_ref()).await;
        let since = cache
            .held_since(store.as_ref(), std::slice::from_ref(&first))
            .await
            .unwrap();
        assert_eq!(since[&first.id], clock.now());
        clock.advance(2 * LEASE);
        surefoot_store_tests::reclaim_expired(store.as_ref())
            .await
            .unwrap();
        clock.advance(LEASE);
        let second = claim(store.as_ref()).await;
        assert_eq!(
            (second.id, second.head.epoch),
            (first.id, first.head.epoch + 1)
        );
        let taken = clock.now();
        clock.advance(LEASE / 2);
        // The second lookup uses the cache, although the history has grown.
        for _ in 0..2 {
            let since = cache
                .held_since(store.as_ref(), std::slice::from_ref(&second))
                .await
                .unwrap();
            assert_eq!(since[&second.id], taken);
            store
                .cancel(second.id, CancelMode::Stop, "ann")
                .await
                .unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn alerts_are_read_once_a_second() {
        let clock = Arc::new(ManualClock::new(Timestamp::from_micros(
            1_800_000_000_000_000,
        )));
        let store = MemoryStore::new(clock);
        let cache = PageCache::default();
        let first = cache.alerts(&store).await.unwrap();
        assert!(Arc::ptr_eq(&first, &cache.alerts(&store).await.unwrap()));
        let reloaded = cache.reload_alerts(&store).await.unwrap();
        assert!(
            !Arc::ptr_eq(&first, &reloaded)
                && Arc::ptr_eq(&reloaded, &cache.alerts(&store).await.unwrap())
        );
        tokio::time::advance(ALERTS_LIFETIME).await;
        assert!(!Arc::ptr_eq(
            &reloaded,
            &cache.alerts(&store).await.unwrap()
        ));
    }
}
