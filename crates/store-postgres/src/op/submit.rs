//! Adds runs.
//!
//! Runs are added in batches, those with a key or a unique value separately from the others: they
//! lock their key, and must wait for an earlier holder. A run that would start in a queue with
//! limits is added in its own transaction, under the queue's lock.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use surefoot::state::{Lease, Transition};
use surefoot::store::{Submission, Submitted};
use surefoot::{ListOwner, Run, RunId, RunStatus, Sealed, StoreError, Timestamp, Workflow};
use tokio_postgres::Row;

use super::admit::Admission;
use super::start;
use crate::args::Args;
use crate::failure::{Failure, fault};
use crate::pipeline::{self, Call};
use crate::read;
use crate::row::{Steps, Written, get, json, micros, run_id, signed, uuid};
use crate::shared::Shared;
use crate::tx::Tx;
use crate::writer::{BatchTarget, Batched, Batcher, ConflictKey};

/// A run to add, as text.
#[derive(Debug)]
pub(crate) struct Submit {
    pub(super) id: RunId,
    pub(super) plan: Arc<Workflow>,
    pub(super) plan_id: i32,
    pub(super) parameters: String,
    key: Option<String>,
    unique: Option<String>,
    pub(super) priority: i32,
    pub(super) concurrency_key: Option<String>,
    /// Required resources, joined by spaces, which their names cannot contain.
    requires: String,
    sealed: Option<Sealed>,
    pub(super) created_at: Timestamp,
    pub(super) available_at: Timestamp,
    queued: Written,
    pub(super) started: Option<Start>,
}

/// The run as it is when the submitting process's worker starts it at once.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) lease: Lease,
    pub(super) at: Timestamp,
    pub(super) written: Written,
}

/// Result of a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Queued,
    Started,
    SameKey(RunId),
    SameUnique(RunId),
    /// The queue's allow-lists do not permit it.
    Refused,
    /// It would start, but in a queue whose limits must be checked first.
    Limited,
}

/// Batchers of submissions.
#[derive(Debug)]
pub(crate) struct SubmitBatchers {
    pub(crate) plain: Batcher<Arc<Submit>>,
    pub(crate) keyed: Batcher<Arc<Submit>>,
}

/// Adds the run as `started` if its queue allows, else as `queued`; or returns the existing run
/// with its key or unique value.
pub(crate) async fn submit(
    shared: &Shared,
    batchers: &SubmitBatchers,
    submission: Submission,
) -> Result<Submitted, StoreError> {
    let plan_id = shared
        .within(shared.plans.put(shared, &submission.queued.0.plan))
        .await?;
    let submit = Arc::new(Submit::of(plan_id, submission)?);
    let batcher = if submit.is_keyed() {
        &batchers.keyed
    } else {
        &batchers.plain
    };
    let limited = submit.started.is_some() && shared.limited_queues.has(submit.plan.queue());
    let outcome = if limited {
        Outcome::Limited
    } else {
        batcher.run(submit.clone()).await?
    };
    let outcome = match outcome {
        Outcome::Limited => {
            shared.limited_queues.note(submit.plan.queue());
            shared.retried(|| write_alone(shared, &submit)).await?
        }
        outcome => outcome,
    };
    into_submitted(shared, &submit.plan, outcome).await
}

async fn into_submitted(
    shared: &Shared,
    plan: &Workflow,
    outcome: Outcome,
) -> Result<Submitted, StoreError> {
    let existing_run = async |id: RunId| {
        let run = shared.within(read::run(shared, id)).await?;
        run.map(Box::new)
            .ok_or_else(|| fault(format_args!("run {id} is gone")))
    };
    Ok(match outcome {
        Outcome::Queued => Submitted::Queued,
        Outcome::Started => Submitted::Started,
        Outcome::SameKey(id) => Submitted::SameKey(existing_run(id).await?),
        Outcome::SameUnique(id) => Submitted::SameUnique(existing_run(id).await?),
        Outcome::Refused => return Err(refusal(shared, plan).await?),
        Outcome::Limited => {
            return Err(fault("limits were checked twice for one submission"));
        }
    })
}

