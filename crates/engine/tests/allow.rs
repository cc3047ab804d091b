//! Allow-lists in a whole engine: what a worker takes, at once and by a claim, and what a queue
//! lets in again.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says where by its panic"
)]

use std::sync::Arc;

use serde_json::{Value, json};
use surefoot::{
    AllowList, AllowLists, Client, Handlers, QueueLimits, RunStatus, StepContext, StepError, Store,
    StoreError, Submit, SystemClock, Worker, WorkerOptions, Workflow, handler_fn,
};
use surefoot_store_tests::MemoryStore;

fn flow(name: &str, action: &str) -> Submit {
    let builder = Workflow::builder(name).queue("line");
    Submit::new(Arc::new(builder.step("only", action).build().unwrap()))
}

fn lists(workflows: Option<&str>, actions: Option<&str>) -> AllowLists {
    let read = |text: Option<&str>| {
        text.map_or_else(AllowList::everything, |text| {
            AllowList::parse(text).unwrap()
        })
    };
    AllowLists {
        workflows: read(workflows),
        actions: read(actions),
    }
}

async fn worker(store: Arc<dyn Store>, allow: AllowLists) -> surefoot::WorkerHandle {
    let work = || handler_fn(async |_: StepContext, _: Value| Ok::<_, StepError>(json!({})));
    let handlers = Handlers::new()
        .with("git.push", work())
        .with("command.run", work())
        .with("sound", work());
    let options = WorkerOptions {
        allow,
        ..WorkerOptions::default()
    };
    Worker::start(store, handlers, options).await.unwrap()
}

/// A worker takes what both of its lists permit, whether it is submitted in its process or claimed;
/// the rest waits and says for what.
#[tokio::test]
async fn a_worker_takes_what_it_permits() {
    let table = [
        (lists(None, None), [true, true, true]),
        (lists(Some("project-*"), None), [true, true, false]),
        (lists(None, Some("git.*")), [true, false, true]),
        (
            lists(Some("project-*"), Some("git.*")),
            [true, false, false],
        ),
        (lists(Some(""), None), [false, false, false]),
        (lists(None, Some("")), [false, false, false]),
    ];
    for (allow, expect) in table {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Arc::new(SystemClock)));
        let elsewhere = Client::new(store.clone());
        let flows = || {
            [
                flow("project-a", "git.push"),
                flow("project-b", "command.run"),
                flow("deploy", "git.push"),
            ]
        };
        let mut before = Vec::new();
        for flow in flows() {
            before.push(elsewhere.submit(flow).await.unwrap().run);
        }
        let worker = worker(store, allow.clone()).await;
        let client = worker.client();
        let mut runs = Vec::new();
        for (flow, before) in flows().into_iter().zip(before) {
            runs.push([before, client.submit(flow).await.unwrap().run]);
        }
        for (twins, expect) in runs.into_iter().zip(expect) {
            for run in twins {
                if expect {
                    let ended = client.wait(run.id).await.unwrap();
                    assert_eq!(ended.head.status, RunStatus::Completed, "{allow:?}");
                    continue;
                }
                let run = client.run(run.id).await.unwrap();
                assert_eq!(run.head.status, RunStatus::Queued, "{allow:?}");
                let why = client.waiting(&run).await.unwrap().unwrap().to_string();
                assert!(why.contains("permits"), "{allow:?}: {why}");
            }
        }
        worker.stop().await;
    }
}

/// A run that failed is not retried into a queue that no longer permits it.
#[tokio::test]
async fn a_retry_looks_at_the_queue_again() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Arc::new(SystemClock)));
    let fails = handler_fn(async |_: StepContext, _: Value| {
        Err::<Value, StepError>(StepError::fatal("no"))
    });
    let handlers = Handlers::new().with("command.run", fails);
    let worker = Worker::start(store.clone(), handlers, WorkerOptions::default())
        .await
        .unwrap();
    let client = worker.client();
    let run = client.submit(flow("deploy", "command.run")).await.unwrap();
    client.wait(run.run.id).await.unwrap();
    let permit = async |allow: AllowLists| {
        let limits = QueueLimits {
            allow,
            ..QueueLimits::default()
        };
        store.set_queue("line", limits, false).await.unwrap();
    };
    permit(lists(None, Some("git.*"))).await;
    let refused = client.retry(run.run.id, None, "ann").await;
    let Err(StoreError::NotPermitted(refusal)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(
        refusal.to_string(),
        "queue `line` does not permit action command.run (permitted: git.*)"
    );
    permit(AllowLists::default()).await;
    assert!(client.retry(run.run.id, None, "ann").await.is_ok());
    worker.stop().await;
}
