//! Checks of a store. Each test first creates the fault that the finding reports.

#![expect(
    clippy::unwrap_used,
    reason = "a test that meets what it does not expect fails there"
)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use surefoot::store::{ClaimRequest, NewWorker};
use surefoot::{
    AllowList, Client, CredentialError, CredentialSource, ManualClock, QueueLimits, Secret, Store,
    Submit, Timestamp, WorkerId, Workflow,
};
use surefoot_doctor::{
    Finding, Level, credentials, named_credentials, orphans, unknown_actions, unreadable, waiting,
    workers,
};
use surefoot_store_tests::MemoryStore;

const MINUTE: Duration = Duration::from_secs(60);

struct Scene {
    store: Arc<dyn Store>,
    clock: Arc<ManualClock>,
}

impl Scene {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_micros(
            1_777_888_999_123_457,
        )));
        Self {
            store: Arc::new(MemoryStore::new(clock.clone())),
            clock,
        }
    }

    async fn worker(&self, name: &str, version: &str, actions: &[&str]) -> WorkerId {
        let id = WorkerId::new();
        let actions = Arc::new(
            actions
                .iter()
                .map(|&action| action.to_owned())
                .collect::<BTreeSet<_>>(),
        );
        let name = name.to_owned();
        let version = version.to_owned();
        let lease = Duration::from_secs(5);
        self.store
            .register_worker(NewWorker {
                id,
                name,
                lease,
                version,
                actions,
                workflows: AllowList::default(),
                resources: Arc::default(),
            })
            .await
            .unwrap();
        id
    }

    async fn submit(&self, key: &str, action: &str) {
        let workflow = Workflow::builder("demo")
            .step("only", action)
            .build()
            .unwrap();
        Client::new(self.store.clone())
            .submit(Submit::new(Arc::new(workflow)).key(key))
            .await
            .unwrap();
    }

    async fn claim(&self, worker: WorkerId, action: &str) {
        let actions = Arc::new(BTreeSet::from([action.to_owned()]));
        let claimed = self
            .store
            .claim(ClaimRequest {
                worker,
                limit: 10,
                actions,
                workflows: AllowList::default(),
                resources: Arc::default(),
            })
            .await
            .unwrap();
        assert_eq!(claimed.runs.len(), 1);
    }
}

fn check(finding: &Finding, level: Level, found: &str) {
    assert_eq!(
        (finding.level, finding.found.as_str()),
        (level, found),
        "{finding:?}"
    );
    assert_eq!(
        finding.advice.is_some(),
        level > Level::Ok,
        "what is not well says what to do: {finding:?}"
    );
}

fn sole(findings: &[Finding]) -> &Finding {
    assert_eq!(findings.len(), 1, "{findings:#?}");
    &findings[0]
}

#[tokio::test]
async fn workers_are_reported_with_their_heartbeats() {
    let scene = Scene::new();
    let store = scene.store.as_ref();
    check(
        sole(&workers(store).await.unwrap()),
        Level::Ok,
        "none is alive, and no run is unfinished",
    );
    scene.submit("a", "x").await;
    check(
        sole(&workers(store).await.unwrap()),
        Level::Warn,
        "none is alive, and 1 run is unfinished",
    );
    scene.worker("pid 7", "1.0", &["x"]).await;
    scene.clock.advance(Duration::from_millis(1500));
    let found = workers(store).await.unwrap();
    check(
        sole(&found),
        Level::Ok,
        "pid 7 is alive: last heartbeat 1.5 s ago, lease 5.0 s, 0 runs",
    );
    scene.clock.advance(Duration::from_secs(2));
    let found = workers(store).await.unwrap();
    check(
        sole(&found),
        Level::Warn,
        "pid 7 is alive: last heartbeat 3.5 s ago, lease 5.0 s, 0 runs",
    );
    scene.worker("pid 8", "2.0", &["x"]).await;
    let found = workers(store).await.unwrap();
    check(
        &found[2],
        Level::Note,
        "workers of 2 versions are alive: 1.0, 2.0",
    );
}

#[tokio::test(start_paused = true)]
async fn runs_of_dead_workers_are_reported_and_broken_if_not_reclaimed() {
    let scene = Scene::new();
    let store = scene.store.as_ref();
    check(
        &orphans(store).await.unwrap(),
        Level::Ok,
        "no run is held by a dead worker",
    );
    let dead = scene.worker("pid 7", "1", &["x"]).await;
    scene.submit("a", "x").await;
    scene.claim(dead, "x").await;
    check(
        &orphans(store).await.unwrap(),
        Level::Ok,
        "no run is held by a dead worker",
    );
    scene.clock.advance(Duration::from_secs(6));
    check(
        &orphans(store).await.unwrap(),
        Level::Note,
        "1 run is held by a worker that is gone: a",
    );
    scene.worker("pid 8", "1", &["x"]).await;
    let found = orphans(store).await.unwrap();
    check(
        &found,
        Level::Broken,
        "1 run is held by a dead worker although others live: a",
    );
    let (found, swept) = tokio::join!(orphans(store), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        surefoot_store_tests::reclaim_expired(store).await.unwrap()
    });
    assert_eq!(swept.len(), 1);
    check(
        &found.unwrap(),
        Level::Ok,
        "1 run is just now taken from a dead worker",
    );
}

