//! Group commit: many operations in one transaction, each with its own outcome.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{draft, file, new_store, queued, raw};
use surefoot::store::{RunFilter, Submitted};
use surefoot::{Run, Store, StoreError};
use surefoot_sqlite::SqliteStore;
use tokio::task::JoinSet;

/// Locks the file by another connection while `during` starts operations, so that they join one
/// batch.
async fn while_locked<T>(path: &std::path::Path, during: impl AsyncFnOnce() -> T) -> T {
    let other = raw(path);
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let begun = during().await;
    other.execute_batch("COMMIT").unwrap();
    begun
}

/// Polls a future once, which sends its operation to the writer.
async fn poll_once<F: Future + Unpin>(future: &mut F) {
    std::future::poll_fn(|context| {
        let _ = std::pin::Pin::new(&mut *future).poll(context);
        std::task::Poll::Ready(())
    })
    .await;
}

#[tokio::test]
async fn a_failing_write_does_not_fail_its_batch() {
    let (_folder, path, store) = new_store();
    let store = Arc::new(store);
    let twice = draft(&store);
    let mut runs: Vec<Run> = (0..100).map(|_| draft(&store)).collect();
    runs.insert(20, twice.clone());
    runs.insert(60, twice.clone());
    let mut tasks = while_locked(&path, async || {
        let mut tasks = JoinSet::new();
        for run in runs {
            let store = store.clone();
            tasks.spawn(async move { store.submit(queued(&store, &run)).await });
        }
        tokio::task::yield_now().await;
        tasks
    })
    .await;
    let mut queued = 0;
    let mut faults = 0;
    while let Some(outcome) = tasks.join_next().await {
        match outcome.unwrap() {
            Ok(Submitted::Queued) => queued += 1,
            Err(StoreError::Fault(message)) if message.contains("runs.id") => faults += 1,
            other => panic!("neither queued nor a fault: {other:?}"),
        }
    }
    assert_eq!((queued, faults), (101, 1));
    let filter = RunFilter {
        limit: 1000,
        ..RunFilter::default()
    };
    assert_eq!(store.runs(filter).await.unwrap().len(), 101);
    assert_eq!(store.events(twice.id, 0, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_plan_of_a_rolled_back_batch_is_written_again() {
    let (_folder, path, store) = new_store();
    let one = draft(&store);
    let two = draft(&store);
    {
        let [first, again, second] = while_locked(&path, async || {
            let mut submits = [&one, &one, &two].map(|run| store.submit(queued(&store, run)));
            for submit in &mut submits {
                poll_once(submit).await;
            }
            submits
        })
        .await;
        assert!(first.await.is_ok() && second.await.is_ok() && again.await.is_err());
    }
    drop(store);
    let store = SqliteStore::open(&path).unwrap();
    assert_eq!(store.run(two.id).await.unwrap(), Some(two));
}

#[tokio::test]
async fn a_write_whose_caller_was_dropped_takes_place() {
    let (_folder, path, store) = new_store();
    let run = draft(&store);
    while_locked(&path, async || {
        poll_once(&mut store.submit(queued(&store, &run))).await
    })
    .await;
    // The writer answers in order, so everything sent before is done.
    store.pause_queue("other", true).await.unwrap();
    assert_eq!(store.run(run.id).await.unwrap(), Some(run));
}

#[tokio::test]
async fn writes_that_wait_for_a_locked_file_fail_together() {
    let (_folder, path) = file();
    let timeout = Duration::from_millis(200);
    let store = Arc::new(
        SqliteStore::options()
            .busy_timeout(timeout)
            .open(&path)
            .unwrap(),
    );
    let other = raw(&path);
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    // The best of three, because other tests run at the same time.
    let mut took = Duration::MAX;
    for _ in 0..3 {
        took = took.min(twenty_writes_fail(&store).await);
        if took < timeout * 10 {
            break;
        }
    }
    assert!(
        took < timeout * 10,
        "twenty waits came one after the other: {took:?}"
    );
    other.execute_batch("COMMIT").unwrap();
    store.submit(queued(&store, &draft(&store))).await.unwrap();
}

/// Time until twenty operations fail because the file is locked.
async fn twenty_writes_fail(store: &Arc<SqliteStore>) -> Duration {
    let begin = std::time::Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..20 {
        let store = store.clone();
        tasks.spawn(async move { store.submit(queued(&store, &draft(&store))).await });
    }
    for outcome in tasks.join_all().await {
        let error = outcome.unwrap_err();
        assert!(
            error.is_retryable() && error.to_string().contains("locked by another process"),
            "{error}"
        );
    }
    begin.elapsed()
}
