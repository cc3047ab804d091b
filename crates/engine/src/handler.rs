//! Handlers: what runs a step, and what it is given.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::expression;
use crate::limits::check_value;
use crate::mask::Mask;
use crate::state::Run;
use crate::workflow::literal_hosts;
use crate::workspace::Workspace;
use crate::{CredentialSource, RecordChange, RunId, Secret, Workflow, shortage};

/// Any error at all.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Runs the steps that name its action.
///
/// A handler reconciles: it may have run before, up to any point, for the same step -
/// [`StepContext::idempotency_key`] is then the same. It looks before it creates, takes up what its
/// own earlier attempt left, and never adopts a stranger's.
///
/// When it is cancelled (timeout, a person's cancel, a lost lease) its future is dropped at the
/// next await.
#[async_trait]
pub trait StepHandler: Send + Sync + 'static {
    /// Runs one attempt of a step.
    async fn run(&self, context: StepContext) -> Result<Outcome, StepError>;

    /// Takes back what the step made, and only that. Called for a step that completed, failed or
    /// was interrupted, so what it made may be there in part or not at all.
    /// [`StepContext::previous_output`] is the step's output, if it completed.
    ///
    /// A handler without an undo keeps what it made, and people read so.
    async fn undo(&self, context: StepContext) -> Result<Undone, StepError> {
        Ok(Undone::Kept(format!(
            "{} has no undo: what it made stays as it is",
            context.action()
        )))
    }

    /// Checks a step's `with` when a workflow is read: values may still be expressions.
    ///
    /// # Errors
    /// Names the field that is unknown, missing or of the wrong type.
    fn check(&self, _with: &Value) -> Result<(), String> {
        Ok(())
    }
}

/// Result of an undo that did not fail. People read the texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undone {
    /// The step made nothing that outlives its run.
    Nothing,
    /// The things that the step made are gone: names them.
    Removed(String),
    /// The things that the step made, or some of them, stay: names them and the reason.
    Kept(String),
}

/// Result of an attempt that did not fail.
#[derive(Debug)]
pub enum Outcome {
    /// The step is done.
    Completed(Output),
    /// The step goes on after a while; it is run again then, with the checkpoint. No worker is held
    /// meanwhile, and the wait survives a restart.
    Sleep {
        /// Length of the wait.
        delay: Duration,
        /// Value that [`StepContext::checkpoint`] returns in the next attempt.
        checkpoint: Value,
    },
    /// The step asks a person. On approval it is run again, with [`StepContext::answer`]; rejection
    /// fails it.
    Ask {
        /// Text of the question.
        question: String,
        /// Value that [`StepContext::checkpoint`] returns in the next attempt.
        checkpoint: Value,
    },
}

/// Result of a completed step: its output, and the records published in the same commit.
#[derive(Debug, Default)]
pub struct Output {
    pub(crate) value: Value,
    pub(crate) records: Vec<RecordChange>,
    pub(crate) required: Vec<String>,
    pub(crate) released: Vec<String>,
}

impl Output {
    /// An output, seen by later steps as `steps.<id>.output`.
    ///
    /// # Errors
    /// When `value` cannot be written as JSON.
    pub fn new(value: impl Serialize) -> Result<Self, StepError> {
        let value = serde_json::to_value(value).map_err(StepError::fatal)?;
        Ok(Self {
            value,
            ..Self::default()
        })
    }

    /// No output.
    pub fn none() -> Self {
        Self::default()
    }

    /// Publishes a record, in the commit that completes the step.
    #[must_use]
    pub fn record(mut self, kind: impl Into<String>, name: impl Into<String>, data: Value) -> Self {
        self.records.push(RecordChange::Put {
            kind: kind.into(),
            name: name.into(),
            data,
        });
        self
    }

    /// Binds the run to a resource, in the commit that completes the step: from then on only
    /// workers that offer it take the run. What the step made is there and nowhere else.
    #[must_use]
    pub fn require(mut self, resource: impl Into<String>) -> Self {
        self.required.push(resource.into());
        self
    }

    /// Ends a requirement of the run, in the same commit: another one takes its place, or what it
    /// stood for is done.
    #[must_use]
    pub fn release(mut self, resource: impl Into<String>) -> Self {
        self.released.push(resource.into());
        self
    }
}

