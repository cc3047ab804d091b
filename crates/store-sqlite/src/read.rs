//! Reads: runs, events, records, contents, queues, workers.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, MAIN_DB, OptionalExtension as _, Row, ToSql, params};
use surefoot::store::{Heartbeats, LastHeartbeat, RecordFilter, RunFilter, WorkerInfo};
use surefoot::unreadable::parse_events;
use surefoot::{
    CHUNK, Digest, Event, QueueInfo, Record, Run, RunId, RunStatus, StoreError, Timestamp, WorkerId,
};

use crate::error::store_error;
use crate::plans::Plans;
use crate::row::{allow_list, count, load_run, optional_word, queue_row, record, time};
use crate::sql;

fn sql_error(error: rusqlite::Error) -> StoreError {
    store_error(&error)
}

pub(crate) fn run(conn: &Connection, plans: &Plans, id: RunId) -> Result<Option<Run>, StoreError> {
    Ok(load_run(conn, plans, id)?.map(|(run, _)| run))
}

pub(crate) fn runs(
    conn: &Connection,
    plans: &Plans,
    filter: &RunFilter,
) -> Result<Vec<Run>, StoreError> {
    let ids = run_ids(conn, filter).map_err(sql_error)?;
    ids.into_iter()
        .filter_map(|id| run(conn, plans, id).transpose())
        .collect()
}

/// Sorts after every id, which has 16 bytes.
const AFTER_ALL: &[u8] = &[0xff; 17];

fn run_ids(conn: &Connection, filter: &RunFilter) -> rusqlite::Result<Vec<RunId>> {
    let (after, before) = bounds(filter);
    let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
    let status = filter
        .status
        .or(filter.worker.and(Some(RunStatus::Running)));
    if filter.worker.is_some() && status != Some(RunStatus::Running) {
        return Ok(Vec::new());
    }
    let worker = filter.worker.as_ref().map(|worker| worker.as_bytes());
    let text_end = filter.text.as_deref().map(end_of_prefix);
    let named = filter
        .text
        .as_deref()
        .and_then(|text| text.parse::<RunId>().ok());
    let named = named.as_ref().map(|id| id.as_bytes());
    let common = match (&filter.text, &text_end) {
        (Some(from), Some(to)) => is_common(conn, from, to)?,
        _ => false,
    };
    let mut statement = conn.prepare_cached(&listing(filter, status, common))?;
    let status = status.map(RunStatus::as_str);
    let failed_since = filter.failed_since.map(Timestamp::as_micros);
    let parameters: [&dyn ToSql; 12] = [
        &status,
        &filter.workflow,
        &filter.queue,
        &filter.key,
        &before,
        &limit,
        &after,
        &worker,
        &filter.text,
        &text_end,
        &named,
        &failed_since,
    ];
    // A statement has only the parameters up to the last one that it names.
    let parameters = &parameters[..statement.parameter_count()];
    statement
        .query_map(parameters, |row| row.get(0).map(RunId::from_bytes))?
        .collect()
}

/// Exclusive bounds of the ids that match the filter.
fn bounds(filter: &RunFilter) -> (Vec<u8>, Vec<u8>) {
    let (after_page, before_page) = if filter.oldest_first {
        (filter.before, None)
    } else {
        (None, filter.before)
    };
    let bytes = |id: RunId| id.as_bytes().to_vec();
    // A byte shorter than an id, so less than all ids with this prefix; or one id less.
    let since = filter
        .since
        .map(|since| RunId::first_at(since).as_bytes()[..15].to_vec());
    let until = filter
        .until
        .map(|until| RunId::first_at(until).as_bytes().to_vec());
    let after = after_page.map(bytes).into_iter().chain(since).max();
    let before = before_page.map(bytes).into_iter().chain(until).min();
    (
        after.unwrap_or_default(),
        before.unwrap_or_else(|| AFTER_ALL.to_vec()),
    )
}

