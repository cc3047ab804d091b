//! The whole workflow on a real worker, with real repositories: completed, undone, refused and
//! resumed.

#![expect(clippy::disallowed_methods, reason = "tests make and look at files")]
#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use surefoot::state::CancelMode;
use surefoot::store::RecordFilter;
use surefoot::{
    Client, CredentialError, CredentialSource, NoCredentials, Run, RunId, RunStatus, Secret,
    StepContext, StepError, Store, StoreError, Submit, SubmitError, SystemClock, Timestamp, Worker,
    WorkerHandle, WorkerOptions, Workflow, handler_fn,
};
use surefoot_initializer::forge::{self, StoreForge};
use surefoot_initializer::git::Git;
use surefoot_initializer::project::{self, ProjectConfig};
use surefoot_store_tests::MemoryStore;

mod http_backend;

use http_backend::HttpBackend;

struct World {
    folder: tempfile::TempDir,
    store: Arc<dyn Store>,
    _worker: WorkerHandle,
    client: Client,
}

impl World {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut ProjectConfig)) -> Self {
        Self::of(Arc::new(NoCredentials), change).await
    }

    async fn of(
        credentials: Arc<dyn CredentialSource>,
        change: impl FnOnce(&mut ProjectConfig),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = ProjectConfig::new(folder.path());
        change(&mut config);
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Arc::new(SystemClock)));
        let mark = config.forge().establish().unwrap();
        let of_store = StoreForge::of_or_else(store.as_ref(), &mark.id, "here")
            .await
            .unwrap();
        let resources = Arc::new(forge::resources(&mark, &of_store));
        let options = WorkerOptions {
            resources,
            workspaces: folder.path().join("workspaces"),
            credentials,
            ..WorkerOptions::default()
        };
        let handlers = project::handlers(config).with("test.fail", handler_fn(fail));
        let worker = Worker::start(store.clone(), handlers, options)
            .await
            .unwrap();
        Self {
            client: worker.client(),
            _worker: worker,
            store,
            folder,
        }
    }

    async fn submit(&self, parameters: Value) -> Result<RunId, SubmitError> {
        let submit = Submit::new(Arc::new(project::workflow())).parameters(parameters);
        Ok(self.client.submit(submit).await?.run.id)
    }

    /// A run of the workflow with an eighth step, which fails.
    async fn failed_at_the_end(&self, name: &str) -> Run {
        let mut workflow: Value = serde_json::from_str(project::workflow().json()).unwrap();
        workflow["steps"]
            .as_array_mut()
            .unwrap()
            .push(json!({ "id": "fail", "action": "test.fail" }));
        let workflow = Workflow::from_json(&workflow.to_string()).unwrap();
        let submit = Submit::new(Arc::new(workflow)).parameters(json!({ "name": name }));
        let run = self.client.submit(submit).await.unwrap().run;
        let run = self.client.wait(run.id).await.unwrap();
        assert!(
            run.steps[7]
                .error
                .as_ref()
                .unwrap()
                .contains("as the test wants"),
            "{:?}",
            run.head.error
        );
        run
    }

    /// Runs the workflow to its end.
    async fn run(&self, parameters: Value) -> Run {
        let id = self.submit(parameters).await.unwrap();
        self.client.wait(id).await.unwrap()
    }

    async fn completed(&self, parameters: Value) -> Run {
        let run = self.run(parameters).await;
        assert_eq!(
            run.head.status,
            RunStatus::Completed,
            "{:?}",
            run.head.error
        );
        run
    }

    async fn failed(&self, parameters: Value, step: &str, expect: &str) -> Run {
        let run = self.run(parameters).await;
        let position = run.plan.position(step).unwrap();
        let error = run.steps[position].error.clone().unwrap_or_default();
        assert!(
            run.head.status == RunStatus::Failed && error.contains(expect),
            "{:?}: {error}",
            run.head.status
        );
        run
    }

    async fn undo(&self, run: &Run) -> Run {
        self.client
            .cancel(run.id, CancelMode::Undo, "ada")
            .await
            .unwrap();
        self.client.wait(run.id).await.unwrap()
    }

    /// A run that is cancelled with undo during that step; `None` if the step was faster.
    async fn cancelled_at(&self, step: &str) -> Option<Run> {
        let id = self.submit(json!({ "name": "shop" })).await.unwrap();
        let mut watch = self.client.watch(id, 0);
        while let Some(event) = watch.next().await.unwrap() {
            if event.kind == "step.started" && event.step.as_deref() == Some(step) {
                match self.client.cancel(id, CancelMode::Undo, "ada").await {
                    Err(StoreError::Rule(_)) => return None,
                    asked => drop(asked.unwrap()),
                }
            }
        }
        Some(self.client.run(id).await.unwrap())
    }

    fn repository(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("repositories/{name}.git"))
    }

    async fn git(&self, name: &str, args: &[&str]) -> String {
        Git::new(self.repository(name))
            .run(args)
            .await
            .unwrap()
            .trim()
            .to_owned()
    }

    async fn records(&self) -> Vec<String> {
        let records = self.store.records(RecordFilter::default()).await.unwrap();
        records
            .iter()
            .map(|record| format!("{} {}", record.kind, record.name))
            .collect()
    }

    fn leftovers(&self) -> usize {
        fs::read_dir(self.folder.path().join("scratch")).map_or(0, Iterator::count)
    }
}

