//! Workflows: named, ordered lists of steps, with a JSON Schema for their parameters.
//!
//! A YAML file ([`Workflow::from_yaml`]) and the builder ([`Workflow::builder`]) give the same
//! thing. A run carries its workflow with it (its *plan*), so a deploy never changes a run under
//! way.

mod builder;
mod check;
mod document;
mod dry_run;
pub(crate) mod literal_hosts;
mod secrets;
mod yaml_numbers;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

pub use builder::{StepBuilder, WorkflowBuilder};
pub use check::ParameterError;
pub use dry_run::{DryRunError, DryRunStep, WillRun};
pub(crate) use secrets::secret_texts;
pub use secrets::{MASK, is_secret, secrets, without_secrets};

use crate::Digest;

/// A named, ordered list of steps. Checked when it is made: what exists is well formed.
#[derive(Clone, Debug, PartialEq)]
pub struct Workflow {
    name: String,
    title: Option<String>,
    description: Option<String>,
    queue: String,
    parameters: Value,
    validator: check::Validator,
    unique: Option<String>,
    requires: Vec<String>,
    output: Value,
    steps: Vec<StepPlan>,
    /// The workflow as JSON: what [`Self::digest`] is of, and what stores keep.
    json: Arc<str>,
    /// The format of `json`.
    format: u32,
    digest: Digest,
}

/// A step of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct StepPlan {
    /// Its name within the workflow.
    pub id: String,
    /// Title for people.
    pub title: String,
    /// The name under which its handler is registered.
    pub action: String,
    /// The handler's input, with expressions.
    pub with: Value,
    /// An expression; when it gives false the step is skipped.
    pub condition: Option<String>,
    /// Its share of the run's progress.
    pub weight: u32,
    /// Policy after a failed attempt.
    pub retry: RetryPolicy,
    /// The longest that one attempt may take.
    pub timeout: Option<Duration>,
    /// Policy after an interrupted attempt: its worker died or was stopped.
    pub on_interrupt: OnInterrupt,
    /// Interruptions past which the step fails.
    pub max_interruptions: u32,
}

/// Policy after a failed attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Attempts in all, the first one included.
    pub attempts: u32,
    /// The wait before the next attempt.
    pub backoff: Backoff,
}

/// The wait between attempts.
#[derive(Clone, Debug, PartialEq)]
pub struct Backoff {
    /// The wait after the first failed attempt.
    pub initial: Duration,
    /// Factor for each further failure: 2 for exponential, 1 for fixed.
    pub factor: u32,
    /// The longest wait.
    pub max: Duration,
    /// The share of the wait, 0 to 1, within which it is drawn at random.
    pub jitter: f64,
}

/// Policy after an interrupted attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnInterrupt {
    /// It runs again, with the same attempt number and idempotency key.
    #[default]
    Rerun,
    /// The run waits until a person answers `rerun`, `skip` or `fail`.
    Ask,
    /// The step, and with it the run, fails.
    Fail,
}

impl Default for RetryPolicy {
    /// Three attempts; 1 s, then 2 s between them.
    fn default() -> Self {
        Self {
            attempts: 3,
            backoff: Backoff::default(),
        }
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: Duration::from_secs(1),
            factor: 2,
            max: Duration::from_secs(60),
            jitter: 0.2,
        }
    }
}

impl RetryPolicy {
    /// The wait after attempt number `attempt` (from 1) failed. `random` is drawn from 0 to 1 and
    /// spreads the wait over `jitter` to both sides, within [`Backoff::max`].
    pub fn delay(&self, attempt: u32, random: f64) -> Duration {
        let factor = self
            .backoff
            .factor
            .max(1)
            .checked_pow(attempt.saturating_sub(1))
            .unwrap_or(u32::MAX);
        let wait = self
            .backoff
            .initial
            .saturating_mul(factor)
            .min(self.backoff.max);
        let spread = 1.0 + self.backoff.jitter * (2.0 * random - 1.0);
        wait.mul_f64(spread.max(0.0)).min(self.backoff.max)
    }
}

impl StepPlan {
    /// A step that runs `action`, everything else by default.
    pub fn new(id: impl Into<String>, action: impl Into<String>) -> Self {
        let id = id.into();
        Self {
            title: title_of(&id),
            id,
            action: action.into(),
            with: Value::Null,
            condition: None,
            weight: 1,
            retry: RetryPolicy::default(),
            timeout: None,
            on_interrupt: OnInterrupt::default(),
            max_interruptions: Self::MAX_INTERRUPTIONS,
        }
    }

    /// Interruptions that a step survives unless its workflow says otherwise.
    pub const MAX_INTERRUPTIONS: u32 = 5;
}

/// `create_repository` reads as `Create repository`.
fn title_of(id: &str) -> String {
    let words = id.replace(['_', '-'], " ");
    let mut letters = words.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}

impl Workflow {
    /// Reads a workflow file.
    ///
    /// # Errors
    /// Names the line and column of what cannot be read, and the step and field of what does not
    /// hold together.
    pub fn from_yaml(text: &str) -> Result<Self, WorkflowError> {
        document::from_yaml(text)
    }

    /// Reads what [`Self::json`] gave.
    ///
    /// # Errors
    /// When it is not a workflow, or one of a version that this build does not know.
    pub fn from_json(text: &str) -> Result<Self, WorkflowError> {
        document::from_json(text)
    }

