//! A single worker process at a time is alive on a file.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::support::{draft, file, new_store, register, started, wait_until_unlocked, worker};
use surefoot::store::Submitted;
use surefoot::{RunStatus, Store, StoreError, WorkerId};
use surefoot_sqlite::{LockHolder, SqliteStore};

/// Asserts that the store has the worker of process `pid`.
#[track_caller]
fn in_use(result: Result<(), StoreError>, pid: u32) {
    match result {
        Err(StoreError::InUse(message)) => {
            assert!(message.contains(&format!("process {pid} ")), "{message}")
        }
        other => panic!("expected a store in use by {pid}, got {other:?}"),
    }
}

#[tokio::test]
async fn a_second_store_on_the_file_gets_no_worker() {
    let (_folder, path, first) = new_store();
    let second = SqliteStore::open(&path).unwrap();
    let id = register(&first, "one").await;
    in_use(
        second.register_worker(worker(WorkerId::new(), "two")).await,
        std::process::id(),
    );
    assert_eq!(first.workers().await.unwrap().len(), 1);
    first.deregister_worker(id).await.unwrap();
    wait_until_unlocked(&second);
    register(&second, "two").await;
}

#[tokio::test]
async fn workers_of_one_store_are_alive_together() {
    let (_folder, path, store) = new_store();
    let one = register(&store, "one").await;
    let run = draft(&store);
    assert_eq!(
        store.submit(started(&store, &run, one)).await.unwrap(),
        Submitted::Started
    );
    let two = register(&store, "two").await;
    assert_eq!(
        store.run(run.id).await.unwrap().unwrap().head.worker,
        Some(one)
    );
    store.deregister_worker(one).await.unwrap();
    let other = SqliteStore::open(&path).unwrap();
    in_use(
        other
            .register_worker(worker(WorkerId::new(), "three"))
            .await,
        std::process::id(),
    );
    store.deregister_worker(two).await.unwrap();
    wait_until_unlocked(&other);
    register(&other, "three").await;
}

#[tokio::test]
async fn a_store_that_is_dropped_frees_the_file_and_its_runs_are_taken_over() {
    let (_folder, path, first) = new_store();
    let id = register(&first, "one").await;
    let run = draft(&first);
    first.submit(started(&first, &run, id)).await.unwrap();
    drop(first);
    let second = SqliteStore::open(&path).unwrap();
    wait_until_unlocked(&second);
    register(&second, "two").await;
    let run = second.run(run.id).await.unwrap().unwrap();
    assert_eq!(
        (run.head.status, run.steps[0].interruptions),
        (RunStatus::Queued, 1)
    );
    let events = second.events(run.id, 0, 100).await.unwrap();
    assert_eq!(events.last().unwrap().data["reason"], "worker one died");
}

/// A worker in a separate process: this test binary, started again for
/// `a_worker_in_another_process`.
struct Other {
    child: Child,
    run: String,
}

impl Other {
    fn start(path: &std::path::Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "workers::a_worker_in_another_process",
                "--nocapture",
            ])
            .env("SUREFOOT_TEST_FILE", path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let run = lines
            .map_while(Result::ok)
            .find_map(|line| line.split("holds run ").nth(1).map(str::to_owned));
        Self {
            run: run.expect("the other process says which run it holds"),
            child,
        }
    }
}

impl Other {
    /// Asserts that its run was not interrupted, and ends it.
    async fn end_uninterrupted(mut self, store: &SqliteStore) {
        let run = store.run(self.run.parse().unwrap()).await.unwrap().unwrap();
        assert_eq!(
            (run.head.status, run.steps[0].interruptions),
            (RunStatus::Running, 0)
        );
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        register(store, "next").await;
        let run = store.run(run.id).await.unwrap().unwrap();
        assert_eq!(
            (run.head.status, run.steps[0].interruptions),
            (RunStatus::Queued, 1)
        );
    }
}

/// Not a test by itself: started by [`Other`]. It lives until it is killed, or its standard input
/// ends.
#[tokio::test]
async fn a_worker_in_another_process() {
    let Some(path) = std::env::var_os("SUREFOOT_TEST_FILE").map(PathBuf::from) else {
        return;
    };
    let store = SqliteStore::open(&path).unwrap();
    let id = register(&store, "other").await;
    let run = draft(&store);
    store.submit(started(&store, &run, id)).await.unwrap();
    println!("holds run {}", run.id);
    let _ = std::io::stdin().read_line(&mut String::new());
}

