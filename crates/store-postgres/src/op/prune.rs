//! Retention: deletes the details of ended runs as their queue allows. Several workers may do this
//! concurrently: each skips the rows that another is handling.

use surefoot::statistics::Span;
use surefoot::{QueueLimits, RetentionLimit, RunStatus};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::args::Args;
use crate::failure::Failure;
use crate::pipeline::Call;
use crate::row::{get, length, queue_row, signed};
use crate::shared::Shared;
use crate::tx::Tx;

/// Deletes the details of at most `limit` runs. Returns their number.
pub(crate) async fn prune(shared: &Shared, limit: usize) -> Result<usize, Failure> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let now = shared.now().as_micros();
    let mut tx = Tx::begin(shared).await?;
    let queues = tx.query((&shared.sql.queues, Args::none())).await?;
    let queues = queues
        .iter()
        .map(|row| queue_row(row).map(|(name, _, limits)| (name, limits)));
    let queues: Vec<(String, QueueLimits)> = queues.collect::<Result<_, _>>()?;
    let mut calls: Vec<Call<'_>> = queues
        .iter()
        .flat_map(|(name, limits)| old(shared, name, limits, now, limit))
        .collect();
    let finds = calls.len();
    calls.extend(
        queues
            .iter()
            .filter_map(|(name, limits)| forget_starts(shared, name, limits, now, limit)),
    );
    calls.extend(forget_expired(shared, now, limit));
    calls.push((&shared.sql.unfinished_uploads, Args::none().with(limit)));
    let answers = tx.queries(calls).await?;
    let old = ids(&answers[..finds], limit)?;
    let uploaded = ids(&answers[answers.len() - 1..], limit)?;
    if old.is_empty() && uploaded.is_empty() {
        tx.commit(Vec::new()).await?;
        return Ok(0);
    }
    forget(tx, &old, uploaded).await?;
    Ok(old.len())
}

/// Statements that find the runs beyond a queue's retention.
fn old<'a>(
    shared: &'a Shared,
    name: &'a str,
    limits: &QueueLimits,
    now: i64,
    limit: i64,
) -> Vec<Call<'a>> {
    let kept = &limits.retention;
    let outcomes = [
        (RunStatus::Completed, kept.completed),
        (RunStatus::Failed, kept.failed),
        (RunStatus::Cancelled, kept.cancelled),
    ];
    let calls = |(status, keep): (RunStatus, RetentionLimit)| {
        let args = move |bound: i64| {
            Args::none()
                .with(name)
                .with(status.as_str())
                .with(bound)
                .with(limit)
        };
        let by_age = keep.age.map(|age| {
            (
                shared.sql.old_by_age.as_str(),
                args(now.saturating_sub(length(age))),
            )
        });
        let by_count = keep
            .count
            .map(|count| (shared.sql.old_by_count.as_str(), args(signed(count))));
        by_age.into_iter().chain(by_count)
    };
    outcomes.into_iter().flat_map(calls).collect()
}

fn ids(answers: &[Vec<Row>], limit: i64) -> Result<Vec<Uuid>, Failure> {
    let mut ids = answers
        .iter()
        .flatten()
        .map(|row| get(row, 0))
        .collect::<Result<Vec<Uuid>, _>>()?;
    ids.sort_unstable();
    ids.dedup();
    ids.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(ids)
}

/// Removes the details of `runs`, and the contents that were uploaded for `uploaded` and followed
/// by no commit.
async fn forget(mut tx: Tx<'_>, runs: &[Uuid], uploaded: Vec<Uuid>) -> Result<(), Failure> {
    let sql = tx.sql();
    let of_runs = || Args::none().with_all(runs.to_vec());
    let calls = vec![
        (sql.delete_snapshot_blobs.as_str(), of_runs()),
        (&sql.delete_pending_blobs, Args::none().with_all(uploaded)),
        (&sql.delete_events, of_runs()),
    ];
    let answers = tx.queries(calls).await?;
    let mut digests = answers[..2]
        .iter()
        .flatten()
        .map(|row| get(row, 0))
        .collect::<Result<Vec<Vec<u8>>, _>>()?;
    digests.sort_unstable();
    digests.dedup();
    let mut last = vec![(sql.forget_details.as_str(), of_runs())];
    if !digests.is_empty() {
        last.push((&sql.delete_orphan_blobs, Args::none().with_all(digests)));
    }
    tx.commit(last).await.map(drop)
}

/// Removes starts that no longer count from the index used by the rate.
fn forget_starts<'a>(
    shared: &'a Shared,
    name: &'a str,
    limits: &QueueLimits,
    now: i64,
    limit: i64,
) -> Option<Call<'a>> {
    let window = limits.rate.map_or(0, |rate| length(rate.per));
    let args = Args::none()
        .with(name)
        .with(now.saturating_sub(window))
        .with(limit);
    Some((shared.sql.forget_starts.as_str(), args))
}

/// Deletes expired documents, and tallies that no chart shows any more.
fn forget_expired(shared: &Shared, now: i64, limit: i64) -> Vec<Call<'_>> {
    let before = |span: Span| span.kept().map(|kept| now.saturating_sub(length(kept)));
    let mut calls = vec![(
        shared.sql.delete_expired_documents.as_str(),
        Args::none().with(now).with(limit),
    )];
    calls.extend(
        before(Span::Minute).map(|at| (shared.sql.roll_tallies.as_str(), Args::none().with(at))),
    );
    calls.extend(
        before(Span::Hour).map(|at| (shared.sql.delete_tallies.as_str(), Args::none().with(at))),
    );
    calls
}
