//! Workers claim runs submitted from within the database like any other.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use surefoot::{
    Handlers, Run, RunStatus, StepContext, StepStatus, Store, Worker, WorkerHandle, WorkerOptions,
    handler_fn,
};

use crate::support::{Scene, shop, submit};

static CALLS: AtomicUsize = AtomicUsize::new(0);

async fn worker(scene: &Scene, workspaces: PathBuf) -> WorkerHandle {
    let work = handler_fn(async |_: StepContext, _: serde_json::Value| {
        CALLS.fetch_add(1, Ordering::Relaxed);
        Ok(json!({ "done": true }))
    });
    let options = WorkerOptions {
        workspaces,
        ..WorkerOptions::default()
    };
    Worker::start(
        scene.store.clone(),
        Handlers::new().with("test.work", work),
        options,
    )
    .await
    .unwrap()
}

/// A distinct name of letters for each number.
fn name(number: usize) -> String {
    "a".repeat(number + 2)
}

/// Time from a run's submission to its start, by the database's clock.
async fn wait(scene: &Scene, run: &Run) -> Duration {
    let events = scene.store.events(run.id, 0, 100).await.unwrap();
    let started = events
        .iter()
        .find(|event| event.kind == "run.started")
        .unwrap();
    started.at.since(run.created_at)
}

#[tokio::test]
async fn a_worker_runs_a_submission_by_sql_at_once_and_fails_an_invalid_one() {
    let mut scene = Scene::new().await;
    let folder = tempfile::tempdir().unwrap();
    let worker = worker(&scene, folder.path().to_owned()).await;
    let sql = scene.sql().await;

    // The worker detects a violation of the schema's pattern, and runs no step.
    let bad = submit(&sql, &shop("BAD"), "").await.unwrap();
    let ended = scene.client().wait(bad).await.unwrap();
    assert_eq!(ended.head.status, RunStatus::Failed);
    let error = ended.head.error.unwrap();
    assert!(
        error.contains("parameter name") && error.contains("BAD"),
        "{error}"
    );
    assert_eq!(
        (ended.steps[0].attempt, ended.steps[1].status),
        (0, StepStatus::Pending)
    );
    assert_eq!(CALLS.load(Ordering::Relaxed), 0);

    // A worker that has just claimed polls no earlier than three quarters of a second later.
    let is_notified = |wait: &&Duration| **wait < Duration::from_millis(400);
    let mut waits = Vec::new();
    while waits.iter().filter(is_notified).count() < 5 {
        assert!(waits.len() < 50, "NOTIFY brings it to a worker: {waits:?}");
        let made = submit(&sql, &shop(&name(waits.len())), "").await.unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(60), scene.client().wait(made))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            ended.head.status,
            RunStatus::Completed,
            "{:?}",
            ended.head.error
        );
        waits.push(wait(&scene, &ended).await);
    }
    assert_eq!(CALLS.load(Ordering::Relaxed), 2 * waits.len());
    worker.stop().await;
    Arc::into_inner(scene.store);
}
