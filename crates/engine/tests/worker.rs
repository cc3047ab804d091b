//! The worker over the in-memory store: what a handler may do, and what becomes of the run.

#![expect(clippy::disallowed_methods, reason = "tests make and look at files")]
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says where by its panic"
)]

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use surefoot::state::{Answer, CancelMode, Undo};
use surefoot::workflow::{Backoff, OnInterrupt, RetryPolicy};
use surefoot::{
    Client, CredentialError, CredentialSource, Handlers, Outcome, Output, Run, RunStatus,
    SealError, Secret, SecretKeys, StepContext, StepError, StepHandler, StepStatus, Store, Submit,
    SystemClock, Undone, Worker, WorkerHandle, WorkerOptions, Workflow, handler_fn,
};
use surefoot_store_tests::{FaultyStore, MemoryStore};

fn store() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new(Arc::new(SystemClock)))
}

struct Vault;

impl CredentialSource for Vault {
    fn get(&self, name: &str) -> Result<Secret, CredentialError> {
        match name {
            "token" => Ok(Secret::new("s3cr3t-token")),
            _ => Err(CredentialError(format!("set the credential {name}"))),
        }
    }
}

async fn worker(
    store: &Arc<dyn Store>,
    handlers: Handlers,
    folder: &tempfile::TempDir,
) -> WorkerHandle {
    let options = WorkerOptions {
        workspaces: folder.path().join("workspaces"),
        grace: Duration::from_millis(50),
        handler_grace: Duration::from_millis(200),
        credentials: Arc::new(Vault),
        keys: Some(SecretKeys::random().unwrap()),
        ..WorkerOptions::default()
    };
    Worker::start(store.clone(), handlers, options)
        .await
        .unwrap()
}

fn once() -> RetryPolicy {
    RetryPolicy {
        attempts: 1,
        ..RetryPolicy::default()
    }
}

fn quick(attempts: u32) -> RetryPolicy {
    let wait = Duration::from_millis(5);
    RetryPolicy {
        attempts,
        backoff: Backoff {
            initial: wait,
            factor: 1,
            max: wait,
            jitter: 0.0,
        },
    }
}

async fn finish(client: &Client, workflow: Workflow) -> Run {
    let run = client
        .submit(Submit::new(Arc::new(workflow)))
        .await
        .unwrap()
        .run;
    client.wait(run.id).await.unwrap()
}

async fn kinds(client: &Client, run: &Run) -> Vec<String> {
    let events = client.store().events(run.id, 0, 1000).await.unwrap();
    assert!(
        events
            .iter()
            .enumerate()
            .all(|(index, event)| event.seq == index as u64 + 1),
        "gapless from 1"
    );
    events.into_iter().map(|event| event.kind).collect()
}

#[tokio::test]
async fn a_run_goes_from_step_to_step_and_steps_see_what_came_before() {
    let store = store();
    let folder = tempfile::tempdir().unwrap();
    let add = handler_fn(async |_context: StepContext, input: Value| {
        Ok(json!({ "sum": input["a"].as_i64().unwrap() + input["b"].as_i64().unwrap() }))
    });
    let worker = worker(&store, Handlers::new().with("add", add), &folder).await;
    let workflow = Workflow::builder("sums")
        .step_with("one", "add", |step| step.with(json!({ "a": 1, "b": 2 })))
        .step_with("skipped", "add", |step| {
            step.condition("steps.one.output.sum > 5")
                .with(json!({ "a": 0, "b": 0 }))
        })
        .step_with("two", "add", |step| {
            step.with(json!({ "a": "${{ steps.one.output.sum }}", "b": 10 }))
                .weight(3)
        })
        .build()
        .unwrap();
    let run = finish(&worker.client(), workflow).await;
    assert_eq!(run.head.status, RunStatus::Completed);
    assert_eq!(run.head.progress, 100);
    assert_eq!(run.steps[1].status, StepStatus::Skipped);
    assert_eq!(run.steps[2].output, Some(json!({ "sum": 13 })));
    let expect = [
        "run.submitted",
        "run.started",
        "step.started",
        "step.completed",
        "step.skipped",
        "step.started",
        "step.completed",
        "run.completed",
    ];
    assert_eq!(kinds(&worker.client(), &run).await, expect);
    worker.stop().await;
}

#[tokio::test]
async fn a_failing_step_is_retried_and_what_completed_is_not_run_again() {
    let store = store();
    let folder = tempfile::tempdir().unwrap();
    let ledger = Arc::new(Mutex::new(Vec::new()));
    let seen = ledger.clone();
    let act = handler_fn(move |context: StepContext, _: Value| {
        seen.lock()
            .unwrap()
            .push(format!("{} {}", context.step_id(), context.attempt()));
        async move {
            let fails = context.step_id() == "flaky" && context.attempt() < 3;
            if fails {
                Err(StepError::from("not yet"))
            } else {
                Ok(context.idempotency_key())
            }
        }
    });
    let worker = worker(&store, Handlers::new().with("act", act), &folder).await;
    let workflow = Workflow::builder("flaky")
        .step("first", "act")
        .step_with("flaky", "act", |step| step.retry(quick(3)))
        .build()
        .unwrap();
    let run = finish(&worker.client(), workflow).await;
    assert_eq!(
        run.head.status,
        RunStatus::Completed,
        "{:?}",
        run.head.error
    );
    assert_eq!(
        *ledger.lock().unwrap(),
        ["first 1", "flaky 1", "flaky 2", "flaky 3"]
    );
    worker.stop().await;
}

