//! The file, its log and its index must stay in place: data written to a removed file is lost.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::{Arc, PoisonError};

use crate::support::{draft, file, new_store, queued, register};
use surefoot::{Clock, Store, StoreError, SystemClock, Timestamp};
use surefoot_sqlite::SqliteStore;

/// Asserts that the store is unavailable, and that the message says what happened and what to do.
#[track_caller]
fn unavailable<T: std::fmt::Debug>(result: Result<T, StoreError>, what: &str) {
    match result {
        Err(StoreError::Unavailable(message)) => {
            assert!(
                message.contains(what) && message.contains("start again"),
                "{message}"
            );
        }
        other => panic!("expected an unavailable store that says `{what}`, got {other:?}"),
    }
}

/// The database's file, its log and its index.
fn files(path: &Path) -> [PathBuf; 3] {
    ["db", "db-wal", "db-shm"].map(|extension| path.with_extension(extension))
}

#[tokio::test]
async fn a_store_whose_file_was_removed_accepts_and_shows_nothing() {
    for which in 0..3 {
        let (_folder, path, store) = new_store();
        let worker = register(&store, "w").await;
        let gone = &files(&path)[which];
        fs::remove_file(gone).unwrap();
        let what = format!("{} was removed", gone.display());
        unavailable(store.submit(queued(&store, &draft(&store))).await, &what);
        unavailable(store.heartbeat(worker).await, &what);
        unavailable(store.document("server", "secret").await, &what);
    }
}

#[tokio::test]
async fn a_store_that_was_moved_away_and_back_has_no_refused_write() {
    let (folder, path, store) = new_store();
    let kept = draft(&store);
    store.submit(queued(&store, &kept)).await.unwrap();
    let aside = folder.path().join("aside.db");
    fs::rename(&path, &aside).unwrap();
    let refused = draft(&store);
    unavailable(store.submit(queued(&store, &refused)).await, "was removed");
    fs::rename(&aside, &path).unwrap();
    assert_eq!(store.run(kept.id).await.unwrap(), Some(kept));
    assert_eq!(store.run(refused.id).await.unwrap(), None);
    store.submit(queued(&store, &refused)).await.unwrap();
}

#[tokio::test]
async fn a_store_whose_file_was_replaced_refuses_and_leaves_the_other_alone() {
    let (_folder, path, old) = new_store();
    old.submit(queued(&old, &draft(&old))).await.unwrap();
    for file in files(&path) {
        fs::remove_file(file).unwrap();
    }
    let new = SqliteStore::open(&path).unwrap();
    let run = draft(&new);
    new.submit(queued(&new, &run)).await.unwrap();
    register(&new, "new").await;
    unavailable(old.submit(queued(&old, &draft(&old))).await, "was replaced");
    unavailable(old.run(run.id).await, "was replaced");
    // The last connection to a file removes its log by the path, which is the other's by now.
    drop(old);
    assert!(
        files(&path).iter().all(|file| file.exists()),
        "the log of the other store was removed"
    );
    let next = draft(&new);
    new.submit(queued(&new, &next)).await.unwrap();
    let reader = SqliteStore::open(&path).unwrap();
    assert_eq!(reader.run(next.id).await.unwrap(), Some(next));
    assert_eq!(reader.workers().await.unwrap().len(), 1);
}

/// A clock that removes a file when it is next read. The store reads it inside each transaction.
#[derive(Debug, Default)]
struct Remover(Mutex<Option<PathBuf>>);

impl Clock for Remover {
    fn now(&self) -> Timestamp {
        if let Some(path) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            fs::remove_file(path).unwrap();
        }
        SystemClock.now()
    }
}

#[tokio::test]
async fn a_commit_is_not_acknowledged_when_its_file_is_removed_before_it_ends() {
    for which in 0..3 {
        let (_folder, path) = file();
        let clock = Arc::new(Remover::default());
        let store = SqliteStore::options()
            .clock(clock.clone())
            .open(&path)
            .unwrap();
        let submission = queued(&store, &draft(&store));
        *clock.0.lock().unwrap() = Some(files(&path)[which].clone());
        unavailable(store.submit(submission).await, "was removed");
    }
}
