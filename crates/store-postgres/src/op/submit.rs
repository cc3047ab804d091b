//! Adds a run.
//!
//! Runs are added in groups, those with a key or a unique value apart from the others: they lock what they take, and must wait
//! for whoever took it before. A run that would start in a queue with limits is added by itself, under the queue's lock.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use surefoot::state::{Lease, Transition};
use surefoot::store::{Submission, Submitted};
use surefoot::{Run, RunId, RunStatus, Sealed, StoreError, Timestamp, Workflow};
use tokio_postgres::Row;

use super::admit::Gate;
use super::start;
use crate::args::Args;
use crate::failure::{Failure, fault};
use crate::pipe::{self, Call};
use crate::read;
use crate::row::{Steps, Written, get, json, micros, run_id, signed, uuid};
use crate::shared::Shared;
use crate::tx::Tx;
use crate::writer::{Grouped, Lane, Name, Place};

/// A run that is to be added, as text.
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
    /// The resources that it requires, joined by spaces: they have none in their names.
    requires: String,
    sealed: Option<Sealed>,
    pub(super) created_at: Timestamp,
    pub(super) available_at: Timestamp,
    queued: Written,
    pub(super) started: Option<Start>,
}

/// The run as it is when the submitting process's worker takes it at once.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) lease: Lease,
    pub(super) at: Timestamp,
    pub(super) written: Written,
}

/// What became of a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Queued,
    Started,
    SameKey(RunId),
    SameUnique(RunId),
    /// It would start, but in a queue whose limits have to be looked at first.
    Limited,
}

/// The lanes of submissions.
#[derive(Debug)]
pub(crate) struct Lanes {
    pub(crate) plain: Lane<Arc<Submit>>,
    pub(crate) keyed: Lane<Arc<Submit>>,
}

/// Adds the run as `started` if its queue allows, else as `queued`; or finds the run that it would be the second of.
pub(crate) async fn submit(
    shared: &Shared,
    lanes: &Lanes,
    submission: Submission,
) -> Result<Submitted, StoreError> {
    let plan_id = shared
        .within(shared.plans.put(shared, &submission.queued.0.plan))
        .await?;
    let submit = Arc::new(Submit::of(plan_id, submission)?);
    let lane = if submit.is_keyed() {
        &lanes.keyed
    } else {
        &lanes.plain
    };
    let limited = submit.started.is_some() && shared.limited.has(submit.plan.queue());
    let outcome = if limited {
        Outcome::Limited
    } else {
        lane.run(submit.clone()).await?
    };
    let outcome = match outcome {
        Outcome::Limited => {
            shared.limited.note(submit.plan.queue());
            shared.retried(|| alone(shared, &submit)).await?
        }
        outcome => outcome,
    };
    became(shared, outcome).await
}

