//! Resources that a run requires of its worker: from the submission on, and after a step bound it.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says where by its panic"
)]

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;
use surefoot::state::CancelMode;
use surefoot::{
    Client, Handlers, Outcome, Output, Run, RunId, RunStatus, StepContext, StepError, StepHandler,
    Store, Submit, SubmitError, SystemClock, Undone, Worker, WorkerHandle, WorkerOptions, Workflow,
};
use surefoot_store_tests::MemoryStore;

/// Makes a thing on a forge that some workers have, and binds the run to it. Wherever it runs, it
/// says where.
struct Make;

#[async_trait]
impl StepHandler for Make {
    async fn run(&self, context: StepContext) -> Result<Outcome, StepError> {
        if !context.has_resource("forge:1") {
            return Err(StepError::needs("forge:1"));
        }
        let bound = context.requires().contains("forge:1");
        Ok(Output::new(json!({ "bound": bound }))?
            .require("forge:1")
            .release("forge:any")
            .into())
    }

    async fn undo(&self, context: StepContext) -> Result<Undone, StepError> {
        if context.has_resource("forge:1") {
            Ok(Undone::Nothing)
        } else {
            Err(StepError::needs("forge:1"))
        }
    }
}

/// Leaves something that only a worker with the forge can take back.
struct Leave;

#[async_trait]
impl StepHandler for Leave {
    async fn run(&self, _context: StepContext) -> Result<Outcome, StepError> {
        Ok(Output::none().into())
    }

    async fn undo(&self, context: StepContext) -> Result<Undone, StepError> {
        Make.undo(context).await
    }
}

/// Fails once and for all.
struct Fail;

#[async_trait]
impl StepHandler for Fail {
    async fn run(&self, _context: StepContext) -> Result<Outcome, StepError> {
        Err(StepError::fatal("it broke"))
    }
}

fn store() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new(Arc::new(SystemClock)))
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

async fn worker(
    store: &Arc<dyn Store>,
    resources: &[&str],
    folder: &tempfile::TempDir,
) -> WorkerHandle {
    let handlers = Handlers::new()
        .with("make", Make)
        .with("leave", Leave)
        .with("fail", Fail);
    let resources = Arc::new(names(resources));
    let workspaces = folder.path().join(surefoot::WorkerId::new().to_string());
    Worker::start(
        store.clone(),
        handlers,
        WorkerOptions {
            resources,
            workspaces,
            ..WorkerOptions::default()
        },
    )
    .await
    .unwrap()
}

fn workflow(steps: &[&str], requires: &[&str]) -> Arc<Workflow> {
    let builder = Workflow::builder("flow").parameters(json!({
        "type": "object", "properties": { "forge": { "type": "string", "default": "any" } },
    }));
    let builder = requires
        .iter()
        .fold(builder, |builder, template| builder.requires(*template));
    let builder = steps
        .iter()
        .fold(builder, |builder, action| builder.step(*action, *action));
    Arc::new(builder.build().unwrap())
}

async fn kinds(client: &Client, run: RunId) -> Vec<String> {
    client
        .store()
        .events(run, 0, 1000)
        .await
        .unwrap()
        .into_iter()
        .map(|event| event.kind)
        .collect()
}

/// Waits until the run's history holds an event of this kind.
async fn saw(client: &Client, run: RunId, kind: &str) {
    let mut watch = client.watch(run, 0);
    while watch.next().await.unwrap().expect("the run goes on").kind != kind {}
}

async fn finish(client: &Client, submit: Submit) -> Run {
    let run = client.submit(submit).await.unwrap().run;
    client.wait(run.id).await.unwrap()
}

#[tokio::test]
async fn a_submission_starts_only_where_its_requirements_are() {
    let store = store();
    let folder = tempfile::tempdir().unwrap();
    let poor = worker(&store, &[], &folder).await;
    let client = poor.client();
    let submit = || {
        Submit::new(workflow(&["make"], &["forge:${{ parameters.forge }}", ""])).requires("key:1")
    };
    let run = client.submit(submit()).await.unwrap().run;
    assert_eq!(run.requires, names(&["forge:any", "key:1"]));
    let waiting = client.waiting(&run).await.unwrap().unwrap().to_string();
    assert_eq!(
        waiting,
        "for a worker that has forge:any, key:1: no live one does"
    );
    assert_eq!(
        client.run(run.id).await.unwrap().head.status,
        RunStatus::Queued
    );

    let rich = worker(&store, &["forge:1", "forge:any", "key:1"], &folder).await;
    let run = client.wait(run.id).await.unwrap();
    assert_eq!(
        (run.head.status, &run.requires),
        (RunStatus::Completed, &names(&["forge:1", "key:1"]))
    );
    let direct = finish(&rich.client(), submit()).await;
    assert_eq!(
        kinds(&client, direct.id).await[..3],
        ["run.submitted", "run.started", "step.started"]
    );
    rich.stop().await;
    poor.stop().await;
}

