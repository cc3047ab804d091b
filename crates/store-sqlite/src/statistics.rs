//! Counts of ended runs, updated as they end, and of the runs of a status.

use std::collections::HashMap;

use rusqlite::{Connection, params};
use surefoot::statistics::{Outcome, Span, Tally, slot_of};
use surefoot::{RunStatus, StoreError, Timestamp};

use crate::error::{fault, store_error};
use crate::row::{count, time};
use crate::sql;

/// Additions of one transaction to the counts. A batch sums them up first: one row for each queue
/// and outcome instead of one for each run.
#[derive(Debug, Default)]
pub(crate) struct Ends(HashMap<(Timestamp, String, Outcome, u16), i64>);

impl Ends {
    pub(crate) fn add(
        &mut self,
        queue: &str,
        outcome: Outcome,
        from: Option<Timestamp>,
        to: Timestamp,
    ) {
        let slot = slot_of(from.map_or(std::time::Duration::ZERO, |from| to.since(from)));
        *self
            .0
            .entry((Span::Minute.beginning(to), queue.to_owned(), outcome, slot))
            .or_default() += 1;
    }

    pub(crate) fn write(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        for ((at, queue, outcome, slot), times) in self.0.drain() {
            let mut statement = conn.prepare_cached(sql::ADD_TALLY)?;
            for span in Span::EVERY {
                let at = span.beginning(at).as_micros();
                statement.execute(params![
                    span.seconds(),
                    at,
                    queue,
                    outcome.as_str(),
                    slot,
                    times
                ])?;
            }
        }
        Ok(())
    }

    pub(crate) fn forget(&mut self) {
        self.0.clear();
    }
}

pub(crate) fn tallies(
    conn: &Connection,
    span: Span,
    since: Timestamp,
) -> Result<Vec<Tally>, StoreError> {
    let mut statement = conn
        .prepare_cached(sql::TALLIES)
        .map_err(|error| store_error(&error))?;
    let mut rows = statement
        .query([span.seconds(), since.as_micros()])
        .map_err(|error| store_error(&error))?;
    let mut tallies = Vec::new();
    while let Some(row) = rows.next().map_err(|error| store_error(&error))? {
        let read = || {
            Ok((
                time(row, 0)?,
                row.get(1)?,
                row.get::<_, String>(2)?,
                row.get(3)?,
                count(row, 4)?,
            ))
        };
        let (at, queue, outcome, slot, count) =
            read().map_err(|error: rusqlite::Error| store_error(&error))?;
        tallies.push(Tally {
            at,
            queue,
            outcome: outcome.parse().map_err(fault)?,
            slot,
            count,
        });
    }
    Ok(tallies)
}

pub(crate) fn count_runs(
    conn: &Connection,
    status: RunStatus,
    limit: u64,
) -> Result<u64, StoreError> {
    let statement = match status {
        RunStatus::Queued | RunStatus::Waiting => sql::COUNT_HELD_BACK_RUNS,
        RunStatus::Running => sql::COUNT_RUNNING_RUNS,
        RunStatus::Failed | RunStatus::Cancelled => sql::COUNT_FAILED_OR_CANCELLED_RUNS,
        RunStatus::Completed => sql::COUNT_RUNS,
    };
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let read = || {
        conn.prepare_cached(statement)?
            .query_row(params![status.as_str(), limit], |row| count(row, 0))
    };
    read().map_err(|error| store_error(&error))
}
