//! The rules over real runs, on the in-memory store with a clock that the tests set.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use surefoot::state::{Answer, CancelMode};
use surefoot::store::{ClaimRequest, NewWorker, RunFilter};
use surefoot::workflow::RetryPolicy;
use surefoot::{
    AddressPolicy, AllowList, Client, Handlers, ManualClock, Outcome, Run, RunStatus, StepContext,
    StepError, StepHandler, Store, Submit, Timestamp, Worker, WorkerId, WorkerOptions, Workflow,
    handler_fn,
};
use surefoot_store_tests::{Fault, FaultyStore, MemoryStore};

use super::evaluator::Evaluator;
use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

struct Scene {
    clock: Arc<ManualClock>,
    store: Arc<dyn Store>,
    /// The same store, used by a newer build.
    newer: Arc<dyn Store>,
}

impl Scene {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_micros(
            1_800_000_000_000_000,
        )));
        let store = MemoryStore::new(clock.clone());
        Self {
            newer: Arc::new(store.build(Workflow::FORMAT + 1)),
            store: Arc::new(store),
            clock,
        }
    }

    fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    fn evaluator(&self) -> Evaluator {
        evaluator_on(self.store.clone())
    }

    async fn evaluate(&self) -> Vec<(String, AlertState)> {
        self.evaluator().evaluate().await.unwrap();
        self.states().await
    }

    async fn states(&self) -> Vec<(String, AlertState)> {
        let alerts = list(self.store.as_ref()).await.unwrap();
        alerts
            .into_iter()
            .map(|alert| (alert.id, alert.state))
            .collect()
    }

    async fn submit(&self, workflow: &Arc<Workflow>) -> Run {
        Client::new(self.store.clone())
            .submit(Submit::new(workflow.clone()))
            .await
            .unwrap()
            .run
    }

    /// Registers a worker and claims a run; nothing executes it.
    async fn claim(&self) -> (WorkerId, Run) {
        self.claim_of("work").await
    }

    async fn claim_of(&self, action: &str) -> (WorkerId, Run) {
        let id = WorkerId::new();
        let actions = Arc::new([action.to_owned()].into_iter().collect());
        let name = "w".to_owned();
        let lease = 60 * MINUTE;
        let version = "1".to_owned();
        let worker = NewWorker {
            id,
            name,
            lease,
            version,
            actions: Arc::clone(&actions),
            workflows: AllowList::default(),
            resources: Arc::default(),
        };
        self.store.register_worker(worker).await.unwrap();
        let claimed = self
            .store
            .claim(ClaimRequest {
                worker: id,
                limit: 1,
                actions,
                workflows: AllowList::default(),
                resources: Arc::default(),
            })
            .await
            .unwrap();
        (id, claimed.runs.into_iter().next().unwrap())
    }

    /// The submitted notifications, by key.
    async fn notifications(&self) -> Vec<String> {
        let filter = RunFilter {
            queue: Some("alerts".to_owned()),
            limit: 1000,
            ..RunFilter::default()
        };
        let mut keys: Vec<String> = self
            .store
            .runs(filter)
            .await
            .unwrap()
            .into_iter()
            .map(|run| run.key.unwrap())
            .collect();
        keys.sort();
        keys
    }
}

fn options() -> AlertOptions {
    let command = Command {
        command: vec!["true".to_owned()],
    };
    let notifier = |name: &str| Notifier {
        name: name.to_owned(),
        addresses: AddressPolicy::default().public_only(),
        kind: NotifierKind::Command(command.clone()),
    };
    // The speed of the machine must not influence the tests.
    let rules = Rules {
        slow_store: None,
        ..Rules::default()
    };
    AlertOptions {
        notifiers: vec![notifier("one"), notifier("two")],
        rules,
        ..AlertOptions::default()
    }
}

fn evaluator_on(store: Arc<dyn Store>) -> Evaluator {
    Evaluator::new(Client::new(store), options())
}

fn workflow() -> Arc<Workflow> {
    Arc::new(
        Workflow::builder("work")
            .step("only", "work")
            .build()
            .unwrap(),
    )
}

fn firing(id: &str) -> (String, AlertState) {
    (id.to_owned(), AlertState::Firing)
}

fn resolved(id: &str) -> (String, AlertState) {
    (id.to_owned(), AlertState::Resolved)
}