impl Outcome {
    /// Checks what a store would refuse, so that the step fails by its own fault and says so.
    pub(crate) fn check(&self) -> Result<(), StepError> {
        let check = |what: &str, value: &Value| {
            check_value(value).map_err(|limit| StepError::fatal(format!("{what} {limit}")))
        };
        match self {
            Self::Sleep { checkpoint, .. } | Self::Ask { checkpoint, .. } => {
                check("the step's checkpoint", checkpoint)
            }
            Self::Completed(output) => {
                check("the step's output", &output.value)?;
                output.records.iter().try_for_each(|change| match change {
                    RecordChange::Put { kind, name, data } => {
                        check(&format!("the {kind} record `{name}`"), data)
                    }
                    RecordChange::Remove { .. } => Ok(()),
                })
            }
        }
    }
}

impl From<Output> for Outcome {
    fn from(output: Output) -> Self {
        Self::Completed(output)
    }
}

/// Number of times one attempt is deferred before the error counts as a failed attempt.
pub const MAX_DEFERRALS: u32 = 100;

/// The longest time by which an attempt is deferred at once.
pub const MAX_DEFERRAL: Duration = Duration::from_secs(3600);

/// Why an attempt failed. Any error becomes one, to be retried as the step's policy says;
/// [`StepError::fatal`] and [`StepError::retry_after`] say otherwise.
#[derive(Debug)]
pub struct StepError {
    pub(crate) error: BoxError,
    pub(crate) fatal: bool,
    pub(crate) retry_after: Option<Duration>,
    /// Something that the step needs is unavailable for now: no attempt is spent.
    pub(crate) unavailable: bool,
    /// A resource that this worker lacks: no attempt is spent.
    pub(crate) needs: Option<String>,
}

impl StepError {
    /// No further attempt will help: the step fails at once.
    ///
    /// A shortage of this worker among the causes has the last word, as in every [`StepError`]: the
    /// step is deferred.
    pub fn fatal(error: impl Into<BoxError>) -> Self {
        Self {
            fatal: true,
            ..Self::new(error.into())
        }
        .unless_shortage()
    }

    /// The next attempt waits for at least `delay`.
    pub fn retry_after(error: impl Into<BoxError>, delay: Duration) -> Self {
        Self {
            retry_after: Some(delay),
            ..Self::new(error.into())
        }
        .unless_shortage()
    }

    /// Nothing is wrong with the step, but something that it needs is unavailable for `delay`: the
    /// same attempt runs again after that time, and none is spent. A worker defers an attempt up to
    /// [`MAX_DEFERRALS`] times, by up to [`MAX_DEFERRAL`] each; after that the error counts as a
    /// failed attempt.
    ///
    /// People read `reason` after "waiting for": `api.example.org: rate limit exceeded`.
    pub fn unavailable(reason: impl Into<BoxError>, delay: Duration) -> Self {
        Self {
            unavailable: true,
            retry_after: Some(delay),
            ..Self::new(reason.into())
        }
    }

    /// This worker lacks a resource, such as processes or memory: the attempt is deferred, as
    /// [`Self::unavailable`] says, for a time that grows from one second to one minute.
    pub fn shortage(error: impl Into<BoxError>) -> Self {
        Self {
            unavailable: true,
            ..Self::new(Box::new(Shortage(error.into())))
        }
    }

    /// The step needs a resource that this worker does not offer, see
    /// [`crate::WorkerOptions::resources`]. The run waits for a worker that does, and the attempt
    /// goes on there; none is spent.
    pub fn needs(resource: impl Into<String>) -> Self {
        let resource = resource.into();
        let error = format!("the step needs {resource}, which this worker lacks");
        Self {
            needs: Some(resource),
            ..Self::new(error.into())
        }
    }

    /// An error with its cause: `what` says what could not be done, and a shortage of the worker is
    /// recognised in `cause`.
    pub fn caused_by(what: impl Into<String>, cause: impl Into<BoxError>) -> Self {
        Self::from(Caused {
            what: what.into(),
            cause: cause.into(),
        })
    }

    fn new(error: BoxError) -> Self {
        Self {
            error,
            fatal: false,
            retry_after: None,
            unavailable: false,
            needs: None,
        }
    }

    /// The attempt is deferred when this worker is short of something, whatever the handler makes
    /// of it.
    fn unless_shortage(self) -> Self {
        if shortage::is_cause_of(&*self.error) {
            Self::shortage(self.error)
        } else {
            self
        }
    }

    /// Returns true if the attempt is to be deferred without being spent.
    pub fn is_unavailable(&self) -> bool {
        self.unavailable
    }

