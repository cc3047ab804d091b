//! What the rules find in the store at one moment: a few listings by index, however many runs there have been.

use std::collections::BTreeMap;
use std::time::Duration;

use surefoot::statistics::{Outcome, Span};
use surefoot::store::{RunFilter, WorkerInfo};
use surefoot::{QueueInfo, Run, RunStatus, Store, StoreError, Timestamp};

use super::alert::Finding;
use super::goes::Goes;
use super::judge::{self, OWN_QUEUE};
use super::rules::{FailureRate, Rule, Rules};
use crate::due;

/// Runs of one status that are looked at, the oldest first. A run beyond that has its turn when an older one has ended.
const MOST: usize = 500;

/// How long ago a run may have failed to be looked at for the first time: while all servers are gone nobody looks. One for
/// which an alert fires is looked at by itself.
const FAILED_WITHIN: Duration = Duration::from_secs(3600);

/// What the rules find.
pub(super) async fn look(
    store: &dyn Store,
    rules: &Rules,
    goes: &mut Goes,
) -> Result<Vec<Finding>, StoreError> {
    let now = store.now();
    let mut runs = Vec::new();
    if let Some(limit) = rules.long_run {
        runs.extend(oldest(store, RunStatus::Running, Some(ago(now, limit))).await?);
    }
    let waiting = oldest(store, RunStatus::Waiting, None).await?;
    if rules.interruptions {
        let failed_since = Some(ago(now, FAILED_WITHIN));
        // The oldest first: runs whose workers were lost again and again are older than others that failed by themselves.
        let filter = RunFilter {
            failed_since,
            oldest_first: true,
            limit: MOST,
            ..RunFilter::default()
        };
        runs.extend(store.runs(filter).await?);
    }
    if rules.unreadable {
        for status in [RunStatus::Queued, RunStatus::Running] {
            let listed = oldest(store, status, None).await?;
            runs.extend(listed.into_iter().filter(|run| run.unreadable.is_some()));
        }
    }
    let mut found = Vec::new();
    for run in runs.iter().chain(&waiting) {
        found.extend(judge::run(
            run,
            rules,
            now,
            goes.began(store, rules, run, now).await?,
        ));
    }
    goes.forget_unasked();
    found.extend(queues(store, rules, &waiting, now).await?);
    if let Some(rate) = &rules.failures {
        found.extend(failures(store, rate, now).await?);
    }
    Ok(found)
}

fn ago(now: Timestamp, length: Duration) -> Timestamp {
    let micros = i64::try_from(length.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(now.as_micros().saturating_sub(micros))
}

/// The oldest runs of a status that were submitted before `until`.
async fn oldest(
    store: &dyn Store,
    status: RunStatus,
    until: Option<Timestamp>,
) -> Result<Vec<Run>, StoreError> {
    let filter = RunFilter {
        status: Some(status),
        until,
        oldest_first: true,
        limit: MOST,
        ..RunFilter::default()
    };
    store.runs(filter).await
}

/// The rules about what waits: one alert for a queue, not one for each of the thousand runs in it.
async fn queues(
    store: &dyn Store,
    rules: &Rules,
    waiting: &[Run],
    now: Timestamp,
) -> Result<Vec<Finding>, StoreError> {
    let Some(shortest) = rules.waiting.into_iter().chain(rules.no_worker).min() else {
        return Ok(Vec::new());
    };
    let workers = store.workers().await?;
    let mut found = Vec::new();
    for queue in store.queues().await? {
        if queue.name == OWN_QUEUE || queue.queued + queue.waiting == 0 {
            continue;
        }
        let queued = match queue.queued {
            0 => Vec::new(),
            _ => due::due(store, &queue.name, ago(now, shortest), MOST).await?,
        };
        let here = waiting.iter().filter(|run| run.queue() == queue.name);
        let mut late: Vec<Late<'_>> = queued
            .iter()
            .chain(here)
            .map(|run| (judge::overdue(run, now), run))
            .collect();
        late.sort_by_key(|(overdue, _)| std::cmp::Reverse(*overdue));
        found.extend(
            rules
                .waiting
                .and_then(|limit| waits_long(&queue, &late, limit)),
        );
        found.extend(
            rules
                .no_worker
                .and_then(|limit| nobody_works(&queue, &late, limit, &workers)),
        );
    }
    Ok(found)
}

/// A run, and for how long it could have gone on.
type Late<'a> = (Duration, &'a Run);

fn about(queue: &QueueInfo, rule: Rule, title: String, text: String) -> Finding {
    Finding {
        rule,
        subject: queue.name.clone(),
        title,
        text,
        run: None,
        queue: Some(queue.name.clone()),
    }
}

fn waits_long(queue: &QueueInfo, late: &[Late<'_>], limit: Duration) -> Option<Finding> {
    let (overdue, run) = late.first().filter(|(overdue, _)| *overdue > limit)?;
    let paused = if queue.paused {
        "; the queue is paused"
    } else {
        ""
    };
    let text = format!(
        "{} has waited for {}{paused}",
        judge::name(run),
        judge::people(*overdue)
    );
    Some(about(
        queue,
        Rule::Waiting,
        format!("runs wait long in queue {}", queue.name),
        text,
    ))
}

fn nobody_works(
    queue: &QueueInfo,
    late: &[Late<'_>],
    limit: Duration,
    workers: &[WorkerInfo],
) -> Option<Finding> {
    if queue.paused {
        return None;
    }
    let mut late = late.iter().filter(|(overdue, _)| *overdue > limit);
    let (run, why) = late.find_map(|(_, run)| judge::nobody(run, workers).map(|why| (run, why)))?;
    let text = format!("{} waits, and {why}", judge::name(run));
    Some(about(
        queue,
        Rule::NoWorker,
        format!("nobody works on queue {}", queue.name),
        text,
    ))
}

async fn failures(
    store: &dyn Store,
    rate: &FailureRate,
    now: Timestamp,
) -> Result<Option<Finding>, StoreError> {
    let (mut ended, mut failed) = (0_u64, BTreeMap::<String, u64>::new());
    for tally in store.tallies(Span::Minute, ago(now, rate.over)).await? {
        if tally.queue == OWN_QUEUE
            || !matches!(tally.outcome, Outcome::Completed | Outcome::Failed)
        {
            continue;
        }
        ended += tally.count;
        if tally.outcome == Outcome::Failed {
            *failed.entry(tally.queue).or_default() += tally.count;
        }
    }
    let count: u64 = failed.values().sum();
    #[expect(
        clippy::cast_precision_loss,
        reason = "a share need not be exact beyond 2^52 runs"
    )]
    let share = if ended == 0 {
        0.0
    } else {
        count as f64 * 100.0 / ended as f64
    };
    if ended < rate.at_least || share <= rate.percent {
        return Ok(None);
    }
    let most = failed
        .into_iter()
        .max_by_key(|(_, count)| *count)
        .map(|(queue, count)| format!("; {count} in queue {queue}"));
    Ok(Some(Finding {
        rule: Rule::Failures,
        subject: "all".to_owned(),
        title: "many runs fail".to_owned(),
        text: format!(
            "{count} of the {ended} runs that ended in the last {} failed: {share:.0} %{}",
            judge::people(rate.over),
            most.unwrap_or_default()
        ),
        run: None,
        queue: None,
    }))
}
