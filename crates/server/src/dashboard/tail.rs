//! The end of a run's history, which is what pages show: a run may log for hours.

use surefoot::{Event, RunId, Store, StoreError};

/// Events that are read, at most: more than a page can show.
const MOST: usize = 4000;

/// The end of a run's history.
pub(super) struct Tail {
    pub(super) events: Vec<Event>,
    /// Whether there was something before.
    pub(super) cut: bool,
}

/// Reads the last events of a run.
pub(super) async fn tail(store: &dyn Store, run: RunId) -> Result<Tail, StoreError> {
    of(store, run, MOST).await
}

async fn of(store: &dyn Store, run: RunId, most: usize) -> Result<Tail, StoreError> {
    let last = last(store, run, most as u64).await?;
    let after = last.saturating_sub(most as u64);
    // What was added meanwhile comes with it.
    let mut events = store.events(run, after, most + most / 4).await?;
    let late = events.len().saturating_sub(most);
    events.drain(..late);
    Ok(Tail {
        cut: after > 0 || late > 0,
        events,
    })
}

/// The number of a run's last event, or one that is no larger than `enough`. A history has no gaps, so its end is found in
/// steps that double and then halve.
pub(super) async fn last(store: &dyn Store, run: RunId, enough: u64) -> Result<u64, StoreError> {
    let is_there =
        async |seq: u64| Ok::<_, StoreError>(!store.events(run, seq - 1, 1).await?.is_empty());
    if !is_there(enough + 1).await? {
        return Ok(enough);
    }
    let (mut there, mut step) = (enough + 1, enough.next_power_of_two());
    while is_there(there + step).await? {
        there += step;
        step *= 2;
    }
    while step > 1 {
        step /= 2;
        if is_there(there + step).await? {
            there += step;
        }
    }
    Ok(there)
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
        let (now, worker) = (store.now(), WorkerId::new());
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
    async fn the_end_of_a_history_is_found_however_long_it_is() {
        let store = MemoryStore::new(Arc::new(SystemClock));
        for events in [3, 9, 10, 11, 12, 19, 20, 21, 40, 57, 100] {
            let run = run_with(&store, events).await;
            let tail = of(&store, run, 10).await.unwrap();
            let last = tail.events.last().unwrap().seq;
            assert_eq!(
                (last, tail.events.len(), tail.cut),
                (events as u64, events.min(10), events > 10),
                "{events}"
            );
        }
    }
}
