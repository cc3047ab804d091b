//! A queue is given a rate while other transactions are open.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use surefoot::{
    Handlers, QueueLimits, Rate, StepContext, Store, Submit, Worker, WorkerOptions, handler_fn,
};

use crate::support::{Scene, shop, workflow};

/// Setting a rate waits for no open transaction, and touches no more runs than the rate allows
/// starts.
#[tokio::test]
async fn setting_a_rate_on_a_busy_queue_does_not_deadlock() {
    let mut scene = Scene::new().await;
    let folder = tempfile::tempdir().unwrap();
    let work = handler_fn(async |_: StepContext, _: Value| Ok(json!({})));
    let options = WorkerOptions {
        workspaces: folder.path().to_owned(),
        ..WorkerOptions::default()
    };
    let store: Arc<dyn Store> = scene.store.clone();
    let worker = Worker::start(
        store.clone(),
        Handlers::new().with("test.work", work),
        options,
    )
    .await
    .unwrap();
    let client = worker.client();
    let mut runs = Vec::new();
    for name in "abcdefghijkl".chars() {
        let parameters = json!({ "name": name.to_string() });
        let run = client
            .submit(Submit::new(workflow()).parameters(parameters))
            .await
            .unwrap()
            .run;
        client.wait(run.id).await.unwrap();
        runs.push(run.id);
    }
    // A client has submitted without a commit, and holds a lock on the oldest run.
    let holder = scene.sql().await;
    holder.batch_execute("BEGIN").await.unwrap();
    crate::support::submit(&holder, &shop("mm"), "")
        .await
        .unwrap();
    let lock = format!(
        "SELECT FROM surefoot.runs WHERE id = '{}' FOR UPDATE",
        runs[0]
    );
    holder.batch_execute(&lock).await.unwrap();

    let set = async |seconds| {
        let rate = Rate {
            max: 5,
            per: Duration::from_secs(seconds),
        };
        let limits = QueueLimits {
            rate: Some(rate),
            ..QueueLimits::default()
        };
        store.set_queue("shops", limits, false).await.unwrap();
        Instant::now()
    };
    let beside = async || {
        let other = surefoot::Workflow::builder("other")
            .step("a", "test.work")
            .build()
            .unwrap();
        let run = client
            .submit(Submit::new(Arc::new(other)))
            .await
            .unwrap()
            .run;
        client.wait(run.id).await.unwrap();
        Instant::now()
    };
    // Runs elsewhere continue meanwhile; on a busy machine this may take as long as the rate waits
    // for earlier transactions.
    let mut went_on = false;
    for seconds in [3600, 3601, 3602] {
        let (set, beside) = tokio::join!(set(seconds), beside());
        went_on |= beside < set;
        if went_on {
            break;
        }
    }
    assert!(went_on, "a run of another queue waits for the rate of this");
    let counted = scene.psql(
        "SELECT string_agg(id::text, ' ' ORDER BY id) FROM surefoot.runs WHERE rate_at IS NOT NULL",
    );
    let newest: Vec<String> = runs[7..].iter().map(ToString::to_string).collect();
    assert_eq!(counted, newest.join(" "));
    holder.batch_execute("ROLLBACK").await.unwrap();
    worker.stop().await;
}
