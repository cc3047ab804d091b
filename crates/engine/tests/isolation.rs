//! Isolation after crashes: a step that crashes its worker fails in the end, and those that ran
//! beside it complete.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says where by its panic"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use surefoot::state::CancelMode;
use surefoot::{
    Client, Handlers, Run, RunId, RunStatus, StepContext, Store, Submit, SystemClock, Worker,
    WorkerHandle, WorkerOptions, Workflow, handler_fn,
};
use surefoot_store_tests::MemoryStore;
use tokio::sync::mpsc;

/// Counts the handlers that run in a worker.
struct Running(Arc<AtomicUsize>);

impl Running {
    /// Counts one more until it is dropped. Returns how many run then.
    fn enter(count: &Arc<AtomicUsize>) -> (Self, usize) {
        let running = count.fetch_add(1, Ordering::SeqCst) + 1;
        (Self(count.clone()), running)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Handlers of one worker: `work` takes a moment, and `poison` reports how many run when it would
/// crash its worker.
fn handlers(crashes: &mpsc::UnboundedSender<usize>) -> Handlers {
    let count = Arc::new(AtomicUsize::new(0));
    let beside = count.clone();
    let crashes = crashes.clone();
    let work = handler_fn(move |_: StepContext, _: Value| {
        let (running, _) = Running::enter(&count);
        async move {
            tokio::time::sleep(Duration::from_millis(40)).await;
            drop(running);
            Ok(Value::Null)
        }
    });
    let poison = handler_fn(move |_: StepContext, _: Value| {
        let (running, in_flight) = Running::enter(&beside);
        let reported = crashes.send(in_flight);
        async move {
            reported.unwrap();
            std::future::pending::<()>().await;
            drop(running);
            Ok(Value::Null)
        }
    });
    Handlers::new().with("work", work).with("poison", poison)
}

async fn worker(
    store: &Arc<dyn Store>,
    handlers: Handlers,
    folder: &tempfile::TempDir,
) -> WorkerHandle {
    let workspaces = folder.path().to_owned();
    Worker::start(
        store.clone(),
        handlers,
        WorkerOptions {
            workspaces,
            ..WorkerOptions::default()
        },
    )
    .await
    .unwrap()
}

/// Effect of a process crash on the store.
async fn crash(store: &Arc<dyn Store>, worker: WorkerHandle) {
    let ids: Vec<_> = store
        .workers()
        .await
        .unwrap()
        .into_iter()
        .map(|worker| worker.id)
        .collect();
    drop(worker);
    for id in ids {
        store.reclaim_worker(id).await.unwrap();
    }
}

async fn submit(client: &Client, action: &str) -> RunId {
    let workflow = Workflow::builder(action)
        .step("one", action)
        .build()
        .unwrap();
    client
        .submit(Submit::new(Arc::new(workflow)))
        .await
        .unwrap()
        .run
        .id
}

async fn runs(client: &Client, ids: &[RunId]) -> Vec<Run> {
    let mut runs = Vec::new();
    for id in ids {
        runs.push(client.run(*id).await.unwrap());
    }
    runs
}

#[tokio::test]
async fn a_poison_step_fails_alone_and_the_others_complete() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Arc::new(SystemClock)));
    let folder = tempfile::tempdir().unwrap();
    let (sender, mut crashes) = mpsc::unbounded_channel();
    let mut alive = worker(&store, handlers(&sender), &folder).await;
    let client = Client::new(store.clone());
    let mut innocent = vec![
        submit(&alive.client(), "work").await,
        submit(&alive.client(), "work").await,
    ];
    let poison = submit(&alive.client(), "poison").await;
    innocent.push(submit(&alive.client(), "work").await);
    let mut beside = Vec::new();
    loop {
        tokio::select! {
            Some(count) = crashes.recv() => {
                beside.push(count);
                crash(&store, alive).await;
                assert!(beside.len() < 40, "the poison step is never found: {beside:?}");
                alive = worker(&store, handlers(&sender), &folder).await;
            }
            run = client.wait(poison) => {
                let run = run.unwrap();
                assert_eq!(run.head.status, RunStatus::Failed);
                let error = run.head.error.unwrap();
                assert!(error.contains("interrupted 6 times, more than the 5 allowed"), "{error}");
                break;
            }
        }
    }
    assert!(
        beside.iter().rev().take(6).all(|count| *count == 1),
        "it was not alone: {beside:?}"
    );
    for id in &innocent {
        client.wait(*id).await.unwrap();
    }
    for run in runs(&client, &innocent).await {
        assert_eq!(
            (run.head.status, run.steps[0].crashes),
            (RunStatus::Completed, 0),
            "{:?}",
            run.head.error
        );
    }
    alive.stop().await;
}

/// An isolated run that waits for others to end is cancelled at once; nothing starts beside one
/// that runs alone.
#[tokio::test]
async fn an_isolated_run_that_waits_is_cancelled_at_once() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Arc::new(SystemClock)));
    let folder = tempfile::tempdir().unwrap();
    let (sender, mut crashes) = mpsc::unbounded_channel();
    let client = Client::new(store.clone());
    let mut alive = worker(&store, handlers(&sender), &folder).await;
    let ids = [
        submit(&alive.client(), "poison").await,
        submit(&alive.client(), "poison").await,
    ];
    for _ in 0..2 {
        crashes.recv().await.unwrap();
        crashes.recv().await.unwrap();
        crash(&store, alive).await;
        alive = worker(&store, handlers(&sender), &folder).await;
    }
    crashes.recv().await.unwrap();
    let waits = |runs: Vec<Run>| runs.into_iter().find(|run| run.in_flight().is_none());
    let waiting = waits(runs(&client, &ids).await).expect("one of two waits for the other");
    assert_eq!(waiting.isolation(), Some(1));
    client
        .cancel(waiting.id, CancelMode::Stop, "me")
        .await
        .unwrap();
    assert_eq!(
        client.wait(waiting.id).await.unwrap().head.status,
        RunStatus::Cancelled
    );
    let third = submit(&alive.client(), "work").await;
    assert_eq!(
        client.run(third).await.unwrap().head.status,
        RunStatus::Queued
    );
    drop(alive);
}
