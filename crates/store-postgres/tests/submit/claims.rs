//! Workers take what was submitted in the database like anything else.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use surefoot::{Handlers, RunStatus, StepContext, StepStatus, Worker, WorkerHandle, WorkerOptions, handler_fn};

use crate::support::{Scene, shop, submit};

static CALLS: AtomicUsize = AtomicUsize::new(0);

async fn worker(scene: &Scene, workspaces: PathBuf) -> WorkerHandle {
    let work = handler_fn(async |_: StepContext, _: serde_json::Value| {
        CALLS.fetch_add(1, Ordering::Relaxed);
        Ok(json!({ "done": true }))
    });
    let options = WorkerOptions { workspaces, ..WorkerOptions::default() };
    Worker::start(scene.store.clone(), Handlers::new().with("test.work", work), options).await.unwrap()
}

#[tokio::test]
async fn a_worker_runs_it_at_once_and_fails_what_does_not_fit() {
    let mut scene = Scene::new().await;
    let folder = tempfile::tempdir().unwrap();
    let worker = worker(&scene, folder.path().to_owned()).await;
    let sql = scene.sql().await;

    // What the schema's pattern refuses is found by the worker, which runs nothing of it.
    let bad = submit(&sql, &shop("BAD"), "").await.unwrap();
    let ended = scene.client().wait(bad).await.unwrap();
    assert_eq!(ended.head.status, RunStatus::Failed);
    let error = ended.head.error.unwrap();
    assert!(error.contains("parameter name") && error.contains("BAD"), "{error}");
    assert_eq!((ended.steps[0].attempt, ended.steps[1].status), (0, StepStatus::Pending));
    assert_eq!(CALLS.load(Ordering::Relaxed), 0);

    let mut took = Vec::new();
    for name in ["aa", "bb", "cc", "dd", "ee"] {
        let begin = Instant::now();
        let made = submit(&sql, &shop(name), "").await.unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(10), scene.client().wait(made)).await.unwrap().unwrap();
        assert_eq!(ended.head.status, RunStatus::Completed, "{:?}", ended.head.error);
        took.push(begin.elapsed());
    }
    took.sort_unstable();
    assert!(took[2] < Duration::from_millis(400), "NOTIFY brings it to a worker: {took:?}");
    assert_eq!(CALLS.load(Ordering::Relaxed), 10);
    worker.stop().await;
    Arc::into_inner(scene.store);
}
