//! The client: submits runs, waits for them, and does to them what a person asks.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::expression::{self, ExpressionError, Scope};
use crate::mask::{Mask, SHORTEST_MASKED};
use crate::metrics::WorkerMetrics;
use crate::secret_keys::open_parameters;
use crate::state::{Answer, CancelMode, Edit, Transition};
use crate::store::{Hints, Submission, Submitted};
use crate::waiting::{Waiting, waiting};
use crate::worker::{NextStep, Shared, advance, drive};
use crate::workflow::{ParameterError, secret_texts, without_secrets};
use crate::{
    Event, ListOwner, Run, RunId, SealError, Secret, SecretKeys, Store, StoreError, Timestamp,
    Workflow,
};

/// Submits runs to a store and follows them. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    store: Arc<dyn Store>,
    /// The worker of this process, on which a submission may start at once.
    local: Option<Arc<Shared>>,
    /// Keys that secret parameters are encrypted with.
    keys: Option<SecretKeys>,
}

/// A run to submit.
#[derive(Clone, Debug)]
#[must_use]
pub struct Submit {
    workflow: Arc<Workflow>,
    parameters: Value,
    key: Option<String>,
    priority: i32,
    concurrency_key: Option<String>,
    requires: BTreeSet<String>,
    at: Option<Timestamp>,
}

/// Result of a submission.
#[derive(Clone, Debug)]
pub struct SubmittedRun {
    /// The run.
    pub run: Run,
    /// True if the same request was made before and the run exists already.
    pub existing: bool,
}

