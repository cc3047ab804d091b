//! A real server in a process of its own, so that it can be killed: this test binary, started once more.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use surefoot::{Store, Worker, WorkerOptions, Workflow};
use surefoot_initializer::project::{self, ProjectConfig};
use surefoot_server::auth::{AuthOptions, ServerSecret};
use surefoot_server::{ServerOptions, Workflows};
use surefoot_sqlite::SqliteStore;
use tempfile::TempDir;

use crate::driver::PATIENCE;

const DIR: &str = "SUREFOOT_BROWSER_TEST_DIR";
const PORT: &str = "SUREFOOT_BROWSER_TEST_PORT";

/// A server, and where it keeps its things.
#[derive(Debug)]
pub(crate) struct Site {
    dir: TempDir,
    port: u16,
    process: Option<Child>,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Site {
    pub(crate) async fn open() -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let mut site = Self { dir: TempDir::new().unwrap(), port, process: None };
        site.start().await;
        site
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub(crate) async fn start(&mut self) {
        let process = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "site::server_process", "--nocapture"])
            .env(DIR, self.dir.path())
            .env(PORT, self.port.to_string())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        self.process = Some(process);
        let deadline = Instant::now() + PATIENCE;
        while tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            assert!(Instant::now() < deadline, "the server does not start");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// As `kill -9` does it.
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

/// No test: the server's process.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by the tests"]
async fn server_process() {
    let (Ok(dir), Ok(port)) = (std::env::var(DIR), std::env::var(PORT)) else { return };
    let dir = Path::new(&dir);
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&dir.join("surefoot.db")).unwrap());
    let pace = Some(Duration::from_millis(2000));
    let config = ProjectConfig { pace, ..ProjectConfig::new(dir) };
    let handlers = surefoot_initializer::actions::handlers().merge(project::handlers(config));
    let options = WorkerOptions { workspaces: dir.join("workspaces"), ..WorkerOptions::default() };
    let worker = Worker::start(store.clone(), handlers, options).await.unwrap();
    store.set_queue("project-initialization", project::queue_limits(), true).await.unwrap();
    let mut workflows = vec![Arc::new(project::workflow())];
    workflows.extend([APPROVAL, FAILS, SLOW].map(|text| Arc::new(Workflow::from_yaml(text).unwrap())));
    let secret = ServerSecret::from_file(&dir.join("server.key")).unwrap();
    let options = ServerOptions::new(AuthOptions::new(secret), Workflows::new(workflows));
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await.unwrap();
    surefoot_server::serve(listener, worker.client(), options, Default::default()).await.unwrap();
}
