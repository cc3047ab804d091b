//! The server under test: the real binary on a free port.

use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use reqwest::Client;
use serde_json::{Value, json};
use surefoot_scratch_postgres::ScratchPostgres;
use tokio::process::{Child, Command};

pub(super) struct Server {
    process: Child,
    url: String,
    http: Client,
}

const PATIENCE: Duration = Duration::from_secs(60);

impl Server {
    pub(super) async fn start(
        program: &Path,
        folder: &Path,
        cluster: Option<&ScratchPostgres>,
    ) -> anyhow::Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let listen = format!("127.0.0.1:{port}");
        let mut command = Command::new(program);
        command.args(["--data-dir"]).arg(folder).args([
            "serve",
            "--listen",
            &listen,
            "--workflows",
        ]);
        command
            .arg(folder.join("workflows"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        match cluster {
            Some(cluster) => command.env("SUREFOOT_STORE", cluster.url()),
            None => command.env(
                "SUREFOOT_STORE",
                format!("sqlite:{}", folder.join("surefoot.db").display()),
            ),
        };
        // The HTTP client needs a provider, though nothing here is encrypted.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let server = Self {
            process: command.spawn()?,
            url: format!("http://{listen}"),
            http: Client::new(),
        };
        let began = Instant::now();
        while !server.is_ready().await {
            anyhow::ensure!(
                began.elapsed() < PATIENCE,
                "the server is not ready after {PATIENCE:?}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(server)
    }

    async fn is_ready(&self) -> bool {
        self.http
            .get(self.at("/readyz"))
            .send()
            .await
            .is_ok_and(|answer| answer.status().is_success())
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Requests a page as a browser does; returns the latency and the size.
    pub(super) async fn get(&self, path: &str) -> anyhow::Result<(Duration, usize)> {
        let began = Instant::now();
        let answer = self
            .http
            .get(self.at(path))
            .header("accept", "text/html")
            .send()
            .await?;
        let status = answer.status();
        let bytes = answer.bytes().await?;
        anyhow::ensure!(status.is_success(), "{path}: {status}");
        Ok((began.elapsed(), bytes.len()))
    }

    pub(super) async fn json(&self, path: &str) -> anyhow::Result<Value> {
        Ok(self
            .http
            .get(self.at(path))
            .send()
            .await?
            .error_for_status()?
            .json()
            .await?)
    }

    /// Submits a run; returns its id.
    pub(super) async fn submit(&self, workflow: &str) -> anyhow::Result<String> {
        let body = json!({ "workflow": workflow });
        let answer = self
            .http
            .post(self.at("/api/v1/runs"))
            .json(&body)
            .send()
            .await?
            .error_for_status()?;
        let run: Value = answer.json().await?;
        Ok(run["id"].as_str().context("a run has an id")?.to_owned())
    }

    /// Opens a run's event stream from its first event.
    pub(super) async fn watch(&self, run: &str) -> anyhow::Result<reqwest::Response> {
        // A separate connection, as a remote watcher has.
        let client = Client::builder().pool_max_idle_per_host(0).build()?;
        let request = client
            .get(self.at(&format!("/api/v1/runs/{run}/events")))
            .header("last-event-id", "0");
        Ok(request.send().await?.error_for_status()?)
    }

    /// Peak memory of the process, MiB, as Linux counts it.
    pub(super) fn memory_mib(&self) -> anyhow::Result<f64> {
        let id = self.process.id().context("the server has ended")?;
        Ok(crate::report::peak_memory_of(&id.to_string()))
    }

    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        let id = self.process.id().context("the server has ended")?;
        let id =
            rustix::process::Pid::from_raw(i32::try_from(id)?).context("a process has an id")?;
        rustix::process::kill_process(id, rustix::process::Signal::TERM)?;
        let ended = self.process.wait().await?;
        anyhow::ensure!(ended.success(), "the server ended with {ended}");
        Ok(())
    }
}
