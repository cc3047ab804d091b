//! A queue is given a rate while others are in the midst of something.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use surefoot::{
    Handlers, QueueLimits, Rate, StepContext, Store, Submit, Worker, WorkerOptions, handler_fn,
};

use crate::support::{Scene, shop, workflow};

/// It waits for nobody's transaction, and touches no more runs than the rate allows starts.
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
    // Somebody has submitted and not committed, and looks long at the oldest run.
    let somebody = scene.sql().await;
    somebody.batch_execute("BEGIN").await.unwrap();
    crate::support::submit(&somebody, &shop("mm"), "")
        .await
        .unwrap();
    let lock = format!(
        "SELECT FROM surefoot.runs WHERE id = '{}' FOR UPDATE",
        runs[0]
    );
    somebody.batch_execute(&lock).await.unwrap();

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
    // What runs elsewhere goes on meanwhile; on a busy machine it may take as long as the rate waits for those before it.
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
    somebody.batch_execute("ROLLBACK").await.unwrap();
    worker.stop().await;
}
