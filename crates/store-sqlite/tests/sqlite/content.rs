//! Behaviour outside the suite, because another store may differ.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use surefoot::store::{ClaimRequest, Submitted};
use surefoot::{AllowList, QueueLimits, Rate, Store};

use crate::support::{draft, new_store, queued, register, started};

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
            workflows: AllowList::default(),
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
            workflows: AllowList::default(),
            resources: Arc::default(),
        })
        .await
        .unwrap();
    assert_eq!(
        claimed.runs.iter().map(|run| run.id).collect::<Vec<_>>(),
        [sound.id]
    );
}
