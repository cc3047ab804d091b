//! What ships with the program: the workflow `project-initialization`, its queue, and the actions that any workflow may name.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use surefoot::{Handlers, QueueLimits, Rate, Workflow};

use crate::config::Settings;
use crate::errors::Failure;

/// The shipped workflow's name.
pub(crate) const WORKFLOW: &str = "project-initialization";
/// The queue of the same name.
pub(crate) const QUEUE: &str = WORKFLOW;

/// The beginnings of the actions that call git.
const GIT_ACTIONS: &[&str] = &["git.", "gitops.", "project."];

/// The shipped workflow.
pub(crate) fn workflow() -> Result<Arc<Workflow>, Failure> {
    Err(Failure::usage("not yet"))
}

/// Says so when a program that the workflow's steps call is not there, before anything is written.
pub(crate) fn expect_tools(workflow: &Workflow) -> Result<(), Failure> {
    let needs_git = workflow.actions().iter().any(|action| GIT_ACTIONS.iter().any(|prefix| action.starts_with(prefix)));
    if !needs_git || Command::new("git").arg("--version").output().is_ok_and(|output| output.status.success()) {
        return Ok(());
    }
    Err(Failure::usage("git is not to be found, and this workflow needs it").hint("install git, or put it on PATH"))
}

/// Every action that a worker of this program knows.
pub(crate) fn handlers(_settings: &Settings) -> Result<Handlers, Failure> {
    Ok(surefoot_initializer::actions::handlers())
}

/// The limits of the shipped queue: three projects at once, and a start every 200 ms.
pub(crate) fn limits() -> QueueLimits {
    let rate = Rate { max: 5, per: Duration::from_secs(1) };
    QueueLimits { concurrency: Some(3), rate: Some(rate), ..QueueLimits::default() }
}

/// What a finished initialization tells people.
pub(crate) fn summary(_output: &Value) -> String {
    String::new()
}