#[tokio::test]
async fn fatal_errors_panics_timeouts_and_bad_expressions_fail_the_run_with_the_reason() {
    let store = store();
    let folder = tempfile::tempdir().unwrap();
    let bad = handler_fn(
        async |_context: StepContext, input: Value| match input.as_str() {
            Some("fatal") => Err(StepError::fatal("no such forge")),
            Some("panic") => panic!("index out of range"),
            Some("slow") => std::future::pending().await,
            _ => Ok(()),
        },
    );
    let worker = worker(&store, Handlers::new().with("bad", bad), &folder).await;
    let check = async |how: &str, attempts: u32, expect: &str| {
        let workflow = Workflow::builder("bad")
            .step_with("step", "bad", |step| {
                step.with(how)
                    .retry(quick(attempts))
                    .timeout(Duration::from_millis(60))
            })
            .build()
            .unwrap();
        let run = finish(&worker.client(), workflow).await;
        assert_eq!(run.head.status, RunStatus::Failed, "{how}");
        let error = run.head.error.unwrap();
        assert!(
            error.contains(expect) && error.contains("step step"),
            "{how}: {error}"
        );
        run.steps[0].attempt
    };
    assert_eq!(check("fatal", 3, "no such forge").await, 1);
    assert_eq!(check("panic", 2, "panicked: index out of range").await, 2);
    assert_eq!(check("slow", 2, "timed out after 60ms").await, 2);
    assert_eq!(check("${{ parameters.absent }}", 3, "undefined").await, 1);
    worker.stop().await;
}

#[tokio::test]
async fn a_person_retries_from_the_failed_step_or_an_earlier_one() {
    let store = store();
    let folder = tempfile::tempdir().unwrap();
    let broken = Arc::new(AtomicU32::new(1));
    let state = broken.clone();
    let ledger = Arc::new(Mutex::new(Vec::new()));
    let seen = ledger.clone();
    let act = handler_fn(move |context: StepContext, _: Value| {
        seen.lock().unwrap().push(context.step_id().to_owned());
        let fails = context.step_id() == "b" && state.load(Ordering::SeqCst) > 0;
        async move {
            if fails {
                Err(StepError::from("broken"))
            } else {
                Ok(())
            }
        }
    });
    let worker = worker(&store, Handlers::new().with("act", act), &folder).await;
    let client = worker.client();
    let builder = Workflow::builder("abc")
        .step("a", "act")
        .step_with("b", "act", |step| step.retry(once()));
    let run = finish(&client, builder.step("c", "act").build().unwrap()).await;
    assert_eq!(run.head.status, RunStatus::Failed);
    assert!(
        client
            .retry(run.id, Some("c"), "me")
            .await
            .unwrap_err()
            .to_string()
            .contains("only as far as b")
    );
    client.retry(run.id, None, "me").await.unwrap();
    let run = client.wait(run.id).await.unwrap();
    assert_eq!(
        (run.head.status, ledger.lock().unwrap().join("")),
        (RunStatus::Failed, "abb".to_owned())
    );
    broken.store(0, Ordering::SeqCst);
    client.retry(run.id, Some("a"), "me").await.unwrap();
    let run = client.wait(run.id).await.unwrap();
    assert_eq!(
        (run.head.status, ledger.lock().unwrap().join("")),
        (RunStatus::Completed, "abbabc".to_owned())
    );
    worker.stop().await;
}

struct Making(Arc<Mutex<Vec<String>>>);

#[async_trait]
impl StepHandler for Making {
    async fn run(&self, context: StepContext) -> Result<Outcome, StepError> {
        self.0
            .lock()
            .unwrap()
            .push(format!("+{}", context.step_id()));
        let output = Output::new(context.step_id())?.record("thing", context.step_id(), json!({}));
        if context.step_id() == "hangs" {
            std::future::pending::<()>().await;
        }
        Ok(output.into())
    }

    async fn undo(&self, context: StepContext) -> Result<Undone, StepError> {
        self.0
            .lock()
            .unwrap()
            .push(format!("-{}", context.step_id()));
        Ok(Undone::Removed(format!("the thing {}", context.step_id())))
    }
}

async fn until(client: &Client, run: &Run, status: StepStatus, step: usize) {
    let mut watch = client.watch(run.id, 0);
    while client.run(run.id).await.unwrap().steps[step].status != status {
        watch.next().await.unwrap().expect("the run goes on");
    }
}

#[tokio::test]
async fn cancel_stops_and_undo_takes_back_last_step_first_with_its_records() {
    let store = store();
    let folder = tempfile::tempdir().unwrap();
    let ledger = Arc::new(Mutex::new(Vec::new()));
    let worker = worker(
        &store,
        Handlers::new().with("make", Making(ledger.clone())),
        &folder,
    )
    .await;
    let client = worker.client();
    let builder = Workflow::builder("making")
        .step("a", "make")
        .step("b", "make");
    let workflow = Arc::new(
        builder
            .step("hangs", "make")
            .step("never", "make")
            .build()
            .unwrap(),
    );

    let run = client
        .submit(Submit::new(workflow.clone()))
        .await
        .unwrap()
        .run;
    until(&client, &run, StepStatus::Running, 2).await;
    client.cancel(run.id, CancelMode::Stop, "me").await.unwrap();
    let run = client.wait(run.id).await.unwrap();
    assert_eq!(run.head.status, RunStatus::Cancelled);
    assert_eq!(run.steps[3].status, StepStatus::Skipped);
    assert_eq!(run.head.progress, 50, "what a cancel drops is no progress");
    assert_eq!(store.records(Default::default()).await.unwrap().len(), 2);

    client.cancel(run.id, CancelMode::Undo, "me").await.unwrap();
    let run = client.wait(run.id).await.unwrap();
    assert_eq!(run.head.status, RunStatus::Cancelled);
    assert_eq!(run.head.progress, 50, "nor is an undo");
    assert_eq!(
        ledger.lock().unwrap().join(" "),
        "+a +b +hangs -hangs -b -a"
    );
    assert_eq!(store.records(Default::default()).await.unwrap(), []);
    worker.stop().await;
}

