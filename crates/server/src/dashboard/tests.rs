//! Pages as a browser without scripts receives them, from a real server on the in-memory store,
//! with a clock that the tests set.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::header::{ACCEPT, ACCEPT_LANGUAGE, HOST};
use reqwest::{Client as Http, Response};
use serde_json::{Value, json};
use surefoot::state::{CancelMode, Edit};
use surefoot::store::{ClaimRequest, NewWorker, RunFilter, Submission};
use surefoot::{
    AllowList, Client, ManualClock, Run, RunId, RunStatus, Secret, SecretKeys, Store, Submit,
    Timestamp, WorkerId, Workflow,
};
use surefoot_store_tests::MemoryStore;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::actions::{Bulk, BulkAction, Selection};
use crate::alerts;
use crate::auth::{Actor, AuthOptions, ServerSecret};
use crate::state::App;
use crate::{Refused, RefusedKind, ServerOptions, SubmissionCheck, Workflows, serve};

struct Scene {
    clock: Arc<ManualClock>,
    store: Arc<dyn Store>,
    /// The same store as a newer build has it.
    newer: Arc<dyn Store>,
    worker: WorkerId,
    url: String,
    http: Http,
    _tasks: JoinSet<Result<(), crate::ServeError>>,
}

fn workflow(text: &str) -> Arc<Workflow> {
    Arc::new(Workflow::from_yaml(text).unwrap())
}

fn options(workflows: &[&Arc<Workflow>]) -> ServerOptions {
    let workflows = workflows
        .iter()
        .map(|workflow| Arc::clone(workflow))
        .collect();
    let secret = ServerSecret::new(&Secret::new("0123456789abcdef0123456789abcdef")).unwrap();
    ServerOptions::new(AuthOptions::new(secret), Workflows::new(workflows))
}

impl Scene {
    async fn with(workflows: &[&Arc<Workflow>]) -> Self {
        Self::by(options(workflows)).await
    }

    async fn by(options: ServerOptions) -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_micros(
            1_800_000_000_000_000,
        )));
        let store = MemoryStore::new(clock.clone());
        let newer = Arc::new(store.build(Workflow::FORMAT + 1));
        let store: Arc<dyn Store> = Arc::new(store);
        let (worker, lease, version) =
            (WorkerId::new(), Duration::from_secs(86_400), "1".to_owned());
        let actions = Arc::new(["work".to_owned()].into_iter().collect());
        store
            .register_worker(NewWorker {
                id: worker,
                name: "w".into(),
                lease,
                version,
                actions,
                workflows: AllowList::default(),
                resources: Arc::default(),
            })
            .await
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(
            listener,
            client(store.clone()),
            options,
            CancellationToken::new(),
        ));
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Http::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .unwrap();
        Self {
            clock,
            store,
            newer,
            worker,
            url,
            http,
            _tasks: tasks,
        }
    }

    async fn get(&self, path: &str) -> Response {
        self.http
            .get(format!("{}{path}", self.url))
            .header(ACCEPT, "text/html")
            .send()
            .await
            .unwrap()
    }

    async fn page(&self, path: &str) -> String {
        let response = self.get(path).await;
        assert_eq!(response.status(), 200, "{path}");
        readable(&response.text().await.unwrap())
    }

    /// Sends a form with the form token of the pages.
    async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Response {
        self.post_in("en", path, fields).await
    }

    /// The same from a reader of this language.
    async fn post_in(&self, language: &str, path: &str, fields: &[(&str, &str)]) -> Response {
        let page = self.page("/queues").await;
        let token = value_of(&page, "csrf");
        let fields = [fields, &[("csrf", token.as_str())]].concat();
        let body = serde_urlencoded::to_string(fields).unwrap();
        let request = self
            .http
            .post(format!("{}{path}", self.url))
            .header(ACCEPT, "text/html")
            .header(ACCEPT_LANGUAGE, language);
        request
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body)
            .send()
            .await
            .unwrap()
    }

    async fn submit(&self, workflow: &Arc<Workflow>, parameters: Value) -> Run {
        let client = client(self.store.clone());
        client
            .submit(Submit::new(workflow.clone()).parameters(parameters))
            .await
            .unwrap()
            .run
    }

    async fn claim(&self) -> Run {
        let actions = Arc::new(["work".to_owned()].into_iter().collect());
        let request = ClaimRequest {
            worker: self.worker,
            limit: 1,
            actions,
            workflows: AllowList::default(),
            resources: Arc::default(),
        };
        self.store.claim(request).await.unwrap().runs.remove(0)
    }

    async fn write(&self, run: Run, rule: impl FnOnce(&mut Edit)) -> Run {
        let lease = run.lease().unwrap();
        let mut edit = Edit::new(run, self.store.now());
        rule(&mut edit);
        let (run, transition) = edit.finish_as_holder();
        self.store.commit(lease, transition).await.unwrap();
        run
    }

    async fn status(&self, run: RunId) -> RunStatus {
        self.store.run(run).await.unwrap().unwrap().head.status
    }
}

