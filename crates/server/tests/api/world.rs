//! A server with a worker beside it, and a handler that goes on when the test says so.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use surefoot::{Handlers, StepContext, StepError, Store, Worker, WorkerHandle, WorkerOptions, Workflow, handler_fn};
use surefoot_server::auth::{AuthOptions, ServerSecret};
use surefoot_server::{ServerOptions, Workflows, serve};
use surefoot_sqlite::SqliteStore;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::counting::CountingStore;

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct World {
    pub(crate) store: Arc<CountingStore>,
    pub(crate) http: Client,
    pub(crate) url: String,
    /// Rounds that the handler `test.rounds` may do.
    pub(crate) rounds: watch::Sender<u64>,
    worker: Option<WorkerHandle>,
    stop: CancellationToken,
    servers: JoinSet<()>,
    _dir: TempDir,
}

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

impl World {
    pub(crate) async fn open() -> Self {
        // An error means that another test has chosen it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = TempDir::new().unwrap();
        let store = Arc::new(SqliteStore::open(&dir.path().join("surefoot.db")).unwrap());
        let store = Arc::new(CountingStore::new(store));
        let rounds = watch::Sender::new(0);
        let options = WorkerOptions { workspaces: dir.path().join("workspaces"), ..WorkerOptions::default() };
        let worker = Worker::start(store.clone(), handlers(&rounds), options).await.unwrap();
        let http = Client::builder().pool_max_idle_per_host(0).build().unwrap();
        let (stop, servers) = (CancellationToken::new(), JoinSet::new());
        let mut world =
            Self { store, http, url: String::new(), rounds, worker: Some(worker), stop, servers, _dir: dir };
        world.serve("127.0.0.1:0").await;
        world
    }

    async fn serve(&mut self, listen: &str) {
        let listener = TcpListener::bind(listen).await.unwrap();
        self.url = format!("http://{}", listener.local_addr().unwrap());
        let workflows = [GREET, FAILING, ASKING].map(|text| Arc::new(Workflow::from_yaml(text).unwrap())).to_vec();
        let options = ServerOptions::new(AuthOptions::new(ServerSecret::random()), Workflows::new(workflows));
        let (client, stop) = (self.worker.as_ref().unwrap().client(), self.stop.clone());
        self.servers.spawn(async move { serve(listener, client, options, stop).await.unwrap() });
    }

    /// Ends the server and begins another at the same address, over the same store.
    pub(crate) async fn restart_server(&mut self) {
        self.stop.cancel();
        while self.servers.join_next().await.is_some() {}
        self.stop = CancellationToken::new();
        // Servers on one store have one secret; the test gives each its own, and so forgets the one before.
        self.store.delete_document("server", "secret").await.unwrap();
        let listen = self.url.trim_start_matches("http://").to_owned();
        self.serve(&listen).await;
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
        self.http.get(format!("{}{path}", self.url)).send().await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Response {
        self.http.post(format!("{}{path}", self.url)).json(&body).send().await.unwrap()
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        let response = self.get(path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.json().await.unwrap()
    }

    /// Submits a greeting and gives its id.
    pub(crate) async fn greet(&self, name: &str) -> String {
        let response = self.post("/api/v1/runs", json!({ "workflow": "greet", "parameters": { "name": name } })).await;
        assert_eq!(response.status(), StatusCode::CREATED);
        response.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn until_status(&self, run: &str, status: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let seen = self.json(&format!("/api/v1/runs/{run}")).await;
            if seen["status"] == status {
                return seen;
            }
            assert!(Instant::now() < deadline, "{run} is {} and not {status}", seen["status"]);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn handlers(rounds: &watch::Sender<u64>) -> Handlers {
    let allowed = rounds.clone();
    let work = move |context: StepContext, _: Value| {
        let mut allowed = allowed.subscribe();
        async move {
            for round in 0..100 {
                allowed.wait_for(|allowed| *allowed > round).await.map_err(|_| StepError::from("the test ends"))?;
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
    let fail = |_: StepContext, _: Value| async { Err::<Value, _>(StepError::from("it cannot be done")) };
    surefoot_initializer::actions::handlers()
        .with("test.rounds", handler_fn(work))
        .with("test.echo", handler_fn(echo))
        .with("test.fail", handler_fn(fail))
}