/// A handler without an undo keeps what it made, and the run does not claim otherwise.
#[tokio::test]
async fn an_undo_of_a_handler_without_one_is_kept() {
    let store = store();
    let folder = tempfile::tempdir().unwrap();
    let fails =
        handler_fn(async |_: StepContext, _: Value| Err::<Value, _>(StepError::fatal("broken")));
    let handlers = Handlers::new()
        .with("make", Making(Arc::default()))
        .with(
            "plain",
            handler_fn(async |_: StepContext, _: Value| Ok(Value::Null)),
        )
        .with("fails", fails);
    let worker = worker(&store, handlers, &folder).await;
    let client = worker.client();
    let builder = Workflow::builder("mixed")
        .step("a", "make")
        .step("b", "plain")
        .step("c", "fails");
    let run = finish(&client, builder.build().unwrap()).await;
    client.cancel(run.id, CancelMode::Undo, "me").await.unwrap();
    let run = client.wait(run.id).await.unwrap();
    let undo = |step: usize| (run.steps[step].undo, run.steps[step].undo_note.as_deref());
    assert_eq!(undo(0), (Some(Undo::Done), Some("the thing a")));
    assert_eq!(
        undo(1),
        (
            Some(Undo::Kept),
            Some("plain has no undo: what it made stays as it is")
        )
    );
    assert_eq!(
        run.head.error.as_deref(),
        Some("cancelled, and undone except for what these steps made: b, c")
    );
    let kinds: Vec<String> = store
        .events(run.id, 0, 100)
        .await
        .unwrap()
        .into_iter()
        .map(|event| event.kind)
        .collect();
    assert!(kinds.contains(&"step.undo_kept".to_owned()), "{kinds:?}");
    worker.stop().await;
}

#[tokio::test]
async fn secrets_are_masked_in_everything_that_is_written() {
    let store = store();
    let folder = tempfile::tempdir().unwrap();
    let leak = handler_fn(async |context: StepContext, input: Value| {
        let token = context.credential("token")?;
        context.log(format!("token is {}", token.expose()));
        context.progress(50, format!("using {}", token.expose()));
        if input == json!("fail") {
            return Err(StepError::fatal(format!("cannot use {}", token.expose())));
        }
        Ok(json!({ "leaked": token.expose() }))
    });
    let worker = worker(&store, Handlers::new().with("leak", leak), &folder).await;
    let builder = Workflow::builder("leaks").step("ok", "leak");
    let run = finish(
        &worker.client(),
        builder
            .step_with("bad", "leak", |step| step.with("fail"))
            .build()
            .unwrap(),
    )
    .await;
    let events = store.events(run.id, 0, 1000).await.unwrap();
    let written = format!("{run:?} {events:?}");
    assert!(
        written.contains("***") && written.contains("cannot use ***"),
        "{written}"
    );
    assert!(!written.contains("s3cr3t"), "{written}");
    worker.stop().await;
}

/// Says a secret parameter in every way that a handler has, and in forms that tools write.
async fn tells(context: StepContext, input: Value) -> Result<Value, StepError> {
    let secret = context.parameters()["password"]
        .as_str()
        .unwrap()
        .to_owned();
    let (first, second) = secret.split_at(9);
    context.log(format!("the first half is {first}"));
    context.log(format!("{second} is the second"));
    context.log(format!("{first}{}", surefoot::CUT));
    context.progress(50, format!("with {}", secret.replace('/', "%2F")));
    context.save_checkpoint(json!({ "noted": secret })).await?;
    match input.as_str() {
        Some("fail") => Err(StepError::fatal(format!("cannot sign in with {secret}"))),
        Some("panic") => panic!("no sign-in with {secret}"),
        _ => Ok(
            json!({ "hex": secret.bytes().map(|byte| format!("{byte:02x}")).collect::<String>(), "pin": 48_213_377 }),
        ),
    }
}

fn with_secret_parameters(name: &str) -> surefoot::workflow::WorkflowBuilder {
    let secret = json!({ "type": "string", "format": "password" });
    let pin = json!({ "type": "integer", "writeOnly": true });
    Workflow::builder(name).parameters(json!({ "properties": { "password": secret, "pin": pin } }))
}

