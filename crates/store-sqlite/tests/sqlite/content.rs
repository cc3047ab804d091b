//! Behaviour outside the suite, because another store may differ.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use surefoot::store::{ClaimRequest, Submitted};
use surefoot::{Digest, QueueLimits, Rate, Snapshot, Store, StoreError};

use crate::support::{draft, edited, new_store, queued, register, started};

/// A workspace that could not be restored is refused at once, not detected by the step that needs
/// it.
#[tokio::test]
async fn a_snapshot_whose_contents_are_not_all_here_is_refused() {
    let (_folder, _path, store) = new_store();
    let worker = register(&store, "w").await;
    let run = draft(&store);
    store.submit(started(&store, &run, worker)).await.unwrap();
    let run = store.run(run.id).await.unwrap().unwrap();
    let manifest = Digest::of(b"manifest");
    let file = Digest::of(b"file");
    let commit = async |contents: Vec<(Digest, Vec<u8>)>| {
        let snapshot = Snapshot {
            digest: manifest,
            needs: vec![manifest, file],
            contents,
        };
        let (_, transition) = edited(&store, &run, |edit| {
            edit.complete_step(0, Value::Null, Vec::new(), Some(snapshot))
                .unwrap();
        });
        store.commit(run.lease().unwrap(), transition).await
    };
    match commit(vec![(manifest, b"manifest".to_vec())]).await {
        Err(StoreError::Fault(message)) => {
            assert!(message.contains(&file.to_string()), "{message}")
        }
        other => panic!("expected a fault, got {other:?}"),
    }
    assert_eq!(store.run(run.id).await.unwrap().as_ref(), Some(&run));
    assert_eq!(store.blob(manifest).await.unwrap(), None);
    commit(vec![
        (manifest, b"manifest".to_vec()),
        (file, b"file".to_vec()),
    ])
    .await
    .unwrap();
    assert_eq!(store.blob(file).await.unwrap(), Some(b"file".to_vec()));
}

/// Starts are counted by a column that is set only if the queue has a rate: a rate given later
/// finds them.
#[tokio::test]
async fn a_rate_that_is_given_later_counts_the_starts_before() {
    let (_folder, _path, store) = new_store();
    let worker = register(&store, "w").await;
    for _ in 0..3 {
        store
            .submit(started(&store, &draft(&store), worker))
            .await
            .unwrap();
    }
    let rate = Some(Rate {
        max: 4,
        per: Duration::from_secs(3600),
    });
    store
        .set_queue(
            "build",
            QueueLimits {
                rate,
                ..QueueLimits::default()
            },
            false,
        )
        .await
        .unwrap();
    for _ in 0..3 {
        assert_eq!(
            store.submit(queued(&store, &draft(&store))).await.unwrap(),
            Submitted::Queued
        );
    }
    let actions = Arc::new(BTreeSet::from(["test.work".to_owned()]));
    let claimed = store
        .claim(ClaimRequest {
            worker,
            limit: 10,
            actions,
            resources: Arc::default(),
        })
        .await
        .unwrap();
    assert_eq!(claimed.runs.len(), 1);
    assert!(claimed.next_at.is_some_and(|at| at > store.now()));
}

/// A damaged set of requirements holds back its own run and no other.
#[tokio::test]
async fn unreadable_requirements_delay_no_other_run() {
    let (_folder, path, store) = new_store();
    let worker = register(&store, "w").await;
    let damaged = draft(&store);
    let sound = draft(&store);
    store.submit(queued(&store, &damaged)).await.unwrap();
    store.submit(queued(&store, &sound)).await.unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    let changed = other
        .execute(
            "UPDATE runs SET requires = '[1' WHERE id = ?1",
            [damaged.id.as_bytes()],
        )
        .unwrap();
    assert_eq!(changed, 1);
    let actions = Arc::new(BTreeSet::from(["test.work".to_owned()]));
    let claimed = store
        .claim(ClaimRequest {
            worker,
            limit: 10,
            actions,
            resources: Arc::default(),
        })
        .await
        .unwrap();
    assert_eq!(
        claimed.runs.iter().map(|run| run.id).collect::<Vec<_>>(),
        [sound.id]
    );
}
