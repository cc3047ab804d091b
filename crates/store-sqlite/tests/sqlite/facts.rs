//! The reported facts are true.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::time::Duration;

use surefoot::{Store, StoreError};
use surefoot_sqlite::{Integrity, LockHolder, SqliteStore};

use crate::support::{draft, new_store, queued, register, wait_until_unlocked};

const PLENTY: Duration = Duration::from_secs(30);

#[tokio::test]
async fn the_writing_connection_syncs_each_commit() {
    let (_folder, path, store) = new_store();
    let facts = store.facts().await.unwrap();
    assert_eq!((facts.journal_mode.as_str(), facts.synchronous), ("wal", 2));
    assert!(facts.schema >= 1, "{facts:?}");
    assert_eq!(
        facts.log,
        std::fs::metadata(path.with_extension("db-wal"))
            .unwrap()
            .len()
    );
    assert!(facts.size > 0 && facts.checkpoint > 1 << 20, "{facts:?}");
}

#[tokio::test]
async fn damage_is_found() {
    let (_folder, path, store) = new_store();
    let run = draft(&store);
    store.submit(queued(&store, &run)).await.unwrap();
    assert_eq!(store.quick_check(PLENTY).await.unwrap(), Integrity::Whole);
    drop(store);
    // The schema stays intact: only pages with the run's id in a row are damaged.
    let pages = std::fs::read(&path).unwrap();
    let mut file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    for (page, bytes) in pages.chunks(4096).enumerate() {
        if bytes.windows(16).any(|id| id == run.id.as_bytes()) {
            file.seek(SeekFrom::Start(page as u64 * 4096)).unwrap();
            file.write_all(&[0xa5; 64]).unwrap();
        }
    }
    let Ok(store) = SqliteStore::open(&path) else {
        panic!("the schema is whole")
    };
    let found = store.quick_check(PLENTY).await;
    assert!(
        matches!(
            found,
            Ok(Integrity::Damaged(_)) | Err(StoreError::Unusable(_))
        ),
        "{found:?}"
    );
}

#[tokio::test]
async fn a_check_that_takes_long_is_given_up_and_harms_nothing() {
    let (_folder, _path, store) = new_store();
    for _ in 0..300 {
        store.submit(queued(&store, &draft(&store))).await.unwrap();
    }
    // A file of this size may be read before the time runs out; either way the store keeps working.
    let found = store.quick_check(Duration::ZERO).await.unwrap();
    assert!(
        matches!(found, Integrity::Unfinished | Integrity::Whole),
        "{found:?}"
    );
    assert_eq!(store.quick_check(PLENTY).await.unwrap(), Integrity::Whole);
}

#[tokio::test]
async fn the_holder_of_the_lock_is_named() {
    let (_folder, _path, store) = new_store();
    assert_eq!(store.lock_holder().unwrap(), LockHolder::Free);
    let id = register(&store, "w").await;
    assert_eq!(
        store.lock_holder().unwrap(),
        LockHolder::Process(std::process::id().to_string())
    );
    store.deregister_worker(id).await.unwrap();
    wait_until_unlocked(&store);
}
