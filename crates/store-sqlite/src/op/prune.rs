//! Retention: deletes the details of ended runs as their queue allows.

use rusqlite::{ToSql, params};
use surefoot::statistics::Span;
use surefoot::{QueueLimits, RetentionLimit, RunId, RunStatus};

use crate::error::Failure;
use crate::row::{length, queue_row};
use crate::sql;
use crate::writer::Tx;

/// Deletes the details of at most `limit` runs. Returns their number.
pub(crate) fn prune(tx: &Tx<'_>, limit: usize) -> Result<usize, Failure> {
    let mut old: Vec<RunId> = Vec::new();
    for (name, limits) in queues(tx)? {
        let kept = &limits.retention;
        for (status, keep) in [
            (RunStatus::Completed, kept.completed),
            (RunStatus::Failed, kept.failed),
            (RunStatus::Cancelled, kept.cancelled),
        ] {
            old.extend(find_old(tx, &name, status, keep, limit)?);
        }
        forget_starts(tx, &name, &limits, limit)?;
    }
    old.sort_unstable();
    old.dedup();
    old.truncate(limit);
    old.iter().try_for_each(|run| forget(tx, *run))?;
    forget_uploads(tx, limit)?;
    forget_expired(tx, limit)?;
    Ok(old.len())
}

fn queues(tx: &Tx<'_>) -> rusqlite::Result<Vec<(String, QueueLimits)>> {
    let mut statement = tx.conn.prepare_cached(sql::QUEUES)?;
    statement
        .query_map([], |row| {
            queue_row(row).map(|(name, _, limits)| (name, limits))
        })?
        .collect()
}

fn find_old(
    tx: &Tx<'_>,
    queue: &str,
    status: RunStatus,
    keep: RetentionLimit,
    limit: usize,
) -> rusqlite::Result<Vec<RunId>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut old = Vec::new();
    if let Some(age) = keep.age {
        let before = tx.now.as_micros().saturating_sub(length(age));
        old.extend(ids(
            tx,
            sql::OLD_BY_AGE,
            &[&queue, &status.as_str(), &before, &limit],
        )?);
    }
    if let Some(count) = keep.count {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        old.extend(ids(
            tx,
            sql::OLD_BY_COUNT,
            &[&queue, &status.as_str(), &count, &limit],
        )?);
    }
    Ok(old)
}

fn ids(tx: &Tx<'_>, statement: &str, parameters: &[&dyn ToSql]) -> rusqlite::Result<Vec<RunId>> {
    let mut statement = tx.conn.prepare_cached(statement)?;
    statement
        .query_map(parameters, |row| row.get(0).map(RunId::from_bytes))?
        .collect()
}

fn forget(tx: &Tx<'_>, run: RunId) -> rusqlite::Result<()> {
    for statement in [
        sql::DELETE_EVENTS,
        sql::DELETE_ORPHAN_BLOBS,
        sql::DELETE_SNAPSHOT_BLOBS,
        sql::FORGET_DETAILS,
    ] {
        tx.conn
            .prepare_cached(statement)?
            .execute([run.as_bytes()])?;
    }
    Ok(())
}

/// Contents whose upload was followed by no commit. While a worker holds the run that commit may
/// come.
fn forget_uploads(tx: &Tx<'_>, limit: usize) -> rusqlite::Result<()> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    for run in ids(tx, sql::UNFINISHED_UPLOADS, &[&limit])? {
        for statement in [sql::DELETE_ORPHAN_PENDING_BLOBS, sql::DELETE_PENDING_BLOBS] {
            let mut statement = tx.conn.prepare_cached(statement)?;
            statement.execute([run.as_bytes()])?;
        }
    }
    Ok(())
}

/// Deletes expired documents, and tallies that no chart shows any more.
fn forget_expired(tx: &Tx<'_>, limit: usize) -> rusqlite::Result<()> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    tx.conn
        .prepare_cached(sql::DELETE_EXPIRED_DOCUMENTS)?
        .execute([tx.now.as_micros(), limit])?;
    for span in Span::EVERY {
        if let Some(kept) = span.kept() {
            let before = tx.now.as_micros().saturating_sub(length(kept));
            tx.conn
                .prepare_cached(sql::DELETE_TALLIES)?
                .execute([span.seconds(), before])?;
        }
    }
    Ok(())
}

/// Removes starts that no longer count from the index used by the rate.
fn forget_starts(
    tx: &Tx<'_>,
    queue: &str,
    limits: &QueueLimits,
    limit: usize,
) -> rusqlite::Result<()> {
    let window = limits.rate.map_or(0, |rate| length(rate.per));
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let until = tx.now.as_micros().saturating_sub(window);
    tx.conn
        .prepare_cached(sql::FORGET_STARTS)?
        .execute(params![queue, until, limit])
        .map(drop)
}
