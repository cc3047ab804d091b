//! A fault at every store write of a seven-step run, and at none: promises 1, 2, 3, 4, 7 and 9 of
//! the design.
//!
//! Side effects go to a ledger outside the store. A step that completed never runs again; a step
//! that was interrupted runs again with the same idempotency key, so the effects by key are exactly
//! seven however the run went.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says where by its panic"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use surefoot::{
    Handlers, Run, RunStatus, StepContext, StepStatus, Store, StoreError, Submit, SubmitError,
    SystemClock, Worker, WorkerOptions, Workflow, handler_fn,
};
use surefoot_store_tests::{Fault, FaultyStore, MemoryStore};

/// Step id and idempotency key of each call of the handler, and whether the step was completed in
/// the store just then.
#[derive(Clone, Default)]
struct Ledger(Arc<Mutex<Vec<(String, String)>>>);

impl Ledger {
    fn handlers(&self) -> Handlers {
        let ledger = self.clone();
        Handlers::new().with(
            "effect",
            handler_fn(move |context: StepContext, _: Value| {
                ledger
                    .0
                    .lock()
                    .unwrap()
                    .push((context.step_id().to_owned(), context.idempotency_key()));
                async move { Ok(context.step_id().to_owned()) }
            }),
        )
    }

    fn calls(&self) -> BTreeMap<String, usize> {
        let mut calls = BTreeMap::new();
        for (step, _) in self.0.lock().unwrap().iter() {
            *calls.entry(step.clone()).or_default() += 1;
        }
        calls
    }

    fn keys(&self) -> usize {
        self.0
            .lock()
            .unwrap()
            .iter()
            .map(|(_, key)| key)
            .collect::<BTreeSet<_>>()
            .len()
    }
}

fn seven() -> Arc<Workflow> {
    let builder = (1..=7).fold(Workflow::builder("seven"), |builder, n| {
        builder.step(format!("s{n}"), "effect")
    });
    Arc::new(builder.build().unwrap())
}

fn options() -> WorkerOptions {
    WorkerOptions {
        grace: Duration::ZERO,
        ..WorkerOptions::default()
    }
}

/// Submits until the store says yes, as a client with a key does.
async fn submit(store: &Arc<dyn Store>, worker: &surefoot::WorkerHandle) -> Run {
    loop {
        match worker
            .client()
            .submit(Submit::new(seven()).key("the-one"))
            .await
        {
            Ok(submitted) => return submitted.run,
            Err(SubmitError::Store(StoreError::Unavailable(_))) => {}
            Err(error) => panic!("{error} on {store:?}"),
        }
    }
}

/// Runs the workflow to its end over a store with a fault; after a crash, over the store below.
/// Gives the writes that the faulty store saw, and whether the fault happened.
async fn live(below: &Arc<dyn Store>, ledger: &Ledger, at: u64, fault: Fault) -> bool {
    let faulty = Arc::new(FaultyStore::new(below.clone(), at, fault));
    let store: Arc<dyn Store> = faulty.clone();
    let life = async {
        let worker = loop {
            match Worker::start(store.clone(), ledger.handlers(), options()).await {
                Ok(worker) => break worker,
                Err(StoreError::Unavailable(_)) => {}
                Err(error) => panic!("{error}"),
            }
        };
        let run = submit(&store, &worker).await;
        worker.client().wait(run.id).await.unwrap();
        worker.stop().await;
    };
    let crashes = matches!(fault, Fault::CrashBefore | Fault::CrashAfter);
    tokio::select! {
        () = life => {}
        () = faulty.until_met(), if crashes => {}
    }
    faulty.met()
}

#[tokio::test]
async fn a_fault_at_every_write_of_a_seven_step_run() {
    for fault in Fault::ALL {
        let mut at = 1;
        loop {
            let below: Arc<dyn Store> =
                Arc::new(MemoryStore::new(Arc::new(SystemClock)).one_worker());
            let ledger = Ledger::default();
            let met = live(&below, &ledger, at, fault).await;
            // The restart, over a sound store: it carries on, or finds that all is done.
            live(&below, &ledger, 0, fault).await;
            check(&below, &ledger, &format!("{fault:?} at write {at}")).await;
            if !met {
                break;
            }
            at += 1;
        }
        assert!(
            at > 8,
            "{fault:?}: a run of seven steps has at least a registration and eight commits, met {at}"
        );
    }
}

async fn check(below: &Arc<dyn Store>, ledger: &Ledger, what: &str) {
    let runs = below.runs(Default::default()).await.unwrap();
    assert_eq!(runs.len(), 1, "{what}: one run for one key");
    assert_eq!(runs[0].head.status, RunStatus::Completed, "{what}");
    assert!(
        runs[0]
            .steps
            .iter()
            .all(|step| step.status == StepStatus::Completed && step.attempt == 1),
        "{what}"
    );
    assert_eq!(ledger.keys(), 7, "{what}: one effect a step");
    let calls = ledger.calls();
    // At most one step was running at the time of the fault; every other one ran exactly once.
    let again = calls.values().filter(|&&count| count > 1).count();
    assert!(
        again <= 1 && calls.values().all(|&count| count <= 2),
        "{what}: {calls:?}"
    );
    let interruptions: u32 = runs[0].steps.iter().map(|step| step.interruptions).sum();
    assert!(
        again as u32 <= interruptions,
        "{what}: a completed step ran again: {calls:?}"
    );
    let events = below.events(runs[0].id, 0, 1000).await.unwrap();
    assert!(
        events
            .iter()
            .enumerate()
            .all(|(index, event)| event.seq == index as u64 + 1),
        "{what}: a gap in the history"
    );
}

/// Two lives cut short one after the other, at every pair of early writes.
#[tokio::test]
async fn a_crash_while_recovering_from_a_crash() {
    for first in 1..=9 {
        for second in 1..=6 {
            let below: Arc<dyn Store> =
                Arc::new(MemoryStore::new(Arc::new(SystemClock)).one_worker());
            let ledger = Ledger::default();
            live(&below, &ledger, first, Fault::CrashAfter).await;
            live(&below, &ledger, second, Fault::CrashBefore).await;
            live(&below, &ledger, 0, Fault::CrashAfter).await;
            let runs = below.runs(Default::default()).await.unwrap();
            assert_eq!(
                (runs.len(), runs[0].head.status),
                (1, RunStatus::Completed),
                "{first}, {second}"
            );
            assert_eq!(ledger.keys(), 7, "{first}, {second}");
            assert!(
                ledger.calls().values().filter(|&&count| count > 1).count() <= 2,
                "{first}, {second}"
            );
        }
    }
}