#[tokio::test]
async fn a_long_run_fires_while_it_runs_and_resolves_when_it_has_ended() {
    let scene = Scene::new();
    let run = scene.submit(&workflow()).await;
    scene.claim().await;
    scene.pass(10 * MINUTE);
    assert_eq!(
        scene.evaluate().await,
        [],
        "ten minutes are not more than ten"
    );
    scene.pass(SECOND);
    let id = format!("long_run/{}", run.id);
    for _ in 0..3 {
        assert_eq!(scene.evaluate().await, [firing(&id)]);
    }
    scene
        .store
        .cancel(run.id, CancelMode::Stop, "ann")
        .await
        .unwrap();
    assert_eq!(scene.evaluate().await, [firing(&id)], "it still runs");
    scene
        .store
        .deregister_worker(scene.store.workers().await.unwrap()[0].id)
        .await
        .unwrap();
    assert_eq!(scene.evaluate().await, [resolved(&id)]);
    scene.pass(8 * 24 * 60 * MINUTE);
    assert_eq!(
        scene.evaluate().await,
        [],
        "resolved alerts are not shown for ever"
    );
}

#[tokio::test]
async fn many_servers_fire_once_and_send_once() {
    let scene = Scene::new();
    let run = scene.submit(&workflow()).await;
    scene.claim().await;
    scene.pass(11 * MINUTE);
    let at = scene.store.now().as_micros();
    let found = evaluate::evaluate(
        scene.store.as_ref(),
        &Rules::default(),
        &mut run_age::RunAges::default(),
    )
    .await
    .unwrap()
    .remove(0);
    // Every server has evaluated before any of them writes.
    for _ in 0..8 {
        scene.evaluator().raise(found.clone(), None).await.unwrap();
        scene.pass(SECOND);
    }
    scene.evaluate().await;
    let key = |notifier: &str| format!("long_run/{}@{at}/firing/{notifier}", run.id);
    assert_eq!(scene.notifications().await, [key("one"), key("two")]);
}