/// The error for a plan that the database found its queue's lists to refuse.
async fn refusal(shared: &Shared, plan: &Workflow) -> Result<StoreError, StoreError> {
    let queues = shared.within(read::queues(shared)).await?;
    let queue = queues.into_iter().find(|queue| queue.name == plan.queue());
    let allow = queue.map(|queue| queue.limits.allow).unwrap_or_default();
    let owner = ListOwner::Queue(plan.queue().to_owned());
    Ok(match allow.check(plan, &owner) {
        Err(refusal) => refusal.into(),
        Ok(()) => StoreError::Unavailable(format!(
            "the allow-lists of {owner} were changed meanwhile: submit again"
        )),
    })
}

impl Submit {
    fn of(plan_id: i32, submission: Submission) -> Result<Self, StoreError> {
        let Submission {
            queued: (run, transition),
            started,
        } = submission;
        let available_at = run
            .head
            .available_at
            .ok_or_else(|| fault("a new run waits for no time"))?;
        Ok(Self {
            id: run.id,
            plan_id,
            parameters: json(&run.parameters)?,
            plan: run.plan,
            key: run.key,
            unique: run.unique,
            priority: run.priority,
            concurrency_key: run.concurrency_key,
            requires: Vec::from_iter(run.requires).join(" "),
            sealed: run.sealed,
            created_at: run.created_at,
            available_at,
            queued: Written::of(transition)?,
            started: started.map(Start::of).transpose()?.flatten(),
        })
    }

    pub(super) fn is_keyed(&self) -> bool {
        self.key.is_some() || self.unique.is_some()
    }

    /// Returns whether the plain statement of `start.rs` adds all of it.
    pub(super) fn is_plain(&self) -> bool {
        !self.is_keyed() && self.requires.is_empty() && self.sealed.is_none()
    }

    /// Names that it locks before it looks them up and takes them: its key and its unique value.
    fn names(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let key = self.key.as_deref().map(|key| ("key", key));
        key.into_iter()
            .chain(self.unique.as_deref().map(|unique| ("unique", unique)))
    }
}

impl Start {
    /// `None` if it is not simply a running run: then it is queued.
    fn of((run, transition): (Run, Transition)) -> Result<Option<Self>, StoreError> {
        let (Some(lease), Some(at)) = (run.lease(), run.head.started_at) else {
            return Ok(None);
        };
        let simple = run.head.status == RunStatus::Running
            && run.head.cancel.is_none()
            && run.head.error.is_none();
        let written = Written::of(transition)?;
        Ok(Some(Self { lease, at, written }).filter(|start| simple && !start.written.is_heavy()))
    }
}

/// An open caller's transaction can hold a key's lock indefinitely. A batch waits 250 ms for it,
/// and is then sent one by one; the submission that wants that key gets a retryable error after 1
/// s. The idle timeout ends a process that is frozen before it has sent everything.
const BATCH_LOCK_TIMEOUT: &str =
    "SET LOCAL lock_timeout = '250ms'; SET LOCAL idle_in_transaction_session_timeout = '4s'";
const SINGLE_LOCK_TIMEOUT: &str =
    "SET LOCAL lock_timeout = '1s'; SET LOCAL idle_in_transaction_session_timeout = '4s'";

/// The same in a transaction that goes on to take other locks.
const SET_LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '1s'";
const RESET_LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = 0";

#[async_trait]
impl Batched for Arc<Submit> {
    type Outcome = Outcome;

    fn conflict_keys(&self) -> Vec<ConflictKey> {
        let workflow = self.plan.name().to_owned();
        let name = |(kind, value): (&str, &str)| match kind {
            "key" => ConflictKey::Key(workflow.clone(), value.to_owned()),
            _ => ConflictKey::Unique(workflow.clone(), value.to_owned()),
        };
        self.names()
            .map(name)
            .chain([ConflictKey::Run(self.id)])
            .collect()
    }

