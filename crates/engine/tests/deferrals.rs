//! Attempts that are deferred: something that they need is unavailable, and no attempt is spent on
//! that.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says where by its panic"
)]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use surefoot::state::CancelMode;
use surefoot::workflow::RetryPolicy;
use surefoot::{
    Client, Handlers, MAX_DEFERRALS, Outcome, Output, Run, RunStatus, StepContext, StepError,
    StepHandler, Submit, SystemClock, Undone, Waiting, Worker, WorkerHandle, WorkerOptions,
    Workflow,
};
use surefoot_store_tests::MemoryStore;

/// A forge that is unavailable for so many calls; so is its undo.
#[derive(Clone)]
struct Forge {
    calls: Arc<AtomicU32>,
    busy_for: u32,
    error: fn() -> StepError,
}

impl Forge {
    fn new(busy_for: u32, error: fn() -> StepError) -> Self {
        Self {
            calls: Arc::default(),
            busy_for,
            error,
        }
    }

    fn call(&self) -> Result<(), StepError> {
        if self.calls.fetch_add(1, Ordering::SeqCst) < self.busy_for {
            Err((self.error)())
        } else {
            Ok(())
        }
    }
}

#[async_trait]
impl StepHandler for Forge {
    async fn run(&self, _context: StepContext) -> Result<Outcome, StepError> {
        self.call().map(|()| Output::none().into())
    }

    async fn undo(&self, _context: StepContext) -> Result<Undone, StepError> {
        self.call().map(|()| Undone::Nothing)
    }
}

/// A step that makes something, and is undone by the forge.
struct Makes(Forge);

#[async_trait]
impl StepHandler for Makes {
    async fn run(&self, _context: StepContext) -> Result<Outcome, StepError> {
        Err(StepError::fatal("half made"))
    }

    async fn undo(&self, context: StepContext) -> Result<Undone, StepError> {
        self.0.undo(context).await
    }
}

fn rate_limit() -> StepError {
    StepError::unavailable(
        "forge.example: rate limit exceeded",
        Duration::from_millis(1),
    )
}

fn no_descriptors() -> StepError {
    const EMFILE: i32 = 24;
    StepError::caused_by("cannot start `make`", io::Error::from_raw_os_error(EMFILE))
}

async fn worker(folder: &tempfile::TempDir, handler: impl StepHandler) -> WorkerHandle {
    let options = WorkerOptions {
        workspaces: folder.path().to_owned(),
        ..WorkerOptions::default()
    };
    let store = Arc::new(MemoryStore::new(Arc::new(SystemClock)));
    Worker::start(store, Handlers::new().with("work", handler), options)
        .await
        .unwrap()
}

/// A run whose one step has one attempt.
async fn submit(client: &Client) -> Run {
    let once = RetryPolicy {
        attempts: 1,
        ..RetryPolicy::default()
    };
    let workflow = Workflow::builder("w")
        .step_with("work", "work", |step| step.retry(once))
        .build()
        .unwrap();
    client
        .submit(Submit::new(Arc::new(workflow)))
        .await
        .unwrap()
        .run
}

async fn count(client: &Client, run: &Run, kind: &str) -> usize {
    let events = client.store().events(run.id, 0, 1000).await.unwrap();
    events.iter().filter(|event| event.kind == kind).count()
}

#[tokio::test]
async fn a_deferred_attempt_is_not_spent() {
    let folder = tempfile::tempdir().unwrap();
    let worker = worker(&folder, Forge::new(5, rate_limit)).await;
    let run = worker
        .client()
        .wait(submit(&worker.client()).await.id)
        .await
        .unwrap();
    assert_eq!(
        run.head.status,
        RunStatus::Completed,
        "{:?}",
        run.head.error
    );
    assert_eq!((run.steps[0].attempt, run.steps[0].deferrals), (1, 5));
    assert_eq!(count(&worker.client(), &run, "step.deferred").await, 5);
    worker.stop().await;
}

#[tokio::test]
async fn deferrals_have_a_cap() {
    let folder = tempfile::tempdir().unwrap();
    let forge = Forge::new(u32::MAX, || {
        StepError::unavailable("forge.example", Duration::ZERO)
    });
    let worker = worker(&folder, forge.clone()).await;
    let run = worker
        .client()
        .wait(submit(&worker.client()).await.id)
        .await
        .unwrap();
    assert_eq!(run.head.error.as_deref(), Some("step work: forge.example"));
    assert_eq!(
        (run.steps[0].attempt, forge.calls.load(Ordering::SeqCst)),
        (1, MAX_DEFERRALS + 1)
    );
    worker.stop().await;
}

#[tokio::test]
async fn a_shortage_of_the_worker_is_a_wait_that_says_what_for() {
    let folder = tempfile::tempdir().unwrap();
    let worker = worker(&folder, Forge::new(1, no_descriptors)).await;
    let client = worker.client();
    let id = submit(&client).await.id;
    let mut watch = client.watch(id, 0);
    while watch.next().await.unwrap().expect("the run goes on").kind != "step.deferred" {}
    let run = client.run(id).await.unwrap();
    let waiting = client.waiting(&run).await.unwrap();
    assert!(
        matches!(waiting, Some(Waiting::Unavailable { .. })),
        "{waiting:?}"
    );
    let text = waiting.unwrap().to_string();
    assert!(
        text.starts_with("for resources of the worker: cannot start `make`: Too many open files"),
        "{text}"
    );
    let run = client.wait(id).await.unwrap();
    assert_eq!(
        (run.head.status, run.steps[0].attempt),
        (RunStatus::Completed, 1)
    );
    worker.stop().await;
}

#[tokio::test]
async fn a_deferred_undo_spends_none_of_its_tries() {
    let folder = tempfile::tempdir().unwrap();
    let worker = worker(&folder, Makes(Forge::new(5, rate_limit))).await;
    let client = worker.client();
    let run = client.wait(submit(&client).await.id).await.unwrap();
    assert_eq!(run.head.status, RunStatus::Failed);
    client
        .cancel(run.id, CancelMode::Undo, "ann")
        .await
        .unwrap();
    let run = client.wait(run.id).await.unwrap();
    assert_eq!(
        run.head.status,
        RunStatus::Cancelled,
        "{:?}",
        run.head.error
    );
    worker.stop().await;
}