#[tokio::test]
async fn each_live_worker_may_lack_something_else() {
    let store = store();
    let folder = tempfile::tempdir().unwrap();
    let one = worker(&store, &["forge:any"], &folder).await;
    let other = worker(&store, &["key:1"], &folder).await;
    let submit = Submit::new(workflow(&["make"], &["forge:any"])).requires("key:1");
    let run = one.client().submit(submit).await.unwrap().run;
    let waiting = one.client().waiting(&run).await.unwrap().unwrap();
    assert_eq!(
        waiting.to_string(),
        "for a worker that has all the resources it requires: each live one lacks some"
    );
    let mut lacking = waiting
        .lacking()
        .iter()
        .map(|lacking| lacking.resources.join(" "))
        .collect::<Vec<_>>();
    lacking.sort();
    assert_eq!(lacking, ["forge:any", "key:1"]);
    one.stop().await;
    other.stop().await;
}

/// A workflow that says nothing of what its steps need is handed over by the step that finds out.
#[tokio::test]
async fn a_step_that_finds_its_worker_lacking_goes_on_elsewhere() {
    let store = store();
    let folder = tempfile::tempdir().unwrap();
    let poor = worker(&store, &[], &folder).await;
    let client = poor.client();
    let run = client
        .submit(Submit::new(workflow(&["make"], &[])))
        .await
        .unwrap()
        .run;
    saw(&client, run.id, "run.requires").await;
    let waits = client.run(run.id).await.unwrap();
    assert_eq!(
        (waits.head.status, waits.steps[0].attempt),
        (RunStatus::Queued, 1)
    );
    let waiting = client.waiting(&waits).await.unwrap().unwrap().to_string();
    assert_eq!(waiting, "for a worker that has forge:1: no live one does");

    let rich = worker(&store, &["forge:1"], &folder).await;
    let run = client.wait(run.id).await.unwrap();
    assert_eq!(
        (run.head.status, run.steps[0].attempt),
        (RunStatus::Completed, 1),
        "no attempt is spent"
    );
    assert_eq!(run.steps[0].output, Some(json!({ "bound": true })));
    rich.stop().await;
    poor.stop().await;
}

/// An undo is for the worker that has what was made; one that lacks it removes nothing and reports
/// nothing.
#[tokio::test]
async fn an_undo_goes_where_the_thing_is() {
    let store = store();
    let folder = tempfile::tempdir().unwrap();
    let rich = worker(&store, &["forge:1"], &folder).await;
    let run = finish(
        &rich.client(),
        Submit::new(workflow(&["make", "fail"], &[])),
    )
    .await;
    assert_eq!(
        (run.head.status, &run.requires),
        (RunStatus::Failed, &names(&["forge:1"]))
    );
    rich.stop().await;

    let poor = worker(&store, &[], &folder).await;
    let client = poor.client();
    let cancelled = client
        .cancel(run.id, CancelMode::Undo, "ann")
        .await
        .unwrap();
    let waiting = client
        .waiting(&cancelled)
        .await
        .unwrap()
        .unwrap()
        .to_string();
    assert_eq!(waiting, "for a worker that has forge:1: no live one does");
    let rich = worker(&store, &["forge:1"], &folder).await;
    let run = client.wait(run.id).await.unwrap();
    assert_eq!(run.head.status, RunStatus::Cancelled);
    rich.stop().await;
    poor.stop().await;
}

/// The same where nothing had bound the run: the undo itself hands it over.
#[tokio::test]
async fn an_undo_that_finds_its_worker_lacking_goes_on_elsewhere() {
    let store = store();
    let folder = tempfile::tempdir().unwrap();
    let poor = worker(&store, &[], &folder).await;
    let client = poor.client();
    let run = client
        .submit(Submit::new(workflow(&["leave", "fail"], &[])))
        .await
        .unwrap()
        .run;
    assert!(client.wait(run.id).await.unwrap().requires.is_empty());
    client
        .cancel(run.id, CancelMode::Undo, "ann")
        .await
        .unwrap();
    saw(&client, run.id, "run.requires").await;
    let waits = client.run(run.id).await.unwrap();
    assert_eq!(
        (waits.head.status, waits.head.cancel),
        (RunStatus::Queued, Some(CancelMode::Undo))
    );
    let rich = worker(&store, &["forge:1"], &folder).await;
    assert_eq!(
        client.wait(run.id).await.unwrap().head.status,
        RunStatus::Cancelled
    );
    rich.stop().await;
    poor.stop().await;
}