#[tokio::test]
async fn a_process_that_is_killed_frees_the_file_and_its_runs_are_taken_over() {
    let (_folder, path) = file();
    let mut other = Other::start(&path);
    let store = SqliteStore::open(&path).unwrap();
    in_use(
        store.register_worker(worker(WorkerId::new(), "mine")).await,
        other.child.id(),
    );
    other.child.kill().unwrap();
    other.child.wait().unwrap();
    register(&store, "mine").await;
    let run = store
        .run(other.run.parse().unwrap())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (run.head.status, run.steps[0].interruptions),
        (RunStatus::Queued, 1)
    );
    assert_eq!(store.workers().await.unwrap().len(), 1);
}

/// The lock belongs to the file, by whatever path it is opened.
#[tokio::test]
async fn a_symbolic_link_to_the_file_or_its_folder_gets_no_worker() {
    let (folder, path) = file();
    let other = Other::start(&path);
    let elsewhere = tempfile::tempdir().unwrap();
    let [link, chain, by_folder] =
        ["link.db", "chain.db", "folder"].map(|name| elsewhere.path().join(name));
    symlink(&path, &link).unwrap();
    symlink("link.db", &chain).unwrap();
    symlink(folder.path(), &by_folder).unwrap();
    for path in [
        link,
        chain,
        by_folder.join("surefoot.db"),
        folder.path().join("./surefoot.db"),
    ] {
        let store = SqliteStore::open(&path).unwrap();
        in_use(
            store.register_worker(worker(WorkerId::new(), "mine")).await,
            other.child.id(),
        );
        assert_eq!(
            store.lock_holder().unwrap(),
            LockHolder::Process(other.child.id().to_string())
        );
    }
    other
        .end_uninterrupted(&SqliteStore::open(&path).unwrap())
        .await;
}

/// The lock file names the holder. Removing or replacing it frees nothing.
#[tokio::test]
async fn a_lock_file_that_was_removed_or_replaced_lets_no_second_worker_live() {
    let (_folder, path) = file();
    let other = Other::start(&path);
    let store = SqliteStore::open(&path).unwrap();
    let lock_file = path.with_extension("db.worker-lock");
    for replacement in [None, Some("1\n")] {
        fs::remove_file(&lock_file).unwrap();
        if let Some(text) = replacement {
            fs::write(&lock_file, text).unwrap();
        }
        assert_ne!(store.lock_holder().unwrap(), LockHolder::Free);
        let refused = store.register_worker(worker(WorkerId::new(), "mine")).await;
        assert!(matches!(refused, Err(StoreError::InUse(_))), "{refused:?}");
    }
    other.end_uninterrupted(&store).await;
}

/// Closing a descriptor of a file drops all of SQLite's locks that the process has on it: then
/// another process could remove the log. So no store of this process closes one while another is
/// open.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_store_that_is_closed_leaves_the_locks_of_others_in_the_process() {
    let (folder, path, first) = new_store();
    let inode = fs::metadata(&path).unwrap().ino();
    let held = || {
        let locks = fs::read_to_string("/proc/locks").unwrap();
        locks
            .lines()
            .any(|line| line.contains("POSIX") && line.contains(&format!(":{inode} ")))
    };
    assert!(held(), "an open store holds a lock of SQLite's");
    let second = SqliteStore::open(&path).unwrap();
    let id = register(&second, "two").await;
    in_use(
        first.register_worker(worker(WorkerId::new(), "one")).await,
        std::process::id(),
    );
    assert_ne!(first.lock_holder().unwrap(), LockHolder::Free);
    second.deregister_worker(id).await.unwrap();
    register(&second, "two").await;
    drop(second);
    assert!(held(), "a second store was closed");
    fs::hard_link(&path, folder.path().join("other.db")).unwrap();
    SqliteStore::open(&path).unwrap_err();
    assert!(held(), "a store was refused");
    register(&first, "one").await;
    drop(first);
    assert!(!held(), "all are closed");
}
