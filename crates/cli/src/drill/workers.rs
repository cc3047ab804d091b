//! Worker processes of a drill: this same executable, killed, stopped, frozen and woken by process
//! id.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use surefoot_initializer::process::without_inherited;
use tokio::process::{Child, Command};

use crate::errors::{Failure, unusable};

/// Minimum duration of each step.
const PACE: &str = "300ms";

/// A worker process, killed on drop.
#[derive(Debug)]
pub(super) struct Worker {
    child: Child,
    id: u32,
    host: usize,
    said: PathBuf,
}

/// This same executable.
pub(super) fn executable() -> Result<Command, Failure> {
    let path = std::env::current_exe()
        .map_err(|error| Failure::usage(format!("cannot find this program: {error}")))?;
    let mut command = Command::new(path);
    without_inherited(&mut command, &["SUREFOOT_", "RUST_LOG"]);
    command.stdin(Stdio::null());
    Ok(command)
}

impl Worker {
    /// Starts one on that host.
    pub(super) fn start(
        mut command: Command,
        host: usize,
        folder: &Path,
        said: PathBuf,
    ) -> Result<Self, Failure> {
        let log = OpenOptions::new().append(true).create(true).open(&said);
        let log = log.map_err(|error| unusable("write", &said, &error))?;
        let child = command
            .env("SUREFOOT_PACE", PACE)
            .env("SUREFOOT_DRILL", folder)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| Failure::usage(format!("cannot start a worker: {error}")))?;
        let id = child
            .id()
            .ok_or_else(|| Failure::usage("a worker ended as it was started"))?;
        Ok(Self {
            child,
            id,
            host,
            said,
        })
    }

    pub(super) fn id(&self) -> u32 {
        self.id
    }

    /// Which host it is on: a data directory of its own.
    pub(super) fn host(&self) -> usize {
        self.host
    }

    /// Its output so far.
    pub(super) fn said(&self) -> String {
        std::fs::read_to_string(&self.said).unwrap_or_default()
    }

    /// kill -9.
    pub(super) async fn kill(mut self) -> Result<(), Failure> {
        self.signal(Signal::KILL)?;
        self.ended(Duration::from_secs(10)).await.map(drop)
    }

    pub(super) fn signal(&self, signal: Signal) -> Result<(), Failure> {
        let gone = |error| Failure::store(format!("cannot signal worker {}: {error}", self.id));
        let id = i32::try_from(self.id)
            .ok()
            .and_then(Pid::from_raw)
            .ok_or_else(|| Failure::usage("no process id"))?;
        kill_process(id, signal).map_err(gone)
    }

    /// Returns true if it has ended by itself.
    pub(super) fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// Waits until it has ended by itself.
    pub(super) async fn ended(&mut self, patience: Duration) -> Result<ExitStatus, Failure> {
        let ended = tokio::time::timeout(patience, self.child.wait()).await;
        let ended = ended.map_err(|_| {
            Failure::store(format!("worker {} did not end in {patience:?}", self.id))
        })?;
        ended
            .map_err(|error| Failure::store(format!("cannot wait for worker {}: {error}", self.id)))
    }
}
