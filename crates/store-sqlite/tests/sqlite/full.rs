//! A disk that fills up: accepted runs stay, writes that do not fit are refused, and the store
//! recovers when there is space.

use std::time::Duration;

use crate::support::{complete, draft, file, queued, register, started};
use surefoot::store::{RunFilter, Submitted};
use surefoot::{QueueLimits, Retention, RetentionLimit, Run, RunStatus, Store, StoreError};
use surefoot_sqlite::SqliteStore;

/// The size of an empty store, and a little more.
const SIZE: u64 = 400 * 1024;

/// Adds runs with long parameters until one does not fit. Returns the last error and the accepted
/// runs.
async fn fill(store: &SqliteStore) -> (StoreError, Vec<Run>) {
    let mut accepted = Vec::new();
    loop {
        let mut run = draft(store);
        run.parameters["name"] = "x".repeat(2000).into();
        match store.submit(queued(store, &run)).await {
            Ok(submitted) => assert_eq!(submitted, Submitted::Queued),
            Err(error) => return (error, accepted),
        }
        accepted.push(run);
        assert!(accepted.len() < 10_000, "the limit is not kept");
    }
}

#[tokio::test]
async fn a_full_disk_loses_no_accepted_run_and_the_store_recovers() {
    let (_folder, path) = file();
    let store = SqliteStore::options().max_size(SIZE).open(&path).unwrap();
    let (error, accepted) = fill(&store).await;
    assert!(
        error.is_retryable() && error.to_string().contains("disk is full"),
        "{error}"
    );
    assert!(accepted.len() > 5, "{}", accepted.len());
    assert!(std::fs::metadata(&path).unwrap().len() <= SIZE);
    let all = RunFilter {
        limit: 10_000,
        ..RunFilter::default()
    };
    assert_eq!(
        store
            .runs(all.clone())
            .await
            .unwrap()
            .into_iter()
            .rev()
            .collect::<Vec<_>>(),
        accepted
    );
    assert!(
        store.submit(queued(&store, &accepted[0])).await.is_err(),
        "it is full still"
    );
    drop(store);

    let store = SqliteStore::options()
        .max_size(2 * SIZE)
        .open(&path)
        .unwrap();
    assert_eq!(
        store.submit(queued(&store, &draft(&store))).await.unwrap(),
        Submitted::Queued
    );
    assert_eq!(store.runs(all).await.unwrap().len(), accepted.len() + 1);
}

/// A step that ends while the disk is full is committed later, under the same lease.
#[tokio::test]
async fn pruning_frees_space_in_a_full_store() {
    let (_folder, path) = file();
    let store = SqliteStore::options().max_size(SIZE).open(&path).unwrap();
    let worker = register(&store, "w").await;
    let keep = RetentionLimit {
        age: None,
        count: Some(0),
    };
    let retention = Retention {
        completed: keep,
        ..Retention::default()
    };
    store
        .set_queue(
            "build",
            QueueLimits {
                retention,
                ..QueueLimits::default()
            },
            false,
        )
        .await
        .unwrap();
    let mut ended = 0;
    for _ in 0..100 {
        let run = draft(&store);
        let Submitted::Started = store.submit(started(&store, &run, worker)).await.unwrap() else {
            panic!()
        };
        complete(&store, &store.run(run.id).await.unwrap().unwrap()).await;
        ended += 1;
    }
    let (_, accepted) = fill(&store).await;
    tokio::time::timeout(Duration::from_secs(60), store.prune(1000))
        .await
        .unwrap()
        .unwrap();
    let (_, more) = fill(&store).await;
    assert!(
        !accepted.is_empty() && !more.is_empty(),
        "pruning made no room"
    );
    let completed = RunFilter {
        status: Some(RunStatus::Completed),
        limit: 1000,
        ..RunFilter::default()
    };
    assert_eq!(store.runs(completed).await.unwrap().len(), ended);
}