/// Upper bound of the texts with this prefix. (No key begins with the last Unicode character.)
fn end_of_prefix(text: &str) -> String {
    format!("{text}{}", char::MAX)
}

/// Up to this many runs are sorted by id within 50 ms.
const COMMON: i64 = 50_000;

/// Returns whether very many runs have a key or unique value in this range.
fn is_common(conn: &Connection, from: &str, to: &str) -> rusqlite::Result<bool> {
    let count = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
    Ok(conn
        .prepare_cached(sql::COUNT_RUNS_WITH_TEXT)?
        .query_row(params![from, to, COMMON], count)?
        >= COMMON)
}

/// The statement whose index has the fewest rows that the filter rejects; `common` means that very
/// many runs have the text.
fn listing(filter: &RunFilter, status: Option<RunStatus>, common: bool) -> Cow<'static, str> {
    let newest_first = match status {
        _ if filter.failed_since.is_some() => sql::LIST_FAILED_RUNS,
        _ if filter.text.is_some() && common => sql::LIST_RUNS_SCANNING_FOR_TEXT,
        _ if filter.text.is_some() => sql::LIST_RUNS_WITH_TEXT,
        _ if filter.key.is_some() => sql::LIST_RUNS_WITH_KEY,
        Some(RunStatus::Running) => sql::LIST_RUNNING_RUNS,
        Some(RunStatus::Queued | RunStatus::Waiting) => sql::LIST_HELD_BACK_RUNS,
        Some(RunStatus::Failed | RunStatus::Cancelled) => sql::LIST_FAILED_OR_CANCELLED_RUNS,
        Some(RunStatus::Completed) | None if filter.workflow.is_some() => {
            sql::LIST_RUNS_OF_WORKFLOW
        }
        Some(RunStatus::Completed) | None if filter.queue.is_some() => sql::LIST_RUNS_OF_QUEUE,
        Some(RunStatus::Completed) | None => sql::LIST_RUNS,
    };
    if filter.oldest_first {
        newest_first.replace("DESC LIMIT", "ASC LIMIT").into()
    } else {
        newest_first.into()
    }
}

pub(crate) fn events(
    conn: &Connection,
    run: RunId,
    after: u64,
    limit: usize,
) -> Result<Vec<Event>, StoreError> {
    let mut statement = conn.prepare_cached(sql::EVENTS).map_err(sql_error)?;
    let from = i64::try_from(after).unwrap_or(i64::MAX);
    let mut rows = statement
        .query(params![run.as_bytes(), from])
        .map_err(sql_error)?;
    let mut found = Vec::new();
    while found.len() < limit {
        let Some(row) = rows.next().map_err(sql_error)? else {
            break;
        };
        let read = || Ok((count(row, 0)?, time(row, 1)?, row.get_ref(2)?.as_str()?));
        let (last, at, body) = read().map_err(sql_error)?;
        found.extend(
            parse_events(last, at, body)
                .into_iter()
                .filter(|event| event.seq > after),
        );
    }
    found.truncate(limit);
    Ok(found)
}

pub(crate) fn records(conn: &Connection, filter: &RecordFilter) -> Result<Vec<Record>, StoreError> {
    let statement = match filter {
        RecordFilter { run: Some(_), .. } => sql::RECORDS_OF_RUN,
        RecordFilter { kind: Some(_), .. } => sql::RECORDS_OF_KIND,
        _ => sql::RECORDS,
    };
    let read = || -> rusqlite::Result<Vec<Record>> {
        let mut statement = conn.prepare_cached(statement)?;
        let run = filter.run.as_ref().map(|run| run.as_bytes());
        let prefix = filter.prefix.as_deref().unwrap_or_default();
        let limit = filter
            .limit
            .map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
        let end = end_of_prefix(prefix);
        statement
            .query_map(
                params![
                    filter.kind,
                    filter.name,
                    run,
                    filter.after,
                    prefix,
                    end,
                    limit
                ],
                record,
            )?
            .collect()
    };
    read().map_err(sql_error)
}