    async fn write(target: &BatchTarget<'_>, batch: &[&Self]) -> Result<Vec<Outcome>, Failure> {
        let shared = target.shared;
        let session = target.session;
        let batch: Vec<&Submit> = batch.iter().map(|submit| &***submit).collect();
        if let [one] = batch[..]
            && start::starts(shared, session, one).await?
        {
            notify(shared, &[Outcome::Started]);
            return Ok(vec![Outcome::Started]);
        }
        let (statement, args) = insert(shared, &batch, &allowed(&batch), None);
        let rows = match lock(shared, &batch) {
            None => session.rows((statement, args)).await?,
            Some(lock) => {
                let ready = pipeline::ready(session, vec![lock, (statement, args)]).await?;
                let limits = if batch.len() > 1 {
                    BATCH_LOCK_TIMEOUT
                } else {
                    SINGLE_LOCK_TIMEOUT
                };
                let begin = format!("{}; {limits}", session.begin());
                let begin = pipeline::word(session, &begin).await;
                let calls = pipeline::send(ready).await;
                let commit = pipeline::word(session, "COMMIT").await;
                begin.answer().await?;
                let answers = pipeline::answers(calls).await;
                commit.answer().await?;
                answers?.pop().unwrap_or_default()
            }
        };
        let outcomes = outcomes(&rows, &batch)?;
        note_used(shared, &batch, &outcomes);
        notify(shared, &outcomes);
        Ok(outcomes)
    }
}

fn note_used(shared: &Shared, batch: &[&Submit], outcomes: &[Outcome]) {
    for (submit, outcome) in batch.iter().zip(outcomes) {
        if matches!(outcome, Outcome::Queued | Outcome::Started) {
            shared.plans.note_used(submit.plan_id);
        }
    }
}

/// Decides which runs of a batch may start: not those after another run of their queue that waits,
/// which they would overtake.
fn allowed(batch: &[&Submit]) -> Vec<bool> {
    let mut waits: HashMap<&str, i32> = HashMap::new();
    let mut allowed = Vec::with_capacity(batch.len());
    for submit in batch {
        let ahead = waits
            .get(submit.plan.queue())
            .is_some_and(|priority| *priority >= submit.priority);
        let starts = submit.started.is_some() && !ahead;
        if !starts {
            let highest = waits.entry(submit.plan.queue()).or_insert(submit.priority);
            *highest = submit.priority.max(*highest);
        }
        allowed.push(starts);
    }
    allowed
}

/// The statement that adds runs. With `admitted`, their queues' limits were checked, and it is the
/// value of a start's `rate_at`.
fn insert<'a>(
    shared: &'a Shared,
    batch: &[&'a Submit],
    starts: &[bool],
    admitted: Option<Option<Timestamp>>,
) -> Call<'a> {
    let all = |column: &dyn Fn(&'a Submit) -> Option<&'a str>| {
        batch.iter().map(|submit| column(submit)).collect()
    };
    let numbers = |column: &dyn Fn(&Submit) -> i64| {
        batch
            .iter()
            .map(|submit| column(submit))
            .collect::<Vec<i64>>()
    };
    let starting: Vec<Option<&'a Start>> = batch
        .iter()
        .zip(starts)
        .map(|(submit, starts)| {
            if *starts {
                submit.started.as_ref()
            } else {
                None
            }
        })
        .collect();
    let of_start = |column: &dyn Fn(&Start) -> i64| -> Vec<Option<i64>> {
        starting.iter().map(|start| start.map(column)).collect()
    };
    let mut steps = Steps::default();
    for (submit, start) in batch.iter().zip(&starting) {
        if let Some(start) = start {
            steps.add(submit.id, &start.written.steps);
        }
    }
    let rate_at = admitted.flatten().and_then(|at| micros(Some(at)));
    let args = Args::none()
        .with(admitted.is_some())
        .with(shared.now().as_micros())
        .with_all(
            batch
                .iter()
                .map(|submit| uuid(submit.id.as_bytes()))
                .collect(),
        )
        .with_all(batch.iter().map(|submit| submit.plan_id).collect())
        .with_all::<Option<&str>>(all(&|submit| submit.key.as_deref()))
        .with_all::<Option<&str>>(all(&|submit| submit.unique.as_deref()))
        .with_all(batch.iter().map(|submit| submit.priority).collect())
        .with_all::<Option<&str>>(all(&|submit| submit.concurrency_key.as_deref()))
        .with_all(numbers(&|submit| submit.created_at.as_micros()))
        .with_all(
            batch
                .iter()
                .map(|submit| submit.parameters.as_str())
                .collect(),
        )
        .with_all(numbers(&|submit| submit.available_at.as_micros()))
        .with_all(
            batch
                .iter()
                .map(|submit| submit.queued.events.count)
                .collect(),
        )
        .with_all(
            batch
                .iter()
                .map(|submit| submit.queued.events.body.as_str())
                .collect(),
        )
        .with_all(
            starting
                .iter()
                .map(|start| start.map(|start| uuid(start.lease.worker.as_bytes())))
                .collect(),
        )
        .with_all(of_start(&|start| signed(start.lease.epoch)))
        .with_all(
            starting
                .iter()
                .map(|start| start.map(|start| i16::from(start.written.head.progress)))
                .collect(),
        )
        .with_all(of_start(&|start| start.at.as_micros()))
        .with_all(starting.iter().map(|start| start.and(rate_at)).collect())
        .with_all(
            starting
                .iter()
                .map(|start| start.map(|start| start.written.events.count))
                .collect(),
        )
        .with_all(
            starting
                .iter()
                .map(|start| start.map(|start| start.written.events.body.as_str()))
                .collect(),
        );
    let requires = batch
        .iter()
        .map(|submit| submit.requires.as_str())
        .collect();
    let sealed = all(&|submit| submit.sealed.as_ref().map(Sealed::as_str));
    (
        &shared.sql.submit_runs,
        steps
            .put(args)
            .with_all::<&str>(requires)
            .with_all::<Option<&str>>(sealed),
    )
}