/// A client with the shared key of these tests.
fn client(store: Arc<dyn Store>) -> Client {
    static KEYS: OnceLock<SecretKeys> = OnceLock::new();
    Client::new(store).with_keys(Some(
        KEYS.get_or_init(|| SecretKeys::random().unwrap()).clone(),
    ))
}

/// Replaces the escaped slashes of templates.
fn readable(page: &str) -> String {
    page.replace("&#x2f;", "/")
}

/// The value of a hidden field.
fn value_of(page: &str, name: &str) -> String {
    let (_, rest) = page
        .split_once(&format!("name=\"{name}\" value=\""))
        .expect("the field is on the page");
    rest.split('"').next().unwrap().to_owned()
}

const LOGIN: &str = "
workflow: login
parameters:
  type: object
  required: [name]
  properties:
    name: { type: string }
    password: { type: string, writeOnly: true, minLength: 12 }
    key: { $ref: '#/$defs/key' }
    more: { type: object, properties: { list: { type: array, items: { type: object, properties: {
      token: { type: string, format: password }, free: { type: object } } } } } }
  $defs: { key: { type: string, writeOnly: true } }
steps:
  - { id: one, action: work, with: { all: '${{ parameters }}', said: 'with ${{ parameters.password }}' } }
";

/// An earlier version of the same workflow, without marked secrets.
const OPEN: &str = "
workflow: login
parameters: { type: object, properties: { name: {}, password: { type: string }, more: { type: object } } }
steps: [{ id: one, action: work }]
";

const OTHER: &str = "
workflow: other
parameters: { type: object, properties: { password: { type: string } } }
steps: [{ id: one, action: work }]
";

#[tokio::test]
async fn a_form_never_shows_a_secret_again() {
    let login = workflow(LOGIN);
    let other = workflow(OTHER);
    let scene = Scene::with(&[&login, &other]).await;
    let list = r#"[{"token":"tok-s3cret","free":{"a":1}}]"#;
    let filled = |password, action| {
        [
            ("p/name", "shop"),
            ("p/password", password),
            ("p/key", "key-s3cret"),
            ("p/more/list", list),
            ("do", action),
        ]
    };
    let dry = scene
        .post("/new?workflow=login", &filled("long-pass-s3cret", "dry"))
        .await;
    assert_eq!(dry.status(), 200);
    let dry = dry.text().await.unwrap();
    assert!(
        dry.contains("nothing was written") && dry.matches("enter it once more").count() == 3,
        "{dry}"
    );
    let wrong = scene
        .post("/new?workflow=login", &filled("s3cret", "start"))
        .await;
    assert_eq!(wrong.status(), 422);
    let wrong = wrong.text().await.unwrap();
    assert!(wrong.contains("shorter than 12"), "{wrong}");
    let given = json!({ "name": "shop", "password": "long-pass-s3cret", "key": "key-s3cret",
                        "more": { "list": [{ "token": "tok-s3cret", "free": { "a": 1 } }] } });
    let run = scene.submit(&login, given).await;
    let again = scene
        .page(&format!("/new?workflow=login&from={}", run.id))
        .await;
    for page in [dry, wrong, again] {
        assert!(page.contains("shop") && !page.contains("s3cret"), "{page}");
        assert!(
            page.contains("&quot;a&quot;: 1"),
            "what is no secret stays: {page}"
        );
    }
    let elsewhere = scene
        .get(&format!("/new?workflow=other&from={}", run.id))
        .await;
    assert_eq!(elsewhere.status(), 404);
    assert!(!elsewhere.text().await.unwrap().contains("s3cret"));
}

