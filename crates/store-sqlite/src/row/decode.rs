//! Conversion of rows into the engine's values. An invalid row is an error that names its place.

use std::collections::BTreeSet;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, Row};
use serde_json::Value;
use surefoot::state::{Head, StepState};
use surefoot::unreadable::{Faults, parse_content};
use surefoot::{
    AllowList, AllowLists, Digest, QueueLimits, Rate, Record, Retention, RetentionLimit, Run,
    RunId, SealError, StoreError, Timestamp, WorkerId,
};

use crate::error::store_error;
use crate::plans::Plans;
use crate::sql;

/// A run and the sequence of its last event. A partly unreadable run has [`Run::unreadable`] set.
pub(crate) fn load_run(
    conn: &Connection,
    plans: &Plans,
    id: RunId,
) -> Result<Option<(Run, u64)>, StoreError> {
    let mut statement = conn
        .prepare_cached(sql::RUN)
        .map_err(|error| store_error(&error))?;
    let row = statement
        .query_row([id.as_bytes()], RunRow::read)
        .optional()
        .map_err(|error| store_error(&error))?;
    let Some(row) = row else { return Ok(None) };
    let (ids, steps, mut faults) = load_steps(conn, id).map_err(|error| store_error(&error))?;
    let parameters = faults.read(&row.parameters);
    let requires = parse_required(row.requires.as_deref()).unwrap_or_else(|error| {
        faults.note(error);
        BTreeSet::new()
    });
    let sealed = row.sealed.and_then(|sealed| {
        sealed
            .parse()
            .map_err(|error: SealError| faults.note(error))
            .ok()
    });
    let plan = faults.plan(plans.get(conn, row.plan)?, &row.workflow, &row.queue, ids);
    let run = Run {
        id,
        parameters,
        plan,
        key: row.key,
        unique: row.uniq,
        priority: row.priority,
        concurrency_key: row.concurrency_key,
        requires,
        sealed,
        created_at: row.created_at,
        unreadable: None,
        head: row.head,
        steps,
    };
    let run = faults.finish(run);
    if let Some(reason) = &run.unreadable {
        plans.unreadable.note(id, reason);
    }
    Ok(Some((run, row.event_seq)))
}

/// Columns of `sql/run.sql`.
struct RunRow {
    plan: i64,
    parameters: String,
    key: Option<String>,
    uniq: Option<String>,
    priority: i32,
    concurrency_key: Option<String>,
    requires: Option<String>,
    sealed: Option<String>,
    created_at: Timestamp,
    head: Head,
    event_seq: u64,
    workflow: String,
    queue: String,
}

impl RunRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            plan: row.get(1)?,
            parameters: row.get(2)?,
            key: row.get(3)?,
            uniq: row.get(4)?,
            priority: row.get(5)?,
            concurrency_key: row.get(6)?,
            requires: row.get(19)?,
            sealed: row.get(20)?,
            created_at: time(row, 7)?,
            head: Head {
                status: word(row, 8)?,
                progress: row.get(9)?,
                error: row.get(10)?,
                started_at: optional_time(row, 11)?,
                completed_at: optional_time(row, 12)?,
                available_at: optional_time(row, 13)?,
                worker: row
                    .get::<_, Option<[u8; 16]>>(14)?
                    .map(WorkerId::from_bytes),
                epoch: count(row, 15)?,
                commits: count(row, 18)?,
                cancel: optional_word(row, 16)?,
            },
            event_seq: count(row, 17)?,
            workflow: row.get(21)?,
            queue: row.get(22)?,
        })
    }
}

/// Parses a set of resources; the empty set is null.
pub(crate) fn parse_required(json: Option<&str>) -> Result<BTreeSet<String>, String> {
    json.map_or(Ok(BTreeSet::new()), |json| {
        serde_json::from_str(json).map_err(|error| error.to_string())
    })
}

/// Names and states of a run's steps, and the errors in them.
fn load_steps(
    conn: &Connection,
    run: RunId,
) -> rusqlite::Result<(Vec<String>, Vec<StepState>, Faults)> {
    let mut faults = Faults::default();
    let mut ids = Vec::new();
    let mut steps = Vec::new();
    let mut statement = conn.prepare_cached(sql::STEPS)?;
    let mut rows = statement.query([run.as_bytes()])?;
    while let Some(row) = rows.next()? {
        ids.push(row.get(17)?);
        steps.push(step(row, &mut faults)?);
    }
    Ok((ids, steps, faults))
}

