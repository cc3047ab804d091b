//! Shared by the tests of the SQLite store: a store in a temporary directory, and runs for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use surefoot::state::{Edit, Transition};
use surefoot::store::{NewWorker, Submission};
use surefoot::{AllowList, Run, RunId, Store, WorkerId, Workflow};
use surefoot_sqlite::{LockHolder, SqliteStore};
use tempfile::TempDir;

/// A temporary directory, and the path of a store in it that does not exist yet.
pub(crate) fn file() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("surefoot.db");
    (folder, path)
}

/// A new store in a temporary directory.
pub(crate) fn new_store() -> (TempDir, PathBuf, SqliteStore) {
    let (folder, path) = file();
    let store = SqliteStore::open(&path).unwrap();
    (folder, path, store)
}

pub(crate) fn plan() -> Arc<Workflow> {
    Arc::new(
        Workflow::builder("build")
            .step("one", "test.work")
            .step("two", "test.work")
            .build()
            .unwrap(),
    )
}

pub(crate) fn draft(store: &SqliteStore) -> Run {
    Run::new(
        RunId::at(store.now()),
        plan(),
        json!({ "name": "x" }),
        store.now(),
        store.now(),
    )
}

/// The run as it is queued.
pub(crate) fn queued(store: &SqliteStore, run: &Run) -> Submission {
    Submission {
        queued: edited(store, run, |edit| edit.submitted()),
        started: None,
    }
}

/// The run as `worker` starts it at once, with its first step running.
pub(crate) fn started(store: &SqliteStore, run: &Run, worker: WorkerId) -> Submission {
    let started = edited(store, run, |edit| {
        edit.submitted();
        edit.claim(worker).unwrap();
        edit.start_step(0).unwrap();
    });
    Submission {
        started: Some(started),
        ..queued(store, run)
    }
}

pub(crate) fn edited(
    store: &SqliteStore,
    run: &Run,
    change: impl FnOnce(&mut Edit),
) -> (Run, Transition) {
    let mut edit = Edit::new(run.clone(), store.now());
    change(&mut edit);
    if run.lease().is_some() {
        edit.finish_as_holder()
    } else {
        edit.finish()
    }
}

/// Completes a run whose first step is running.
pub(crate) async fn complete(store: &SqliteStore, run: &Run) {
    let (_, transition) = edited(store, run, |edit| {
        for position in 0..2 {
            if position > 0 {
                edit.start_step(position).unwrap();
            }
            edit.complete_step(position, Value::Null, Vec::new(), None)
                .unwrap();
        }
        edit.complete_run().unwrap();
    });
    store
        .commit(run.lease().unwrap(), transition)
        .await
        .unwrap();
}

/// Waits until the lock is free. A child process that has been forked but not yet executed its
/// program holds every open file of this process, so a released lock becomes free a moment later.
pub(crate) fn wait_until_unlocked(store: &SqliteStore) {
    let begin = Instant::now();
    while store.lock_holder().unwrap() != LockHolder::Free {
        assert!(
            begin.elapsed() < Duration::from_secs(60),
            "the lock is not given back"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub(crate) async fn register(store: &SqliteStore, name: &str) -> WorkerId {
    let id = WorkerId::new();
    store.register_worker(worker(id, name)).await.unwrap();
    id
}

pub(crate) fn worker(id: WorkerId, name: &str) -> NewWorker {
    NewWorker {
        id,
        name: name.to_owned(),
        lease: Duration::from_secs(60),
        version: "1".to_owned(),
        actions: Arc::default(),
        workflows: AllowList::default(),
        resources: Arc::default(),
    }
}

/// A connection beside the store's own, as another program would have.
pub(crate) fn raw(path: &Path) -> rusqlite::Connection {
    let conn = rusqlite::Connection::open(path).unwrap();
    conn.pragma_update(None, "foreign_keys", false).unwrap();
    conn
}