#[tokio::test]
async fn secret_parameters_are_masked_in_everything_that_a_run_writes() {
    let store = store();
    let folder = tempfile::tempdir().unwrap();
    let worker = worker(
        &store,
        Handlers::new().with("tell", handler_fn(tells)),
        &folder,
    )
    .await;
    let client = worker.client();
    for (how, status) in [
        ("fine", RunStatus::Completed),
        ("fail", RunStatus::Failed),
        ("panic", RunStatus::Failed),
    ] {
        let workflow = with_secret_parameters(how)
            .step_with("one", "tell", |step| step.with(how).retry(once()));
        let submit = Submit::new(Arc::new(workflow.build().unwrap()));
        let given = json!({ "password": "s3cr3t/of-the-shop", "pin": 48_213_377 });
        let run = client.submit(submit.parameters(given)).await.unwrap().run;
        let run = client.wait(run.id).await.unwrap();
        assert_eq!(run.head.status, status);
        let written = format!(
            "{:?} {:?} {:?}",
            run.head,
            run.steps,
            store.events(run.id, 0, 1000).await.unwrap()
        );
        for part in ["s3cr3t", "of-the-shop", "%2F", "733363", "48213377"] {
            assert!(!written.contains(part), "{part}: {written}");
        }
        assert!(
            written.contains("with ***") && written.contains("*** is the second"),
            "{written}"
        );
    }
    worker.stop().await;
}

#[tokio::test]
async fn an_expression_that_fails_quotes_no_secret() {
    let store = store();
    let folder = tempfile::tempdir().unwrap();
    let worker = worker(
        &store,
        Handlers::new().with("tell", handler_fn(tells)),
        &folder,
    )
    .await;
    let workflow = with_secret_parameters("wrong").step_with("one", "tell", |step| {
        step.with("${{ {}[parameters.password].x.y }} ${{ parameters.password|int }}")
    });
    let submit = Submit::new(Arc::new(workflow.build().unwrap()));
    let run = worker
        .client()
        .submit(submit.parameters(json!({ "password": "s3cr3t-of-the-shop" })))
        .await
        .unwrap()
        .run;
    let run = worker.client().wait(run.id).await.unwrap();
    assert_eq!(run.head.status, RunStatus::Failed);
    let written = format!(
        "{:?} {:?} {:?}",
        run.head,
        run.steps,
        store.events(run.id, 0, 1000).await.unwrap()
    );
    assert!(!written.contains("s3cr3t"), "{written}");
    worker.stop().await;
}

#[tokio::test]
async fn a_secret_that_a_handler_mints_is_masked_in_its_run() {
    let store = store();
    let folder = tempfile::tempdir().unwrap();
    let mints = handler_fn(async |context: StepContext, _: Value| {
        context.mask(&Secret::new("minted-for-an-hour"))?;
        context.log("token minted-for-an-hour");
        Ok(json!("minted-for-an-hour"))
    });
    let worker = worker(&store, Handlers::new().with("mint", mints), &folder).await;
    let run = finish(
        &worker.client(),
        Workflow::builder("mint")
            .step("one", "mint")
            .build()
            .unwrap(),
    )
    .await;
    assert_eq!(run.steps[0].output, Some(json!("***")));
    let written = format!("{:?}", store.events(run.id, 0, 1000).await.unwrap());
    assert!(
        written.contains("token ***") && !written.contains("minted"),
        "{written}"
    );
    worker.stop().await;
}

#[tokio::test]
async fn a_secret_parameter_is_refused_where_everyone_reads() {
    let store = store();
    let folder = tempfile::tempdir().unwrap();
    let worker = worker(
        &store,
        Handlers::new().with("tell", handler_fn(tells)),
        &folder,
    )
    .await;
    let plain = Arc::new(
        with_secret_parameters("plain")
            .step("one", "tell")
            .build()
            .unwrap(),
    );
    let unique = with_secret_parameters("unique")
        .unique("u-${{ parameters.password }}")
        .step("one", "tell");
    let unique = Arc::new(unique.build().unwrap());
    let given = json!({ "password": "s3cr3t-of-the-shop" });
    let check = async |submit: Submit, given: &Value, expect: &str| {
        let error = worker
            .client()
            .submit(submit.parameters(given.clone()))
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(expect) && !error.contains("s3cr3t"),
            "{error}"
        );
    };
    check(
        Submit::new(plain.clone()).key("x-s3cr3t-of-the-shop"),
        &given,
        "the key holds a secret",
    )
    .await;
    check(
        Submit::new(plain.clone()).concurrency_key("s3cr3t-of-the-shop"),
        &given,
        "the concurrency key holds",
    )
    .await;
    check(
        Submit::new(unique.clone()),
        &given,
        "the field `unique` of the workflow holds",
    )
    .await;
    check(
        Submit::new(unique),
        &json!({ "password": "ab" }),
        "the field `unique`",
    )
    .await;
    let long = json!({ "password": "s3cr3t".repeat(10_000) });
    check(
        Submit::new(plain),
        &long,
        "secret parameters: a secret is longer than 32 KiB",
    )
    .await;
    assert_eq!(store.runs(Default::default()).await.unwrap(), []);
    worker.stop().await;
}