    /// The format of [`Self::json`] that this build writes, and the newest that it reads. A build
    /// that adds a field raises it.
    pub const FORMAT: u32 = 1;

    /// Stands for a plan that cannot be read: the names of its steps, which no worker can run.
    pub fn stand_in(name: &str, queue: &str, steps: impl IntoIterator<Item = String>) -> Self {
        Self {
            name: name.to_owned(),
            title: None,
            description: None,
            queue: queue.to_owned(),
            parameters: Value::Null,
            validator: check::Validator::default(),
            unique: None,
            requires: Vec::new(),
            output: Value::Null,
            steps: steps
                .into_iter()
                .map(|id| StepPlan::new(id, "(unreadable)"))
                .collect(),
            json: "null".into(),
            format: Self::FORMAT,
            digest: Digest::of(b"null"),
        }
    }

    /// Reads a plan as a store keeps it. `newest` is the newest format that the store reads:
    /// [`Self::FORMAT`], except in tests that run two builds at once.
    ///
    /// # Errors
    /// When the plan is of a newer format, or is none.
    pub fn from_stored(format: u32, newest: u32, json: &str) -> Result<Self, UnreadablePlan> {
        if format > newest {
            return Err(UnreadablePlan::Newer { format, newest });
        }
        let workflow = Self::from_json(json).map_err(UnreadablePlan::Damaged)?;
        Ok(workflow.in_format(format))
    }

    /// The format of [`Self::json`]: a worker that reads only older ones leaves the workflow's runs
    /// to others.
    pub fn format(&self) -> u32 {
        self.format
    }

    /// The same workflow, stored as one of `format`: stores call it with what they keep, tests to
    /// write what a newer build would.
    #[doc(hidden)]
    #[must_use]
    pub fn in_format(self, format: u32) -> Self {
        Self { format, ..self }
    }

    /// Starts a workflow in Rust.
    pub fn builder(name: impl Into<String>) -> WorkflowBuilder {
        WorkflowBuilder::new(name.into())
    }

    /// The workflow's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Title for people; the name if the file has none.
    pub fn title(&self) -> &str {
        self.title.as_deref().unwrap_or(&self.name)
    }

    /// Purpose of the workflow.
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// The queue its runs wait in; its own name unless the file says otherwise.
    pub fn queue(&self) -> &str {
        &self.queue
    }

    /// The JSON Schema of its parameters.
    pub fn parameters(&self) -> &Value {
        &self.parameters
    }

    /// Returns whether a parameter can be secret: the schema marks one as `writeOnly` or as a
    /// password.
    pub fn has_secret_parameters(&self) -> bool {
        self.validator.marks_secrets(&self.parameters)
    }

    /// A template: two runs of this workflow that are not cancelled never have the same value of
    /// it.
    pub fn unique(&self) -> Option<&str> {
        self.unique.as_deref()
    }

    /// Templates, each of which gives the name of a resource that a worker must offer to take a run
    /// of it, or nothing.
    pub fn requires(&self) -> &[String] {
        &self.requires
    }

    /// Output of a completed run, with expressions.
    pub fn output(&self) -> &Value {
        &self.output
    }

    /// The steps, in order.
    pub fn steps(&self) -> &[StepPlan] {
        &self.steps
    }

    /// Returns true if a worker that knows these actions can run every step.
    pub fn is_known_by(&self, actions: &BTreeSet<String>) -> bool {
        self.steps.iter().all(|step| actions.contains(&step.action))
    }

    /// The place of a step in the plan.
    pub fn position(&self, step: &str) -> Option<usize> {
        self.steps.iter().position(|plan| plan.id == step)
    }

    /// Every action that a worker must know to run this.
    pub fn actions(&self) -> BTreeSet<&str> {
        self.steps.iter().map(|step| step.action.as_str()).collect()
    }

    /// The workflow as JSON, in the fields of the YAML file; stores keep it as a run's plan.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// The digest of [`Self::json`]: two workflows with the same one are the same.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Checks parameters against the schema and fills in the defaults of what is absent.
    ///
    /// # Errors
    /// Names each parameter that does not fit, and why.
    pub fn check_parameters(&self, parameters: Value) -> Result<Value, Vec<ParameterError>> {
        check::parameters(&self.parameters, &self.validator, parameters)
    }
}

/// Why a text is not a workflow.
#[derive(Debug, thiserror::Error)]
pub enum WorkflowError {
    /// The text cannot be read.
    #[error("line {line}, column {column}: {message}")]
    Syntax {
        /// From 1.
        line: u64,
        /// From 1.
        column: u64,
        /// Description of the mistake.
        message: String,
    },
    /// The text can be read and does not hold together.
    #[error("{place}: {message}")]
    Invalid {
        /// `step create_repository, field with.name`.
        place: String,
        /// Description of the mistake, and what to do.
        message: String,
    },
}

/// A stored plan that this build cannot read.
#[derive(Debug, thiserror::Error)]
pub enum UnreadablePlan {
    /// A newer build wrote it.
    #[error("its plan has format {format}, and this surefoot reads up to {newest}")]
    Newer {
        /// The format of the plan.
        format: u32,
        /// The newest format that is read.
        newest: u32,
    },
    /// It is not a workflow, or one beyond the limits.
    #[error("its plan: {0}")]
    Damaged(#[source] WorkflowError),
}

impl WorkflowError {
    pub(crate) fn invalid(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid {
            place: place.into(),
            message: message.into(),
        }
    }
}