/// Reason why a run was not submitted. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// Parameters do not fit the workflow's schema.
    #[error("{}", listed(.0))]
    Parameters(Vec<ParameterError>),
    /// The workflow's `unique` has no value for these parameters.
    #[error("field unique: {0}")]
    Expression(#[from] ExpressionError),
    /// The workflow's `requires` has no value for these parameters.
    #[error("field requires: {0}")]
    Requires(#[source] ExpressionError),
    /// The key belongs to a run with other parameters.
    #[error("the key `{key}` belongs to run {}, which was submitted with other parameters", run.id)]
    KeyConflict {
        /// The key.
        key: String,
        /// The run that has it.
        run: Box<Run>,
    },
    /// The value that must be unique belongs to another run.
    #[error("`{unique}` is taken by run {} ({})", run.id, run.head.status)]
    Taken {
        /// The value of [`Workflow::unique`].
        unique: String,
        /// The run that has it.
        run: Box<Run>,
    },
    /// Secret parameters cannot be encrypted.
    #[error("the workflow has secret parameters: {0}")]
    Sealing(SealError),
    /// A secret parameter is in a text that everyone reads.
    #[error(
        "the {place} holds a secret parameter, and everyone can read it: make it of something else"
    )]
    Secret {
        /// `key`, `concurrency key` or the field `unique` of the workflow.
        place: &'static str,
    },
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn listed(errors: &[ParameterError]) -> String {
    errors
        .iter()
        .map(ParameterError::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

impl Submit {
    /// A run of `workflow` without parameters, to start as soon as there is room.
    pub fn new(workflow: Arc<Workflow>) -> Self {
        Self {
            workflow,
            parameters: Value::Null,
            key: None,
            priority: 0,
            concurrency_key: None,
            requires: BTreeSet::new(),
            at: None,
        }
    }

    /// Its parameters: an object.
    pub fn parameters(mut self, parameters: Value) -> Self {
        self.parameters = parameters;
        self
    }

    /// An idempotency key: a second submission with it, of the same workflow and parameters, gives
    /// the same run.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Runs with a higher priority start first; 0 by default.
    pub fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    /// Runs with the same one count against the queue's concurrency per key.
    pub fn concurrency_key(mut self, key: impl Into<String>) -> Self {
        self.concurrency_key = Some(key.into());
        self
    }

    /// A resource that a worker must offer to take the run, beside those of [`Workflow::requires`].
    pub fn requires(mut self, resource: impl Into<String>) -> Self {
        self.requires.insert(resource.into());
        self
    }

    /// It does not start before `at`.
    pub fn at(mut self, at: Timestamp) -> Self {
        self.at = Some(at);
        self
    }

    /// Returns the workflow to run.
    pub fn workflow(&self) -> &Arc<Workflow> {
        &self.workflow
    }

    /// What [`Self::parameters`] gave it: neither checked nor with defaults.
    pub fn given_parameters(&self) -> &Value {
        &self.parameters
    }

    /// Returns the key set with [`Self::key`].
    pub fn idempotency_key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// The run as it will be queued, and its parameters as handlers see them. They are checked
    /// here, and secret ones encrypted.
    fn queued(
        mut self,
        now: Timestamp,
        keys: Option<&SecretKeys>,
    ) -> Result<(Run, Value), SubmitError> {
        let parameters = std::mem::take(&mut self.parameters);
        let parameters = self
            .workflow
            .check_parameters(parameters)
            .map_err(SubmitError::Parameters)?;
        let scope = Scope {
            parameters,
            ..Scope::default()
        };
        let unique = self
            .workflow
            .unique()
            .map(|unique| expression::render(unique, &scope))
            .transpose()?;
        let mut requires = required(&self.workflow, &scope)?;
        requires.append(&mut self.requires);
        if self.workflow.has_secret_parameters() {
            self.refuse_secrets(&scope.parameters, unique.as_deref(), &requires)?;
        }
        let available_at = self.at.filter(|at| *at > now).unwrap_or(now);
        let mut run = Run::new(
            RunId::at(now),
            self.workflow,
            scope.parameters.clone(),
            now,
            available_at,
        );
        run.key = self.key;
        run.unique = unique;
        run.priority = self.priority;
        run.concurrency_key = self.concurrency_key;
        run.requires = requires;
        run.seal(keys).map_err(SubmitError::Sealing)?;
        Ok((run, scope.parameters))
    }
}

impl Submit {
    /// Refuses secret parameters that cannot be masked, or that would stand where everyone reads
    /// them.
    fn refuse_secrets(
        &self,
        parameters: &Value,
        unique: Option<&str>,
        requires: &BTreeSet<String>,
    ) -> Result<(), SubmitError> {
        let schema = self.workflow.parameters();
        let secrets = secret_texts(schema, parameters);
        let mask = Mask::default();
        secrets
            .iter()
            .try_for_each(|secret| mask.add(secret))
            .map_err(|error| {
                let message = format!("secret parameters: {error}");
                SubmitError::Parameters(vec![ParameterError {
                    parameter: "(all)".to_owned(),
                    message,
                }])
            })?;
        let holds = |text: Option<&str>| {
            let is_in = |secret: &Secret| text.is_some_and(|text| text.contains(secret.expose()));
            secrets
                .iter()
                .any(|secret| secret.expose().len() >= SHORTEST_MASKED && is_in(secret))
        };
        let shown = Scope {
            parameters: without_secrets(schema, parameters),
            ..Scope::default()
        };
        let shown = self
            .workflow
            .unique()
            .and_then(|template| expression::render(template, &shown).ok());
        let places = [
            ("key", holds(self.key.as_deref())),
            ("concurrency key", holds(self.concurrency_key.as_deref())),
            (
                "field `requires` of the workflow",
                requires.iter().any(|resource| holds(Some(resource))),
            ),
            // However short the secret is, and whatever became of it.
            (
                "field `unique` of the workflow",
                unique != shown.as_deref() || holds(unique),
            ),
        ];
        let place = places
            .into_iter()
            .find(|(_, holds)| *holds)
            .map(|(place, _)| place);
        place.map_or(Ok(()), |place| Err(SubmitError::Secret { place }))
    }
}

/// The resources that a workflow requires with these parameters. An expression may give nothing:
/// then there is none.
fn required(workflow: &Workflow, scope: &Scope) -> Result<BTreeSet<String>, SubmitError> {
    let names = workflow
        .requires()
        .iter()
        .map(|template| expression::render(template, scope));
    let mut names = names
        .collect::<Result<BTreeSet<_>, _>>()
        .map_err(SubmitError::Requires)?;
    names.remove("");
    Ok(names)
}

impl Client {
    /// A client without a worker: its submissions wait in the store for one.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            local: None,
            keys: None,
        }
    }

    /// Encrypts secret parameters with these keys. Without any, a run with secret parameters is
    /// refused.
    #[must_use]
    pub fn with_keys(self, keys: Option<SecretKeys>) -> Self {
        Self { keys, ..self }
    }

    pub(crate) fn local(worker: Arc<Shared>) -> Self {
        Self {
            store: worker.store.clone(),
            keys: worker.options.keys.clone(),
            local: Some(worker),
        }
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Returns the metrics of this process's worker; `None` if it has none.
    pub fn worker_metrics(&self) -> Option<&WorkerMetrics> {
        self.local.as_ref().map(|worker| worker.metrics.as_ref())
    }

    /// Why this process's worker cannot write to the store at the moment, as long as it cannot.
    pub fn worker_trouble(&self) -> Option<String> {
        self.local.as_ref().and_then(|worker| worker.trouble())
    }

    /// Submits a run. It is durable when this returns.
    ///
    /// # Errors
    /// See [`SubmitError`]; nothing was written then.
    pub async fn submit(&self, submit: Submit) -> Result<SubmittedRun, SubmitError> {
        let now = self.store.now();
        let (run, parameters) = submit.queued(now, self.keys.as_ref())?;
        let submitted = match &self.local {
            Some(worker) => submit_here(worker, run.clone(), &parameters, now).await?,
            None => {
                self.store
                    .submit(Submission {
                        queued: first_commit(run.clone(), now),
                        started: None,
                    })
                    .await?
            }
        };
        resolve(run, submitted, |other| {
            open_parameters(other, self.keys.as_ref()).is_ok_and(|others| others == parameters)
        })
    }

    /// A run as it stands.
    ///
    /// # Errors
    /// [`StoreError::NoRun`] when there is none of that id.
    pub async fn run(&self, id: RunId) -> Result<Run, StoreError> {
        self.store.run(id).await?.ok_or(StoreError::NoRun(id))
    }

    /// Waits until a run has ended, and gives it as it is then.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn wait(&self, id: RunId) -> Result<Run, StoreError> {
        let mut hints = self.store.hints();
        let began = Instant::now();
        loop {
            if let Some(run) = self.ended_here(id).await {
                return Ok(run);
            }
            hints.any.mark_unchanged();
            let run = self.run(id).await?;
            if run.head.status.is_ended() {
                return Ok(run);
            }
            // Any change of any run is a hint. Many who wait for their own runs would read all the
            // time.
            tokio::time::sleep((began.elapsed() / 4).min(SELDOM)).await;
            changed(&mut hints).await;
        }
    }

    /// Waits for a run that this process's worker holds; `None` when it does not, or no longer.
    async fn ended_here(&self, id: RunId) -> Option<Run> {
        let mut ended = self.local.as_ref()?.active_runs.ended(id)?;
        let run = ended.wait_for(Option::is_some).await.ok()?;
        run.as_deref().cloned()
    }

    /// Returns what a run waits for, from its state as read; `None` if it is running or has ended.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn waiting(&self, run: &Run) -> Result<Option<Waiting>, StoreError> {
        waiting(self.store.as_ref(), run).await
    }

    /// Follows a run's history from after event number `after` (0: from the first) to its end.
    pub fn watch(&self, id: RunId, after: u64) -> Watch {
        let (hints, store, page) = (
            self.store.hints(),
            self.store.clone(),
            Vec::new().into_iter(),
        );
        Watch {
            hints,
            store,
            run: id,
            after,
            page,
            look: None,
        }
    }

    /// Cancels a run; see [`Edit::request_cancel`]. A run that a worker holds ends a moment later.
    ///
    /// # Errors
    /// [`StoreError::Rule`] says why it cannot be cancelled.
    pub async fn cancel(&self, id: RunId, mode: CancelMode, by: &str) -> Result<Run, StoreError> {
        self.store.cancel(id, mode, by).await
    }

    /// Retries a failed run from the step that failed, or from an earlier one.
    ///
    /// # Errors
    /// [`StoreError::Rule`] says why it cannot be retried; [`StoreError::NotPermitted`] when its
    /// queue's allow-lists, which may have changed since, no longer permit it.
    pub async fn retry(&self, id: RunId, from: Option<&str>, by: &str) -> Result<Run, StoreError> {
        let run = self.run(id).await?;
        let queues = self.store.queues().await?;
        if let Some(queue) = queues.into_iter().find(|queue| queue.name == run.queue()) {
            queue
                .limits
                .allow
                .check(&run.plan, &ListOwner::Queue(queue.name))?;
        }
        self.store.retry(id, from, by).await
    }

    /// Answers a step that waits for a person.
    ///
    /// # Errors
    /// [`StoreError::Rule`] says why the step takes no such answer.
    pub async fn answer(
        &self,
        id: RunId,
        step: &str,
        answer: Answer,
        by: &str,
        note: Option<&str>,
    ) -> Result<Run, StoreError> {
        self.store.answer(id, step, answer, by, note).await
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({:?})", self.store)
    }
}