    /// Returns true if no further attempt will help.
    pub fn is_fatal(&self) -> bool {
        self.fatal
    }

    /// The error with what caused it, on one line: `cannot push: connection refused`.
    pub fn chain(&self) -> String {
        let mut text = self.error.to_string();
        let mut source = self.error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.contains(&cause_text) {
                text = format!("{text}: {cause_text}");
            }
            source = cause.source();
        }
        text
    }
}

impl<E: Into<BoxError>> From<E> for StepError {
    fn from(error: E) -> Self {
        Self::new(error.into()).unless_shortage()
    }
}

/// An error that says what could not be done, and keeps why.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {cause}")]
struct Caused {
    what: String,
    #[source]
    cause: BoxError,
}

/// A shortage of this worker.
#[derive(Debug, thiserror::Error)]
#[error("resources of the worker: {0}")]
struct Shortage(#[source] BoxError);

/// Makes a handler of an async function from typed input to output.
///
/// ```
/// # use surefoot::{handler_fn, StepContext, StepError};
/// #[derive(serde::Deserialize)]
/// struct Greet { name: String }
///
/// async fn greet(_context: StepContext, input: Greet) -> Result<String, StepError> {
///     Ok(format!("hello {}", input.name))
/// }
///
/// let handlers = surefoot::Handlers::new().with("greet", handler_fn(greet));
/// ```
pub fn handler_fn<I, O, F, R>(function: F) -> impl StepHandler
where
    I: DeserializeOwned + Send + 'static,
    O: Serialize + Send + 'static,
    F: Fn(StepContext, I) -> R + Send + Sync + 'static,
    R: Future<Output = Result<O, StepError>> + Send + 'static,
{
    struct Function<F, I, O>(F, std::marker::PhantomData<fn(I) -> O>);

    #[async_trait]
    impl<I, O, F, R> StepHandler for Function<F, I, O>
    where
        I: DeserializeOwned + Send + 'static,
        O: Serialize + Send + 'static,
        F: Fn(StepContext, I) -> R + Send + Sync + 'static,
        R: Future<Output = Result<O, StepError>> + Send + 'static,
    {
        async fn run(&self, context: StepContext) -> Result<Outcome, StepError> {
            let input = context.input()?;
            let output = (self.0)(context, input).await?;
            Ok(Output::new(output)?.into())
        }
    }

    Function(function, std::marker::PhantomData)
}

/// The handlers of a worker, by action.
#[derive(Clone, Default)]
pub struct Handlers(BTreeMap<String, Arc<dyn StepHandler>>);

/// A step that no handler here can run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// No handler has the action.
    #[error("step {step}: there is no action `{action}`")]
    UnknownAction {
        /// The step.
        step: String,
        /// Its action.
        action: String,
    },
    /// The handler refuses the step's `with`.
    #[error("step {step} ({action}): {message}")]
    Input {
        /// The step.
        step: String,
        /// Its action.
        action: String,
        /// The field at fault, and why.
        message: String,
    },
}

impl Handlers {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the handler of an action; the last one of a name counts.
    #[must_use]
    pub fn with(mut self, action: impl Into<String>, handler: impl StepHandler) -> Self {
        self.0.insert(action.into(), Arc::new(handler));
        self
    }

