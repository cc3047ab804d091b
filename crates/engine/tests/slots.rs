//! Places that a worker keeps: what must go on when it is full does, and takes nothing from what
//! else waits.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says where by its panic"
)]

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use surefoot::workflow::{Backoff, RetryPolicy};
use surefoot::{
    Client, Handlers, ReservedSlots, Run, RunId, RunStatus, StepContext, StepError, Store, Submit,
    SystemClock, Worker, WorkerHandle, WorkerOptions, Workflow, handler_fn,
};
use surefoot_store_tests::MemoryStore;
use tokio::sync::Semaphore;
use tokio::time::timeout;

struct World {
    store: Arc<dyn Store>,
    worker: WorkerHandle,
    /// Each permit lets one ordinary step end.
    ends: Arc<Semaphore>,
    _folder: tempfile::TempDir,
}

impl World {
    /// A worker with one slot and some reserved ones for `urgent`, whose first attempt fails.
    async fn start(kept: usize) -> Self {
        let (store, folder) = (
            MemoryStore::new(Arc::new(SystemClock)),
            tempfile::tempdir().unwrap(),
        );
        let store: Arc<dyn Store> = Arc::new(store);
        let ends = Arc::new(Semaphore::new(0));
        let may_end = ends.clone();
        let ordinary = handler_fn(move |_: StepContext, _: Value| {
            let may_end = may_end.clone();
            async move {
                may_end.acquire().await?.forget();
                Ok(())
            }
        });
        let urgent = handler_fn(
            async |context: StepContext, _: Value| match context.attempt() {
                1 => Err(StepError::from("no answer")),
                _ => Ok(()),
            },
        );
        let options = WorkerOptions {
            workspaces: folder.path().to_owned(),
            concurrency: 1,
            grace: Duration::from_millis(50),
            handler_grace: Duration::from_millis(200),
            reserved: ReservedSlots {
                count: kept,
                actions: ["urgent".to_owned(), "unknown".to_owned()].into(),
            },
            ..WorkerOptions::default()
        };
        let handlers = Handlers::new()
            .with("ordinary", ordinary)
            .with("urgent", urgent);
        let worker = Worker::start(store.clone(), handlers, options)
            .await
            .unwrap();
        Self {
            store,
            worker,
            ends,
            _folder: folder,
        }
    }

    async fn full() -> (Self, RunId) {
        let world = Self::start(1).await;
        let first = world
            .worker
            .client()
            .submit(of("ordinary"))
            .await
            .unwrap()
            .run
            .id;
        (world, first)
    }

    async fn ends(&self, run: RunId) -> Run {
        timeout(Duration::from_secs(20), self.worker.client().wait(run))
            .await
            .expect("it waits for a place")
            .unwrap()
    }

    async fn status(&self, run: RunId) -> RunStatus {
        self.store.run(run).await.unwrap().unwrap().head.status
    }
}

fn of(action: &str) -> Submit {
    let wait = Duration::from_millis(5);
    let again = RetryPolicy {
        attempts: 2,
        backoff: Backoff {
            initial: wait,
            factor: 1,
            max: wait,
            jitter: 0.0,
        },
    };
    let workflow = Workflow::builder(action).step_with("only", action, |step| step.retry(again));
    Submit::new(Arc::new(workflow.build().unwrap()))
}

#[tokio::test]
async fn a_full_worker_does_what_has_places_of_its_own() {
    let (world, first) = World::full().await;
    // Submitted here it starts at once; its second attempt has to be claimed.
    let here = world
        .worker
        .client()
        .submit(of("urgent"))
        .await
        .unwrap()
        .run
        .id;
    let waits = world
        .worker
        .client()
        .submit(of("ordinary"))
        .await
        .unwrap()
        .run
        .id;
    // Submitted elsewhere it has to be claimed from the first.
    let elsewhere = Client::new(world.store.clone())
        .submit(of("urgent"))
        .await
        .unwrap()
        .run
        .id;
    for run in [here, elsewhere] {
        let run = world.ends(run).await;
        assert_eq!(
            (run.head.status, run.steps[0].attempt),
            (RunStatus::Completed, 2)
        );
    }
    assert_eq!(
        (world.status(first).await, world.status(waits).await),
        (RunStatus::Running, RunStatus::Queued)
    );
    world.ends.add_permits(2);
    assert_eq!(world.ends(waits).await.head.status, RunStatus::Completed);
    world.worker.stop().await;
}

#[tokio::test]
async fn a_kept_place_is_for_nothing_else() {
    let (world, first) = World::full().await;
    let mixed = Workflow::builder("mixed")
        .step("one", "urgent")
        .step("two", "ordinary")
        .build()
        .unwrap();
    let mixed = world
        .worker
        .client()
        .submit(Submit::new(Arc::new(mixed)))
        .await
        .unwrap()
        .run
        .id;
    let urgent = world
        .worker
        .client()
        .submit(of("urgent"))
        .await
        .unwrap()
        .run
        .id;
    world.ends(urgent).await;
    assert_eq!(
        (world.status(first).await, world.status(mixed).await),
        (RunStatus::Running, RunStatus::Queued)
    );
    world.worker.stop().await;
}

#[tokio::test]
async fn without_kept_places_all_runs_are_alike() {
    let world = World::start(0).await;
    let urgent = world
        .worker
        .client()
        .submit(of("urgent"))
        .await
        .unwrap()
        .run
        .id;
    assert_eq!(world.ends(urgent).await.head.status, RunStatus::Completed);
    world.worker.stop().await;
}