#[tokio::test]
async fn secret_parameters_are_encrypted_in_the_store_and_clear_to_handlers() {
    let store = store();
    let folder = tempfile::tempdir().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = seen.clone();
    let see = handler_fn(move |context: StepContext, input: Value| {
        noted
            .lock()
            .unwrap()
            .push(json!([input, context.parameters()["password"]]));
        let fails = context.attempt() == 1 && context.step_id() == "two";
        async move {
            if fails {
                Err(StepError::from("again"))
            } else {
                Ok(Value::Null)
            }
        }
    });
    let worker = worker(&store, Handlers::new().with("see", see), &folder).await;
    let workflow = with_secret_parameters("sealed")
        .step_with("one", "see", |step| step.with("${{ parameters.password }}"))
        .step_with("two", "see", |step| {
            step.with("${{ parameters.pin }}").retry(quick(2))
        });
    let workflow = Arc::new(workflow.build().unwrap());
    let given = json!({ "password": "s3cr3t-of-the-shop", "pin": 48_213_377 });
    let submit = Submit::new(workflow).parameters(given.clone()).key("k");
    let run = worker.client().submit(submit.clone()).await.unwrap().run;
    let run = worker.client().wait(run.id).await.unwrap();
    assert_eq!(
        run.head.status,
        RunStatus::Completed,
        "{:?}",
        run.head.error
    );
    let clear = json!(["s3cr3t-of-the-shop", 48_213_377]);
    let expect = [
        json!([clear[0], clear[0]]),
        json!([clear[1], clear[0]]),
        json!([clear[1], clear[0]]),
    ];
    assert_eq!(*seen.lock().unwrap(), expect);
    let stored = format!(
        "{:?} {:?}",
        store.run(run.id).await.unwrap(),
        store.events(run.id, 0, 1000).await.unwrap()
    );
    assert!(
        run.sealed.is_some() && !stored.contains("s3cr3t") && !stored.contains("48213377"),
        "{stored}"
    );
    // The same request again is the same run; with another secret it is another.
    assert!(
        worker
            .client()
            .submit(submit.clone())
            .await
            .unwrap()
            .existing
    );
    let other = submit.parameters(json!({ "password": "another-secret", "pin": 48_213_377 }));
    let error = worker.client().submit(other).await.unwrap_err();
    assert!(
        error.to_string().contains("with other parameters"),
        "{error}"
    );
    worker.stop().await;
}

#[tokio::test]
async fn a_run_waits_for_a_worker_that_has_its_key() {
    let store = store();
    let folder = tempfile::tempdir().unwrap();
    let tell = || {
        handler_fn(async |context: StepContext, _: Value| {
            Ok(context.parameters()["password"] == "s3cr3t-of-the-shop")
        })
    };
    let worker = worker(&store, Handlers::new().with("tell", tell()), &folder).await;
    let workflow = Arc::new(
        with_secret_parameters("elsewhere")
            .step("one", "tell")
            .build()
            .unwrap(),
    );
    let submit = Submit::new(workflow).parameters(json!({ "password": "s3cr3t-of-the-shop" }));

    let without = Client::new(store.clone())
        .submit(submit.clone())
        .await
        .unwrap_err();
    assert!(
        matches!(without, surefoot::SubmitError::Sealing(SealError::NoKeys)),
        "{without}"
    );
    let keys = SecretKeys::random().unwrap();
    let elsewhere = Client::new(store.clone()).with_keys(Some(keys.clone()));
    let run = elsewhere.submit(submit).await.unwrap().run;
    let waiting = elsewhere.waiting(&run).await.unwrap().unwrap().to_string();
    assert!(
        waiting.contains(&keys.resources().next().unwrap()),
        "{waiting}"
    );

    let second = tempfile::tempdir().unwrap();
    let options = WorkerOptions {
        keys: Some(keys),
        workspaces: second.path().to_owned(),
        ..WorkerOptions::default()
    };
    let other = Worker::start(store.clone(), Handlers::new().with("tell", tell()), options)
        .await
        .unwrap();
    let run = other.client().wait(run.id).await.unwrap();
    assert_eq!(
        (run.head.status, &run.steps[0].output),
        (RunStatus::Completed, &Some(json!(true)))
    );
    other.stop().await;
    worker.stop().await;
}

/// The store keeps the contents of a workspace: a secret in it fails the step at once, and names
/// the file.
#[tokio::test]
async fn a_workspace_that_holds_a_secret_is_not_kept() {
    let store = store();
    let folder = tempfile::tempdir().unwrap();
    let clones = handler_fn(async |context: StepContext, _: Value| {
        let token = context.credential("token")?;
        let workspace = context.workspace().await?;
        std::fs::create_dir_all(workspace.join("shop/.git"))?;
        std::fs::write(
            workspace.join("shop/.git/config"),
            format!("url = https://x:{}@forge/shop", token.expose()),
        )?;
        Ok(())
    });
    let worker = worker(&store, Handlers::new().with("clones", clones), &folder).await;
    let workflow = Workflow::builder("clones")
        .step_with("clone", "clones", |step| step.retry(quick(3)))
        .build()
        .unwrap();
    let run = finish(&worker.client(), workflow).await;
    assert_eq!(
        (run.head.status, run.steps[0].attempt),
        (RunStatus::Failed, 1)
    );
    let error = run.head.error.unwrap();
    assert!(
        error.contains("file shop/.git/config holds a secret") && !error.contains("s3cr3t"),
        "{error}"
    );
    worker.stop().await;
}

