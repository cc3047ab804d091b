//! Several processes on one file: each sees the writes of the others.

use std::time::{Duration, Instant};

use crate::support::{draft, new_store, queued};
use surefoot::Store;
use surefoot_sqlite::SqliteStore;

#[tokio::test]
async fn a_change_by_another_process_is_noticed_within_100_ms() {
    let (_folder, path, store) = new_store();
    let other = SqliteStore::open(&path).unwrap();
    // After the first check.
    store.pause_queue("other", false).await.unwrap();
    // The best of several series, because other tests run at the same time.
    let mut medians = Vec::new();
    for _ in 0..10 {
        let mut waits = Vec::new();
        for _ in 0..10 {
            waits.push(noticed(&store, &other).await);
        }
        waits.sort();
        medians.push(waits[5]);
        if waits[5] < Duration::from_millis(100) {
            return;
        }
    }
    panic!("{medians:?}");
}

/// Time until one store notices a write of the other.
async fn noticed(store: &SqliteStore, other: &SqliteStore) -> Duration {
    let mut hints = store.hints();
    let run = draft(other);
    other.submit(queued(other, &run)).await.unwrap();
    let written = Instant::now();
    let both = async {
        (
            hints.work.changed().await.unwrap(),
            hints.any.changed().await.unwrap(),
        )
    };
    tokio::time::timeout(Duration::from_secs(60), both)
        .await
        .expect("the change is noticed");
    let wait = written.elapsed();
    assert_eq!(store.run(run.id).await.unwrap(), Some(run));
    wait
}

#[tokio::test]
async fn no_subscriber_is_woken_without_a_change() {
    let (_folder, _path, store) = new_store();
    store.pause_queue("other", false).await.unwrap();
    let mut hints = store.hints();
    store.reclaim(Vec::new()).await.unwrap();
    let quiet = tokio::time::timeout(Duration::from_millis(200), hints.any.changed()).await;
    assert!(
        quiet.is_err(),
        "an operation that changed nothing woke those who watch"
    );
}

#[tokio::test]
async fn readers_are_not_blocked_by_a_writer() {
    let (_folder, path, store) = new_store();
    let run = draft(&store);
    store.submit(queued(&store, &run)).await.unwrap();
    let other = crate::support::raw(&path);
    other
        .execute_batch("BEGIN IMMEDIATE; UPDATE runs SET priority = 7")
        .unwrap();
    assert_eq!(store.run(run.id).await.unwrap(), Some(run));
}
