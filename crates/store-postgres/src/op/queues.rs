//! Queues: their limits and their pause.

use surefoot::{Keep, QueueLimits, Rate};

use crate::args::Args;
use crate::failure::Failure;
use crate::pipe::Call;
use crate::row::{get, length, signed};
use crate::shared::Shared;
use crate::tx::Tx;

pub(crate) async fn set_queue(
    shared: &Shared,
    name: &str,
    limits: &QueueLimits,
    only_if_new: bool,
) -> Result<(), Failure> {
    let mut tx = Tx::begin(shared).await?;
    let rows = tx.query((&shared.sql.lock_queue, Args::none().with(name))).await?;
    if only_if_new && !rows.is_empty() {
        tx.roll_back().await;
        return Ok(());
    }
    let rate = |index| rows.first().map(|row| get::<Option<i64>>(row, index)).transpose().map(Option::flatten);
    let before = (rate(0)?, rate(1)?);
    let after = (limits.rate.map(|rate| i64::from(rate.max)), limits.rate.map(|rate| length(rate.per)));
    match limits.rate.filter(|_| before != after) {
        Some(rate) => limit_anew(tx, name, limits, rate).await?,
        None => tx.commit(vec![set(shared, name, limits)]).await.map(drop)?,
    }
    shared.set_backlog(true);
    shared.marks.changed(true);
    Ok(())
}

/// Gives a queue a rate that it had not: it counts what has started before.
async fn limit_anew(mut tx: Tx<'_>, name: &str, limits: &QueueLimits, rate: Rate) -> Result<(), Failure> {
    let shared = tx.shared;
    tx.query((&shared.sql.stop_starts, Args::none())).await?;
    let from = shared.now().as_micros().saturating_sub(length(rate.per));
    let recall = (shared.sql.recall_starts.as_str(), Args::none().with(name).with(from));
    tx.commit(vec![set(shared, name, limits), recall]).await.map(drop)
}

fn set<'a>(shared: &'a Shared, name: &'a str, limits: &QueueLimits) -> Call<'a> {
    let count = |keep: &Keep| keep.count.map(signed);
    let age = |keep: &Keep| keep.age.map(length);
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
        .with(count(&kept.cancelled));
    (&shared.sql.set_queue, args)
}

pub(crate) async fn pause_queue(shared: &Shared, name: &str, paused: bool) -> Result<(), Failure> {
    shared.query((&shared.sql.pause_queue, Args::none().with(name).with(paused))).await?;
    shared.set_backlog(true);
    shared.marks.changed(true);
    Ok(())
}
