//! Admission: what a queue's pause, concurrency and rate currently allow. Shared by claims and by
//! submissions that start at once.

use rusqlite::{OptionalExtension as _, params};
use surefoot::{QueueLimits, Rate, Timestamp};

use crate::row::{length, queue_row, time};
use crate::sql;
use crate::writer::Tx;

/// Pause and limits of a queue; an unknown queue has neither.
pub(super) fn queue(tx: &Tx<'_>, name: &str) -> rusqlite::Result<(bool, QueueLimits)> {
    let row = tx
        .conn
        .prepare_cached(sql::QUEUE)?
        .query_row([name], queue_row)
        .optional()?;
    Ok(row.map_or_else(Default::default, |(_, paused, limits)| (paused, limits)))
}

/// Number of further runs that the queue's concurrency allows.
pub(super) fn free_slots(tx: &Tx<'_>, name: &str, limits: &QueueLimits) -> rusqlite::Result<usize> {
    let Some(limit) = limits.concurrency else {
        return Ok(usize::MAX);
    };
    let running = tx
        .conn
        .prepare_cached(sql::COUNT_RUNNING)?
        .query_row([name], |row| row.get::<_, u32>(0))?;
    Ok(limit.saturating_sub(running) as usize)
}

/// Number of further runs with this concurrency key that the queue allows.
pub(super) fn free_slots_of_key(
    tx: &Tx<'_>,
    name: &str,
    limits: &QueueLimits,
    key: &str,
) -> rusqlite::Result<usize> {
    let Some(limit) = limits.concurrency_per_key else {
        return Ok(usize::MAX);
    };
    let running = tx
        .conn
        .prepare_cached(sql::COUNT_RUNNING_OF_KEY)?
        .query_row([name, key], |row| row.get::<_, u32>(0))?;
    Ok(limit.saturating_sub(running) as usize)
}

/// Number of further runs that the queue's rate allows to start now. A start counts until it is a
/// window's length ago. A start further in the future than that was written before the clock was
/// set back, and would block the queue until then.
pub(super) fn allowed_starts(
    tx: &Tx<'_>,
    name: &str,
    limits: &QueueLimits,
) -> rusqlite::Result<usize> {
    let Some(rate) = limits.rate else {
        return Ok(usize::MAX);
    };
    let now = tx.now.as_micros();
    let per = length(rate.per);
    let bounds = params![name, now.saturating_sub(per), now.saturating_add(per)];
    let counted = tx
        .conn
        .prepare_cached(sql::COUNT_STARTS)?
        .query_row(bounds, |row| row.get::<_, u32>(0))?;
    Ok(rate.max.saturating_sub(counted) as usize)
}

/// Time at which the rate allows another start: once the `max`-th last start is a window's length
/// ago. `None` means never.
pub(super) fn next_start(
    tx: &Tx<'_>,
    name: &str,
    rate: Rate,
) -> rusqlite::Result<Option<Timestamp>> {
    let Some(newer) = rate.max.checked_sub(1) else {
        return Ok(None);
    };
    let mut statement = tx.conn.prepare_cached(sql::NTH_START)?;
    let start = statement
        .query_row(
            params![name, newer, (tx.now + rate.per).as_micros()],
            |row| time(row, 0),
        )
        .optional()?;
    Ok(Some(start.map_or(tx.now, |start| start + rate.per)))
}

/// Makes runs claimable whose time has come.
pub(super) fn promote_due(tx: &Tx<'_>) -> rusqlite::Result<()> {
    if tx
        .conn
        .prepare_cached(sql::IS_ANY_DUE)?
        .exists([tx.now.as_micros()])?
    {
        tx.conn
            .prepare_cached(sql::PROMOTE_DUE)?
            .execute([tx.now.as_micros()])?;
    }
    Ok(())
}