#[tokio::test]
async fn readable_runs_are_fine() {
    let scene = Scene::new();
    scene.submit("a", "x").await;
    check(
        &unreadable(scene.store.as_ref()).await.unwrap(),
        Level::Ok,
        "every run that has not ended can be read",
    );
}

#[tokio::test]
async fn runs_that_wait_long_are_reported_with_the_reason() {
    let scene = Scene::new();
    let store = scene.store.as_ref();
    scene.submit("a", "x").await;
    check(
        sole(&waiting(store).await.unwrap()),
        Level::Ok,
        "no run has waited for longer than 10 min",
    );
    scene.clock.advance(11 * MINUTE);
    let found = waiting(store).await.unwrap();
    check(
        sole(&found),
        Level::Warn,
        "1 run of queue demo could have gone on for up to 11 min",
    );
    let limits = QueueLimits {
        concurrency: Some(1),
        ..QueueLimits::default()
    };
    store.set_queue("demo", limits, false).await.unwrap();
    let worker = scene.worker("pid 7", "1", &["x"]).await;
    scene.claim(worker, "x").await;
    scene.submit("b", "x").await;
    scene.clock.advance(11 * MINUTE);
    let found = waiting(store).await.unwrap();
    let expect = "1 run of queue demo could have gone on for up to 11 min; its limit of 1 at once is reached";
    check(sole(&found), Level::Warn, expect);
    store.pause_queue("demo", true).await.unwrap();
    let found = waiting(store).await.unwrap();
    check(
        sole(&found),
        Level::Note,
        "queue demo is paused, with 1 run held back",
    );
}

#[tokio::test]
async fn runs_that_no_worker_can_claim_are_reported() {
    let scene = Scene::new();
    let store = scene.store.as_ref();
    let known = BTreeSet::from(["x".to_owned()]);
    scene.submit("a", "x").await;
    let found = unknown_actions(store, &known).await.unwrap();
    check(
        sole(&found),
        Level::Ok,
        "this program knows and permits every action that the waiting runs need",
    );
    scene.submit("b", "new.action").await;
    let found = unknown_actions(store, &known).await.unwrap();
    check(
        sole(&found),
        Level::Warn,
        "1 run of demo held back by `new.action`, which this program does not know or permit",
    );
    scene.worker("pid 7", "1", &["x"]).await;
    let found = unknown_actions(store, &known).await.unwrap();
    check(
        sole(&found),
        Level::Warn,
        "1 run of demo held back by `new.action`, which no live worker knows and permits",
    );
    scene.worker("pid 8", "2", &["x", "new.action"]).await;
    let found = unknown_actions(store, &known).await.unwrap();
    check(
        sole(&found),
        Level::Ok,
        "a live worker knows and permits every action that the waiting runs need",
    );
}

struct Only(&'static str);

impl CredentialSource for Only {
    fn get(&self, name: &str) -> Result<Secret, CredentialError> {
        match name == self.0 {
            true => Ok(Secret::new("s3cret")),
            false => Err(CredentialError(format!(
                "there is no credential `{name}`: set X_{name}"
            ))),
        }
    }
}

#[tokio::test]
async fn credentials_of_workflows_and_unfinished_runs_are_checked() {
    let scene = Scene::new();
    let with =
        json!({ "shell": "x", "credentials": { "TOKEN": "api", "OTHER": "${{ parameters.c }}" } });
    let workflow = Workflow::builder("deploy")
        .step_with("one", "command.run", |step| step.with(with))
        .step_with("two", "git.push", |step| {
            step.with(json!({ "credential": "forge" }))
        })
        .build()
        .unwrap();
    assert_eq!(
        named_credentials(&workflow),
        BTreeSet::from(["api".to_owned(), "forge".to_owned()])
    );
    let none = credentials(Some(scene.store.as_ref()), &Only("forge"), &[])
        .await
        .unwrap();
    check(sole(&none), Level::Ok, "none is named");
    Client::new(scene.store.clone())
        .submit(Submit::new(Arc::new(workflow)))
        .await
        .unwrap();
    let wanted = [("forge".to_owned(), "the configuration".to_owned())];
    let found = credentials(Some(scene.store.as_ref()), &Only("forge"), &wanted)
        .await
        .unwrap();
    check(
        &found[0],
        Level::Warn,
        "there is no credential `api` (named by unfinished runs of deploy)",
    );
    assert_eq!(found[0].advice.as_deref(), Some("set X_api"));
    check(&found[1], Level::Ok, "here: forge");
}