async fn fail(_: StepContext, _: Value) -> Result<(), StepError> {
    Err(StepError::fatal("as the test wants"))
}

fn output<'a>(run: &'a Run, step: &str) -> &'a Value {
    run.steps[run.plan.position(step).unwrap()]
        .output
        .as_ref()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_seven_steps_complete() {
    let world = World::new().await;
    let run = world
        .completed(json!({ "name": "my-shop", "owner": "team-a", "description": "Sells things" }))
        .await;
    let commit = world.git("my-shop", &["rev-parse", "main"]).await;
    assert_eq!(output(&run, "push_template")["commit"], json!(commit));
    assert_eq!(
        world
            .git("my-shop", &["rev-list", "--all", "--count"])
            .await,
        "1"
    );
    let readme = world.git("my-shop", &["show", "main:README.md"]).await;
    assert!(
        readme.starts_with("# my-shop\n\nSells things\n"),
        "{readme}"
    );
    let expect = [
        "environment my-shop/development",
        "environment my-shop/production",
        "environment my-shop/staging",
        "project my-shop",
        "repository my-shop",
    ];
    assert_eq!(world.records().await, expect);
    let fleet = world
        .git("fleet", &["ls-tree", "-r", "--name-only", "main"])
        .await;
    assert_eq!(
        json!(fleet.lines().collect::<Vec<_>>()),
        output(&run, "setup_gitops")["files"]
    );
    assert_eq!(fleet.lines().count(), 5);
    let end = output(&run, "finalize");
    assert_eq!(end["commit"], json!(commit));
    assert!(
        end["next_steps"][0]
            .as_str()
            .unwrap()
            .starts_with("git clone file:///"),
        "{end}"
    );
    assert!(
        end["not_done"]
            .to_string()
            .contains("recorded for staging and production, but nothing waits"),
        "{end}"
    );
    assert!(
        end["not_done"]
            .to_string()
            .contains("the secret fleet--my-shop/git-credentials"),
        "{end}"
    );
    assert_eq!(world.leftovers(), 0);
    assert_eq!(run.head.progress, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn environments_template_and_gitops_are_as_asked_for() {
    let world = World::new().await;
    let parameters = json!({
        "name": "shop", "template": "python-service", "gitops": false, "values": { "port": 9000 },
        "environments": [{ "name": "qa" }, { "name": "live", "approvals": 5 }], "visibility": "public",
    });
    let run = world.completed(parameters).await;
    assert!(!world.repository("fleet").exists());
    assert!(
        world
            .repository("shop")
            .join("git-daemon-export-ok")
            .exists()
    );
    let files = world
        .git(
            "shop",
            &["ls-tree", "-r", "--format=%(objectmode) %(path)", "main"],
        )
        .await;
    assert!(
        files.contains("100755 dev\n") && files.contains("deploy/overlays/qa/kustomization.yaml"),
        "{files}"
    );
    assert!(
        !files.contains("staging") && !files.contains("surefoot-template.yaml"),
        "{files}"
    );
    assert!(
        world
            .git("shop", &["show", "main:service/__main__.py"])
            .await
            .contains("\"9000\"")
    );
    assert_eq!(
        output(&run, "finalize")["environments"][1],
        json!({ "name": "live", "approvals": 5 })
    );
    assert_eq!(output(&run, "finalize")["gitops"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_half_way_with_undo_leaves_nothing() {
    let mut pace = Duration::from_millis(300);
    let paced = |pace| World::with(move |config| config.pace = Some(pace));
    let mut world = paced(pace).await;
    for step in [
        "create_repository",
        "push_template",
        "create_environments",
        "setup_gitops",
        "finalize",
    ] {
        let run = loop {
            if let Some(run) = world.cancelled_at(step).await {
                break run;
            }
            // The run had ended before the cancel arrived.
            pace *= 2;
            assert!(pace < Duration::from_secs(60), "{step} was not caught");
            world = paced(pace).await;
        };
        assert_eq!(
            run.head.status,
            RunStatus::Cancelled,
            "{step}: {:?}",
            run.head.error
        );
        assert!(!world.repository("shop").exists(), "{step}");
        assert_eq!(world.records().await, [""; 0], "{step}");
        if world.repository("fleet").exists() {
            assert_eq!(
                world
                    .git(
                        "fleet",
                        &["ls-tree", "-r", "--name-only", "--full-tree", "main"]
                    )
                    .await,
                "",
                "{step}"
            );
        }
        assert_eq!(world.leftovers(), 0, "{step}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twelve_concurrent_runs_share_the_fleet() {
    let world = World::new().await;
    let mut ids = Vec::new();
    for number in 0..12 {
        ids.push(
            world
                .submit(json!({ "name": format!("shop-{number}") }))
                .await
                .unwrap(),
        );
    }
    for id in ids {
        let run = world.client.wait(id).await.unwrap();
        assert_eq!(
            run.head.status,
            RunStatus::Completed,
            "{:?}",
            run.head.error
        );
    }
    assert_eq!(
        world.git("fleet", &["rev-list", "--count", "main"]).await,
        "12"
    );
    assert_eq!(
        world
            .git("fleet", &["ls-tree", "--name-only", "main", "projects/"])
            .await
            .lines()
            .count(),
        12
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_credential_fails_at_once_and_a_found_one_is_never_written() {
    let named =
        |config: &mut ProjectConfig| config.forge_credential = Some("forge-token".to_owned());
    let world = World::with(named).await;
    let run = world
        .failed(
            json!({ "name": "shop" }),
            "resolve_credentials",
            "forge-token",
        )
        .await;
    assert_eq!(run.steps[0].attempt, 1);
    assert!(!world.repository("shop").exists());

    let world = World::of(Arc::new(Fixed), named).await;
    let run = world
        .completed(json!({ "name": "shop", "description": "not hunter2" }))
        .await;
    let resolved = output(&run, "resolve_credentials");
    assert_eq!(
        (&resolved["forge"], &resolved["credentials"]),
        (&json!("local"), &json!(["forge-token"]))
    );
    let events = world.store.events(run.id, 0, 1000).await.unwrap();
    assert!(events.len() > 14 && !format!("{events:?}").contains("hunter2"));
}

/// Has one credential.
struct Fixed;

impl CredentialSource for Fixed {
    fn get(&self, _: &str) -> Result<Secret, CredentialError> {
        Ok(Secret::new("hunter2"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_behind_https_is_reached_with_the_forges_credential_which_is_never_written() {
    let folder = tempfile::tempdir().unwrap();
    Git::new(folder.path())
        .run(&["init", "--quiet", "--bare", "fleet.git"])
        .await
        .unwrap();
    Git::new(folder.path().join("fleet.git"))
        .run(&["config", "http.receivepack", "true"])
        .await
        .unwrap();
    let server = HttpBackend::start(folder.path(), "x-access-token", "hunter2");
    let url = format!("{}/fleet.git", server.url());
    let world = World::of(Arc::new(Fixed), |config| {
        config.fleet = Some(url.clone());
        config.forge_credential = Some("forge-token".to_owned());
    })
    .await;
    let run = world.failed_at_the_end("shop").await;
    assert_eq!(output(&run, "setup_gitops")["fleet"], json!(url));
    let fleet = Git::new(folder.path().join("fleet.git"));
    let files = fleet
        .run(&["ls-tree", "-r", "--name-only", "main"])
        .await
        .unwrap();
    assert_eq!(
        json!(files.lines().collect::<Vec<_>>()),
        output(&run, "setup_gitops")["files"]
    );
    let run = world.undo(&run).await;
    assert_eq!(
        run.head.status,
        RunStatus::Cancelled,
        "{:?}",
        run.head.error
    );
    assert_eq!(
        fleet
            .run(&["ls-tree", "-r", "--name-only", "main"])
            .await
            .unwrap(),
        ""
    );
    let events = world.store.events(run.id, 0, 1000).await.unwrap();
    assert!(!format!("{events:?}{run:?}").contains("hunter2"));

    // Without it the server refuses access.
    let world = World::with(|config| config.fleet = Some(url)).await;
    let mut workflow: Value = serde_json::from_str(project::workflow().json()).unwrap();
    workflow["steps"][5]["retry"] = json!({ "attempts": 1 });
    let submit = Submit::new(Arc::new(
        Workflow::from_json(&workflow.to_string()).unwrap(),
    ));
    let run = world
        .client
        .submit(submit.parameters(json!({ "name": "blog" })))
        .await
        .unwrap()
        .run;
    let run = world.client.wait(run.id).await.unwrap();
    let error = run.steps[5].error.clone().unwrap_or_default();
    assert!(error.contains("could not read Username"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_name_is_refused_before_anything_is_made() {
    let world = World::new().await;
    let run = world.completed(json!({ "name": "shop" })).await;
    let error = world
        .submit(json!({ "name": "shop", "owner": "another" }))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, SubmitError::Taken { run: other, .. } if other.id == run.id),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_a_cluster_are_refused_before_anything_is_made() {
    let world = World::new().await;
    for name in [
        "flux-system",
        "flux",
        "kube",
        "kube-public",
        "default",
        "fleet",
        "a--b",
    ] {
        let error = world
            .submit(json!({ "name": name, "environments": [{ "name": "system" }] }))
            .await
            .unwrap_err();
        assert!(
            matches!(&error, SubmitError::Parameters(errors) if errors[0].parameter == "name"),
            "{name}: {error}"
        );
    }
    let error = world
        .submit(json!({ "name": "shop", "environments": [{ "name": "eu--prod" }] }))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("environments/0/name"), "{error}");
    assert_eq!(
        fs::read_dir(world.folder.path().join("repositories"))
            .unwrap()
            .count(),
        1,
        "the forge's mark alone"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn projects_whose_names_join_to_the_same_text_share_nothing_in_the_cluster() {
    let world = World::new().await;
    for (name, environment) in [("shop", "eu-prod"), ("shop-eu", "prod")] {
        world
            .completed(json!({ "name": name, "environments": [{ "name": environment }] }))
            .await;
    }
    let namespaces = async |file: &str| {
        let text = world
            .git("fleet", &["show", &format!("main:projects/{file}")])
            .await;
        let documents = serde_saphyr::from_multiple::<Value>(&text).unwrap();
        documents
            .iter()
            .filter(|it| it["kind"] == "Namespace")
            .map(|it| it["metadata"]["name"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(namespaces("shop/env-eu-prod.yaml").await, ["shop--eu-prod"]);
    assert_eq!(namespaces("shop-eu/env-prod.yaml").await, ["shop-eu--prod"]);
    assert_eq!(
        namespaces("shop-eu/namespace.yaml").await,
        ["fleet--shop-eu"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_claimed_by_another_file_are_refused_and_the_run_can_be_undone() {
    let world = World::new().await;
    world.completed(json!({ "name": "other" })).await;
    let git = Git::new(world.repository("fleet")).identity(
        "Ada",
        "ada@example.org",
        Timestamp::from_micros(0),
    );
    let claim = b"apiVersion: v1\nkind: Namespace\nmetadata: {name: shop--staging}\n";
    let blob = git
        .run_with_input(&["hash-object", "-w", "--stdin"], claim)
        .await
        .unwrap();
    let before = git.run(&["ls-tree", "main"]).await.unwrap();
    let tree = format!("{before}100644 blob {}\tby-hand.yaml\n", blob.trim());
    let tree = git
        .run_with_input(&["mktree"], tree.as_bytes())
        .await
        .unwrap();
    let head = git
        .run(&["commit-tree", "-p", "main", "-m", "mine", tree.trim()])
        .await
        .unwrap();
    git.run(&["update-ref", "refs/heads/main", head.trim()])
        .await
        .unwrap();

    let run = world
        .failed(json!({ "name": "shop" }), "setup_gitops", "by-hand.yaml")
        .await;
    assert_eq!(run.steps[5].attempt, 1, "no further attempt would help");
    assert_eq!(
        world.git("fleet", &["rev-parse", "main"]).await,
        head.trim()
    );
    let run = world.undo(&run).await;
    assert_eq!(
        run.head.status,
        RunStatus::Cancelled,
        "{:?}",
        run.head.error
    );
    assert!(!world.repository("shop").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_repository_is_left_as_it_is() {
    let world = World::new().await;
    let path = world.repository("shop");
    fs::create_dir_all(&path).unwrap();
    Git::new(&path)
        .run(&["init", "--quiet", "--bare"])
        .await
        .unwrap();
    let run = world
        .failed(
            json!({ "name": "shop" }),
            "create_repository",
            "not made by Surefoot",
        )
        .await;
    assert_eq!(run.steps[1].attempt, 1, "no further attempt would help");
    let run = world.undo(&run).await;
    assert_eq!(
        run.head.status,
        RunStatus::Cancelled,
        "{:?}",
        run.head.error
    );
    assert!(path.join("HEAD").exists() && world.records().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_run_resumes_at_its_failed_step() {
    let templates = tempfile::tempdir().unwrap();
    let template = templates.path().join("template");
    let world =
        World::with(|config| config.template_folders = vec![templates.path().to_owned()]).await;
    write(&template, "surefoot-template.yaml", "");
    write(&template, "a.txt", "${{ nmae }}");
    let parameters = json!({ "name": "shop", "template": template, "gitops": false });
    let run = world
        .failed(
            parameters,
            "resolve_credentials",
            "a.txt: line 1: undefined value",
        )
        .await;
    assert_eq!(run.steps[0].attempt, 1, "no further attempt would help");
    assert!(!world.repository("shop").exists(), "nothing was created");
    write(&template, "a.txt", "${{ name }}");
    world.client.retry(run.id, None, "ada").await.unwrap();
    let run = world.client.wait(run.id).await.unwrap();
    assert_eq!(
        run.head.status,
        RunStatus::Completed,
        "{:?}",
        run.head.error
    );
    assert_eq!(world.git("shop", &["show", "main:a.txt"]).await, "shop");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_in_template_or_values_are_found_before_anything_is_created() {
    let templates = tempfile::tempdir().unwrap();
    let at = |name: &str| templates.path().join(name);
    write(&at("copier"), "copier.yml", "");
    write(&at("plain"), "a.txt", "${{ secrets.X }}");
    let world =
        World::with(|config| config.template_folders = vec![templates.path().to_owned()]).await;
    let refused = async |name: &str, mut parameters: Value, expect: &str| {
        parameters["name"] = json!(name);
        let run = world
            .failed(parameters, "resolve_credentials", expect)
            .await;
        assert_eq!(
            run.steps[0].attempt, 1,
            "{name}: no further attempt would help"
        );
        let forge = fs::read_dir(world.folder.path().join("repositories")).unwrap();
        assert_eq!(
            forge.count(),
            1,
            "{name}: nothing is created beside the forge's mark"
        );
        world.undo(&run).await;
    };
    refused(
        "foreign",
        json!({ "template": at("copier") }),
        "a copier template",
    )
    .await;
    refused("value", json!({ "values": { "bogus": 1 } }), "values.bogus").await;
    refused(
        "value-2",
        json!({ "values": { "port": "x" } }),
        "values.port",
    )
    .await;
    refused(
        "plain-1",
        json!({ "template": at("plain"), "gitops": false, "values": { "x": 1 } }),
        "takes no values",
    )
    .await;
    refused(
        "plain-2",
        json!({ "template": at("plain") }),
        "-p gitops=false",
    )
    .await;
    let twice = json!([{ "name": "qa" }, { "name": "qa", "approvals": 1 }]);
    refused(
        "twice",
        json!({ "environments": twice }),
        "`qa` is named twice",
    )
    .await;
    // Once the mistake is corrected, the same name is free.
    world
        .completed(json!({ "name": "plain-2", "template": at("plain"), "gitops": false }))
        .await;
    assert_eq!(
        world.git("plain-2", &["show", "main:a.txt"]).await,
        "${{ secrets.X }}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_changes_after_it_was_prepared_changes_nothing() {
    let templates = tempfile::tempdir().unwrap();
    let template = templates.path().join("template");
    write(&template, "a.txt", "first");
    let world = World::with(|config| {
        config.template_folders = vec![templates.path().to_owned()];
        config.pace = Some(Duration::from_millis(300));
    })
    .await;
    let id = world
        .submit(json!({ "name": "shop", "template": template, "gitops": false }))
        .await
        .unwrap();
    let mut watch = world.client.watch(id, 0);
    while let Some(event) = watch.next().await.unwrap() {
        if event.kind == "step.completed" && event.step.as_deref() == Some("resolve_credentials") {
            fs::remove_dir_all(&template).unwrap();
        }
    }
    let run = world.client.run(id).await.unwrap();
    assert_eq!(
        run.head.status,
        RunStatus::Completed,
        "{:?}",
        run.head.error
    );
    assert_eq!(world.git("shop", &["show", "main:a.txt"]).await, "first");
}

/// The form of plans of earlier versions.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_whose_push_renders_the_template_still_runs() {
    let world = World::new().await;
    let mut workflow: Value = serde_json::from_str(project::workflow().json()).unwrap();
    let mut content = workflow["steps"][0]["with"]
        .as_object_mut()
        .unwrap()
        .remove("content")
        .unwrap();
    content["gitops"] = json!(false);
    workflow["steps"][2]["with"] = content;
    let submit = Submit::new(Arc::new(
        Workflow::from_json(&workflow.to_string()).unwrap(),
    ));
    let run = world
        .client
        .submit(submit.parameters(json!({ "name": "shop" })))
        .await
        .unwrap()
        .run;
    let run = world.client.wait(run.id).await.unwrap();
    assert_eq!(
        run.head.status,
        RunStatus::Completed,
        "{:?}",
        run.head.error
    );
    assert!(
        world
            .git("shop", &["show", "main:README.md"])
            .await
            .starts_with("# shop")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn undo_keeps_other_commits_and_removes_only_what_the_run_made() {
    let world = World::new().await;
    world.completed(json!({ "name": "other" })).await;
    let run = world.failed_at_the_end("shop").await;
    let git = Git::new(world.repository("shop")).identity(
        "Ada",
        "ada@example.org",
        Timestamp::from_micros(0),
    );
    let first = world.git("shop", &["rev-parse", "main"]).await;
    let theirs = git
        .run(&["commit-tree", "-p", &first, "-m", "more", "main^{tree}"])
        .await
        .unwrap();
    git.run(&["update-ref", "refs/heads/main", theirs.trim()])
        .await
        .unwrap();
    let undone = world.undo(&run).await;
    let error = undone.head.error.clone().unwrap_or_default();
    assert!(
        undone.head.status == RunStatus::Failed && error.contains("people's commits"),
        "{error}"
    );
    assert_eq!(
        world.git("shop", &["rev-parse", "main"]).await,
        theirs.trim()
    );

    git.run(&["update-ref", "refs/heads/main", &first])
        .await
        .unwrap();
    let undone = world.undo(&run).await;
    assert_eq!(
        undone.head.status,
        RunStatus::Cancelled,
        "{:?}",
        undone.head.error
    );
    assert!(!world.repository("shop").exists() && world.repository("other").exists());
    let records = world.records().await;
    assert!(
        records.len() == 5 && records.iter().all(|record| record.contains(" other")),
        "{records:?}"
    );
    let fleet = world
        .git("fleet", &["ls-tree", "-r", "--name-only", "main"])
        .await;
    assert!(
        fleet.contains("projects/other/") && !fleet.contains("projects/shop/"),
        "{fleet}"
    );
    world.completed(json!({ "name": "shop" })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn finalize_names_what_is_missing() {
    let world = World::new().await;
    let run = world.failed_at_the_end("shop").await;
    let git = Git::new(world.repository("fleet")).identity(
        "Ada",
        "ada@example.org",
        Timestamp::from_micros(0),
    );
    let empty = git.run_with_input(&["mktree"], b"").await.unwrap();
    let removed = git
        .run(&["commit-tree", "-p", "main", "-m", "all gone", empty.trim()])
        .await
        .unwrap();
    git.run(&["update-ref", "refs/heads/main", removed.trim()])
        .await
        .unwrap();
    Git::new(world.repository("shop"))
        .run(&["update-ref", "-d", "refs/heads/main"])
        .await
        .unwrap();
    world
        .client
        .retry(run.id, Some("finalize"), "ada")
        .await
        .unwrap();
    let run = world.client.wait(run.id).await.unwrap();
    let error = run.steps[6].error.clone().unwrap_or_default();
    for expect in [
        "is not on the main branch",
        "projects/shop/repository.yaml",
        "projects/shop/env-staging.yaml",
    ] {
        assert!(
            run.head.status == RunStatus::Failed && error.contains(expect),
            "{error}"
        );
    }
    world
        .client
        .retry(run.id, Some("push_template"), "ada")
        .await
        .unwrap();
    let run = world.client.wait(run.id).await.unwrap();
    let error = run.steps[7].error.clone().unwrap_or_default();
    assert!(
        error.contains("as the test wants"),
        "all seven went through again: {:?} {error}",
        run.head.error
    );
}

fn write(folder: &Path, name: &str, text: &str) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join(name), text).unwrap();
}
