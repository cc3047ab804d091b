//! The last events of a run's history, for pages. A run may log for hours.

use surefoot::{Event, RunId, Store, StoreError};

/// Limit of events read; more than a page can show.
const MAX_EVENTS: usize = 4000;

/// The last events of a run.
pub(super) struct RecentEvents {
    pub(super) events: Vec<Event>,
    /// True if found are earlier events.
    pub(super) cut: bool,
}

/// Reads the last events of a run.
pub(super) async fn recent_events(
    store: &dyn Store,
    run: RunId,
) -> Result<RecentEvents, StoreError> {
    read_last(store, run, MAX_EVENTS).await
}

async fn read_last(
    store: &dyn Store,
    run: RunId,
    limit: usize,
) -> Result<RecentEvents, StoreError> {
    let last = last_event_number(store, run, limit as u64).await?;
    let after = last.saturating_sub(limit as u64);
    // Includes events that were added in between.
    let mut events = store.events(run, after, limit + limit / 4).await?;
    let late = events.len().saturating_sub(limit);
    events.drain(..late);
    Ok(RecentEvents {
        cut: after > 0 || late > 0,
        events,
    })
}

/// The sequence number of a run's last event, or an upper bound of it that is at most `enough`. A
/// history has no gaps, so its end is found with growing and then shrinking steps.
pub(super) async fn last_event_number(
    store: &dyn Store,
    run: RunId,
    enough: u64,
) -> Result<u64, StoreError> {
    let exists =
        async |seq: u64| Ok::<_, StoreError>(!store.events(run, seq - 1, 1).await?.is_empty());
    if !exists(enough + 1).await? {
        return Ok(enough);
    }
    let mut found = enough + 1;
    let mut step = enough.next_power_of_two();
    while exists(found + step).await? {
        found += step;
        step *= 2;
    }
    while step > 1 {
        step /= 2;
        if exists(found + step).await? {
            found += step;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use surefoot::state::Edit;
    use surefoot::store::{NewWorker, Submission};
    use surefoot::{AllowList, Run, SystemClock, WorkerId, Workflow};
    use surefoot_store_tests::MemoryStore;

    use super::*;

    /// A run whose history has this many events.
    async fn run_with(store: &dyn Store, events: usize) -> RunId {
        let now = store.now();
        let worker = WorkerId::new();
        let plan = Arc::new(Workflow::builder("w").step("a", "x").build().unwrap());
        let run = Run::new(RunId::at(now), plan, serde_json::json!({}), now, now);
        let lease = std::time::Duration::from_secs(60);
        let row = NewWorker {
            id: worker,
            name: "w".into(),
            lease,
            version: "1".into(),
            actions: Arc::default(),
            workflows: AllowList::default(),
            resources: Arc::default(),
        };
        store.register_worker(row).await.unwrap();
        let begun = |claim: bool| {
            let mut edit = Edit::new(run.clone(), now);
            edit.submitted();
            if claim {
                edit.claim(worker).unwrap();
                edit.start_step(0).unwrap();
            }
            edit.finish()
        };
        store
            .submit(Submission {
                queued: begun(false),
                started: Some(begun(true)),
            })
            .await
            .unwrap();
        let mut run = store.run(run.id).await.unwrap().unwrap();
        for _ in 3..events {
            let mut edit = Edit::new(run.clone(), now);
            edit.report(0, None, vec!["line".to_owned()]);
            let (next, transition) = edit.finish_as_holder();
            store
                .commit(run.lease().unwrap(), transition)
                .await
                .unwrap();
            run = next;
        }
        run.id
    }

    #[tokio::test]
    async fn the_end_of_a_history_is_found_at_any_length() {
        let store = MemoryStore::new(Arc::new(SystemClock));
        for events in [3, 9, 10, 11, 12, 19, 20, 21, 40, 57, 100] {
            let run = run_with(&store, events).await;
            let recent = read_last(&store, run, 10).await.unwrap();
            let last = recent.events.last().unwrap().seq;
            assert_eq!(
                (last, recent.events.len(), recent.cut),
                (events as u64, events.min(10), events > 10),
                "{events}"
            );
        }
    }
}
