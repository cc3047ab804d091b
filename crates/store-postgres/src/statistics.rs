//! Counts of ended runs, and of the runs of a status.

use surefoot::statistics::{Span, Tally};
use surefoot::{RunStatus, StoreError, Timestamp};
use tokio_postgres::Row;

use crate::args::Args;
use crate::failure::{Failure, fault};
use crate::row::{count, get, signed, time, word};
use crate::shared::Shared;

pub(crate) async fn tallies(
    shared: &Shared,
    span: Span,
    since: Timestamp,
) -> Result<Vec<Tally>, Failure> {
    let seconds = i16::try_from(span.seconds()).map_err(fault)?;
    let args = Args::none().with(seconds).with(since.as_micros());
    let rows = shared.query((&shared.sql.tallies, args)).await?;
    Ok(rows.iter().map(tally).collect::<Result<_, _>>()?)
}

fn tally(row: &Row) -> Result<Tally, StoreError> {
    Ok(Tally {
        at: time(row, 0)?,
        queue: get(row, 1)?,
        outcome: word(row, 2)?,
        slot: u16::try_from(get::<i16>(row, 3)?).map_err(fault)?,
        count: count(row, 4)?,
    })
}

pub(crate) async fn count_runs(
    shared: &Shared,
    status: RunStatus,
    limit: u64,
) -> Result<u64, Failure> {
    let statement = match status {
        RunStatus::Queued | RunStatus::Waiting => &shared.sql.count_held_back_runs,
        RunStatus::Running => &shared.sql.count_running_runs,
        RunStatus::Failed | RunStatus::Cancelled => &shared.sql.count_failed_or_cancelled_runs,
        RunStatus::Completed => &shared.sql.count_runs,
    };
    let rows = shared
        .query((
            statement,
            Args::none().with(status.as_str()).with(signed(limit)),
        ))
        .await?;
    Ok(rows.first().map_or(Ok(0), |row| count(row, 0))?)
}
