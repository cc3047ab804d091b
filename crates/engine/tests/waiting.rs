//! The reason why a run waits.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says where by its panic"
)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use surefoot::store::{ClaimRequest, NewWorker};
use surefoot::{
    AllowList, Client, Handlers, Outcome, QueueLimits, Rate, StepContext, StepError, StepHandler,
    Store, Submit, SystemClock, Worker, WorkerId, WorkerOptions, Workflow,
};
use surefoot_store_tests::MemoryStore;

struct World {
    client: Client,
}

impl World {
    fn new() -> Self {
        Self {
            client: Client::new(Arc::new(MemoryStore::new(Arc::new(SystemClock)))),
        }
    }

    fn store(&self) -> &Arc<dyn Store> {
        self.client.store()
    }

    async fn worker(&self, actions: &[&str]) -> WorkerId {
        self.worker_for(AllowList::everything(), actions).await
    }

    async fn worker_for(&self, workflows: AllowList, actions: &[&str]) -> WorkerId {
        let id = WorkerId::new();
        let actions = Arc::new(
            actions
                .iter()
                .map(|action| (*action).to_owned())
                .collect::<BTreeSet<_>>(),
        );
        let name = "w".to_owned();
        let version = "1".to_owned();
        let lease = Duration::from_secs(60);
        self.store()
            .register_worker(NewWorker {
                id,
                name,
                lease,
                version,
                actions,
                workflows,
                resources: Arc::default(),
            })
            .await
            .unwrap();
        id
    }

    async fn claim(&self, worker: WorkerId) {
        let actions = Arc::new(BTreeSet::from(["work".to_owned()]));
        let claimed = self
            .store()
            .claim(ClaimRequest {
                worker,
                limit: 1,
                actions,
                workflows: AllowList::default(),
                resources: Arc::default(),
            })
            .await
            .unwrap();
        assert_eq!(claimed.runs.len(), 1);
    }

    /// Submits a run and tells what it waits for.
    async fn says(&self, submit: Submit) -> String {
        let run = self.client.submit(submit).await.unwrap().run;
        self.client
            .waiting(&run)
            .await
            .unwrap()
            .map(|waiting| waiting.to_string())
            .unwrap_or_default()
    }
}

fn run(steps: &[&str]) -> Submit {
    let builder = Workflow::builder("flow").queue("line");
    let builder = steps.iter().fold(builder, |builder, action| {
        builder.step(action.replace('.', "_"), *action)
    });
    Submit::new(Arc::new(builder.build().unwrap()))
}

#[tokio::test]
async fn the_worst_obstacle_is_named() {
    let world = World::new();
    assert_eq!(
        world.says(run(&["work"])).await,
        "for a worker: none is alive"
    );
    world.worker(&["other"]).await;
    assert_eq!(
        world.says(run(&["work", "other"])).await,
        "for a worker that knows and permits work: no live one does"
    );
    let able = world.worker(&["work"]).await;
    let split = "for a worker that knows and permits all its actions: each live one lacks some";
    assert_eq!(world.says(run(&["work", "other"])).await, split);
    assert_eq!(
        world.says(run(&["work"])).await,
        "for its turn in queue line, where 4 wait"
    );

    let limits = QueueLimits {
        concurrency_per_key: Some(1),
        ..QueueLimits::default()
    };
    world
        .store()
        .set_queue("line", limits.clone(), false)
        .await
        .unwrap();
    world
        .says(run(&["work"]).concurrency_key("ann").priority(9))
        .await;
    world.claim(able).await;
    assert_eq!(
        world.says(run(&["work"]).concurrency_key("ann")).await,
        "for room in queue line, which runs 1 of ann at once"
    );
    assert!(
        world
            .says(run(&["work"]).concurrency_key("bob"))
            .await
            .starts_with("for its turn")
    );

    let rate = Some(Rate {
        max: 5,
        per: Duration::from_secs(60),
    });
    world
        .store()
        .set_queue(
            "line",
            QueueLimits {
                rate,
                ..limits.clone()
            },
            false,
        )
        .await
        .unwrap();
    assert_eq!(
        world.says(run(&["work"])).await,
        "for its turn in queue line, where 7 wait and 5 start in 1m"
    );

    world
        .store()
        .set_queue(
            "line",
            QueueLimits {
                concurrency: Some(1),
                ..limits
            },
            false,
        )
        .await
        .unwrap();
    assert_eq!(
        world.says(run(&["work"])).await,
        "for room in queue line, which runs 1 at once"
    );

    let at = world.store().now() + Duration::from_secs(60);
    assert_eq!(
        world.says(run(&["work"]).at(at)).await,
        format!("until {at}")
    );

    world.store().pause_queue("line", true).await.unwrap();
    assert_eq!(
        world.says(run(&["work"]).at(at)).await,
        "for queue line to be resumed: it is paused"
    );
}

struct Asks;

#[async_trait]
impl StepHandler for Asks {
    async fn run(&self, _context: StepContext) -> Result<Outcome, StepError> {
        Ok(Outcome::Ask {
            question: "ship it?".to_owned(),
            checkpoint: json!(null),
        })
    }
}

#[tokio::test]
async fn a_question_is_shown_and_what_runs_or_has_ended_waits_for_nothing() {
    let world = World::new();
    let folder = tempfile::tempdir().unwrap();
    let options = WorkerOptions {
        workspaces: folder.path().to_owned(),
        ..WorkerOptions::default()
    };
    let worker = Worker::start(
        world.store().clone(),
        Handlers::new().with("asks", Asks),
        options,
    )
    .await
    .unwrap();
    let id = worker.client().submit(run(&["asks"])).await.unwrap().run.id;
    let mut watch = world.client.watch(id, 0);
    while watch.next().await.unwrap().expect("the run goes on").kind != "step.asking" {}
    let asking = world.client.run(id).await.unwrap();
    let waiting = world.client.waiting(&asking).await.unwrap().unwrap();
    assert_eq!(waiting.to_string(), "for an answer to step asks: ship it?");
    world
        .client
        .cancel(id, surefoot::state::CancelMode::Stop, "ann")
        .await
        .unwrap();
    let ended = world.client.wait(id).await.unwrap();
    assert_eq!(world.client.waiting(&ended).await.unwrap(), None);
    worker.stop().await;
}

#[tokio::test]
async fn a_workflow_that_no_worker_permits_is_named() {
    let world = World::new();
    world
        .worker_for(AllowList::parse("project-*").unwrap(), &["work"])
        .await;
    let permission = "for a worker that permits workflow flow: no live one does";
    assert_eq!(world.says(run(&["work"])).await, permission);
    // One that permits it is asked for its actions, and no longer the other.
    world
        .worker_for(AllowList::parse("flow").unwrap(), &["other"])
        .await;
    assert_eq!(
        world.says(run(&["work"])).await,
        "for a worker that knows and permits work: no live one does"
    );
}
