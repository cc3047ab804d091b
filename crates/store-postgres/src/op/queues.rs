//! Queues: their limits and their pause.

use std::time::{Duration, Instant};

use surefoot::{QueueLimits, Rate, RetentionLimit};

use crate::args::Args;
use crate::failure::{Failure, fault};
use crate::pipeline::Call;
use crate::row::{get, length, signed};
use crate::shared::Shared;
use crate::tx::Tx;

/// Runs whose start is recalled in one transaction.
const BATCH: u32 = 500;

/// Limit of the wait for starts that were in flight when their queue was limited.
const SETTLE: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(5);

pub(crate) async fn set_queue(
    shared: &Shared,
    name: &str,
    limits: &QueueLimits,
    only_if_new: bool,
) -> Result<(), Failure> {
    let mut tx = Tx::begin(shared).await?;
    let rows = tx
        .query((&shared.sql.lock_queue, Args::none().with(name)))
        .await?;
    if only_if_new && !rows.is_empty() {
        tx.roll_back().await;
        return Ok(());
    }
    let rate = |index| {
        rows.first()
            .map(|row| get::<Option<i64>>(row, index))
            .transpose()
            .map(Option::flatten)
    };
    let before = (rate(0)?, rate(1)?);
    let after = (
        limits.rate.map(|rate| i64::from(rate.max)),
        limits.rate.map(|rate| length(rate.per)),
    );
    if before != after
        && let Some(rate) = limits.rate
    {
        tx.roll_back().await;
        return add_rate(shared, name, limits, rate).await;
    }
    tx.commit(vec![set(shared, name, limits)]).await?;
    notify(shared);
    Ok(())
}

fn notify(shared: &Shared) {
    shared.set_backlog(true);
    shared.notifier.changed(true);
}

/// Gives a queue a rate that it did not have: the rate counts earlier starts too. Meanwhile no lock
/// is held on any run, and on the queue only while its row is written.
async fn add_rate(
    shared: &Shared,
    name: &str,
    limits: &QueueLimits,
    rate: Rate,
) -> Result<(), Failure> {
    recall_starts(shared, name, rate).await?;
    let tx = Tx::begin(shared).await?;
    let calls = vec![
        set(shared, name, limits),
        (shared.sql.transaction.as_str(), Args::none()),
    ];
    let answers = tx.commit(calls).await?;
    notify(shared);
    let row = answers[1]
        .first()
        .ok_or_else(|| fault("a transaction has a number"))?;
    settle(shared, get(row, 0)?).await?;
    recall_starts(shared, name, rate).await
}

/// Waits for transactions that began before the limit was visible and may start a run. A caller's
/// transaction that takes longer than this starts none.
async fn settle(shared: &Shared, transaction: &str) -> Result<(), Failure> {
    let until = Instant::now() + SETTLE;
    while Instant::now() < until {
        let rows = shared
            .query((&shared.sql.is_over, Args::none().with(transaction)))
            .await?;
        if rows.first().map(|row| get(row, 0)).transpose()? == Some(true) {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Counts the newest starts, as many as the rate allows; those that are being written are left out.
async fn recall_starts(shared: &Shared, name: &str, rate: Rate) -> Result<(), Failure> {
    let from = shared.now().as_micros().saturating_sub(length(rate.per));
    for _ in 0..=rate.max.div_ceil(BATCH) {
        let args = Args::none()
            .with(name)
            .with(from)
            .with(i64::from(rate.max))
            .with(i64::from(BATCH));
        let mut session = shared.session().await?;
        if session.execute((&shared.sql.recall_starts, args)).await? < u64::from(BATCH) {
            break;
        }
    }
    Ok(())
}

fn set<'a>(shared: &'a Shared, name: &'a str, limits: &'a QueueLimits) -> Call<'a> {
    let count = |keep: &RetentionLimit| keep.count.map(signed);
    let age = |keep: &RetentionLimit| keep.age.map(length);
    let kept = &limits.retention;
    let args = Args::none()
        .with(name)
        .with(limits.concurrency.map(i64::from))
        .with(limits.concurrency_per_key.map(i64::from))
        .with(limits.rate.map(|rate| i64::from(rate.max)))
        .with(limits.rate.map(|rate| length(rate.per)))
        .with(age(&kept.completed))
        .with(count(&kept.completed))
        .with(age(&kept.failed))
        .with(count(&kept.failed))
        .with(age(&kept.cancelled))
        .with(count(&kept.cancelled))
        .with_texts(limits.allow.workflows.entries())
        .with_texts(limits.allow.actions.entries());
    (&shared.sql.set_queue, args)
}

pub(crate) async fn pause_queue(shared: &Shared, name: &str, paused: bool) -> Result<(), Failure> {
    shared
        .query((
            &shared.sql.pause_queue,
            Args::none().with(name).with(paused),
        ))
        .await?;
    notify(shared);
    Ok(())
}
