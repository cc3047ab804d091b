//! Adds a run.

use std::sync::Arc;

use rusqlite::{OptionalExtension as _, params};
use surefoot::state::{CancelMode, Head, Transition};
use surefoot::store::Submitted;
use surefoot::{ListOwner, QueueLimits, Run, RunId, Sealed, StoreError, Timestamp, Workflow};

use super::admit;
use super::write::{self, ready, signed};
use crate::error::{Failure, fault};
use crate::row::{Written, json, load_run, micros, required};
use crate::sql;
use crate::writer::Tx;

/// A run to add, as text.
#[derive(Debug)]
pub(crate) struct Insert {
    id: RunId,
    plan: Arc<Workflow>,
    parameters: String,
    key: Option<String>,
    unique: Option<String>,
    priority: i32,
    concurrency_key: Option<String>,
    requires: Option<String>,
    sealed: Option<Sealed>,
    created_at: Timestamp,
    written: Written,
}

impl Insert {
    pub(crate) fn of(run: Run, transition: Transition) -> Result<Self, StoreError> {
        Ok(Self {
            id: run.id,
            parameters: json(&run.parameters)?,
            plan: run.plan,
            key: run.key,
            unique: run.unique,
            priority: run.priority,
            concurrency_key: run.concurrency_key,
            requires: required(&run.requires)?,
            sealed: run.sealed,
            created_at: run.created_at,
            written: Written::of(transition)?,
        })
    }
}

/// Adds the run as `started` if its queue allows, else as `queued`; or returns the existing run
/// with its key or unique value.
pub(crate) fn submit(
    tx: &mut Tx<'_>,
    queued: &Insert,
    started: Option<&Insert>,
) -> Result<Submitted, Failure> {
    if let Some(existing) = existing_run(tx, sql::RUN_BY_KEY, queued, queued.key.as_deref())? {
        return Ok(Submitted::SameKey(existing));
    }
    if let Some(existing) = existing_run(tx, sql::RUN_BY_UNIQUE, queued, queued.unique.as_deref())?
    {
        return Ok(Submitted::SameUnique(existing));
    }
    let name = queued.plan.queue();
    let (paused, limits) = admit::queue(tx, name)?;
    limits
        .allow
        .check(&queued.plan, &ListOwner::Queue(name.to_owned()))
        .map_err(|refusal| Failure::Refused(refusal.into()))?;
    if let Some(started) = started
        && !paused
        && let Some(rate_at) = may_start(tx, queued, &started.written.head, &limits)?
    {
        insert(tx, started, rate_at)?;
        return Ok(Submitted::Started);
    }
    insert(tx, queued, None)?;
    *tx.work = true;
    *tx.backlog = true;
    Ok(Submitted::Queued)
}

fn existing_run(
    tx: &Tx<'_>,
    statement: &str,
    run: &Insert,
    value: Option<&str>,
) -> Result<Option<Box<Run>>, Failure> {
    let Some(value) = value else { return Ok(None) };
    let mut statement = tx.conn.prepare_cached(statement)?;
    let id = statement
        .query_row([run.plan.name(), value], |row| row.get(0))
        .optional()?;
    let Some(id) = id.map(RunId::from_bytes) else {
        return Ok(None);
    };
    let (existing, _) =
        load_run(tx.conn, tx.plans, id)?.ok_or_else(|| fault(format_args!("run {id} is gone")))?;
    Ok(Some(Box::new(existing)))
}

/// Decides whether a new run may start at once in a queue that is not paused: its worker lives, no
/// earlier run waits, and the queue has a free slot. Returns the value of its `rate_at` then.
fn may_start(
    tx: &Tx<'_>,
    run: &Insert,
    started: &Head,
    limits: &QueueLimits,
) -> rusqlite::Result<Option<Option<Timestamp>>> {
    let Some(worker) = started.worker else {
        return Ok(None);
    };
    let due = run.written.head.available_at.is_some_and(|at| at <= tx.now);
    if !due
        || !tx
            .conn
            .prepare_cached(sql::WORKER_EXISTS)?
            .exists([worker.as_bytes()])?
    {
        return Ok(None);
    }
    let name = run.plan.queue();
    admit::promote_due(tx)?;
    let mut statement = tx.conn.prepare_cached(sql::HAS_EARLIER_RUN)?;
    if statement.query_row(params![name, run.priority], |row| row.get(0))? {
        return Ok(None);
    }
    let of_key = run
        .concurrency_key
        .as_deref()
        .map(|key| admit::free_slots_of_key(tx, name, limits, key));
    let room = of_key.transpose()? != Some(0)
        && admit::free_slots(tx, name, limits)? > 0
        && admit::allowed_starts(tx, name, limits)? > 0;
    // The current time, not that of the submission, which may have been delayed.
    Ok(room.then_some(limits.rate.map(|_| tx.now)))
}

fn insert(tx: &Tx<'_>, run: &Insert, rate_at: Option<Timestamp>) -> Result<(), Failure> {
    let head = &run.written.head;
    let plan = tx.plans.put(tx.conn, &run.plan)?;
    let event_seq = run.written.events.count;
    tx.conn.prepare_cached(sql::INSERT_RUN)?.execute(params![
        run.id.as_bytes(),
        plan,
        run.plan.name(),
        run.plan.queue(),
        run.parameters,
        run.key,
        run.unique,
        run.priority,
        run.concurrency_key,
        run.created_at.as_micros(),
        head.status.as_str(),
        head.progress,
        head.error,
        micros(head.started_at),
        micros(head.completed_at),
        micros(head.available_at),
        ready(head.available_at, tx.now),
        head.worker.as_ref().map(|worker| worker.as_bytes()),
        signed(head.epoch),
        head.cancel.map(CancelMode::as_str),
        signed(event_seq),
        micros(rate_at),
        run.requires,
        run.sealed.as_ref().map(Sealed::as_str),
    ])?;
    let mut statement = tx.conn.prepare_cached(sql::INSERT_STEP)?;
    for (position, step) in (0_i64..).zip(run.plan.steps()) {
        statement.execute(params![run.id.as_bytes(), position, step.id])?;
    }
    write::check(tx, run.id, &run.written)
        .map_err(|failure| Failure::Aborted(failure.into_error()))?;
    write::details(tx, run.id, 0, &run.written).map(drop)
}