/// A part of a content. Only that part is read: a store may have contents of any size from earlier
/// builds.
pub(crate) fn blob_part(
    conn: &Connection,
    digest: Digest,
    offset: u64,
) -> Result<Option<Vec<u8>>, StoreError> {
    let read = || -> rusqlite::Result<Option<Vec<u8>>> {
        let row = conn
            .prepare_cached(sql::BLOB_ROW)?
            .query_row([digest.as_bytes()], |row| row.get(0))
            .optional()?;
        let Some(row) = row else {
            return Ok(None);
        };
        let blob = conn.blob_open(MAIN_DB, "blobs", "content", row, true)?;
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let mut part = vec![0; blob.len().saturating_sub(offset).min(CHUNK)];
        if !part.is_empty() {
            blob.read_at_exact(&mut part, offset)?;
        }
        Ok(Some(part))
    };
    read().map_err(sql_error)
}

pub(crate) fn queues(conn: &Connection) -> Result<Vec<QueueInfo>, StoreError> {
    let read = || -> rusqlite::Result<Vec<QueueInfo>> {
        let counts = queue_counts(conn)?;
        let mut statement = conn.prepare_cached(sql::QUEUES)?;
        let info = |row: &Row<'_>| {
            let (name, paused, limits) = queue_row(row)?;
            let count = |status| counts.get(&(name.clone(), status)).copied().unwrap_or(0);
            let queued = count(RunStatus::Queued);
            let waiting = count(RunStatus::Waiting);
            Ok(QueueInfo {
                limits,
                paused,
                queued,
                waiting,
                running: count(RunStatus::Running),
                name,
            })
        };
        statement.query_map([], info)?.collect()
    };
    read().map_err(sql_error)
}

fn queue_counts(conn: &Connection) -> rusqlite::Result<HashMap<(String, RunStatus), u64>> {
    let mut statement = conn.prepare_cached(sql::QUEUE_COUNTS)?;
    let mut rows = statement.query([])?;
    let mut counts = HashMap::new();
    while let Some(row) = rows.next()? {
        if let Some(status) = optional_word(row, 1)? {
            counts.insert((row.get(0)?, status), count(row, 2)?);
        }
    }
    Ok(counts)
}

pub(crate) fn heartbeats(conn: &Connection) -> Result<Heartbeats, StoreError> {
    let last = |row: &Row<'_>| {
        let lease = Duration::from_micros(count(row, 2)?);
        Ok(LastHeartbeat {
            worker: WorkerId::from_bytes(row.get(0)?),
            at: time(row, 1)?,
            lease,
        })
    };
    let read = || -> rusqlite::Result<Vec<LastHeartbeat>> {
        conn.prepare_cached(sql::HEARTBEATS)?
            .query_map([], last)?
            .collect()
    };
    // The end of a worker interrupts its runs in the same transaction.
    Ok(Heartbeats {
        workers: read().map_err(sql_error)?,
        has_orphans: false,
    })
}

pub(crate) fn workers(conn: &Connection, now: Timestamp) -> Result<Vec<WorkerInfo>, StoreError> {
    let info = |row: &Row<'_>| {
        Ok(WorkerInfo {
            id: WorkerId::from_bytes(row.get(0)?),
            name: row.get(1)?,
            started_at: time(row, 2)?,
            heartbeat_at: time(row, 3)?,
            expires_at: time(row, 4)?,
            running: count(row, 5)?,
            version: row.get(6)?,
            actions: Arc::new(serde_json::from_str(row.get_ref(7)?.as_str()?).unwrap_or_default()),
            resources: Arc::new(
                serde_json::from_str(row.get_ref(8)?.as_str()?).unwrap_or_default(),
            ),
            workflows: allow_list(row, 9)?,
            plan_format: row.get(10)?,
        })
    };
    let read = || -> rusqlite::Result<Vec<WorkerInfo>> {
        conn.prepare_cached(sql::WORKERS)?
            .query_map([now.as_micros()], info)?
            .collect()
    };
    read().map_err(sql_error)
}