    /// Adds all of `others`; the last one of a name counts.
    #[must_use]
    pub fn merge(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// The handler of an action.
    pub fn get(&self, action: &str) -> Option<&Arc<dyn StepHandler>> {
        self.0.get(action)
    }

    /// Checks the steps of a workflow against their handlers, without running anything.
    ///
    /// # Errors
    /// The first of [`Self::faults`].
    pub fn check(&self, workflow: &Workflow) -> Result<(), PlanError> {
        self.faults(workflow).next().map_or(Ok(()), Err)
    }

    /// Steps of a workflow whose action has no handler, or whose handler refuses their `with`, in
    /// order.
    pub fn faults(&self, workflow: &Workflow) -> impl Iterator<Item = PlanError> {
        workflow.steps().iter().filter_map(|step| {
            let Some(handler) = self.get(&step.action) else {
                return Some(PlanError::UnknownAction {
                    step: step.id.clone(),
                    action: step.action.clone(),
                });
            };
            let message = handler.check(&step.with).err()?;
            Some(PlanError::Input {
                step: step.id.clone(),
                action: step.action.clone(),
                message,
            })
        })
    }

    /// The actions that have a handler.
    pub fn actions(&self) -> BTreeSet<String> {
        self.0.keys().cloned().collect()
    }
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Context of an attempt: its input, the outputs of earlier steps, and the means to report
/// progress.
#[derive(Clone)]
pub struct StepContext(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) run: Arc<Run>,
    pub(crate) position: usize,
    pub(crate) input: Value,
    pub(crate) reports: Reports,
    pub(crate) notes: mpsc::Sender<Note>,
    pub(crate) cancellation: CancellationToken,
    pub(crate) resources: Arc<BTreeSet<String>>,
    pub(crate) credentials: Arc<dyn CredentialSource>,
    pub(crate) mask: Mask,
    pub(crate) workspace: Workspace,
}

/// A checkpoint on its way to the store.
pub(crate) struct Note {
    pub(crate) checkpoint: Value,
    pub(crate) done: oneshot::Sender<()>,
}

/// Reports of a handler that are not yet written.
#[derive(Clone, Default)]
pub(crate) struct Reports(Arc<(Mutex<Said>, Notify)>);

#[derive(Default)]
pub(crate) struct Said {
    pub(crate) progress: Option<(u8, Option<String>)>,
    pub(crate) lines: Vec<String>,
}

impl Reports {
    fn say(&self, change: impl FnOnce(&mut Said)) {
        change(&mut self.0.0.lock().unwrap_or_else(PoisonError::into_inner));
        self.0.1.notify_one();
    }

    pub(crate) fn take(&self) -> Said {
        std::mem::take(&mut self.0.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) async fn said_something(&self) {
        self.0.1.notified().await;
    }
}

impl StepContext {
    /// The step's `with`, its expressions replaced, as the handler's own type.
    ///
    /// # Errors
    /// Fatal, and names the field that does not fit.
    pub fn input<T: DeserializeOwned>(&self) -> Result<T, StepError> {
        T::deserialize(&self.0.input)
            .map_err(|error| StepError::fatal(format!("the step's `with` does not fit: {error}")))
    }

    /// The step's `with`, its expressions replaced.
    pub fn raw_input(&self) -> &Value {
        &self.0.input
    }

    /// The step's `with` as the workflow has it, its expressions not replaced.
    pub fn written_input(&self) -> &Value {
        &self.0.run.plan.steps()[self.0.position].with
    }

    /// Replaces the expressions of a text by what this step sees.
    ///
    /// # Errors
    /// Fatal, and names the expression that has no value.
    pub fn render(&self, text: &str) -> Result<String, StepError> {
        let scope = self.0.run.scope(self.0.position, self.parameters().clone());
        expression::render(text, &scope).map_err(StepError::fatal)
    }

    /// The run's parameters.
    pub fn parameters(&self) -> &Value {
        &self.0.run.parameters
    }

    /// The run.
    pub fn run_id(&self) -> RunId {
        self.0.run.id
    }

    /// The workflow's name.
    pub fn workflow(&self) -> &str {
        self.0.run.plan.name()
    }

    /// When the run was submitted: the same for every attempt, unlike the time of day.
    pub fn run_created_at(&self) -> crate::Timestamp {
        self.0.run.created_at
    }

    /// The step's action.
    pub fn action(&self) -> &str {
        &self.0.run.plan.steps()[self.0.position].action
    }

    /// The step's id.
    pub fn step_id(&self) -> &str {
        &self.0.run.plan.steps()[self.0.position].id
    }

    /// The number of this attempt, from 1. An attempt that was interrupted keeps its number.
    pub fn attempt(&self) -> u32 {
        self.0.run.steps[self.0.position].attempt
    }

    /// The same for every attempt of this step of this run, and of no other.
    pub fn idempotency_key(&self) -> String {
        format!("{}/{}", self.run_id(), self.step_id())
    }

    /// The output of an earlier step; `None` when there is no such step or it gave none.
    pub fn output(&self, step: &str) -> Option<&Value> {
        let position = self.0.run.plan.position(step)?;
        self.0.run.steps[position].output.as_ref()
    }

    /// The output of this step as it completed before: for `undo`.
    pub fn previous_output(&self) -> Option<&Value> {
        self.0.run.steps[self.0.position].output.as_ref()
    }

    /// Returns the checkpoint saved with [`Self::save_checkpoint`], or with a [`Outcome::Sleep`] or
    /// [`Outcome::Ask`], by this attempt or an earlier one.
    pub fn checkpoint(&self) -> Option<&Value> {
        self.0.run.steps[self.0.position].checkpoint.as_ref()
    }