const MAKING: &str = "
workflow: making
parameters: { type: object, properties: { template: { type: string } } }
steps: [{ id: one, action: work }]
";

#[tokio::test]
async fn a_parameter_that_cannot_be_used_is_refused_beside_its_field() {
    let refuses = Arc::new(AtomicBool::new(false));
    let mut options = options(&[&workflow(MAKING)]);
    let is_refusing = refuses.clone();
    options.submission_check = Some(SubmissionCheck::new(move |_, parameters: Value| {
        let refused = Refused {
            parameter: "template".to_owned(),
            message: format!(
                "{} is a copier template: use another",
                parameters["template"]
            ),
            kind: RefusedKind::ForeignTemplate {
                tool: "copier".to_owned(),
                file: "copier.yml".to_owned(),
            },
        };
        let is_good = !is_refusing.load(Ordering::SeqCst);
        async move { if is_good { Ok(()) } else { Err(refused) } }
    }));
    let scene = Scene::by(options).await;
    let ask = async |path: &str, body: Value| {
        let url = format!("{}{path}", scene.url);
        let answer = scene.http.post(url).json(&body).send().await.unwrap();
        (answer.status(), answer.json::<Value>().await.unwrap())
    };
    let parameters = json!({ "template": "mine" });
    let keyed = json!({ "workflow": "making", "parameters": parameters, "key": "k" });
    assert_eq!(ask("/api/v1/runs", keyed.clone()).await.0, 201);

    refuses.store(true, Ordering::SeqCst);
    let request = json!({ "workflow": "making", "parameters": parameters });
    let dry = json!({ "parameters": parameters });
    for (path, body) in [
        ("/api/v1/runs", &request),
        ("/api/v1/workflows/making/dry-run", &dry),
    ] {
        let (status, problem) = ask(path, body.clone()).await;
        assert_eq!(status, 422, "{problem}");
        let detail = "\"mine\" is a copier template: use another";
        assert_eq!(
            (&problem["parameter"], &problem["errors"]),
            (
                &json!("template"),
                &json!([{ "parameter": "template", "detail": detail }])
            )
        );
    }
    assert_eq!(
        ask("/api/v1/runs", keyed).await.0,
        200,
        "what was accepted under its key stays so"
    );
    let runs = scene.store.runs(RunFilter::default()).await.unwrap();
    assert_eq!(runs.len(), 1);

    for (language, text) in [
        ("en", "This is a copier template (it has copier.yml)"),
        ("zh", "这是 copier 的模板（由 copier.yml 可知）"),
    ] {
        for action in ["start", "dry"] {
            let fields = [("p/template", "mine"), ("do", action)];
            let page = scene
                .post_in(language, "/new?workflow=making", &fields)
                .await;
            assert_eq!(page.status(), 422);
            let page = page.text().await.unwrap();
            assert_eq!(
                page.matches(text).count(),
                2,
                "above the form and beside the field: {page}"
            );
        }
    }
}

#[tokio::test]
async fn a_duplicate_hides_what_its_own_plan_marks() {
    let login = workflow(LOGIN);
    let open = workflow(OPEN);
    let scene = Scene::with(&[&open]).await;
    let given = json!({ "name": "shop", "password": "long-pass-s3cret",
                        "more": { "list": [{ "token": "tok-s3cret", "free": { "a": 1 } }] } });
    let run = scene.submit(&login, given).await;
    let page = scene
        .page(&format!("/new?workflow=login&from={}", run.id))
        .await;
    assert!(
        page.contains("shop") && page.contains("&quot;a&quot;") && !page.contains("s3cret"),
        "{page}"
    );
}

