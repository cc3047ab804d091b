//! A real server in its own process, so that it can be killed: this test binary, started again.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::{Value, json};
use surefoot::{
    Handlers, Outcome, StepContext, StepError, StepHandler, Store, Undone, Worker, WorkerOptions,
    Workflow,
};
use surefoot_initializer::forge::{self, StoreForge};
use surefoot_initializer::project::{self, ProjectConfig};
use surefoot_server::auth::{AuthOptions, Role, ServerSecret, token};
use surefoot_server::{AlertOptions, ServerOptions, Workflows};
use surefoot_sqlite::SqliteStore;
use tempfile::TempDir;
use tokio::net::TcpSocket;

use crate::driver::PATIENCE;
use crate::past;

const DIR: &str = "SUREFOOT_BROWSER_TEST_DIR";
const PORT: &str = "SUREFOOT_BROWSER_TEST_PORT";

/// Steps of a project that end when the test lets them. They may take minutes.
pub(crate) const HELD: [&str; 3] = ["create_repository", "push_template", "setup_gitops"];

/// A server, and its data directory.
#[derive(Debug)]
pub(crate) struct Site {
    dir: TempDir,
    /// Bound and never listening, so that the port stays reserved while no server runs.
    port: TcpSocket,
    process: Option<Child>,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Site {
    pub(crate) async fn open() -> Self {
        let mut site = Self::closed();
        site.start().await;
        site
    }

    /// A server that requires sign-in, and a token for this role.
    pub(crate) async fn with_token(role: Role) -> (Self, String) {
        let mut site = Self::closed();
        let store = SqliteStore::open(&site.file()).unwrap();
        token::create(&store, "first", Role::Admin, None, "test")
            .await
            .unwrap();
        let made = token::create(&store, "ann", role, None, "test")
            .await
            .unwrap();
        drop(store);
        site.start().await;
        (site, made.secret.expose().to_owned())
    }

    /// A server with a day of history.
    pub(crate) async fn with_past() -> Self {
        let mut site = Self::closed();
        let plans = [
            Arc::new(project::workflow()),
            Arc::new(Workflow::from_yaml(PREVIEW).unwrap()),
        ];
        past::play(&site.file(), &plans).await;
        site.start().await;
        site
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("surefoot.db")
    }

    fn closed() -> Self {
        let port = TcpSocket::new_v4().unwrap();
        port.set_reuseaddr(true).unwrap();
        port.bind(([127, 0, 0, 1], 0).into()).unwrap();
        Self {
            dir: TempDir::new().unwrap(),
            port,
            process: None,
        }
    }

    /// Submits a run by the API and returns the address of its page.
    pub(crate) async fn submit(&self, workflow: &str, key: &str, parameters: Value) -> String {
        let request = json!({ "workflow": workflow, "key": key, "parameters": parameters });
        let sent = reqwest::Client::new()
            .post(self.url("/api/v1/runs"))
            .json(&request)
            .send()
            .await
            .unwrap();
        assert_eq!(sent.status(), 201);
        let run: Value = sent.json().await.unwrap();
        self.url(&format!("/runs/{}", run["id"].as_str().unwrap()))
    }

    /// Sends JSON to the API and returns the response.
    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        let sent = reqwest::Client::new()
            .post(self.url(path))
            .json(&body)
            .send()
            .await
            .unwrap();
        assert!(sent.status().is_success(), "{path}: {}", sent.status());
        sent.json().await.unwrap()
    }

    /// Lets a held step of a project end.
    pub(crate) fn pass(&self, project: &str, step: &str) {
        std::fs::write(gate(self.dir.path(), project, step), "").unwrap();
    }

    pub(crate) fn pass_all(&self, project: &str) {
        for step in HELD {
            self.pass(project, step);
        }
    }

