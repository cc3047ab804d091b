//! Faults inside a handler. The workers read them from a file in the drill's folder before each
//! call.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::count::OURS;

const NAME: &str = "sabotage.json";

/// Kind of fault, always after the handler has done its work: the worst moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Act {
    /// The attempt fails with this error.
    Fail(String),
    /// The attempt waits until it is let go on, and then fails with this error.
    Late(String),
    /// The worker kills itself with SIGKILL, before it can write down that the step is done.
    Die,
    /// The thread that runs the attempt blocks for ever, and with it whatever else was to run on
    /// it.
    Block,
}

/// Step at which it happens.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Sabotage {
    /// In this step; `None` for any.
    pub(super) step: Option<String>,
    /// Of these projects; none named means of all.
    pub(super) projects: Vec<String>,
    /// In the worker with this process id; `None` for any.
    pub(super) pid: Option<u32>,
    /// In attempts up to this one.
    pub(super) attempts: u32,
    /// Only once in all, under this name.
    pub(super) once: Option<String>,
    pub(super) act: Act,
}

impl Act {
    /// Fails with an error that says whose it is.
    pub(super) fn ours(error: &str) -> Self {
        Self::Fail(format!("{OURS}{error}"))
    }

    /// The same, as soon as it is let.
    pub(super) fn late(error: &str) -> Self {
        Self::Late(format!("{OURS}{error}"))
    }
}

impl Sabotage {
    /// Everywhere in the step.
    pub(super) fn of(step: &str, act: Act) -> Self {
        Self {
            step: Some(step.to_owned()),
            projects: Vec::new(),
            pid: None,
            attempts: u32::MAX,
            once: None,
            act,
        }
    }

    pub(super) fn hits(&self, step: &str, project: &str, attempt: u32, pid: u32) -> bool {
        self.step.as_deref().is_none_or(|only| only == step)
            && (self.projects.is_empty() || self.projects.iter().any(|only| only == project))
            && self.pid.is_none_or(|only| only == pid)
            && attempt <= self.attempts
    }
}

/// Replaces what was to go wrong before, at once for every worker.
pub(super) fn plan(folder: &Path, sabotage: &[Sabotage]) -> io::Result<()> {
    let new = folder.join("sabotage.new");
    std::fs::write(&new, serde_json::to_vec(sabotage)?)?;
    std::fs::rename(new, folder.join(NAME))
}

/// Returns the fault to inject now.
pub(super) fn planned(folder: &Path) -> io::Result<Vec<Sabotage>> {
    match std::fs::read(folder.join(NAME)) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Between two looks at whether an attempt is let go on.
const LOOK: Duration = Duration::from_millis(5);

/// The file that lets attempts go on.
const RELEASED: &str = "released";

/// Begins the names of the files of attempts that wait.
const HELD: &str = "held.";

/// Waits, in a worker, until attempts are let go on.
pub(super) async fn hold(folder: &Path, name: &str) -> io::Result<()> {
    File::create(folder.join(format!("{HELD}{name}")))?;
    while !folder.join(RELEASED).exists() {
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Number of attempts that wait or have waited.
pub(super) fn held(folder: &Path) -> usize {
    let names = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name());
    names
        .filter(|name| name.to_string_lossy().starts_with(HELD))
        .count()
}

/// Lets them go on.
pub(super) fn release(folder: &Path) -> io::Result<()> {
    File::create(folder.join(RELEASED)).map(drop)
}

/// Returns true if the fault may be injected now: a single fault is noted in the folder.
pub(super) fn claim(folder: &Path, sabotage: &Sabotage) -> bool {
    let Some(name) = &sabotage.once else {
        return true;
    };
    File::create_new(folder.join(format!("done.{name}"))).is_ok()
}
