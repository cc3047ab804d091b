//! From rows to the engine's values. A row that makes no sense is a fault, told with where it is.

use std::collections::BTreeSet;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, Row};
use serde_json::Value;
use surefoot::state::{Head, StepState};
use surefoot::{
    Digest, Event, Keep, QueueLimits, Rate, Record, Retention, Run, RunId, SealError, StoreError, Timestamp, WorkerId,
};

use crate::error::{fault, store_error};
use crate::plans::Plans;
use crate::sql;

/// A run and the number of its last event.
pub(crate) fn load_run(conn: &Connection, plans: &Plans, id: RunId) -> Result<Option<(Run, u64)>, StoreError> {
    let mut statement = conn.prepare_cached(sql::RUN).map_err(|error| store_error(&error))?;
    let row = statement.query_row([id.as_bytes()], RunRow::read).optional().map_err(|error| store_error(&error))?;
    let Some(row) = row else { return Ok(None) };
    let named = |error| fault(format_args!("run {id}: {error}"));
    let plan = plans.get(conn, row.plan)?;
    let steps = load_steps(conn, id).map_err(named)?;
    if steps.len() != plan.steps().len() {
        let message = format!("run {id} has {} steps and its plan {}", steps.len(), plan.steps().len());
        return Err(StoreError::Fault(message));
    }
    let run = Run {
        id,
        parameters: parse(&row.parameters).map_err(named)?,
        plan,
        key: row.key,
        unique: row.uniq,
        priority: row.priority,
        concurrency_key: row.concurrency_key,
        requires: parse_required(row.requires.as_deref()).map_err(named)?,
        sealed: row
            .sealed
            .map(|sealed| sealed.parse())
            .transpose()
            .map_err(|error: SealError| named(error.to_string()))?,
        created_at: row.created_at,
        head: row.head,
        steps,
    };
    Ok(Some((run, row.event_seq)))
}

/// The columns of `sql/run.sql`.
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
                worker: row.get::<_, Option<[u8; 16]>>(14)?.map(WorkerId::from_bytes),
                epoch: count(row, 15)?,
                commits: count(row, 18)?,
                cancel: optional_word(row, 16)?,
            },
            event_seq: count(row, 17)?,
        })
    }
}

/// A set of resources; none is null.
pub(crate) fn parse_required(json: Option<&str>) -> Result<BTreeSet<String>, String> {
    json.map_or(Ok(BTreeSet::new()), |json| serde_json::from_str(json).map_err(|error| error.to_string()))
}

fn load_steps(conn: &Connection, run: RunId) -> Result<Vec<StepState>, String> {
    let read = || -> rusqlite::Result<Vec<Result<StepState, String>>> {
        let mut statement = conn.prepare_cached(sql::STEPS)?;
        let rows = statement.query_map([run.as_bytes()], step)?;
        rows.collect()
    };
    read().map_err(|error| error.to_string())?.into_iter().collect()
}

fn step(row: &Row<'_>) -> rusqlite::Result<Result<StepState, String>> {
    let json = |index| -> rusqlite::Result<Result<Option<Value>, String>> {
        Ok(row.get::<_, Option<String>>(index)?.as_deref().map(parse).transpose())
    };
    let values = [json(8)?, json(10)?, json(11)?, json(15)?];
    let [output, checkpoint, answer, decision] = match values {
        [Ok(output), Ok(checkpoint), Ok(answer), Ok(decision)] => [output, checkpoint, answer, decision],
        [Err(error), ..] | [_, Err(error), ..] | [.., Err(error), _] | [.., Err(error)] => return Ok(Err(error)),
    };
    Ok(Ok(StepState {
        status: word(row, 0)?,
        progress: row.get(1)?,
        message: row.get(2)?,
        attempt: row.get(3)?,
        interruptions: row.get(4)?,
        started_at: optional_time(row, 5)?,
        completed_at: optional_time(row, 6)?,
        error: row.get(7)?,
        output,
        wait: optional_word(row, 9)?,
        checkpoint,
        answer,
        decision,
        snapshot: row.get::<_, Option<[u8; 32]>>(12)?.map(Digest::from_bytes),
        undo: optional_word(row, 13)?,
        deferrals: row.get(14)?,
        undo_note: row.get(16)?,
    }))
}