/// The statement that locks the keys of the batch.
fn lock<'a>(shared: &'a Shared, batch: &[&'a Submit]) -> Option<Call<'a>> {
    let mut kinds = Vec::new();
    let mut workflows = Vec::new();
    let mut values = Vec::new();
    for submit in batch {
        for (kind, value) in submit.names() {
            kinds.push(kind);
            workflows.push(submit.plan.name());
            values.push(value);
        }
    }
    let args = Args::none().with_all(kinds).with_all(workflows);
    (!values.is_empty()).then(|| (shared.sql.lock_keys.as_str(), args.with_all(values)))
}

fn outcomes(rows: &[Row], batch: &[&Submit]) -> Result<Vec<Outcome>, StoreError> {
    let mut known = HashMap::new();
    for row in rows {
        let outcome = match get::<&str>(row, 1)? {
            "queued" => Outcome::Queued,
            "started" => Outcome::Started,
            "limited" => Outcome::Limited,
            "refused" => Outcome::Refused,
            "same_key" => Outcome::SameKey(run_id(row, 2)?),
            "same_unique" => Outcome::SameUnique(run_id(row, 2)?),
            word => {
                return Err(fault(format_args!(
                    "`{word}` is not an outcome of a submission"
                )));
            }
        };
        known.insert(run_id(row, 0)?, outcome);
    }
    let outcome = |submit: &&Submit| {
        known
            .get(&submit.id)
            .copied()
            .ok_or_else(|| fault("a plan is gone"))
    };
    batch.iter().map(outcome).collect()
}

fn notify(shared: &Shared, outcomes: &[Outcome]) {
    let work = outcomes.contains(&Outcome::Queued);
    if work {
        shared.set_backlog(true);
    }
    if work || outcomes.contains(&Outcome::Started) {
        shared.notifier.changed(work);
    }
}

/// Adds a run that may start in a queue with limits.
async fn write_alone(shared: &Shared, submit: &Submit) -> Result<Outcome, Failure> {
    let mut tx = Tx::begin(shared).await?;
    if let Some(lock) = lock(shared, &[submit]) {
        tx.queries(vec![
            (SET_LOCK_TIMEOUT, Args::none()),
            lock,
            (RESET_LOCK_TIMEOUT, Args::none()),
        ])
        .await?;
    }
    let start = submit.started.as_ref();
    let admission =
        Admission::of(&mut tx, submit.plan.queue(), start.map(|start| start.at)).await?;
    let starts = start.is_some() && admission.admits(submit.concurrency_key.as_deref());
    // The time of the write, and not that of the submission, which may have been delayed.
    let rate_at = if admission.counts() {
        admission.now
    } else {
        None
    };
    let batch = [submit];
    let call = insert(shared, &batch, &[starts], Some(rate_at));
    let rows = tx.commit(vec![call]).await?.pop().unwrap_or_default();
    let outcomes = outcomes(&rows, &batch)?;
    notify(shared, &outcomes);
    outcomes
        .into_iter()
        .next()
        .ok_or_else(|| fault("no outcome of a submission").into())
}