#[tokio::test]
async fn a_stopping_worker_hands_back_and_the_next_carries_on_without_spending_an_attempt() {
    let store = store();
    let folder = tempfile::tempdir().unwrap();
    let calls = Arc::new(AtomicU32::new(0));
    let count = calls.clone();
    let slow_once = handler_fn(move |context: StepContext, _: Value| {
        let first = count.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if first {
                context.save_checkpoint("half").await?;
                std::future::pending::<()>().await;
            }
            Ok(json!({ "attempt": context.attempt(), "checkpoint": context.checkpoint() }))
        }
    });
    let handlers = Handlers::new().with("slow", slow_once);
    let first = worker(&store, handlers.clone(), &folder).await;
    let client = first.client();
    let workflow = Workflow::builder("slow")
        .step("slow", "slow")
        .build()
        .unwrap();
    let run = client
        .submit(Submit::new(Arc::new(workflow)))
        .await
        .unwrap()
        .run;
    while store.run(run.id).await.unwrap().unwrap().steps[0]
        .checkpoint
        .is_none()
    {
        tokio::task::yield_now().await;
    }
    first.stop().await;
    let stopped = store.run(run.id).await.unwrap().unwrap();
    assert_eq!(
        (stopped.head.status, stopped.steps[0].status),
        (RunStatus::Queued, StepStatus::Waiting)
    );
    let second = worker(&store, handlers, &folder).await;
    let run = second.client().wait(run.id).await.unwrap();
    assert_eq!(
        run.steps[0].output,
        Some(json!({ "attempt": 1, "checkpoint": "half" }))
    );
    assert_eq!(run.steps[0].interruptions, 1);
    second.stop().await;
}

/// A report right before a checkpoint is written although no other report follows.
#[tokio::test(start_paused = true)]
async fn what_is_said_before_a_checkpoint_is_seen() {
    let store = store();
    let folder = tempfile::tempdir().unwrap();
    let talks = handler_fn(async |context: StepContext, _: Value| {
        context.log("one");
        tokio::time::sleep(Duration::from_millis(10)).await;
        // The next write is not due yet.
        context.log("two");
        tokio::time::sleep(Duration::from_millis(10)).await;
        context.save_checkpoint(1).await?;
        std::future::pending::<Result<(), StepError>>().await
    });
    let worker = worker(&store, Handlers::new().with("talks", talks), &folder).await;
    let workflow = Workflow::builder("talks")
        .step("talks", "talks")
        .build()
        .unwrap();
    let run = worker
        .client()
        .submit(Submit::new(Arc::new(workflow)))
        .await
        .unwrap()
        .run;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let events = store.events(run.id, 0, 100).await.unwrap();
    let lines: Vec<_> = events
        .iter()
        .filter(|event| event.kind == "step.log")
        .map(|event| &event.data["lines"])
        .collect();
    assert_eq!(lines, [&json!(["one"]), &json!(["two"])]);
    worker.stop().await;
}

#[tokio::test]
async fn on_interrupt_ask_waits_for_a_person_and_takes_the_answer() {
    let store = store();
    let folder = tempfile::tempdir().unwrap();
    let calls = Arc::new(AtomicU32::new(0));
    let count = calls.clone();
    let once_slow = handler_fn(move |_: StepContext, _: Value| {
        let first = count.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if first {
                std::future::pending::<()>().await;
            }
            Ok(())
        }
    });
    let handlers = Handlers::new().with("slow", once_slow);
    let first = worker(&store, handlers.clone(), &folder).await;
    let client = first.client();
    let workflow = Workflow::builder("ask")
        .step_with("risky", "slow", |step| step.on_interrupt(OnInterrupt::Ask));
    let run = client
        .submit(Submit::new(Arc::new(workflow.build().unwrap())))
        .await
        .unwrap()
        .run;
    while calls.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    first.stop().await;
    let second = worker(&store, handlers, &folder).await;
    let client = second.client();
    assert_eq!(
        client.run(run.id).await.unwrap().head.status,
        RunStatus::Waiting
    );
    assert!(
        client
            .answer(run.id, "risky", Answer::Approve, "me", None)
            .await
            .is_err()
    );
    client
        .answer(run.id, "risky", Answer::Rerun, "me", None)
        .await
        .unwrap();
    let run = client.wait(run.id).await.unwrap();
    assert_eq!(
        (run.head.status, calls.load(Ordering::SeqCst)),
        (RunStatus::Completed, 2)
    );
    second.stop().await;
}

/// A handler that asks for approval was interrupted before it asked: to run it again is no
/// approval.
#[tokio::test]
async fn the_answer_to_an_interruption_is_no_approval() {
    struct Asking(AtomicU32);

    #[async_trait]
    impl StepHandler for Asking {
        async fn run(&self, context: StepContext) -> Result<Outcome, StepError> {
            if self.0.fetch_add(1, Ordering::SeqCst) == 0 {
                std::future::pending::<()>().await;
            }
            match context.answer() {
                Some(answer) => Ok(Output::new(answer)?.into()),
                None => Ok(Outcome::Ask {
                    question: "go on?".into(),
                    checkpoint: Value::Null,
                }),
            }
        }
    }

    let store = store();
    let folder = tempfile::tempdir().unwrap();
    let handlers = Handlers::new().with("ask", Asking(AtomicU32::new(0)));
    let workflow = Workflow::builder("asks")
        .step_with("ask", "ask", |step| step.on_interrupt(OnInterrupt::Ask));
    let first = worker(&store, handlers.clone(), &folder).await;
    let submit = Submit::new(Arc::new(workflow.build().unwrap()));
    let run = first.client().submit(submit).await.unwrap().run;
    until(&first.client(), &run, StepStatus::Running, 0).await;
    first.stop().await;
    let second = worker(&store, handlers, &folder).await;
    let client = second.client();
    client
        .answer(run.id, "ask", Answer::Rerun, "me", None)
        .await
        .unwrap();
    let asks = async {
        while client.run(run.id).await.unwrap().asks().is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), asks)
        .await
        .expect("it asks, and does not take `rerun` for `approve`");
    client
        .answer(run.id, "ask", Answer::Approve, "me", None)
        .await
        .unwrap();
    let run = client.wait(run.id).await.unwrap();
    assert_eq!(
        run.steps[0]
            .output
            .as_ref()
            .map(|output| output["answer"].clone()),
        Some(json!("approve"))
    );
    second.stop().await;
}