    fn port(&self) -> u16 {
        self.port.local_addr().unwrap().port()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port())
    }

    pub(crate) async fn start(&mut self) {
        let process = Command::new(std::env::current_exe().unwrap())
            .args([
                "--ignored",
                "--exact",
                "site::server_process",
                "--nocapture",
            ])
            .env(DIR, self.dir.path())
            .env(PORT, self.port().to_string())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        self.process = Some(process);
        let deadline = Instant::now() + PATIENCE;
        while tokio::net::TcpStream::connect(("127.0.0.1", self.port()))
            .await
            .is_err()
        {
            assert!(Instant::now() < deadline, "the server does not start");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Kills the server like `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

const APPROVAL: &str = "
workflow: change
title: A change
parameters:
  type: object
  required: [ticket]
  properties:
    ticket: { type: string, pattern: '^OPS-[0-9]+$' }
    password: { type: string, writeOnly: true }
steps:
  - { id: check, action: command.run, with: { shell: 'echo checked' } }
  - { id: approve, action: approval, with: { question: 'Roll it out?' } }
  - { id: roll, action: command.run, with: { shell: 'echo with ${{ parameters.password }}' }, if: parameters.password is defined }
output: { said: 'done for ${{ parameters.ticket }}' }
";

const FAILS: &str = "
workflow: fails
title: It fails
steps:
  - { id: try, action: command.run, with: { shell: 'echo about to fail; exit 3' }, retry: { attempts: 1 } }
";

const SLOW: &str = "
workflow: slow
title: It takes long
steps:
  - { id: wait, action: sleep, with: { duration: 1h } }
";

const PREVIEW: &str = "
workflow: preview-environment
title: A preview environment
unique: parameters.name
parameters:
  type: object
  properties: { name: { type: string } }
steps:
  - { id: build, title: Build the image, action: command.run, with: { shell: 'echo built; sleep 600' } }
  - { id: deploy, title: Deploy, action: command.run, with: { shell: 'echo deployed' } }
  - { id: smoke, title: Smoke test, action: command.run, with: { shell: 'echo ok' } }
";

const STEPS: &str = "
workflow: two-steps
title: The second step fails
steps:
  - { id: one, action: command.run, with: { shell: 'echo one' } }
  - { id: two, action: command.run, with: { shell: 'echo two; exit 4' }, retry: { attempts: 1 } }
";

/// A step that must not run twice by itself; the tests interrupt it.
const PAYS: &str = "
workflow: pays
title: It pays
steps:
  - { id: pay, action: command.run, on_interrupt: ask, with: { shell: 'echo paid; sleep 600' } }
  - { id: thank, action: command.run, with: { shell: 'echo thanks' } }
";

/// A step that does its work and then waits for a file.
struct Held {
    work: Arc<dyn StepHandler>,
    dir: PathBuf,
}

#[async_trait]
impl StepHandler for Held {
    async fn run(&self, context: StepContext) -> Result<Outcome, StepError> {
        let input = context.raw_input().clone();
        let step = context.step_id().to_owned();
        let outcome = self.work.run(context).await;
        let project = input["project"]
            .as_str()
            .or(input["name"].as_str())
            .ok_or("it is of no project")?;
        while !gate(&self.dir, project, &step).exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        outcome
    }

    async fn undo(&self, context: StepContext) -> Result<Undone, StepError> {
        self.work.undo(context).await
    }

    fn check(&self, with: &Value) -> Result<(), String> {
        self.work.check(with)
    }
}

/// The file that lets a step end.
fn gate(dir: &Path, project: &str, step: &str) -> PathBuf {
    dir.join(format!("{project}.{step}"))
}

fn handlers(dir: &Path) -> Handlers {
    let handlers =
        surefoot_initializer::actions::handlers().merge(project::handlers(ProjectConfig::new(dir)));
    let plan = project::workflow();
    let held = plan
        .steps()
        .iter()
        .filter(|step| HELD.contains(&step.id.as_str()));
    held.fold(handlers.clone(), |all, step| {
        let work = handlers.get(&step.action).unwrap().clone();
        all.with(
            step.action.clone(),
            Held {
                work,
                dir: dir.to_owned(),
            },
        )
    })
}

/// Not a test: the server's process.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by the tests"]
async fn server_process() {
    let (Ok(dir), Ok(port)) = (std::env::var(DIR), std::env::var(PORT)) else {
        return;
    };
    let dir = Path::new(&dir);
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&dir.join("surefoot.db")).unwrap());
    let mark = ProjectConfig::new(dir).forge().establish().unwrap();
    let of_store = StoreForge::of_or_else(store.as_ref(), &mark.id, "here")
        .await
        .unwrap();
    let options = WorkerOptions {
        workspaces: dir.join("workspaces"),
        resources: Arc::new(forge::resources(&mark, &of_store)),
        keys: Some(surefoot::SecretKeys::random().unwrap()),
        ..WorkerOptions::default()
    };
    let worker = Worker::start(store.clone(), handlers(dir), options)
        .await
        .unwrap();
    store
        .set_queue("project-initialization", project::queue_limits(), true)
        .await
        .unwrap();
    let mut workflows = vec![Arc::new(project::workflow())];
    workflows.extend(
        [APPROVAL, FAILS, SLOW, PREVIEW, STEPS, PAYS]
            .map(|text| Arc::new(Workflow::from_yaml(text).unwrap())),
    );
    let secret = ServerSecret::from_file(&dir.join("server.key")).unwrap();
    let alerts = AlertOptions {
        every: Duration::from_millis(500),
        ..AlertOptions::default()
    };
    let options = ServerOptions {
        alerts,
        ..ServerOptions::new(AuthOptions::new(secret), Workflows::new(workflows))
    };
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}"))
        .await
        .unwrap();
    surefoot_server::serve(listener, worker.client(), options, Default::default())
        .await
        .unwrap();
}