fn first_commit(run: Run, now: Timestamp) -> (Run, Transition) {
    let mut edit = Edit::new(run, now);
    edit.submitted();
    edit.finish()
}

/// The run as it is when this process's worker takes it at once: claimed, and its first step
/// running.
fn started(
    run: Run,
    parameters: &Value,
    now: Timestamp,
    worker: &Shared,
) -> Option<(Run, Transition)> {
    let due = run.head.available_at.is_some_and(|at| at <= now);
    let able = worker.fits(&run.plan) && run.requires.is_subset(&worker.options.resources);
    if !able || !due || worker.draining.is_cancelled() {
        return None;
    }
    let mut edit = Edit::new(run, now);
    edit.submitted();
    edit.claim(worker.id()).ok()?;
    // A run that would end at once is left to a claim: a submission never returns an ended run.
    matches!(advance(&mut edit, parameters), Ok(NextStep::Attempt { .. })).then(|| edit.finish())
}

/// Submits on a worker with a free slot. A task of the worker writes, so that a dropped caller
/// leaves no leased run without a driver.
async fn submit_here(
    worker: &Arc<Shared>,
    run: Run,
    parameters: &Value,
    now: Timestamp,
) -> Result<Submitted, StoreError> {
    let permit = worker.slots.of(&run.plan).try_acquire_owned().ok();
    let direct = permit
        .is_some()
        .then(|| started(run.clone(), parameters, now, worker))
        .flatten();
    let leased = direct.as_ref().map(|(run, _)| run.clone());
    let submission = Submission {
        queued: first_commit(run, now),
        started: direct,
    };
    let Some(leased) = leased else {
        return worker.store.submit(submission).await;
    };
    let (answer, answered) = oneshot::channel();
    let task = worker.clone();
    // Registered before it is sent: if the answer is lost, the dispatcher can distinguish it from a
    // run without a driver.
    let held = worker.active_runs.add(leased.id, None);
    worker.drivers.spawn(async move {
        let submitted = task.store.submit(submission).await;
        let starts = matches!(submitted, Ok(Submitted::Started));
        let mut permit = permit;
        if !starts {
            task.active_runs.remove(leased.id, &held);
            // The hint about the waiting run may have found the dispatcher without this slot.
            drop(permit.take());
            task.slot_released();
        }
        if let Err(error) = submitted.as_ref()
            && error.is_outage()
        {
            task.note_unacknowledged(error);
        }
        // A caller that no longer listens has its run all the same.
        let _ = answer.send(submitted);
        if starts {
            task.metrics.started_here.add_one();
            // Boxed: a task is moved when it is spawned, and this future is ten times as large as
            // all before it.
            Box::pin(drive(task, leased, held, permit.into())).await;
        }
    });
    answered.await.map_err(|_| {
        StoreError::Unavailable("the worker stopped before the run was submitted".to_owned())
    })?
}

