//! Conversion of rows into the engine's values. An invalid row is an error that names its place.

use std::collections::HashMap;
use std::str::FromStr;
use std::time::Duration;

use serde_json::Value;
use surefoot::state::{Head, StepState};
use surefoot::unreadable::{Faults, parse_content, parse_events};
use surefoot::{
    AllowList, AllowLists, Digest, Event, QueueLimits, Rate, Record, Retention, RetentionLimit,
    Run, RunId, SealError, StoreError, Timestamp, WorkerId, Workflow,
};
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;
use uuid::Uuid;

use crate::failure::fault;
use crate::plans::{Plan, Plans};

/// Columns of `sql/run.sql`.
#[derive(Debug)]
pub(crate) struct RunRow {
    pub(crate) id: RunId,
    pub(crate) plan: i32,
    parameters: String,
    key: Option<String>,
    uniq: Option<String>,
    pub(crate) priority: i32,
    pub(crate) concurrency_key: Option<String>,
    requires: Vec<String>,
    sealed: Option<String>,
    created_at: Timestamp,
    pub(crate) head: Head,
    pub(crate) event_seq: u64,
    workflow: String,
    queue: String,
}

impl RunRow {
    pub(crate) fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: run_id(row, 0)?,
            plan: get(row, 1)?,
            parameters: get(row, 2)?,
            key: get(row, 3)?,
            uniq: get(row, 4)?,
            priority: get(row, 5)?,
            concurrency_key: get(row, 6)?,
            requires: get(row, 19)?,
            sealed: get(row, 20)?,
            created_at: time(row, 7)?,
            head: Head {
                status: word(row, 8)?,
                progress: byte(row, 9)?,
                error: get(row, 10)?,
                started_at: optional_time(row, 11)?,
                completed_at: optional_time(row, 12)?,
                available_at: optional_time(row, 13)?,
                worker: get::<Option<Uuid>>(row, 14)?
                    .map(|id| WorkerId::from_bytes(id.into_bytes())),
                epoch: count(row, 15)?,
                commits: count(row, 18)?,
                cancel: optional_word(row, 16)?,
            },
            event_seq: count(row, 17)?,
            workflow: get(row, 21)?,
            queue: get(row, 22)?,
        })
    }

    /// The queue that the run waits in.
    pub(crate) fn queue(&self) -> &str {
        &self.queue
    }

    /// Returns whether the run has only been submitted: then its steps need not be read.
    pub(crate) fn is_untouched(&self) -> bool {
        self.event_seq <= 1 && self.head.started_at.is_none()
    }

    /// The run with its plan and steps. A partly unreadable run has [`Run::unreadable`] set, and is
    /// recorded.
    pub(crate) fn whole(self, plans: &Plans, plan: &Plan, steps: StepStates) -> Run {
        let StepStates {
            ids,
            states,
            mut faults,
        } = steps;
        let parameters = faults.read(&self.parameters);
        let sealed = self.sealed.and_then(|sealed| {
            sealed
                .parse()
                .map_err(|error: SealError| faults.note(error))
                .ok()
        });
        let plan = faults.plan(plan.clone(), &self.workflow, &self.queue, ids);
        let run = Run {
            id: self.id,
            parameters,
            plan,
            key: self.key,
            unique: self.uniq,
            priority: self.priority,
            concurrency_key: self.concurrency_key,
            requires: self.requires.into_iter().collect(),
            sealed,
            created_at: self.created_at,
            unreadable: None,
            head: self.head,
            steps: states,
        };
        let run = faults.finish(run);
        if let Some(reason) = &run.unreadable {
            plans.unreadable.note(run.id, reason);
        }
        run
    }
}

/// Names and states of a run's steps, and the errors in them.
#[derive(Debug, Default)]
pub(crate) struct StepStates {
    ids: Vec<String>,
    states: Vec<StepState>,
    faults: Faults,
}

impl StepStates {
    /// Steps of a run that has only been submitted.
    pub(crate) fn pending(plan: &Workflow) -> Self {
        let ids = plan.steps().iter().map(|step| step.id.clone()).collect();
        Self {
            ids,
            states: vec![StepState::pending(); plan.steps().len()],
            faults: Faults::default(),
        }
    }
}

/// Rows of runs, in the order of the input.
pub(crate) fn of_runs(rows: &[Row]) -> Result<Vec<RunRow>, StoreError> {
    rows.iter().map(RunRow::read).collect()
}

/// Columns of `sql/steps.sql`: the steps of each run.
pub(crate) fn steps_of(rows: &[Row]) -> Result<HashMap<RunId, StepStates>, StoreError> {
    let mut steps: HashMap<RunId, StepStates> = HashMap::new();
    for row in rows {
        let of_run = steps.entry(run_id(row, 0)?).or_default();
        of_run.ids.push(get(row, 18)?);
        of_run.states.push(step(row, &mut of_run.faults)?);
    }
    Ok(steps)
}