#[tokio::test]
async fn a_bulk_action_applies_to_the_runs_that_were_shown() {
    let other = workflow(OTHER);
    let scene = Scene::with(&[&other]).await;
    let old = scene.submit(&other, json!({})).await;
    scene.clock.advance(Duration::from_secs(3000));
    let meant = scene.submit(&other, json!({})).await;
    scene.clock.advance(Duration::from_secs(1));
    let asked = [
        ("action", "cancel"),
        ("scope", "matching"),
        ("filter", "since=1h"),
    ];
    let preview = scene.post("/runs/bulk", &asked).await.text().await.unwrap();
    assert!(preview.contains("2 unfinished runs"), "{preview}");
    // Half an hour passes: one more run was submitted, and one is no longer of the last hour.
    scene.clock.advance(Duration::from_secs(1800));
    let late = scene.submit(&other, json!({})).await;
    let until = value_of(&preview, "until");
    let done = scene
        .post(
            "/runs/bulk/apply",
            &[&asked[..], &[("until", until.as_str())]].concat(),
        )
        .await;
    assert_eq!(done.status(), 303);
    let stands = [
        scene.status(old.id).await,
        scene.status(meant.id).await,
        scene.status(late.id).await,
    ];
    assert_eq!(
        stands,
        [
            RunStatus::Cancelled,
            RunStatus::Cancelled,
            RunStatus::Queued
        ]
    );
}

#[tokio::test]
async fn failed_today_refers_to_the_time_of_failure() {
    let other = workflow(OTHER);
    let scene = Scene::with(&[&other]).await;
    for _ in 0..3 {
        scene.submit(&other, json!({})).await;
    }
    let fails = async |run: Run| {
        let run = scene.write(run, |edit| edit.start_step(0).unwrap()).await;
        scene
            .write(run, |edit| edit.fail_step(0, "gone").unwrap())
            .await
            .id
    };
    let first = scene.claim().await;
    let second = scene.claim().await;
    let third = scene.claim().await.id;
    let yesterday = fails(first).await;
    // From eight in the morning past midnight.
    scene.clock.advance(Duration::from_secs(17 * 3600));
    let today = fails(second).await;
    let page = scene.page("/runs?status=failed&since=today").await;
    assert!(
        page.contains(&today.to_string()) && !page.contains(&yesterday.to_string()),
        "{page}"
    );
    // The action applies to the listed runs only, and the audit log records the filter.
    let all = async |action, filter: &str| {
        scene
            .post(
                "/runs/bulk/apply",
                &[
                    ("action", action),
                    ("scope", "matching"),
                    ("filter", filter),
                ],
            )
            .await
    };
    assert_eq!(
        all("retry", "status=failed&since=today").await.status(),
        303
    );
    assert_eq!(
        all("cancel", &format!("worker={}", scene.worker))
            .await
            .status(),
        303
    );
    let stands = [scene.status(yesterday).await, scene.status(today).await];
    assert_eq!(stands, [RunStatus::Failed, RunStatus::Queued]);
    assert!(
        scene
            .store
            .run(third)
            .await
            .unwrap()
            .unwrap()
            .head
            .cancel
            .is_some()
    );
    let audit: Value = scene.get("/api/v1/audit").await.json().await.unwrap();
    let detail = |action| {
        audit["entries"]
            .as_array()
            .unwrap()
            .iter()
            .find(|entry| entry["action"] == action)
            .unwrap()["detail"]
            .clone()
    };
    assert!(
        detail("runs.retry")["failed_since"]
            .as_str()
            .unwrap()
            .starts_with("2027-01-16T00:00:00"),
        "{audit}"
    );
    assert_eq!(detail("runs.cancel")["worker"], scene.worker.to_string());
}

