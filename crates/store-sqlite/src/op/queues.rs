//! Queues: their limits and their pause.

use rusqlite::params;
use surefoot::{QueueLimits, RetentionLimit};

use super::admit;
use crate::error::Failure;
use crate::row::{entries, length};
use crate::sql;
use crate::writer::Tx;

pub(crate) fn set_queue(
    tx: &mut Tx<'_>,
    name: &str,
    limits: &QueueLimits,
    only_if_new: bool,
) -> Result<(), Failure> {
    if only_if_new && tx.conn.prepare_cached(sql::QUEUE)?.exists([name])? {
        return Ok(());
    }
    let (_, before) = admit::queue(tx, name)?;
    write(tx, name, limits)?;
    if let Some(rate) = limits.rate.filter(|rate| Some(*rate) != before.rate) {
        let from = tx.now.as_micros().saturating_sub(length(rate.per));
        tx.conn
            .prepare_cached(sql::RECALL_STARTS)?
            .execute(params![name, from, rate.max])?;
    }
    *tx.work = true;
    *tx.backlog = true;
    Ok(())
}

fn write(tx: &Tx<'_>, name: &str, limits: &QueueLimits) -> Result<(), Failure> {
    let count = |keep: &RetentionLimit| {
        keep.count
            .map(|count| i64::try_from(count).unwrap_or(i64::MAX))
    };
    let age = |keep: &RetentionLimit| keep.age.map(length);
    let kept = &limits.retention;
    tx.conn.prepare_cached(sql::SET_QUEUE)?.execute(params![
        name,
        limits.concurrency,
        limits.concurrency_per_key,
        limits.rate.map(|rate| rate.max),
        limits.rate.map(|rate| length(rate.per)),
        age(&kept.completed),
        count(&kept.completed),
        age(&kept.failed),
        count(&kept.failed),
        age(&kept.cancelled),
        count(&kept.cancelled),
        entries(&limits.allow.workflows)?,
        entries(&limits.allow.actions)?,
    ])?;
    Ok(())
}

pub(crate) fn pause_queue(tx: &mut Tx<'_>, name: &str, paused: bool) -> Result<(), Failure> {
    tx.conn
        .prepare_cached(sql::PAUSE_QUEUE)?
        .execute(params![name, paused])?;
    *tx.work = true;
    *tx.backlog = true;
    Ok(())
}
