//! A server and a worker, with a handler that continues when the test lets it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use surefoot::{
    Handlers, Outcome, Output, StepContext, StepError, StepHandler, Store, Undone, Worker,
    WorkerHandle, WorkerOptions, Workflow, handler_fn,
};
use surefoot_postgres::PostgresStore;
use surefoot_scratch_postgres::ScratchPostgres;
use surefoot_server::auth::{AuthOptions, ServerSecret};
use surefoot_server::{ServerOptions, Workflows, serve};
use surefoot_sqlite::SqliteStore;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::counting::CountingStore;

/// Far more than needed; it only ends a hanging test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct World {
    pub(crate) store: Arc<CountingStore>,
    pub(crate) http: Client,
    pub(crate) url: String,
    /// Rounds that the handler `test.rounds` may do.
    pub(crate) rounds: watch::Sender<u64>,
    set: Set,
    /// Bound and never listening, so that the address stays reserved while no server runs.
    place: TcpSocket,
    secret: ServerSecret,
    worker: Option<WorkerHandle>,
    stop: CancellationToken,
    servers: JoinSet<()>,
    _dir: TempDir,
}

/// The kind of store.
#[derive(Clone, Copy, Debug)]
pub(crate) enum On {
    Sqlite,
    Postgres,
}

/// Changes the default options.
pub(crate) type Set = fn(&mut ServerOptions);

/// Defines each function as a test on each kind of store, with a world as its argument.
macro_rules! on_each_store {
    ($($test:ident),+ $(,)?) => {
        on_each_store! { on_sqlite, Sqlite: $($test),+ }
        on_each_store! { on_postgres, Postgres: $($test),+ }
    };
    ($module:ident, $store:ident: $($test:ident),+) => {
        mod $module {
            $(
                #[tokio::test]
                async fn $test() {
                    super::$test($crate::world::World::on($crate::world::On::$store).await).await;
                }
            )+
        }
    };
}
pub(crate) use on_each_store;

const GREET: &str = "
workflow: greet
title: A greeting
parameters:
  type: object
  required: [name]
  properties:
    name: { type: string, pattern: '^[a-z]+$' }
    password: { type: string, writeOnly: true, default: '' }
  additionalProperties: false
steps:
  - { id: one, action: test.rounds }
  - { id: two, action: test.echo, with: { said: '${{ parameters.name }}', secret: '${{ parameters.password }}' } }
";

const FAILING: &str = "
workflow: failing
steps:
  - { id: only, action: test.fail, retry: { attempts: 1 } }
";

const ASKING: &str = "
workflow: asking
steps:
  - { id: only, action: approval, with: { question: 'go on?' } }
";

const HALTING: &str = "
workflow: halting
queue: slow-lane
steps:
  - { id: one, action: test.echo, with: { said: one } }
  - { id: two, action: test.fail, retry: { attempts: 2, backoff: { exponential: 10ms, max: 10ms } } }
";

const MAKING: &str = "
workflow: making
parameters: { type: object, required: [name], properties: { name: { type: string } } }
steps:
  - { id: make, action: test.make, with: { name: '${{ parameters.name }}' } }
  - { id: hold, action: test.rounds }
";

impl World {
    pub(crate) async fn open() -> Self {
        Self::on(On::Sqlite).await
    }

    pub(crate) async fn on(on: On) -> Self {
        Self::with(on, |_| {}).await
    }

    /// With changed options.
    pub(crate) async fn with(on: On, set: Set) -> Self {
        // An error means that another test has installed it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = TempDir::new().unwrap();
        let store: Arc<dyn Store> = match on {
            On::Sqlite => Arc::new(SqliteStore::open(&dir.path().join("surefoot.db")).unwrap()),
            On::Postgres => Arc::new(postgres().await),
        };
        let store = Arc::new(CountingStore::new(store));
        let rounds = watch::Sender::new(0);
        let options = WorkerOptions {
            workspaces: dir.path().join("workspaces"),
            keys: Some(surefoot::SecretKeys::random().unwrap()),
            ..WorkerOptions::default()
        };
        let worker = Worker::start(store.clone(), handlers(&rounds), options)
            .await
            .unwrap();
        let http = Client::builder()
            .pool_max_idle_per_host(0)
            .read_timeout(PATIENCE)
            .build()
            .unwrap();
        let stop = CancellationToken::new();
        let servers = JoinSet::new();
        let url = String::new();
        let secret = ServerSecret::random();
        let worker = Some(worker);
        let mut world = Self {
            store,
            http,
            url,
            rounds,
            set,
            place: place(),
            secret,
            worker,
            stop,
            servers,
            _dir: dir,
        };
        world.serve().await;
        world
    }

    /// Starts another server on the same store and directs requests to it. Returns the previous
    /// address.
    pub(crate) async fn another_server(&mut self) -> String {
        let before = self.url.clone();
        self.place = place();
        self.serve().await;
        before
    }

    async fn serve(&mut self) {
        let listener = TcpListener::bind(self.place.local_addr().unwrap())
            .await
            .unwrap();
        self.url = format!("http://{}", listener.local_addr().unwrap());
        let workflows = [GREET, FAILING, ASKING, HALTING, MAKING]
            .map(|text| Workflow::from_yaml(text).unwrap());
        let workflows = Workflows::new(workflows.map(Arc::new).to_vec());
        let mut options = ServerOptions::new(AuthOptions::new(self.secret.clone()), workflows);
        (self.set)(&mut options);
        let client = self.worker.as_ref().unwrap().client();
        let stop = self.stop.clone();
        self.servers
            .spawn(async move { serve(listener, client, options, stop).await.unwrap() });
    }