#[tokio::test]
async fn runs_being_cancelled_do_not_hide_later_ones() {
    let other = workflow(OTHER);
    let scene = Scene::with(&[]).await;
    let mut runs = Vec::new();
    for _ in 0..6 {
        scene.submit(&other, json!({})).await;
        runs.push(scene.claim().await.id);
        scene.clock.advance(Duration::from_secs(1));
    }
    for run in &runs[3..] {
        scene
            .store
            .cancel(*run, CancelMode::Stop, "ann")
            .await
            .unwrap();
    }
    let client = Client::new(scene.store.clone());
    let app = App::new(
        client,
        options(&[]),
        "127.0.0.1:1".parse().unwrap(),
        CancellationToken::new(),
    )
    .await
    .unwrap();
    let actor = Actor::local();
    let mut before = None;
    let mut met = Vec::new();
    loop {
        let selection = Selection::Matching {
            filter: Default::default(),
            before,
        };
        let bulk = Bulk {
            action: BulkAction::Cancel { undo: false },
            selection,
            limit: 1,
        };
        assert_eq!(bulk.preview(&app, 10).await.unwrap().count, 3 - met.len());
        let result = bulk.apply(&app, &actor).await.unwrap();
        met.push(result.done);
        before = result.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(met, [1, 1, 1]);
}

#[tokio::test]
async fn tabs_count_all_runs_or_none() {
    let other = workflow(OTHER);
    let scene = Scene::with(&[&other]).await;
    scene.submit(&other, json!({})).await;
    let tabs = |page: &str| {
        let (_, tabs) = page.split_once("id=\"tabs\"").unwrap();
        tabs.split("</nav>")
            .next()
            .unwrap()
            .matches("class=\"count\"")
            .count()
    };
    assert_eq!(tabs(&scene.page("/runs").await), RunStatus::ALL.len());
    assert_eq!(
        tabs(&scene.page("/runs?status=failed").await),
        RunStatus::ALL.len()
    );
    for filter in ["workflow=login", "queue=x", "text=y", "since=today"] {
        assert_eq!(
            tabs(&scene.page(&format!("/runs?{filter}")).await),
            0,
            "{filter}"
        );
    }
}

#[tokio::test]
async fn a_problem_page_is_in_the_readers_language() {
    let scene = Scene::with(&[]).await;
    let request = scene
        .http
        .get(format!("{}/runs/x", scene.url))
        .header(ACCEPT, "text/html");
    let page = request
        .header(ACCEPT_LANGUAGE, "zh-CN")
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(
        page.contains("\u{672a}\u{627e}\u{5230}") && !page.contains("Not Found"),
        "{page}"
    );
    let request = scene
        .http
        .get(&scene.url)
        .header(ACCEPT, "text/html")
        .header(HOST, "evil.example");
    let page = request
        .header(ACCEPT_LANGUAGE, "zh-CN")
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(
        page.contains("\u{4e3b}\u{673a}\u{4e0d}\u{7b26}") && !page.contains("Misdirected"),
        "{page}"
    );
}

#[tokio::test]
async fn event_streams_ask_browsers_to_reconnect_quickly() {
    let scene = Scene::with(&[]).await;
    let run = scene.submit(&workflow(OTHER), json!({})).await;
    for path in ["/live", &format!("/live?run={}&after=0", run.id)] {
        let mut stream = scene.get(path).await;
        assert_eq!(stream.headers()["content-type"], "text/event-stream");
        assert!(
            stream
                .chunk()
                .await
                .unwrap()
                .unwrap()
                .starts_with(b"retry: 1000\n"),
            "{path}"
        );
    }
}

/// A plan with the given number of steps.
fn long(steps: usize) -> Arc<Workflow> {
    let step = |at| {
        format!(
            "  - {{ id: s{at}, title: 'Step number {at}', action: work, with: {{ name: 'shop' }} }}\n"
        )
    };
    workflow(&format!(
        "workflow: long\nsteps:\n{}",
        (0..steps).map(step).collect::<String>()
    ))
}

impl Scene {
    /// A run whose steps all log and output a lot, and whose last step fails with a long error.
    async fn long(&self, steps: usize, lines: usize) -> RunId {
        let plan = long(steps);
        let now = self.store.now();
        let run = Run::new(
            RunId::at(now),
            plan,
            json!({ "text": "/\"<".repeat(4000) }),
            now,
            now,
        );
        let begun = |claimed: bool| {
            let mut edit = Edit::new(run.clone(), now);
            edit.submitted();
            if claimed {
                edit.claim(self.worker).unwrap();
            }
            edit.finish()
        };
        self.store
            .submit(Submission {
                queued: begun(false),
                started: Some(begun(true)),
            })
            .await
            .unwrap();
        let mut run = self.store.run(run.id).await.unwrap().unwrap();
        for step in 0..steps {
            run = self.write(run, |edit| edit.start_step(step).unwrap()).await;
            for line in 0..lines {
                let text = format!("{line} of s{step}: {}", "say \"/srv/x\" ".repeat(12));
                run = self
                    .write(run, |edit| edit.report(step, None, vec![text]))
                    .await;
            }
            self.clock.advance(Duration::from_secs(1));
            let output = json!({ "paths": vec!["/a/b\"c"; 2000], "step": step });
            let fails = step + 1 == steps;
            let end = |edit: &mut Edit| match fails {
                true => edit.fail_step(step, &"it's <broken> / ".repeat(900)),
                false => edit.complete_step(step, output, Vec::new(), None),
            };
            run = self.write(run, |edit| end(edit).unwrap()).await;
        }
        run.id
    }

    /// A page within the size limit, whatever it contains.
    async fn small(&self, path: &str) -> String {
        let page = self.get(path).await.text().await.unwrap();
        assert!(page.len() < 100_000, "{path} has {} bytes", page.len());
        println!("{path} has {} bytes", page.len());
        readable(&page)
    }
}

#[tokio::test]
async fn the_page_of_a_run_stays_small_and_favours_the_selected_step() {
    let scene = Scene::with(&[]).await;
    for (steps, lines) in [(1, 100), (7, 100), (40, 60), (300, 10)] {
        let run = scene.long(steps, lines).await;
        let end = lines - 1;
        let page = scene.small(&format!("/runs/{run}")).await;
        let last = steps - 1;
        assert!(
            page.contains(&format!("{end} of s{last}: ")),
            "the log of the step that failed is there"
        );
        assert!(page.contains("it&#x27;s &lt;broken&gt;"));
        assert!(
            steps < 2
                || page.contains(&format!(
                    "/runs/{run}?step=s{}#step-s{}",
                    last - 1,
                    last - 1
                )),
            "{page}"
        );
        let asked = scene.small(&format!("/runs/{run}?step=s0")).await;
        assert!(
            asked.contains(&format!("{end} of s0: ")) && asked.contains("id=\"step-s0\" open"),
            "{asked}"
        );
        assert!(
            asked.contains(&format!("href=\"/api/v1/runs/{run}\"")),
            "the whole of it is reached from there"
        );
    }
}

#[tokio::test]
async fn a_long_history_shows_its_end_and_downloads_its_whole_log() {
    let scene = Scene::with(&[]).await;
    let run = scene.long(2, 3000).await;
    let page = scene.small(&format!("/runs/{run}")).await;
    assert!(
        page.contains("2999 of s1: ") && page.contains("Earlier lines are left out."),
        "{page}"
    );
    assert!(
        page.contains("the beginning of a long history is not drawn"),
        "{page}"
    );
    assert!(
        page.contains("id=\"step-s0\""),
        "a step whose history is not read is there"
    );
    let asked = scene.small(&format!("/runs/{run}?step=s0")).await;
    assert!(
        asked.contains(&format!("/runs/{run}/log?step=s0")),
        "what was not read is reached: {asked}"
    );
    let log = scene.page(&format!("/runs/{run}/log")).await;
    assert_eq!(
        (log.lines().count(), log.contains(" s0 [1] 0 of s0: ")),
        (6000, true)
    );
    let log = scene.page(&format!("/runs/{run}/log?step=s1")).await;
    assert_eq!(
        (log.lines().count(), log.contains("2999 of s1: ")),
        (3000, true)
    );
}

#[tokio::test]
async fn a_run_that_cannot_be_read_is_marked_in_lists_and_on_its_page() {
    let plain = workflow("workflow: plain\nsteps: [{ id: one, action: work }]\n");
    let scene = Scene::with(&[&plain]).await;
    let plan = Workflow::clone(&plain).in_format(Workflow::FORMAT + 1);
    let newer = client(scene.newer.clone());
    let run = newer
        .submit(Submit::new(Arc::new(plan)).key("shop"))
        .await
        .unwrap()
        .run;
    scene.clock.advance(Duration::from_secs(1));
    scene.submit(&plain, json!({})).await;

    let page = scene.page("/runs").await;
    assert_eq!(page.matches("Cannot be read").count(), 1, "{page}");
    assert!(page.contains("its plan has format 2"), "{page}");
    for path in ["/runs?status=queued", &format!("/runs/{}", run.id)] {
        let page = scene.page(path).await;
        assert!(page.contains("shop"), "{path}: {page}");
    }
    let page = scene.page(&format!("/runs/{}", run.id)).await;
    assert!(
        page.contains("for a version of Surefoot that can read it"),
        "{page}"
    );
    let chinese = scene
        .http
        .get(format!("{}/runs", scene.url))
        .header(ACCEPT, "text/html")
        .header(ACCEPT_LANGUAGE, "zh")
        .send()
        .await
        .unwrap();
    let chinese = chinese.text().await.unwrap();
    assert_eq!(chinese.matches("无法读取").count(), 1, "{chinese}");

    let listed = scene.http.get(format!("{}/api/v1/runs", scene.url));
    let listed: Value = listed.send().await.unwrap().json().await.unwrap();
    let marked: Vec<bool> = listed["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| run["unreadable"].is_string())
        .collect();
    assert_eq!(marked, [false, true], "{listed}");
}

#[tokio::test]
async fn an_alert_about_a_run_that_cannot_be_read_is_on_the_page_of_alerts() {
    let plain = workflow("workflow: plain\nsteps: [{ id: one, action: work }]\n");
    let scene = Scene::with(&[&plain]).await;
    let plan = Workflow::clone(&plain).in_format(Workflow::FORMAT + 1);
    let newer = client(scene.newer.clone());
    let submit = Submit::new(Arc::new(plan)).key("shop");
    newer.submit(submit).await.unwrap();
    alerts::evaluate_once(client(scene.store.clone()))
        .await
        .unwrap();
    let page = scene.page("/alerts").await;
    assert!(page.contains("Unreadable run"), "{page}");
    assert!(page.contains("its plan has format 2"), "{page}");
}

/// Whatever is accepted is shown: by the API, by the page of the run and in the list.
#[tokio::test]
async fn fuzzed_runs_are_shown_by_the_api_and_on_pages() {
    let accepted = std::sync::Mutex::new(Vec::new());
    surefoot_fuzz::fuzz("runs that are shown", 150, |random| {
        let mut grammar = surefoot_fuzz::Grammar { random };
        let text = if grammar.random.chance(50) {
            grammar.mild_workflow().to_string()
        } else {
            grammar.workflow().to_string()
        };
        let value = surefoot_fuzz::Grammar { random }.value(3);
        if let Ok(workflow) = Workflow::from_yaml(&text) {
            let workflow = Arc::new(workflow);
            accepted.lock().unwrap().push((workflow, value));
        }
    });
    let accepted = accepted.into_inner().unwrap();
    let plain = workflow("workflow: plain\nsteps: [{ id: one, action: work }]\n");
    let scene = Scene::with(&[&plain]).await;
    let submitter = client(scene.store.clone());
    let mut shown = 0;
    for (workflow, value) in accepted {
        let submit = Submit::new(workflow).parameters(json!({ "given": value }));
        let Ok(submitted) = submitter.submit(submit).await else {
            continue;
        };
        let id = submitted.run.id;
        let address = format!("{}/api/v1/runs/{id}", scene.url);
        let answer = scene.http.get(address).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{id}");
        let run: Value = answer.json().await.unwrap();
        assert_eq!(run["parameters"], submitted.run.parameters);
        scene.page(&format!("/runs/{id}")).await;
        shown += 1;
    }
    assert!(shown > 10, "{shown} were shown");
    scene.page("/runs").await;
}