/// The events of one commit's row, which are numbered up to `last`. Each is an array: kind, step, data.
pub(crate) fn parse_events(last: u64, at: Timestamp, body: &str) -> Result<Vec<Event>, StoreError> {
    let events: Vec<(String, Option<String>, Value)> = serde_json::from_str(body).map_err(fault)?;
    let first = (last + 1).checked_sub(events.len() as u64).ok_or_else(|| fault("more events than were counted"))?;
    let event = |(seq, (kind, step, data))| Event { seq, at, kind, step, data };
    Ok((first..).zip(events).map(event).collect())
}

/// The columns of `sql/queue.sql`: a queue's name, whether it is paused, its limits.
pub(crate) fn queue_row(row: &Row<'_>) -> rusqlite::Result<(String, bool, QueueLimits)> {
    let keep = |index| -> rusqlite::Result<Keep> {
        let count: Option<i64> = row.get(index + 1)?;
        Ok(Keep { age: length(row, index)?, count: count.map(i64::unsigned_abs) })
    };
    let rate = match (row.get(4)?, length(row, 5)?) {
        (Some(max), Some(per)) => Some(Rate { max, per }),
        _ => None,
    };
    let limits = QueueLimits {
        concurrency: row.get(2)?,
        concurrency_per_key: row.get(3)?,
        rate,
        retention: Retention { completed: keep(6)?, failed: keep(8)?, cancelled: keep(10)? },
    };
    Ok((row.get(0)?, row.get(1)?, limits))
}

fn length(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<Duration>> {
    Ok(row.get::<_, Option<i64>>(index)?.map(|micros| Duration::from_micros(micros.unsigned_abs())))
}

/// The columns of `sql/records.sql`.
pub(crate) fn record(row: &Row<'_>) -> rusqlite::Result<Result<Record, StoreError>> {
    let (kind, name): (String, String) = (row.get(0)?, row.get(1)?);
    let data = match parse(&row.get::<_, String>(3)?) {
        Ok(data) => data,
        Err(error) => return Ok(Err(fault(format_args!("record {kind} {name}: {error}")))),
    };
    let (run, created_at, updated_at) = (RunId::from_bytes(row.get(2)?), time(row, 4)?, time(row, 5)?);
    Ok(Ok(Record { kind, name, run, data, created_at, updated_at }))
}

pub(crate) fn time(row: &Row<'_>, index: usize) -> rusqlite::Result<Timestamp> {
    row.get(index).map(Timestamp::from_micros)
}

fn optional_time(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(index)?.map(Timestamp::from_micros))
}

/// A number that is never negative, as the schema's checks say.
pub(crate) fn parse_json(text: &str) -> Result<Value, StoreError> {
    parse(text).map_err(fault)
}

pub(crate) fn count(row: &Row<'_>, index: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(index).map(i64::unsigned_abs)
}

/// A word of the state machine.
fn word<T: std::str::FromStr<Err = String>>(row: &Row<'_>, index: usize) -> rusqlite::Result<T> {
    parse_word(index, row.get_ref(index)?.as_str()?)
}

pub(crate) fn optional_word<T: std::str::FromStr<Err = String>>(
    row: &Row<'_>,
    index: usize,
) -> rusqlite::Result<Option<T>> {
    row.get_ref(index)?.as_str_or_null()?.map(|text| parse_word(index, text)).transpose()
}

fn parse_word<T: std::str::FromStr<Err = String>>(index: usize, text: &str) -> rusqlite::Result<T> {
    text.parse().map_err(|error: String| {
        rusqlite::Error::FromSqlConversionFailure(index, rusqlite::types::Type::Text, error.into())
    })
}

fn parse(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}
