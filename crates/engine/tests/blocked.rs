//! Handlers that block their threads, and a store that is away when the worker is to stop.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says where by its panic"
)]

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use serde_json::Value;
use surefoot::workflow::RetryPolicy;
use surefoot::{
    Handlers, RunStatus, STOP_LIMIT, StepContext, StepError, Store, Submit, SystemClock, Worker,
    WorkerOptions, Workflow, handler_fn,
};
use surefoot_store_tests::{FaultyStore, MemoryStore};
use tokio::time::Instant;

fn workflow(timeout: Duration) -> Arc<Workflow> {
    let once = RetryPolicy {
        attempts: 1,
        ..RetryPolicy::default()
    };
    let step = |step: surefoot::workflow::StepBuilder| step.retry(once.clone()).timeout(timeout);
    Arc::new(
        Workflow::builder("w")
            .step_with("work", "work", step)
            .build()
            .unwrap(),
    )
}

/// A step that blocks the only thread for steps: its timeout holds, the lease is renewed, and the
/// worker stops.
#[tokio::test]
async fn a_handler_that_blocks_its_thread_delays_nothing_else() {
    let steps = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (release, until) = mpsc::channel::<()>();
    let until = Arc::new(Mutex::new(until));
    let blocks = handler_fn(move |_: StepContext, _: Value| {
        let until = until.clone();
        async move {
            let _ = until.lock().unwrap().recv();
            Ok::<_, StepError>(())
        }
    });
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Arc::new(SystemClock)).one_worker());
    let folder = tempfile::tempdir().unwrap();
    let options = WorkerOptions {
        workspaces: folder.path().to_owned(),
        handler_runtime: Some(steps.handle().clone()),
        lease: Duration::from_secs(2),
        grace: Duration::ZERO,
        handler_grace: Duration::from_millis(50),
        ..WorkerOptions::default()
    };
    let worker = Worker::start(store.clone(), Handlers::new().with("work", blocks), options)
        .await
        .unwrap();
    let run = worker
        .client()
        .submit(Submit::new(workflow(Duration::from_millis(100))))
        .await
        .unwrap()
        .run;
    let run = worker.client().wait(run.id).await.unwrap();
    assert_eq!(
        run.head.error.as_deref(),
        Some("step work: timed out after 100ms")
    );
    let first = store.workers().await.unwrap()[0].expires_at;
    while store.workers().await.unwrap()[0].expires_at == first {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(worker.stop().await, 0);
    drop(release);
    steps.shutdown_background();
}

/// The store goes away while a result is on its way: the stop ends in bounded time, and says what
/// was not written.
#[tokio::test(start_paused = true)]
async fn a_stop_has_a_bound_while_the_store_is_away() {
    let store = Arc::new(FaultyStore::sound(Arc::new(
        MemoryStore::new(Arc::new(SystemClock)).one_worker(),
    )));
    let works = handler_fn(async |_: StepContext, _: Value| {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Ok(())
    });
    let folder = tempfile::tempdir().unwrap();
    let options = WorkerOptions {
        workspaces: folder.path().to_owned(),
        ..WorkerOptions::default()
    };
    let bound = options.grace + options.handler_grace + STOP_LIMIT + Duration::from_secs(3);
    let worker = Worker::start(
        store.clone() as Arc<dyn Store>,
        Handlers::new().with("work", works),
        options,
    )
    .await
    .unwrap();
    let client = worker.client();
    let run = client
        .submit(Submit::new(workflow(Duration::from_secs(60))))
        .await
        .unwrap()
        .run;
    store.set_away(true);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let began = Instant::now();
    assert_eq!(
        worker.stop().await,
        1,
        "the result of one run is not written"
    );
    assert!(
        began.elapsed() <= bound,
        "stopped after {:?}",
        began.elapsed()
    );
    store.set_away(false);
    assert_eq!(
        client.run(run.id).await.unwrap().head.status,
        RunStatus::Running,
        "another worker takes it up"
    );
}
