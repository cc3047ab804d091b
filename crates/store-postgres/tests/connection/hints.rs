//! Hints: they arrive from other processes at once, again after a lost session, and are not needed
//! where they do not arrive.

use std::sync::Arc;
use std::time::Duration;

use surefoot::store::RunFilter;
use surefoot::{Client, RunStatus, Store};
use surefoot_postgres::PostgresStore;
use surefoot_scratch_postgres::{ScratchBouncer, ScratchPostgres};
use tokio::time::timeout;

use crate::support::{database, ended, open, options, two_steps, until, worker};

async fn hears(listens: &PostgresStore, tells: &PostgresStore, paused: bool) -> bool {
    let mut hints = listens.hints();
    hints.any.mark_unchanged();
    tells.pause_queue("q", paused).await.unwrap();
    timeout(Duration::from_millis(700), hints.any.changed())
        .await
        .is_ok()
}

#[tokio::test]
async fn stores_notify_each_other_also_after_a_lost_session() {
    let cluster = ScratchPostgres::start().unwrap();
    let one = open(&cluster.url()).await;
    let other = open(&cluster.url()).await;
    until("one hears of the other", async || {
        hears(&one, &other, true).await.then_some(())
    })
    .await;
    cluster.end_sessions().unwrap();
    until("the database is back", async || other.queues().await.ok()).await;
    until("one hears of the other again", async || {
        hears(&one, &other, false).await.then_some(())
    })
    .await;
}

#[tokio::test]
async fn without_notify_there_are_no_hints() {
    let (_, url) = database();
    let one = open(&url).await;
    let third = open(&url).await;
    let other = options(&url).notify(false).open().await.unwrap();
    until("the listener listens", async || {
        hears(&one, &third, true).await.then_some(())
    })
    .await;
    assert!(once_silent(&one, &other).await);
    assert!(once_silent(&other, &one).await);
}

/// Returns whether no hint arrives in one of several attempts: earlier hints may be late, and a new
/// listener sends a hint by itself.
async fn once_silent(listens: &PostgresStore, tells: &PostgresStore) -> bool {
    for number in 0..20 {
        if !hears(listens, tells, number % 2 == 0).await {
            return true;
        }
    }
    false
}

#[tokio::test]
async fn through_a_pooler_workers_share_the_work_by_polling() {
    let (name, _) = database();
    let bouncer = ScratchBouncer::start(ScratchPostgres::shared(), 4).unwrap();
    let url = bouncer.url_of(&name);
    let folder = tempfile::tempdir().unwrap();
    let one = open(&url).await;
    let other = open(&url).await;
    let submits = open(&url).await;
    let workers = [
        worker(&one, &folder.path().join("1")).await,
        worker(&other, &folder.path().join("2")).await,
    ];
    let client = Client::new(submits.clone() as Arc<dyn Store>);
    let mut runs = Vec::new();
    for number in 0..40 {
        runs.push(
            client
                .submit(two_steps().key(format!("run-{number}")))
                .await
                .unwrap()
                .run
                .id,
        );
    }
    for run in runs {
        assert_eq!(ended(&submits, run).await.head.status, RunStatus::Completed);
    }
    let unfinished = submits
        .runs(RunFilter {
            status: Some(RunStatus::Running),
            ..RunFilter::default()
        })
        .await
        .unwrap();
    assert_eq!(unfinished.len(), 0);
    for worker in workers {
        worker.stop().await;
    }
}