    /// Stops the server and starts another at the same address, on the same store.
    pub(crate) async fn restart_server(&mut self) {
        self.stop.cancel();
        while self.servers.join_next().await.is_some() {}
        self.stop = CancellationToken::new();
        self.serve().await;
    }

    pub(crate) async fn close(mut self) {
        self.stop.cancel();
        while self.servers.join_next().await.is_some() {}
        self.rounds.send_replace(u64::MAX);
        self.worker.take().unwrap().stop().await;
    }

    pub(crate) fn reads(&self) -> u64 {
        self.store.reads.load(Ordering::SeqCst)
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.http
            .get(format!("{}{path}", self.url))
            .send()
            .await
            .unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Response {
        self.http
            .post(format!("{}{path}", self.url))
            .json(&body)
            .send()
            .await
            .unwrap()
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        let response = self.get(path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.json().await.unwrap()
    }

    /// The body of a response, which must have this status.
    pub(crate) async fn expect_status(&self, status: u16, path: &str, body: Value) -> Value {
        let response = self.post(path, body).await;
        let seen = response.status().as_u16();
        let text = response.text().await.unwrap();
        assert_eq!(seen, status, "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Submits a run and returns its id.
    pub(crate) async fn submit(&self, request: Value) -> String {
        self.expect_status(201, "/api/v1/runs", request).await["id"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// Submits a greeting and returns its id.
    pub(crate) async fn greet(&self, name: &str) -> String {
        self.submit(json!({ "workflow": "greet", "parameters": { "name": name } }))
            .await
    }

    /// Polls until the function returns a value.
    pub(crate) async fn until<T>(&self, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look().await {
                return found;
            }
            assert!(Instant::now() < deadline, "never happened: {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The kinds of a run's events, each with its step.
    pub(crate) async fn history(&self, run: &str) -> Vec<String> {
        let page = self
            .json(&format!("/api/v1/runs/{run}/history?limit=1000"))
            .await;
        let events = page["events"].as_array().unwrap().iter();
        events
            .map(|event| {
                format!("{} {}", text(&event["kind"]), text(&event["step"]))
                    .trim_end()
                    .to_owned()
            })
            .collect()
    }

    /// The value of a metric, by its name and labels; 0 if it does not exist yet.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        self.metrics([name]).await[0]
    }

    /// The values of several metrics at the same time.
    pub(crate) async fn metrics<const MANY: usize>(&self, names: [&str; MANY]) -> [f64; MANY] {
        let page = self.get("/metrics").await.text().await.unwrap();
        names.map(|name| {
            let value = page
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            value.map_or(0.0, |value| value.parse().unwrap())
        })
    }

    pub(crate) async fn until_status(&self, run: &str, status: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let seen = self.json(&format!("/api/v1/runs/{run}")).await;
            if seen["status"] == status {
                return seen;
            }
            assert!(
                Instant::now() < deadline,
                "{run} is {} and not {status}",
                seen["status"]
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// A reserved address at which servers can listen repeatedly.
fn place() -> TcpSocket {
    let place = TcpSocket::new_v4().unwrap();
    place.set_reuseaddr(true).unwrap();
    place.bind(([127, 0, 0, 1], 0).into()).unwrap();
    place
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

async fn postgres() -> PostgresStore {
    let fresh = || ScratchPostgres::shared().fresh_database().unwrap();
    let database = tokio::task::spawn_blocking(fresh).await.unwrap();
    PostgresStore::options(&database).open().await.unwrap()
}

/// Creates a project of a given name, and can undo that.
struct Make;

#[async_trait]
impl StepHandler for Make {
    async fn run(&self, context: StepContext) -> Result<Outcome, StepError> {
        let name = context.raw_input()["name"]
            .as_str()
            .ok_or("it has no name")?
            .to_owned();
        Ok(Output::new(json!({ "made": name }))?
            .record("project", name, json!({ "owner": "ada" }))
            .into())
    }

    async fn undo(&self, context: StepContext) -> Result<Undone, StepError> {
        context.log(format!(
            "taking back {}",
            context.previous_output().unwrap_or(&Value::Null)
        ));
        Ok(Undone::Removed("the project".to_owned()))
    }
}

fn handlers(rounds: &watch::Sender<u64>) -> Handlers {
    let allowed = rounds.clone();
    let work = move |context: StepContext, _: Value| {
        let mut allowed = allowed.subscribe();
        async move {
            for round in 0..100 {
                allowed
                    .wait_for(|allowed| *allowed > round)
                    .await
                    .map_err(|_| StepError::from("the test ends"))?;
                context.log(format!("round {round}"));
                if *allowed.borrow() == u64::MAX {
                    break;
                }
            }
            Ok::<_, StepError>(Value::Null)
        }
    };
    let echo = |context: StepContext, said: Value| async move {
        context.log(format!("saying {said}"));
        Ok::<_, StepError>(said)
    };
    let fail =
        |_: StepContext, _: Value| async { Err::<Value, _>(StepError::from("it cannot be done")) };
    surefoot_initializer::actions::handlers()
        .with("test.rounds", handler_fn(work))
        .with("test.echo", handler_fn(echo))
        .with("test.fail", handler_fn(fail))
        .with("test.make", Make)
}