fn step(row: &Row, faults: &mut Faults) -> Result<StepState, StoreError> {
    let mut json = |index| -> Result<Option<Value>, StoreError> {
        Ok(get::<Option<&str>>(row, index)?.map(|text| faults.read(text)))
    };
    Ok(StepState {
        status: word(row, 1)?,
        progress: byte(row, 2)?,
        message: get(row, 3)?,
        attempt: small(row, 4)?,
        interruptions: small(row, 5)?,
        started_at: optional_time(row, 6)?,
        completed_at: optional_time(row, 7)?,
        error: get(row, 8)?,
        output: json(9)?,
        wait: optional_word(row, 10)?,
        checkpoint: json(11)?,
        answer: json(12)?,
        decision: json(16)?,
        snapshot: get::<Option<&[u8]>>(row, 13)?.map(digest).transpose()?,
        undo: optional_word(row, 14)?,
        deferrals: small(row, 15)?,
        undo_note: get(row, 17)?,
        isolation: get::<Option<i64>>(row, 19)?
            .map(u32::try_from)
            .transpose()
            .map_err(fault)?,
        crashes: small(row, 20)?,
    })
}

/// Events of rows: one row for each commit, whose events are numbered up to its `seq`. Each is an
/// array of kind, step and data. An unreadable row becomes one event that says so.
pub(crate) fn event_rows(rows: &[Row]) -> Result<Vec<Event>, StoreError> {
    let mut found = Vec::new();
    for row in rows {
        let last = count(row, 0)?;
        let at = time(row, 1)?;
        let body = get::<&str>(row, 2)?;
        found.extend(parse_events(last, at, body));
    }
    Ok(found)
}

/// First fourteen columns of `sql/queues.sql`: name, pause and limits of a queue.
pub(crate) fn queue_row(row: &Row) -> Result<(String, bool, QueueLimits), StoreError> {
    let keep = |index| -> Result<RetentionLimit, StoreError> {
        Ok(RetentionLimit {
            age: length(row, index)?,
            count: get::<Option<i64>>(row, index + 1)?.map(i64::unsigned_abs),
        })
    };
    let rate = match (limit(row, 4)?, length(row, 5)?) {
        (Some(max), Some(per)) => Some(Rate { max, per }),
        _ => None,
    };
    let limits = QueueLimits {
        concurrency: limit(row, 2)?,
        concurrency_per_key: limit(row, 3)?,
        rate,
        retention: Retention {
            completed: keep(6)?,
            failed: keep(8)?,
            cancelled: keep(10)?,
        },
        allow: AllowLists {
            workflows: AllowList::stored(get(row, 12)?),
            actions: AllowList::stored(get(row, 13)?),
        },
    };
    Ok((get(row, 0)?, get(row, 1)?, limits))
}

fn limit(row: &Row, index: usize) -> Result<Option<u32>, StoreError> {
    get::<Option<i64>>(row, index)?
        .map(|limit| u32::try_from(limit).map_err(fault))
        .transpose()
}

fn length(row: &Row, index: usize) -> Result<Option<Duration>, StoreError> {
    Ok(get::<Option<i64>>(row, index)?.map(|micros| Duration::from_micros(micros.unsigned_abs())))
}

/// Columns of `sql/records.sql`.
pub(crate) fn record(row: &Row) -> Result<Record, StoreError> {
    let kind: String = get(row, 0)?;
    let name: String = get(row, 1)?;
    let data = parse_content(get(row, 3)?);
    Ok(Record {
        kind,
        name,
        run: run_id(row, 2)?,
        data,
        created_at: time(row, 4)?,
        updated_at: time(row, 5)?,
    })
}

/// A column; a type other than the expected one is an error.
pub(crate) fn get<'r, T: FromSql<'r>>(row: &'r Row, index: usize) -> Result<T, StoreError> {
    row.try_get(index).map_err(fault)
}

pub(crate) fn run_id(row: &Row, index: usize) -> Result<RunId, StoreError> {
    get::<Uuid>(row, index).map(|id| RunId::from_bytes(id.into_bytes()))
}

pub(crate) fn worker_id(row: &Row, index: usize) -> Result<WorkerId, StoreError> {
    get::<Uuid>(row, index).map(|id| WorkerId::from_bytes(id.into_bytes()))
}

pub(crate) fn digest(bytes: &[u8]) -> Result<Digest, StoreError> {
    bytes
        .try_into()
        .map(Digest::from_bytes)
        .map_err(|_| fault("a digest is not of 32 bytes"))
}

pub(crate) fn time(row: &Row, index: usize) -> Result<Timestamp, StoreError> {
    get(row, index).map(Timestamp::from_micros)
}

pub(crate) fn optional_time(row: &Row, index: usize) -> Result<Option<Timestamp>, StoreError> {
    Ok(get::<Option<i64>>(row, index)?.map(Timestamp::from_micros))
}

/// A number that the schema's checks keep from being negative.
pub(crate) fn count(row: &Row, index: usize) -> Result<u64, StoreError> {
    get::<i64>(row, index).map(i64::unsigned_abs)
}

fn small(row: &Row, index: usize) -> Result<u32, StoreError> {
    u32::try_from(get::<i64>(row, index)?).map_err(fault)
}

fn byte(row: &Row, index: usize) -> Result<u8, StoreError> {
    u8::try_from(get::<i16>(row, index)?).map_err(fault)
}

/// An enum value of the state machine.
pub(crate) fn word<T: FromStr<Err = String>>(row: &Row, index: usize) -> Result<T, StoreError> {
    get::<&str>(row, index)?.parse().map_err(fault)
}

pub(crate) fn optional_word<T: FromStr<Err = String>>(
    row: &Row,
    index: usize,
) -> Result<Option<T>, StoreError> {
    get::<Option<&str>>(row, index)?
        .map(|text| text.parse().map_err(fault))
        .transpose()
}
