//! Behaviour of a faulty store at its faulty write, and afterwards.

use std::sync::Arc;
use std::time::Duration;

use surefoot::{AllowList, Store, StoreError, WorkerId};
use surefoot_store_tests::{Fault, FaultyStore, MemoryStore, Scene, block_on};

/// Registers a worker three times with a fault at the second. Returns the result of each call
/// (`None` if it never returned), and the final number of workers in the inner store.
async fn three_writes(fault: Fault) -> (Vec<Option<Result<(), StoreError>>>, usize) {
    let below: Arc<dyn Store> = Arc::new(MemoryStore::new(Scene::clock()));
    let faulty = FaultyStore::new(below.clone(), 2, fault);
    let mut results = Vec::new();
    for name in ["a", "b", "c"] {
        assert_eq!(faulty.met(), name == "c");
        let worker = surefoot::store::NewWorker {
            id: WorkerId::new(),
            name: name.to_owned(),
            lease: Duration::from_secs(9),
            version: "1".to_owned(),
            actions: std::sync::Arc::default(),
            workflows: AllowList::default(),
            resources: std::sync::Arc::default(),
        };
        // The fault is signalled even if the call never returns.
        results.push(tokio::select! {
            biased;
            result = faulty.register_worker(worker) => Some(result),
            () = faulty.until_met() => None,
        });
    }
    assert!(faulty.writes() >= 2);
    (results, below.workers().await.unwrap_or_default().len())
}

#[track_caller]
fn check(fault: Fault, expected: [&str; 3], below: usize) {
    let (results, workers) = block_on(three_writes(fault));
    let words = results.iter().map(|result| match result {
        Some(Ok(())) => "done",
        Some(Err(StoreError::Unavailable(_))) => "away",
        Some(Err(_)) => "error",
        None => "never",
    });
    assert_eq!(
        (words.collect::<Vec<_>>(), workers),
        (expected.to_vec(), below),
        "{fault:?}"
    );
}

#[test]
fn a_fault_happens_at_its_write() {
    check(Fault::Refused, ["done", "away", "done"], 2);
    check(Fault::AnswerLost, ["done", "away", "done"], 3);
    check(Fault::CrashBefore, ["done", "never", "never"], 1);
    check(Fault::CrashAfter, ["done", "never", "never"], 2);
}