/// The same request again gives the same run; another request for what is taken is refused.
fn resolve(
    run: Run,
    submitted: Submitted,
    same: impl Fn(&Run) -> bool,
) -> Result<SubmittedRun, SubmitError> {
    if let Submitted::SameKey(other) | Submitted::SameUnique(other) = &submitted {
        other.check_readable()?;
    }
    match submitted {
        Submitted::Queued | Submitted::Started => Ok(SubmittedRun {
            run,
            existing: false,
        }),
        Submitted::SameKey(other) if same(&other) => Ok(SubmittedRun {
            run: *other,
            existing: true,
        }),
        Submitted::SameUnique(other)
            if same(&other) && (run.key.is_none() || run.key == other.key) =>
        {
            Ok(SubmittedRun {
                run: *other,
                existing: true,
            })
        }
        Submitted::SameKey(other) => Err(SubmitError::KeyConflict {
            key: run.key.unwrap_or_default(),
            run: other,
        }),
        Submitted::SameUnique(other) => Err(SubmitError::Taken {
            unique: run.unique.unwrap_or_default(),
            run: other,
        }),
    }
}

/// Without hints, how often to look; with them, how often at most.
const POLL: Duration = Duration::from_millis(500);
const SOONEST: Duration = Duration::from_millis(20);