#[tokio::test]
async fn sleeping_and_asking_hold_no_worker() {
    struct Pausing;

    #[async_trait]
    impl StepHandler for Pausing {
        async fn run(&self, context: StepContext) -> Result<Outcome, StepError> {
            match (context.step_id(), context.checkpoint(), context.answer()) {
                ("sleeps", None, _) => Ok(Outcome::Sleep {
                    delay: Duration::from_millis(30),
                    checkpoint: json!(1),
                }),
                ("asks", _, None) => Ok(Outcome::Ask {
                    question: "go on?".into(),
                    checkpoint: Value::Null,
                }),
                (_, checkpoint, answer) => {
                    Ok(Output::new((checkpoint, answer, context.attempt()))?.into())
                }
            }
        }
    }

    let store = store();
    let folder = tempfile::tempdir().unwrap();
    let worker = worker(&store, Handlers::new().with("pause", Pausing), &folder).await;
    let client = worker.client();
    let workflow = Workflow::builder("pauses")
        .step("sleeps", "pause")
        .step("asks", "pause")
        .build()
        .unwrap();
    let run = client
        .submit(Submit::new(Arc::new(workflow)))
        .await
        .unwrap()
        .run;
    until(&client, &run, StepStatus::Waiting, 1).await;
    assert_eq!(worker.running(), 0);
    client
        .answer(run.id, "asks", Answer::Approve, "me", Some("fine"))
        .await
        .unwrap();
    let run = client.wait(run.id).await.unwrap();
    assert_eq!(run.steps[0].output, Some(json!([1, null, 1])));
    let answer = json!({ "answer": "approve", "by": "me", "note": "fine" });
    assert_eq!(run.steps[1].output, Some(json!([null, answer, 1])));
    worker.stop().await;
}

#[tokio::test]
async fn a_workspace_survives_the_folder_and_a_failed_attempt_leaves_nothing() {
    let store = store();
    let folder = tempfile::tempdir().unwrap();
    let other_machine = tempfile::tempdir().unwrap();
    let act = handler_fn(async |context: StepContext, input: Value| {
        let workspace = context.workspace().await?;
        match input.as_str() {
            Some("write") => {
                std::fs::create_dir_all(workspace.join("a/empty"))?;
                std::fs::write(workspace.join("a/file"), b"\x00binary")?;
                std::os::unix::fs::symlink("file", workspace.join("a/link"))?;
                Ok(Value::Null)
            }
            Some("debris") if context.attempt() == 1 => {
                std::fs::write(workspace.join("debris"), "x")?;
                std::fs::remove_file(workspace.join("a/file"))?;
                Err(StepError::from("half-way"))
            }
            Some("ask") if context.answer().is_none() => Err(StepError::fatal("stop here")),
            _ => {
                let names = std::fs::read_dir(&workspace)?
                    .map(|entry| entry.unwrap().file_name().into_string().unwrap());
                let link = std::fs::read(workspace.join("a/link"))?;
                Ok(
                    json!({ "names": names.collect::<Vec<_>>(), "link": link, "empty": workspace.join("a/empty").is_dir() }),
                )
            }
        }
    });
    let handlers = Handlers::new().with("act", act);
    let workflow = |third: &str| {
        Workflow::builder("files")
            .step_with("write", "act", |step| step.with("write"))
            .step_with("debris", "act", |step| step.with("debris").retry(quick(2)))
            .step_with("third", "act", |step| step.with(third))
            .build()
            .unwrap()
    };
    let expect = json!({ "names": ["a"], "link": b"\x00binary", "empty": true });
    let first = worker(&store, handlers.clone(), &folder).await;
    let run = finish(&first.client(), workflow("read")).await;
    assert_eq!(
        run.steps[1].output,
        Some(expect.clone()),
        "{:?}",
        run.head.error
    );
    assert_eq!(run.steps[2].output, Some(expect));
    assert!(
        !folder
            .path()
            .join("workspaces")
            .join(run.id.to_string())
            .exists()
    );
    // The next step finds the folder on a machine that never had it.
    let run = finish(&first.client(), workflow("ask")).await;
    assert_eq!(run.head.status, RunStatus::Failed);
    first.stop().await;
    let second = worker(&store, handlers, &other_machine).await;
    second
        .client()
        .retry(run.id, Some("debris"), "me")
        .await
        .unwrap();
    let run = second.client().wait(run.id).await.unwrap();
    assert_eq!(
        run.steps[1].output,
        Some(json!({ "names": ["a"], "link": b"\x00binary", "empty": true }))
    );
    second.stop().await;
}

