//! What the pages know without asking the store each time: the alerts, which every page counts, and since when each run is
//! held, which is found at the end of its history.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use surefoot::{Run, RunId, Store, StoreError, Timestamp};
use tokio::time::Instant;

use super::tail::last;
use crate::alerts::{self, Alert};

/// How long alerts that were read count as those of now.
const FRESH: Duration = Duration::from_secs(1);
/// Histories that are looked into at a time; events read at a time, and how often, to find when a run was taken.
const AT_A_TIME: usize = 8;
const EVENTS: u64 = 500;
const LOOKS: usize = 80;
/// Leases that are remembered. When there are more, all are found anew.
const LEASES: usize = 10_000;

/// A lease on a run: the run and its epoch.
type Lease = (RunId, u64);

/// What the pages know.
#[derive(Debug, Default)]
pub(crate) struct Known {
    alerts: tokio::sync::Mutex<Option<(Instant, Arc<[Alert]>)>>,
    taken: Mutex<HashMap<Lease, Option<Timestamp>>>,
}

impl Known {
    /// The alerts as they were a moment ago. However many pages ask at once, they are read once.
    pub(crate) async fn alerts(&self, store: &dyn Store) -> Result<Arc<[Alert]>, StoreError> {
        let mut known = self.alerts.lock().await;
        if let Some((_, alerts)) = known.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return Ok(alerts.clone());
        }
        let alerts: Arc<[Alert]> = alerts::list(store).await?.into();
        *known = Some((Instant::now(), alerts.clone()));
        Ok(alerts)
    }

    /// The alerts as they are now, and from now on.
    pub(crate) async fn alerts_anew(&self, store: &dyn Store) -> Result<Arc<[Alert]>, StoreError> {
        self.alerts.lock().await.take();
        self.alerts(store).await
    }

    /// Since when these runs are held by the worker that holds them now, as far as their history says.
    pub(crate) async fn held_since(
        &self,
        store: &dyn Store,
        runs: &[Run],
    ) -> Result<HashMap<RunId, Timestamp>, StoreError> {
        let held = || runs.iter().filter(|run| run.head.worker.is_some());
        let unknown: Vec<&Run> = {
            let taken = self.taken();
            held()
                .filter(|run| !taken.contains_key(&lease(run)))
                .collect()
        };
        let look = |run: &Run| {
            let lease = lease(run);
            async move { Ok::<_, StoreError>((lease, taken_at(store, lease).await?)) }
        };
        let looks = unknown.into_iter().map(look).collect::<Vec<_>>();
        let found: Vec<_> = stream::iter(looks)
            .buffer_unordered(AT_A_TIME)
            .try_collect()
            .await?;
        let mut taken = self.taken();
        if taken.len() > LEASES {
            taken.clear();
        }
        taken.extend(found);
        Ok(held()
            .filter_map(|run| Some((run.id, taken.get(&lease(run)).copied()??)))
            .collect())
    }

    fn taken(&self) -> std::sync::MutexGuard<'_, HashMap<Lease, Option<Timestamp>>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lease(run: &Run) -> Lease {
    (run.id, run.head.epoch)
}

/// When the run was taken under the lease. A step's own beginning would be that of its first attempt, maybe by another
/// worker.
async fn taken_at(store: &dyn Store, (run, epoch): Lease) -> Result<Option<Timestamp>, StoreError> {
    let mut end = last(store, run, EVENTS).await?;
    for _ in 0..LOOKS {
        let after = end.saturating_sub(EVENTS);
        let limit = usize::try_from(EVENTS).unwrap_or(usize::MAX);
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
        let (id, actions) = (
            WorkerId::new(),
            Arc::new(["x".to_owned()].into_iter().collect()),
        );
        let (name, version) = ("w".to_owned(), "1".to_owned());
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
    async fn a_run_is_held_since_its_worker_took_it_and_not_since_the_one_before_did() {
        let clock = Arc::new(ManualClock::new(Timestamp::from_micros(
            1_800_000_000_000_000,
        )));
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(clock.clone()));
        let plan = Arc::new(Workflow::builder("w").step("a", "x").build().unwrap());
        Client::new(store.clone())
            .submit(Submit::new(plan))
            .await
            .unwrap();
        let known = Known::default();
        let first = claim(store.as_ref()).await;
        let since = known
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
        // What is known is not looked for again; the history goes on meanwhile.
        for _ in 0..2 {
            let since = known
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
        let (store, known) = (MemoryStore::new(clock), Known::default());
        let first = known.alerts(&store).await.unwrap();
        assert!(Arc::ptr_eq(&first, &known.alerts(&store).await.unwrap()));
        let anew = known.alerts_anew(&store).await.unwrap();
        assert!(
            !Arc::ptr_eq(&first, &anew) && Arc::ptr_eq(&anew, &known.alerts(&store).await.unwrap())
        );
        tokio::time::advance(FRESH).await;
        assert!(!Arc::ptr_eq(&anew, &known.alerts(&store).await.unwrap()));
    }
}