/// Longest interval between looks of a caller that has waited for long.
const SELDOM: Duration = Duration::from_millis(100);

async fn changed(hints: &mut Hints) {
    tokio::select! {
        biased;
        changed = hints.any.changed() => tokio::time::sleep(if changed.is_ok() { SOONEST } else { POLL }).await,
        () = tokio::time::sleep(POLL) => {}
    }
}

/// Follows the history of one run.
pub struct Watch {
    store: Arc<dyn Store>,
    hints: Hints,
    run: RunId,
    after: u64,
    page: std::vec::IntoIter<Event>,
    /// Pending read of the store. It is kept across calls, because a caller that repeatedly drops
    /// [`Self::next`] would otherwise never see a read complete.
    look: Option<Look>,
}

/// Read of the run: true if it has ended, and its next events.
type Look = Pin<Box<dyn Future<Output = Result<(bool, Vec<Event>), StoreError>> + Send>>;

/// Events read at a time.
const PAGE: usize = 256;

impl Watch {
    /// The next event, as soon as there is one; `None` once the run has ended and every event was
    /// given. Nothing is missed and nothing comes twice. Dropping the future loses nothing, and the
    /// next one goes on where it was.
    ///
    /// # Errors
    /// When the store cannot be read, or has no such run.
    pub async fn next(&mut self) -> Result<Option<Event>, StoreError> {
        loop {
            if let Some(event) = self.page.next() {
                self.after = event.seq;
                return Ok(Some(event));
            }
            if self.look.is_none() {
                self.hints.any.mark_unchanged();
            }
            let look = self
                .look
                .get_or_insert_with(|| Box::pin(look(self.store.clone(), self.run, self.after)));
            let looked = look.await;
            self.look = None;
            let (ended, events) = looked?;
            if events.is_empty() && ended {
                return Ok(None);
            }
            if events.is_empty() {
                changed(&mut self.hints).await;
            }
            self.page = events.into_iter();
        }
    }
}

async fn look(
    store: Arc<dyn Store>,
    run: RunId,
    after: u64,
) -> Result<(bool, Vec<Event>), StoreError> {
    // The status first: events that are written after it is read are seen in the next round.
    let now = store.run(run).await?.ok_or(StoreError::NoRun(run))?;
    Ok((
        now.head.status.is_ended(),
        store.events(run, after, PAGE).await?,
    ))
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Watch({}, after {})", self.run, self.after)
    }
}