fn step(row: &Row<'_>, faults: &mut Faults) -> rusqlite::Result<StepState> {
    let mut json = |index| -> rusqlite::Result<Option<Value>> {
        Ok(row
            .get::<_, Option<String>>(index)?
            .map(|text| faults.read(&text)))
    };
    Ok(StepState {
        output: json(8)?,
        checkpoint: json(10)?,
        answer: json(11)?,
        decision: json(15)?,
        status: word(row, 0)?,
        progress: row.get(1)?,
        message: row.get(2)?,
        attempt: row.get(3)?,
        interruptions: row.get(4)?,
        deferrals: row.get(14)?,
        started_at: optional_time(row, 5)?,
        completed_at: optional_time(row, 6)?,
        error: row.get(7)?,
        wait: optional_word(row, 9)?,
        snapshot: row.get::<_, Option<[u8; 32]>>(12)?.map(Digest::from_bytes),
        undo: optional_word(row, 13)?,
        undo_note: row.get(16)?,
        isolation: row.get(18)?,
        crashes: row.get(19)?,
    })
}

/// Columns of `sql/queue.sql`: name, pause and limits of a queue.
pub(crate) fn queue_row(row: &Row<'_>) -> rusqlite::Result<(String, bool, QueueLimits)> {
    let keep = |index| -> rusqlite::Result<RetentionLimit> {
        let count: Option<i64> = row.get(index + 1)?;
        Ok(RetentionLimit {
            age: length(row, index)?,
            count: count.map(i64::unsigned_abs),
        })
    };
    let rate = match (row.get(4)?, length(row, 5)?) {
        (Some(max), Some(per)) => Some(Rate { max, per }),
        _ => None,
    };
    let limits = QueueLimits {
        concurrency: row.get(2)?,
        concurrency_per_key: row.get(3)?,
        rate,
        retention: Retention {
            completed: keep(6)?,
            failed: keep(8)?,
            cancelled: keep(10)?,
        },
        allow: AllowLists {
            workflows: allow_list(row, 12)?,
            actions: allow_list(row, 13)?,
        },
    };
    Ok((row.get(0)?, row.get(1)?, limits))
}

/// An allow-list; null permits everything. One that cannot be read permits nothing.
pub(crate) fn allow_list(row: &Row<'_>, index: usize) -> rusqlite::Result<AllowList> {
    let text = row.get_ref(index)?.as_str_or_null()?;
    Ok(AllowList::stored(text.map(|text| {
        serde_json::from_str(text).unwrap_or_default()
    })))
}

fn length(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<Duration>> {
    Ok(row
        .get::<_, Option<i64>>(index)?
        .map(|micros| Duration::from_micros(micros.unsigned_abs())))
}

/// Columns of `sql/records.sql`.
pub(crate) fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    Ok(Record {
        kind: row.get(0)?,
        name: row.get(1)?,
        run: RunId::from_bytes(row.get(2)?),
        data: parse_content(row.get_ref(3)?.as_str()?),
        created_at: time(row, 4)?,
        updated_at: time(row, 5)?,
    })
}

pub(crate) fn time(row: &Row<'_>, index: usize) -> rusqlite::Result<Timestamp> {
    row.get(index).map(Timestamp::from_micros)
}

fn optional_time(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row
        .get::<_, Option<i64>>(index)?
        .map(Timestamp::from_micros))
}

/// A number that the schema's checks keep from being negative.
pub(crate) fn count(row: &Row<'_>, index: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(index).map(i64::unsigned_abs)
}

/// An enum value of the state machine.
fn word<T: std::str::FromStr<Err = String>>(row: &Row<'_>, index: usize) -> rusqlite::Result<T> {
    parse_word(index, row.get_ref(index)?.as_str()?)
}

pub(crate) fn optional_word<T: std::str::FromStr<Err = String>>(
    row: &Row<'_>,
    index: usize,
) -> rusqlite::Result<Option<T>> {
    row.get_ref(index)?
        .as_str_or_null()?
        .map(|text| parse_word(index, text))
        .transpose()
}

fn parse_word<T: std::str::FromStr<Err = String>>(index: usize, text: &str) -> rusqlite::Result<T> {
    text.parse().map_err(|error: String| {
        rusqlite::Error::FromSqlConversionFailure(index, rusqlite::types::Type::Text, error.into())
    })
}