#[tokio::test]
async fn a_crash_at_any_write_loses_no_notification_and_doubles_none() {
    for fault in Fault::ALL {
        for at in 1.. {
            let scene = Scene::new();
            scene.submit(&workflow()).await;
            scene.claim().await;
            scene.pass(11 * MINUTE);
            let faulty = Arc::new(FaultyStore::new(scene.store.clone(), at, fault));
            let mut evaluator = evaluator_on(faulty.clone());
            tokio::select! {
                _ = evaluator.evaluate() => {}
                () = faulty.until_met() => {}
            }
            let met = faulty.met();
            scene.evaluate().await;
            assert_eq!(
                scene.notifications().await.len(),
                2,
                "{fault:?} at write {at}"
            );
            assert_eq!(scene.evaluate().await.len(), 1);
            if !met {
                assert!(at > 2, "the submissions were met");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_firing_that_was_not_sent_is_sent_before_it_resolves() {
    let scene = Scene::new();
    let run = scene.submit(&workflow()).await;
    scene.claim().await;
    scene.pass(11 * MINUTE);
    let faulty = Arc::new(FaultyStore::new(scene.store.clone(), 1, Fault::Refused));
    assert!(
        evaluator_on(faulty).evaluate().await.is_err(),
        "it cannot submit"
    );
    assert!(scene.notifications().await.is_empty());
    scene
        .store
        .deregister_worker(scene.store.workers().await.unwrap()[0].id)
        .await
        .unwrap();
    scene
        .store
        .cancel(run.id, CancelMode::Stop, "ann")
        .await
        .unwrap();
    assert_eq!(
        scene.evaluate().await,
        [resolved(&format!("long_run/{}", run.id))]
    );
    let sent = scene.notifications().await;
    let of = |state: &str| sent.iter().filter(|key| key.contains(state)).count();
    assert_eq!((of("/firing/"), of("/resolved/")), (2, 2), "{sent:?}");
}

#[tokio::test]
async fn an_alert_that_fires_again_is_sent_again() {
    let scene = Scene::new();
    for round in 1..=2 {
        let run = scene.submit(&workflow()).await;
        scene.pass(6 * MINUTE);
        assert!(scene.evaluate().await.contains(&firing("waiting/work")));
        scene
            .store
            .cancel(run.id, CancelMode::Stop, "ann")
            .await
            .unwrap();
        scene.pass(SECOND);
        assert!(scene.evaluate().await.contains(&resolved("waiting/work")));
        let sent = scene.notifications().await;
        assert_eq!(
            sent.iter()
                .filter(|key| key.starts_with("waiting/"))
                .count(),
            round * 4,
            "{sent:?}"
        );
    }
}

#[tokio::test]
async fn a_missing_worker_fires_sooner_than_a_long_wait() {
    let scene = Scene::new();
    let run = scene.submit(&workflow()).await;
    scene.pass(29 * SECOND);
    assert_eq!(scene.evaluate().await, []);
    scene.pass(2 * SECOND);
    assert_eq!(scene.evaluate().await, [firing("no_worker/work")]);
    let alert = list(scene.store.as_ref()).await.unwrap().remove(0);
    assert_eq!(
        alert.text,
        format!("run {} waits, and no worker is alive", run.id)
    );
    scene.pass(5 * MINUTE);
    let mut states = scene.evaluate().await;
    states.sort();
    assert_eq!(states, [firing("no_worker/work"), firing("waiting/work")]);
    scene.claim().await;
    let mut states = scene.evaluate().await;
    states.sort();
    assert_eq!(
        states,
        [resolved("no_worker/work"), resolved("waiting/work")]
    );
}

#[tokio::test]
async fn a_worker_without_the_actions_does_not_count() {
    let scene = Scene::new();
    let run = scene.submit(&workflow()).await;
    scene.claim().await;
    let other = Arc::new(
        Workflow::builder("other")
            .step("only", "strange")
            .build()
            .unwrap(),
    );
    scene.submit(&other).await;
    scene.pass(MINUTE);
    assert_eq!(
        scene.evaluate().await,
        [firing("no_worker/other")],
        "{} runs",
        run.id
    );
    assert!(
        list(scene.store.as_ref()).await.unwrap()[0]
            .text
            .ends_with("no live worker knows and permits strange")
    );
    scene.store.pause_queue("other", true).await.unwrap();
    assert_eq!(
        scene.evaluate().await,
        [resolved("no_worker/other")],
        "a person paused it"
    );
}

#[tokio::test]
async fn a_scheduled_run_does_not_count_as_waiting() {
    let scene = Scene::new();
    let at = scene.store.now() + 60 * MINUTE;
    Client::new(scene.store.clone())
        .submit(Submit::new(workflow()).at(at))
        .await
        .unwrap();
    scene.pass(30 * MINUTE);
    assert_eq!(scene.evaluate().await, []);
}

/// A run whose worker dies repeatedly, until the run fails for it.
async fn lose_run(scene: &Scene) -> Run {
    let run = scene.submit(&workflow()).await;
    lose_submitted(scene, run).await
}

async fn lose_submitted(scene: &Scene, mut run: Run) -> Run {
    while run.head.status != RunStatus::Failed {
        let (worker, claimed) = scene.claim().await;
        let mut edit = surefoot::state::Edit::new(claimed.clone(), scene.store.now());
        edit.start_step(0).unwrap();
        let (_, transition) = edit.finish_as_holder();
        scene
            .store
            .commit(claimed.lease().unwrap(), transition)
            .await
            .unwrap();
        scene.store.reclaim_worker(worker).await.unwrap();
        run = scene.store.run(run.id).await.unwrap().unwrap();
    }
    run
}

#[tokio::test]
async fn a_step_interrupted_too_often_fires_until_it_is_retried() {
    let scene = Scene::new();
    let run = lose_run(&scene).await;
    let id = format!("interruptions/{}", run.id);
    assert_eq!(scene.evaluate().await, [firing(&id)]);
    let text = list(scene.store.as_ref()).await.unwrap().remove(0).text;
    assert_eq!(text, "step only was interrupted 6 times, and 5 are allowed");
    scene.store.retry(run.id, None, "ann").await.unwrap();
    assert_eq!(scene.evaluate().await, [resolved(&id)]);
}

#[tokio::test]
async fn the_age_of_a_retried_run_starts_at_its_retry() {
    let scene = Scene::new();
    let run = lose_run(&scene).await;
    scene.pass(20 * MINUTE);
    scene.store.retry(run.id, None, "ann").await.unwrap();
    scene.claim().await;
    let mut evaluator = scene.evaluator();
    for _ in 0..10 {
        evaluator.evaluate().await.unwrap();
        scene.pass(MINUTE);
    }
    assert_eq!(
        scene.states().await,
        [],
        "it lay failed, and has run for ten minutes"
    );
    scene.pass(SECOND);
    evaluator.evaluate().await.unwrap();
    assert_eq!(
        scene.states().await,
        [firing(&format!("long_run/{}", run.id))]
    );
    let text = list(scene.store.as_ref()).await.unwrap().remove(0).text;
    assert!(text.starts_with("work runs for 10m 1s"), "{text}");
}

#[tokio::test]
async fn the_notification_queue_gets_its_limits_once_the_store_responds() {
    let scene = Scene::new();
    let faulty = Arc::new(FaultyStore::sound(scene.store.clone()));
    let mut evaluator = evaluator_on(faulty.clone());
    faulty.set_away(true);
    assert!(evaluator.evaluate().await.is_err());
    faulty.set_away(false);
    evaluator.evaluate().await.unwrap();
    let queues = scene.store.queues().await.unwrap();
    let own = queues.iter().find(|queue| queue.name == "alerts").unwrap();
    assert_eq!(own.limits.concurrency_per_key, Some(2));
}

/// Asks once, then completes.
struct Ask;

#[async_trait::async_trait]
impl StepHandler for Ask {
    async fn run(&self, context: StepContext) -> Result<Outcome, StepError> {
        match context.answer() {
            Some(_) => Ok(surefoot::Output::none().into()),
            None => {
                let question = context.parameters()["question"]
                    .as_str()
                    .unwrap_or("really?")
                    .to_owned();
                Ok(Outcome::Ask {
                    question,
                    checkpoint: Value::Null,
                })
            }
        }
    }
}

async fn until(what: impl AsyncFn() -> bool) {
    let found = async {
        while !what().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), found)
        .await
        .expect("the condition did not hold in time");
}

#[tokio::test]
async fn a_run_awaiting_an_answer_fires_until_answered_and_is_not_long() {
    let scene = Scene::new();
    let folder = tempfile::tempdir().unwrap();
    let options = WorkerOptions {
        workspaces: folder.path().to_owned(),
        lease: 24 * 60 * MINUTE,
        ..WorkerOptions::default()
    };
    let worker = Worker::start(
        scene.store.clone(),
        Handlers::new().with("work", Ask),
        options,
    )
    .await
    .unwrap();
    let client = worker.client();
    let run = client
        .submit(Submit::new(workflow()).key("shop"))
        .await
        .unwrap()
        .run;
    until(async || client.run(run.id).await.unwrap().head.status == RunStatus::Waiting).await;
    scene.pass(20 * MINUTE);
    let id = format!("answer/{}", run.id);
    assert_eq!(scene.evaluate().await, [firing(&id)]);
    let alert = list(scene.store.as_ref()).await.unwrap().remove(0);
    assert_eq!(
        (alert.title.as_str(), alert.text.as_str()),
        ("run shop waits for an answer", "step only asks: really?")
    );
    client
        .answer(run.id, "only", Answer::Approve, "ann", None)
        .await
        .unwrap();
    until(async || client.run(run.id).await.unwrap().head.status == RunStatus::Completed).await;
    assert_eq!(scene.evaluate().await, [resolved(&id)]);
    worker.stop().await;
}

#[tokio::test]
async fn an_alert_contains_no_secret_of_its_run() {
    let scene = Scene::new();
    let folder = tempfile::tempdir().unwrap();
    let options = WorkerOptions {
        workspaces: folder.path().to_owned(),
        lease: 24 * 60 * MINUTE,
        keys: Some(surefoot::SecretKeys::random().unwrap()),
        ..WorkerOptions::default()
    };
    let worker = Worker::start(
        scene.store.clone(),
        Handlers::new().with("work", Ask),
        options,
    )
    .await
    .unwrap();
    let client = worker.client();
    let workflow = Workflow::builder("work")
        .parameters(json!({ "properties": { "password": { "writeOnly": true }, "question": {} } }))
        .step("only", "work");
    let given = json!({ "password": "hunter22", "question": "is hunter22 good enough?" });
    let submit = Submit::new(Arc::new(workflow.build().unwrap())).parameters(given);
    let run = client.submit(submit).await.unwrap().run;
    until(async || client.run(run.id).await.unwrap().head.status == RunStatus::Waiting).await;
    scene.evaluate().await;
    let text = format!("{:?}", list(scene.store.as_ref()).await.unwrap());
    assert!(text.contains("is *** good enough?"), "{text}");
    assert!(!text.contains("hunter22"), "{text}");
    worker.stop().await;
}

/// Submits a run of a newer build, which this one cannot read.
async fn submit_newer(scene: &Scene) -> Run {
    let plan = Workflow::clone(&workflow()).in_format(Workflow::FORMAT + 1);
    let submit = Submit::new(Arc::new(plan)).key("shop");
    Client::new(scene.newer.clone())
        .submit(submit)
        .await
        .unwrap()
        .run
}

#[tokio::test]
async fn an_unreadable_run_fires_once_until_a_build_that_reads_it_is_there() {
    let scene = Scene::new();
    let run = submit_newer(&scene).await;
    let id = format!("unreadable/{}", run.id);
    for _ in 0..3 {
        assert_eq!(scene.evaluate().await, [firing(&id)]);
        scene.pass(SECOND);
    }
    let alert = list(scene.store.as_ref()).await.unwrap().remove(0);
    assert_eq!(alert.title, "run shop cannot be read");
    assert!(
        alert.text.contains("its plan has format 2"),
        "{}",
        alert.text
    );
    let sent = scene.notifications().await;
    assert_eq!(sent.len(), 2, "once to each notifier: {sent:?}");

    // The servers are upgraded.
    evaluator_on(scene.newer.clone()).evaluate().await.unwrap();
    assert_eq!(scene.states().await, [resolved(&id)]);
    let sent = scene.notifications().await;
    let of = |state: &str| sent.iter().filter(|key| key.contains(state)).count();
    assert_eq!((of("/firing/"), of("/resolved/")), (2, 2), "{sent:?}");
}

#[tokio::test]
async fn an_unreadable_run_that_is_cancelled_resolves() {
    let scene = Scene::new();
    let run = submit_newer(&scene).await;
    let id = format!("unreadable/{}", run.id);
    assert_eq!(scene.evaluate().await, [firing(&id)]);
    scene
        .store
        .cancel(run.id, CancelMode::Stop, "ann")
        .await
        .unwrap();
    assert_eq!(scene.evaluate().await, [resolved(&id)]);
}

async fn end(client: &Client, fails: bool) {
    let once = RetryPolicy {
        attempts: 1,
        ..RetryPolicy::default()
    };
    let workflow = Workflow::builder("mixed").step_with("only", "work", |step| {
        step.with(json!({ "fails": fails })).retry(once)
    });
    let run = client
        .submit(Submit::new(Arc::new(workflow.build().unwrap())))
        .await
        .unwrap()
        .run;
    client.wait(run.id).await.unwrap();
}

#[tokio::test]
async fn more_failures_than_one_in_ten_fire_once_there_are_ten_runs() {
    let scene = Scene::new();
    let folder = tempfile::tempdir().unwrap();
    let work = handler_fn(async |_: StepContext, input: Value| match input["fails"] {
        Value::Bool(true) => Err(StepError::fatal("as asked")),
        _ => Ok(Value::Null),
    });
    let options = WorkerOptions {
        workspaces: folder.path().to_owned(),
        lease: 24 * 60 * MINUTE,
        ..WorkerOptions::default()
    };
    let worker = Worker::start(
        scene.store.clone(),
        Handlers::new().with("work", work),
        options,
    )
    .await
    .unwrap();
    let client = worker.client();
    for number in 0..9 {
        end(&client, number < 2).await;
    }
    assert_eq!(
        scene.evaluate().await,
        [],
        "two of nine, but nine are too few"
    );
    end(&client, false).await;
    assert_eq!(scene.evaluate().await, [firing("failures/all")]);
    let text = list(scene.store.as_ref()).await.unwrap().remove(0).text;
    assert_eq!(
        text,
        "2 of the 10 runs that ended in the last 1h failed: 20 %; 2 in queue mixed"
    );
    for _ in 0..10 {
        end(&client, false).await;
    }
    assert_eq!(
        scene.evaluate().await,
        [resolved("failures/all")],
        "two of twenty are not more than ten percent"
    );
    end(&client, true).await;
    assert_eq!(scene.evaluate().await, [firing("failures/all")]);
    scene.pass(62 * MINUTE);
    assert_eq!(
        scene.evaluate().await,
        [resolved("failures/all")],
        "that was more than an hour ago"
    );
    worker.stop().await;
}

#[tokio::test]
async fn notifications_that_take_long_raise_no_alerts() {
    let scene = Scene::new();
    let run = scene.submit(&workflow()).await;
    scene.claim().await;
    scene.pass(11 * MINUTE);
    scene.evaluate().await;
    assert_eq!(scene.notifications().await.len(), 2);
    let (_, sending) = scene.claim_of("alert.notify").await;
    assert_eq!(
        sending.queue(),
        "alerts",
        "one is being sent, the other waits"
    );
    scene.pass(24 * 60 * MINUTE);
    assert_eq!(
        scene.evaluate().await,
        [firing(&format!("long_run/{}", run.id))]
    );
}

#[tokio::test]
async fn a_slow_store_fires_and_resolves_after_a_minute() {
    const EXCEEDED: Duration = Duration::from_millis(1);
    let scene = Scene::new();
    let store = Arc::new(FaultyStore::sound(scene.store.clone()));
    store.set_slow(EXCEEDED * 2);
    let slow = |limit| {
        let rules = Rules {
            slow_store: Some(limit),
            ..Rules::default()
        };
        Evaluator::new(
            Client::new(store.clone()),
            AlertOptions { rules, ..options() },
        )
    };
    slow(EXCEEDED).evaluate().await.unwrap();
    assert_eq!(scene.states().await, [firing("slow_store/store")]);
    scene.pass(50 * SECOND);
    slow(EXCEEDED).evaluate().await.unwrap();
    scene.pass(50 * SECOND);
    slow(MINUTE).evaluate().await.unwrap();
    assert_eq!(
        scene.states().await,
        [firing("slow_store/store")],
        "another server found it slow recently"
    );
    scene.pass(11 * SECOND);
    slow(MINUTE).evaluate().await.unwrap();
    assert_eq!(scene.states().await, [resolved("slow_store/store")]);
}

#[tokio::test]
async fn an_acknowledgement_names_its_actor_and_ends_with_the_firing() {
    let scene = Scene::new();
    let store = scene.store.as_ref();
    let run = scene.submit(&workflow()).await;
    scene.pass(MINUTE);
    scene.evaluate().await;
    let alert = acknowledge_as(store, "no_worker/work", "ann")
        .await
        .unwrap();
    assert!(!alert.is_open());
    assert_eq!(
        acknowledge_as(store, "no_worker/work", "bob")
            .await
            .unwrap()
            .acknowledged,
        alert.acknowledged
    );
    assert!(matches!(
        acknowledge_as(store, "no_worker/x", "bob").await,
        Err(AcknowledgeError::Unknown(_))
    ));
    scene.store.pause_queue("work", true).await.unwrap();
    scene.evaluate().await;
    assert!(matches!(
        acknowledge_as(store, "no_worker/work", "bob").await,
        Err(AcknowledgeError::Resolved(_))
    ));
    scene.store.pause_queue("work", false).await.unwrap();
    scene.evaluate().await;
    assert!(list(store).await.unwrap()[0].is_open(), "{}", run.id);
}

#[tokio::test]
async fn a_run_submitted_long_ago_fires_when_it_is_lost_now() {
    let scene = Scene::new();
    let folder = tempfile::tempdir().unwrap();
    let old = scene.submit(&workflow()).await;
    scene.store.pause_queue("work", true).await.unwrap();
    let fails =
        handler_fn(async |_: StepContext, _: Value| Err::<Value, _>(StepError::fatal("as asked")));
    let options = WorkerOptions {
        workspaces: folder.path().to_owned(),
        ..WorkerOptions::default()
    };
    let worker = Worker::start(
        scene.store.clone(),
        Handlers::new().with("work", fails),
        options,
    )
    .await
    .unwrap();
    for _ in 0..120 {
        end(&worker.client(), true).await;
    }
    worker.stop().await;
    scene.store.pause_queue("work", false).await.unwrap();
    let lost = lose_submitted(&scene, old).await;
    let id = format!("interruptions/{}", lost.id);
    let states = scene.evaluate().await;
    assert!(
        states.contains(&firing(&id)),
        "120 runs were submitted later and have failed: {states:?}"
    );
}

#[tokio::test]
async fn a_run_beyond_the_listing_keeps_its_alert() {
    let scene = Scene::new();
    let folder = tempfile::tempdir().unwrap();
    let lost = lose_run(&scene).await;
    let id = format!("interruptions/{}", lost.id);
    assert_eq!(scene.evaluate().await, [firing(&id)]);
    let fails =
        handler_fn(async |_: StepContext, _: Value| Err::<Value, _>(StepError::fatal("as asked")));
    let options = WorkerOptions {
        workspaces: folder.path().to_owned(),
        ..WorkerOptions::default()
    };
    let worker = Worker::start(
        scene.store.clone(),
        Handlers::new().with("work", fails),
        options,
    )
    .await
    .unwrap();
    for _ in 0..120 {
        end(&worker.client(), true).await;
    }
    let states = scene.evaluate().await;
    assert!(
        states.contains(&firing(&id)),
        "120 newer runs have failed, and this is still so: {states:?}"
    );
    worker.stop().await;
}