#[tokio::test]
async fn the_same_request_gives_the_same_run_and_another_for_what_is_taken_is_refused() {
    let store = store();
    let folder = tempfile::tempdir().unwrap();
    let act = handler_fn(async |_: StepContext, _: Value| Ok(()));
    let worker = worker(&store, Handlers::new().with("act", act), &folder).await;
    let client = worker.client();
    let schema = json!({
        "type": "object", "required": ["name"], "additionalProperties": false,
        "properties": { "name": { "type": "string", "not": { "pattern": "^kube-" } }, "size": { "type": "integer", "default": 1 } }
    });
    let builder = Workflow::builder("named")
        .parameters(schema)
        .unique("${{ parameters.name }}")
        .step("a", "act");
    let workflow = Arc::new(builder.build().unwrap());
    let submit = |parameters: Value| Submit::new(workflow.clone()).parameters(parameters);

    let first = client
        .submit(submit(json!({ "name": "shop" })).key("k"))
        .await
        .unwrap();
    let again = client
        .submit(submit(json!({ "size": 1, "name": "shop" })).key("k"))
        .await
        .unwrap();
    assert_eq!(
        (again.run.id, first.existing, again.existing),
        (first.run.id, false, true)
    );
    assert_eq!(
        client
            .submit(submit(json!({ "name": "shop" })))
            .await
            .unwrap()
            .run
            .id,
        first.run.id
    );

    let refused = async |submit: Submit| client.submit(submit).await.unwrap_err().to_string();
    assert!(
        refused(submit(json!({ "name": "x" })).key("k"))
            .await
            .contains("belongs to run")
    );
    assert!(
        refused(submit(json!({ "name": "shop", "size": 2 })).key("other"))
            .await
            .contains("`shop` is taken")
    );
    assert_eq!(
        refused(submit(json!({}))).await,
        "parameter name: is required"
    );
    assert_eq!(
        refused(submit(json!({ "name": "x", "sise": 2 }))).await,
        "parameter sise: is not a parameter of this workflow"
    );
    assert!(
        refused(submit(json!({ "name": 3 })))
            .await
            .starts_with("parameter name: 3 is not of type")
    );
    let reserved = refused(submit(json!({ "name": "kube-a" }))).await;
    assert_eq!(
        reserved, "parameter name: \"kube-a\" is not allowed",
        "without the pattern that says so"
    );
    assert_eq!(store.runs(Default::default()).await.unwrap().len(), 1);
    worker.stop().await;
}

/// An idle worker that lost its lease registers again as soon as a claim reports it.
#[tokio::test]
async fn a_worker_that_was_taken_for_dead_learns_of_it_by_its_next_claim() {
    let store = store();
    let folder = tempfile::tempdir().unwrap();
    let nothing = handler_fn(async |_: StepContext, _: Value| Ok(()));
    // Heartbeats are 20 s apart.
    let options = WorkerOptions {
        lease: Duration::from_secs(60),
        workspaces: folder.path().to_owned(),
        ..WorkerOptions::default()
    };
    let handlers = Handlers::new().with("nothing", nothing);
    let worker = Worker::start(store.clone(), handlers, options)
        .await
        .unwrap();
    let known = store.workers().await.unwrap()[0].id;
    store.deregister_worker(known).await.unwrap();
    let workflow = Workflow::builder("one")
        .step("a", "nothing")
        .build()
        .unwrap();
    let client = Client::new(store.clone());
    let ended = tokio::time::timeout(Duration::from_secs(15), finish(&client, workflow)).await;
    assert_eq!(
        ended.expect("it does not wait for a heartbeat").head.status,
        RunStatus::Completed
    );
    assert_ne!(store.workers().await.unwrap()[0].id, known);
    worker.stop().await;
}

/// A NUL is refused with the parameter that holds it, before anything is written.
#[tokio::test]
async fn a_parameter_with_a_nul_is_refused() {
    let store = store();
    let client = Client::new(store.clone());
    let workflow = Arc::new(
        Workflow::builder("one")
            .step("a", "nothing")
            .build()
            .unwrap(),
    );
    let parameters = json!({ "fine": 1, "list": [{ "name": "a\0b" }], "na\0me": 1 });
    let error = client
        .submit(Submit::new(workflow.clone()).parameters(parameters))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("parameter list/0/name: holds a NUL")
            && error.contains(r"parameter na\0me: holds"),
        "{error}"
    );
    let error = client
        .submit(Submit::new(workflow).key("k\0"))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("the key \"k\\0\" holds a NUL"), "{error}");
    assert_eq!(store.runs(Default::default()).await.unwrap(), []);
}

/// A watcher that repeatedly drops its wait still sees the end of the run, however slowly the
/// store answers.
#[tokio::test(start_paused = true)]
async fn a_watch_that_is_dropped_half_way_goes_on_where_it_was() {
    let memory: Arc<dyn Store> = Arc::new(MemoryStore::new(Arc::new(SystemClock)));
    let client = Client::new(memory.clone());
    let workflow = Arc::new(
        Workflow::builder("one")
            .step("a", "nothing")
            .build()
            .unwrap(),
    );
    let run = client.submit(Submit::new(workflow)).await.unwrap().run;
    client
        .cancel(run.id, CancelMode::Stop, "ann")
        .await
        .unwrap();
    let faulty = FaultyStore::sound(memory);
    faulty.set_slow(Duration::from_millis(80));
    let mut watch = Client::new(Arc::new(faulty)).watch(run.id, 0);
    let mut seen = 0;
    for _ in 0..100 {
        match tokio::time::timeout(Duration::from_millis(100), watch.next()).await {
            Ok(Ok(Some(_))) => seen += 1,
            Ok(ended) => return assert!(ended.unwrap().is_none() && seen == 3, "{seen}"),
            Err(_) => {}
        }
    }
    panic!("its end was never seen, and {seen} events");
}
