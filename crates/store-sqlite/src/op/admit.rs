//! What a queue allows just now: its pause, its concurrency, its rate. The submit that starts at once and the claim share it.

use rusqlite::{OptionalExtension as _, params};
use surefoot::{QueueLimits, Rate, Timestamp};

use crate::row::{length, queue_row, time};
use crate::sql;
use crate::writer::Tx;

/// A queue's limits and pause; a queue of which nothing is known has neither.
pub(super) fn queue(tx: &Tx<'_>, name: &str) -> rusqlite::Result<(bool, QueueLimits)> {
    let row = tx
        .conn
        .prepare_cached(sql::QUEUE)?
        .query_row([name], queue_row)
        .optional()?;
    Ok(row.map_or_else(Default::default, |(_, paused, limits)| (paused, limits)))
}

/// How many more runs of the queue its concurrency allows.
pub(super) fn places(tx: &Tx<'_>, name: &str, limits: &QueueLimits) -> rusqlite::Result<usize> {
    let Some(limit) = limits.concurrency else {
        return Ok(usize::MAX);
    };
    let running = tx
        .conn
        .prepare_cached(sql::COUNT_RUNNING)?
        .query_row([name], |row| row.get::<_, u32>(0))?;
    Ok(limit.saturating_sub(running) as usize)
}

/// How many more runs with this concurrency key the queue allows.
pub(super) fn places_of_key(
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

/// How many more runs of the queue its rate allows to start now. A start counts until it is a window's length ago. One that is
/// further ahead than that was written before the clock was set back: it would stop the queue until then.
pub(super) fn starts(tx: &Tx<'_>, name: &str, limits: &QueueLimits) -> rusqlite::Result<usize> {
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

/// When the rate allows one more start: once the `max`-th start from the end is a window's length ago. `None` is never.
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

/// Makes the runs whose time has come claimable.
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