    /// A person's approval of what this step asked: `{"answer", "by", "note"}`. The answer to an
    /// interruption is none.
    pub fn answer(&self) -> Option<&Value> {
        let answer = self.0.run.steps[self.0.position].answer.as_ref()?;
        (answer["answer"] == "approve").then_some(answer)
    }

    /// Notes something for the next attempt. It is durable when this returns.
    pub async fn save_checkpoint(&self, checkpoint: impl Serialize) -> Result<(), StepError> {
        let checkpoint = serde_json::to_value(checkpoint).map_err(StepError::fatal)?;
        check_value(&checkpoint)
            .map_err(|limit| StepError::fatal(format!("the step's checkpoint {limit}")))?;
        let (done, written) = oneshot::channel();
        let gone = |_| StepError::from("the run is no longer ours");
        self.0
            .notes
            .send(Note { checkpoint, done })
            .await
            .map_err(|_| StepError::from("the run is no longer ours"))?;
        written.await.map_err(gone)
    }

    /// Says how far the step is, in percent. Writing is coalesced: say it as often as it changes.
    pub fn progress(&self, percent: u8, message: impl Into<String>) {
        let message = message.into();
        self.0
            .reports
            .say(|said| said.progress = Some((percent, Some(message))));
    }

    /// Adds a line to the run's log. Secrets are masked before it is written, as in all that a step
    /// gives: those of [`Self::credential`] and [`Self::mask`], and secret parameters.
    pub fn log(&self, line: impl Into<String>) {
        let line = line.into();
        self.0.reports.say(|said| said.lines.push(line));
    }

    /// Done when the attempt is to end: its time is up, a person cancelled, or the lease is lost.
    /// The handler's future is dropped anyway; this is for work that runs beside it.
    pub fn cancellation(&self) -> &CancellationToken {
        &self.0.cancellation
    }

    /// The resources that the run requires of its worker.
    pub fn requires(&self) -> &BTreeSet<String> {
        &self.0.run.requires
    }

    /// Returns whether this worker offers a resource.
    pub fn has_resource(&self, resource: &str) -> bool {
        self.0.resources.contains(resource)
    }

    /// The credential of that name.
    ///
    /// # Errors
    /// Fatal, and says what to set.
    pub fn credential(&self, name: &str) -> Result<Secret, StepError> {
        let secret = self.0.credentials.get(name).map_err(StepError::fatal)?;
        self.0
            .mask
            .add_credential(&secret)
            .map_err(|error| StepError::fatal(format!("credential `{name}`: {error}")))?;
        Ok(secret)
    }

    /// Masks a secret that the handler has made or been given, such as a token of short life, in
    /// everything that the run writes from now on: outputs, checkpoints, records, errors and log
    /// lines.
    ///
    /// # Errors
    /// Fatal, when the secrets of the run are longer than what can be looked for.
    pub fn mask(&self, secret: &Secret) -> Result<(), StepError> {
        self.0.mask.add(secret).map_err(StepError::fatal)
    }

    /// The credential of that name, for a request to `host`.
    ///
    /// It is given when the program binds it to that host ([`CredentialSource::hosts`]). A
    /// credential that is bound to none goes to hosts that the workflow itself writes out in a step
    /// that names the credential: a host that comes from a parameter or from a step's output was
    /// not chosen by the author of the workflow.
    ///
    /// # Errors
    /// Fatal, and says what to set.
    pub fn credential_for(&self, name: &str, host: &str) -> Result<Secret, StepError> {
        let is_allowed = match self.0.credentials.hosts(name) {
            Some(hosts) => hosts.iter().any(|bound| bound.eq_ignore_ascii_case(host)),
            None => literal_hosts::of(&self.0.run.plan, name).contains(&host.to_ascii_lowercase()),
        };
        if is_allowed {
            return self.credential(name);
        }
        Err(StepError::fatal(format!(
            "the credential `{name}` is not for the host `{host}`: add the host to `{name}` under [credentials.hosts] in \
             surefoot.toml, or write the host out in the workflow, without an expression"
        )))
    }

    /// The run's folder, as the last completed step left it. What is in it when this step completes
    /// is kept with the commit, and is there for later steps, on this machine or another.
    pub async fn workspace(&self) -> Result<PathBuf, StepError> {
        self.0.workspace.open().await.map_err(StepError::from)
    }
}

impl fmt::Debug for StepContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StepContext({})", self.idempotency_key())
    }
}