async fn became(shared: &Shared, outcome: Outcome) -> Result<Submitted, StoreError> {
    let twin = async |id: RunId| {
        let run = shared.within(read::run(shared, id)).await?;
        run.map(Box::new)
            .ok_or_else(|| fault(format_args!("run {id} is gone")))
    };
    Ok(match outcome {
        Outcome::Queued => Submitted::Queued,
        Outcome::Started => Submitted::Started,
        Outcome::SameKey(id) => Submitted::SameKey(twin(id).await?),
        Outcome::SameUnique(id) => Submitted::SameUnique(twin(id).await?),
        Outcome::Limited => {
            return Err(fault("limits that were looked at are not looked at again"));
        }
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

    /// What it must be alone to look for, and then to take: its key and its unique value.
    fn names(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let key = self.key.as_deref().map(|key| ("key", key));
        key.into_iter()
            .chain(self.unique.as_deref().map(|unique| ("unique", unique)))
    }
}

impl Start {
    /// None when it is not simply a run under way: it is queued then.
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

/// Somebody's transaction that has submitted a key and is not committed holds that key's lock for as long as it likes. A group
/// waits for it only a moment, and is then sent one by one; who wants that very key is told to come again.
/// And nobody waits for a process that is frozen before it has sent all of it.
const TOGETHER: &str =
    "SET LOCAL lock_timeout = '250ms'; SET LOCAL idle_in_transaction_session_timeout = '4s'";
const ALONE: &str =
    "SET LOCAL lock_timeout = '1s'; SET LOCAL idle_in_transaction_session_timeout = '4s'";

/// The same in a transaction that goes on to lock other things.
const PATIENCE: &str = "SET LOCAL lock_timeout = '1s'";
const PATIENCE_ENDS: &str = "SET LOCAL lock_timeout = 0";

#[async_trait]
impl Grouped for Arc<Submit> {
    type Outcome = Outcome;

    fn about(&self) -> Vec<Name> {
        let workflow = self.plan.name().to_owned();
        let name = |(kind, value): (&str, &str)| match kind {
            "key" => Name::Key(workflow.clone(), value.to_owned()),
            _ => Name::Unique(workflow.clone(), value.to_owned()),
        };
        self.names().map(name).chain([Name::Run(self.id)]).collect()
    }

    async fn write(place: &Place<'_>, group: &[&Self]) -> Result<Vec<Outcome>, Failure> {
        let shared = place.shared;
        let session = place.session;
        let group: Vec<&Submit> = group.iter().map(|submit| &***submit).collect();
        if let [one] = group[..]
            && start::starts(shared, session, one).await?
        {
            tell(shared, &[Outcome::Started]);
            return Ok(vec![Outcome::Started]);
        }
        let (statement, args) = insert(shared, &group, &allowed(&group), None);
        let rows = match lock(shared, &group) {
            None => session.rows((statement, args)).await?,
            Some(lock) => {
                let ready = pipe::ready(session, vec![lock, (statement, args)]).await?;
                let limits = if group.len() > 1 { TOGETHER } else { ALONE };
                let begin = format!("{}; {limits}", session.begin());
                let begin = pipe::word(session, &begin).await;
                let calls = pipe::send(ready).await;
                let commit = pipe::word(session, "COMMIT").await;
                begin.answer().await?;
                let answers = pipe::answers(calls).await;
                commit.answer().await?;
                answers?.pop().unwrap_or_default()
            }
        };
        let outcomes = outcomes(&rows, &group)?;
        note_used(shared, &group, &outcomes);
        tell(shared, &outcomes);
        Ok(outcomes)
    }
}

fn note_used(shared: &Shared, group: &[&Submit], outcomes: &[Outcome]) {
    for (submit, outcome) in group.iter().zip(outcomes) {
        if matches!(outcome, Outcome::Queued | Outcome::Started) {
            shared.plans.note_used(submit.plan_id);
        }
    }
}

/// Which of a group may start: not one that comes after another of its queue that waits, and would overtake it.
fn allowed(group: &[&Submit]) -> Vec<bool> {
    let mut waits: HashMap<&str, i32> = HashMap::new();
    let mut allowed = Vec::with_capacity(group.len());
    for submit in group {
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

/// The statement that adds runs. With `admitted`, their queues' limits were looked at, and this is what a start's row has for
/// `rate_at`.
fn insert<'a>(
    shared: &'a Shared,
    group: &[&'a Submit],
    starts: &[bool],
    admitted: Option<Option<Timestamp>>,
) -> Call<'a> {
    let all = |column: &dyn Fn(&'a Submit) -> Option<&'a str>| {
        group.iter().map(|submit| column(submit)).collect()
    };
    let numbers = |column: &dyn Fn(&Submit) -> i64| {
        group
            .iter()
            .map(|submit| column(submit))
            .collect::<Vec<i64>>()
    };
    let starting: Vec<Option<&'a Start>> = group
        .iter()
        .zip(starts)
        .map(|(submit, starts)| submit.started.as_ref().filter(|_| *starts))
        .collect();
    let of_start = |column: &dyn Fn(&Start) -> i64| -> Vec<Option<i64>> {
        starting.iter().map(|start| start.map(column)).collect()
    };
    let mut steps = Steps::default();
    for (submit, start) in group.iter().zip(&starting) {
        if let Some(start) = start {
            steps.add(submit.id, &start.written.steps);
        }
    }
    let rate_at = admitted.flatten().and_then(|at| micros(Some(at)));
    let args = Args::none()
        .with(admitted.is_some())
        .with(shared.now().as_micros())
        .with_all(
            group
                .iter()
                .map(|submit| uuid(submit.id.as_bytes()))
                .collect(),
        )
        .with_all(group.iter().map(|submit| submit.plan_id).collect())
        .with_all::<Option<&str>>(all(&|submit| submit.key.as_deref()))
        .with_all::<Option<&str>>(all(&|submit| submit.unique.as_deref()))
        .with_all(group.iter().map(|submit| submit.priority).collect())
        .with_all::<Option<&str>>(all(&|submit| submit.concurrency_key.as_deref()))
        .with_all(numbers(&|submit| submit.created_at.as_micros()))
        .with_all(
            group
                .iter()
                .map(|submit| submit.parameters.as_str())
                .collect(),
        )
        .with_all(numbers(&|submit| submit.available_at.as_micros()))
        .with_all(
            group
                .iter()
                .map(|submit| submit.queued.events.count)
                .collect(),
        )
        .with_all(
            group
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
    let requires = group
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

/// The statement that locks what the group looks for and takes.
fn lock<'a>(shared: &'a Shared, group: &[&'a Submit]) -> Option<Call<'a>> {
    let mut kinds = Vec::new();
    let mut workflows = Vec::new();
    let mut values = Vec::new();
    for submit in group {
        for (kind, value) in submit.names() {
            kinds.push(kind);
            workflows.push(submit.plan.name());
            values.push(value);
        }
    }
    let args = Args::none().with_all(kinds).with_all(workflows);
    (!values.is_empty()).then(|| (shared.sql.lock_keys.as_str(), args.with_all(values)))
}

fn outcomes(rows: &[Row], group: &[&Submit]) -> Result<Vec<Outcome>, StoreError> {
    let mut known = HashMap::new();
    for row in rows {
        let outcome = match get::<&str>(row, 1)? {
            "queued" => Outcome::Queued,
            "started" => Outcome::Started,
            "limited" => Outcome::Limited,
            "same_key" => Outcome::SameKey(run_id(row, 2)?),
            "same_unique" => Outcome::SameUnique(run_id(row, 2)?),
            word => {
                return Err(fault(format_args!(
                    "`{word}` is no outcome of a submission"
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
    group.iter().map(outcome).collect()
}

fn tell(shared: &Shared, outcomes: &[Outcome]) {
    let work = outcomes.contains(&Outcome::Queued);
    if work {
        shared.set_backlog(true);
    }
    if work || outcomes.contains(&Outcome::Started) {
        shared.marks.changed(work);
    }
}

/// Adds a run that may start in a queue with limits.
async fn alone(shared: &Shared, submit: &Submit) -> Result<Outcome, Failure> {
    let mut tx = Tx::begin(shared).await?;
    if let Some(lock) = lock(shared, &[submit]) {
        tx.queries(vec![
            (PATIENCE, Args::none()),
            lock,
            (PATIENCE_ENDS, Args::none()),
        ])
        .await?;
    }
    let start = submit.started.as_ref();
    let gate = Gate::of(&mut tx, submit.plan.queue(), start.map(|start| start.at)).await?;
    let starts = start.is_some() && gate.admits(submit.concurrency_key.as_deref());
    // When it is written, and not when the submission was made: it may have been long on its way.
    let rate_at = gate.now.filter(|_| gate.counts());
    let group = [submit];
    let call = insert(shared, &group, &[starts], Some(rate_at));
    let rows = tx.commit(vec![call]).await?.pop().unwrap_or_default();
    let outcomes = outcomes(&rows, &group)?;
    tell(shared, &outcomes);
    outcomes
        .into_iter()
        .next()
        .ok_or_else(|| fault("no outcome of a submission").into())
}