#[tokio::test]
async fn a_resource_without_a_name_is_refused_before_anything_is_written() {
    let store = store();
    let folder = tempfile::tempdir().unwrap();
    let worker = worker(&store, &[], &folder).await;
    let submit = Submit::new(workflow(&["make"], &[])).requires("two words");
    let error = worker.client().submit(submit).await.unwrap_err();
    assert!(matches!(&error, SubmitError::Store(_)), "{error}");
    assert!(
        error.to_string().contains("is not the name of a resource"),
        "{error}"
    );
    assert_eq!(
        store
            .runs(surefoot::store::RunFilter::default())
            .await
            .unwrap(),
        []
    );
    worker.stop().await;
}

#[test]
fn a_workflow_names_its_requirements_soundly() {
    let yaml = |requires: &str| {
        Workflow::from_yaml(&format!(
            "workflow: w\nrequires: {requires}\nsteps: [{{ id: a, action: b }}]"
        ))
    };
    let good = yaml("[\"forge:local\"]").unwrap();
    assert_eq!(good.requires(), ["forge:local"]);
    assert_eq!(Workflow::from_json(good.json()).unwrap(), good);
    let error = yaml("[\"${{ steps.a.output }}\"]").unwrap_err().to_string();
    assert!(error.starts_with("field requires: "), "{error}");
    let many = vec!["x"; 17].join(", ");
    assert!(
        yaml(&format!("[{many}]"))
            .unwrap_err()
            .to_string()
            .contains("16 at most")
    );
}

/// Two builds work on one store. What the newer one writes is left to it, by a rolling deploy and
/// by its rollback, and everything else goes on.
#[tokio::test]
async fn two_builds_share_a_store_through_a_deploy_and_its_rollback() {
    let folder = tempfile::tempdir().unwrap();
    let memory = MemoryStore::new(Arc::new(SystemClock));
    let newest = Workflow::FORMAT + 1;
    let newer_store: Arc<dyn Store> = Arc::new(memory.build(newest));
    let old_store: Arc<dyn Store> = Arc::new(memory);
    let submitter = Client::new(newer_store.clone());
    let plain = workflow(&["leave"], &[]);
    let newer_plan = Arc::new(Workflow::clone(&plain).in_format(newest));
    let newer_run = || Submit::new(newer_plan.clone());

    let old = worker(&old_store, &[], &folder).await;
    let run = submitter.submit(newer_run()).await.unwrap().run;
    let waiting = submitter.waiting(&run).await.unwrap().unwrap();
    let expect = format!(
        "for a worker that reads plans of format {newest}: the live ones read up to {}",
        Workflow::FORMAT
    );
    assert_eq!(waiting.to_string(), expect);
    let seen = old.client().run(run.id).await.unwrap();
    assert!(seen.unreadable.is_some());
    // The old worker looks past it at what came later.
    let other = finish(&old.client(), Submit::new(plain.clone())).await;
    assert_eq!(other.head.status, RunStatus::Completed);
    let untouched = submitter.run(run.id).await.unwrap();
    assert_eq!(untouched.head.status, RunStatus::Queued);

    // The deploy: both work side by side.
    let newer = worker(&newer_store, &[], &folder).await;
    let ended = submitter.wait(run.id).await.unwrap();
    assert_eq!(ended.head.status, RunStatus::Completed);
    let other = finish(&newer.client(), Submit::new(plain.clone())).await;
    assert_eq!(other.head.status, RunStatus::Completed);

    // The rollback.
    newer.stop().await;
    let left = submitter.submit(newer_run()).await.unwrap().run;
    let other = finish(&old.client(), Submit::new(plain.clone())).await;
    assert_eq!(other.head.status, RunStatus::Completed);
    let untouched = submitter.run(left.id).await.unwrap();
    assert_eq!(untouched.head.status, RunStatus::Queued);

    let newer = worker(&newer_store, &[], &folder).await;
    let ended = submitter.wait(left.id).await.unwrap();
    assert_eq!(ended.head.status, RunStatus::Completed);
    newer.stop().await;
    old.stop().await;
}
