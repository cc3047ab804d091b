//! Evaluates the rules against the store, with a few indexed listings, however many runs there are.

use std::collections::BTreeMap;
use std::time::Duration;

use surefoot::statistics::{Outcome, Span};
use surefoot::store::{RunFilter, WorkerInfo};
use surefoot::{QueueInfo, Run, RunStatus, Store, StoreError, Timestamp};

use super::alert::Finding;
use super::rules::{FailureRate, Rule, Rules};
use super::run_age::RunAges;
use super::run_rules::{self, OWN_QUEUE};
use crate::due;

/// Limit of runs read per status, oldest first. Further runs are read once older ones have ended.
const MAX_RUNS: usize = 500;

/// A failed run is found if it failed within this time. It bridges a period in which no server
/// runs. A run whose alert already fires is checked separately.
const FAILED_WITHIN: Duration = Duration::from_secs(3600);

/// Evaluates all rules.
pub(super) async fn evaluate(
    store: &dyn Store,
    rules: &Rules,
    run_ages: &mut RunAges,
) -> Result<Vec<Finding>, StoreError> {
    let now = store.now();
    let mut runs = Vec::new();
    if let Some(limit) = rules.long_run {
        runs.extend(oldest(store, RunStatus::Running, Some(before(now, limit))).await?);
    }
    let waiting = oldest(store, RunStatus::Waiting, None).await?;
    if rules.interruptions {
        let failed_since = Some(before(now, FAILED_WITHIN));
        // Oldest first: a run whose workers were lost repeatedly is older than runs that failed by
        // themselves.
        let filter = RunFilter {
            failed_since,
            oldest_first: true,
            limit: MAX_RUNS,
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
        found.extend(run_rules::findings(
            run,
            rules,
            now,
            run_ages.began_at(store, rules, run, now).await?,
        ));
    }
    run_ages.forget_unused();
    found.extend(queues(store, rules, &waiting, now).await?);
    if let Some(rate) = &rules.failures {
        found.extend(failures(store, rate, now).await?);
    }
    Ok(found)
}

fn before(now: Timestamp, length: Duration) -> Timestamp {
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
        limit: MAX_RUNS,
        ..RunFilter::default()
    };
    store.runs(filter).await
}

/// The rules about waiting runs. One alert covers a queue and the thousand runs that may wait in
/// it.
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
            _ => due::claimable_runs(store, &queue.name, before(now, shortest), MAX_RUNS).await?,
        };
        let waiting_here = waiting.iter().filter(|run| run.queue() == queue.name);
        let mut overdue_runs: Vec<OverdueRun<'_>> = queued
            .iter()
            .chain(waiting_here)
            .map(|run| (run_rules::overdue(run, now), run))
            .collect();
        overdue_runs.sort_by_key(|(overdue, _)| std::cmp::Reverse(*overdue));
        found.extend(
            rules
                .waiting
                .and_then(|limit| waits_long(&queue, &overdue_runs, limit)),
        );
        found.extend(
            rules
                .no_worker
                .and_then(|limit| no_worker(&queue, &overdue_runs, limit, &workers)),
        );
    }
    Ok(found)
}

/// A run, preceded by how long it has been claimable.
type OverdueRun<'a> = (Duration, &'a Run);

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

fn waits_long(
    queue: &QueueInfo,
    overdue_runs: &[OverdueRun<'_>],
    limit: Duration,
) -> Option<Finding> {
    let (overdue, run) = overdue_runs
        .first()
        .filter(|(overdue, _)| *overdue > limit)?;
    let paused = if queue.paused {
        "; the queue is paused"
    } else {
        ""
    };
    let text = format!(
        "{} has waited for {}{paused}",
        run_rules::name(run),
        run_rules::format_rounded(*overdue)
    );
    Some(about(
        queue,
        Rule::Waiting,
        format!("runs wait long in queue {}", queue.name),
        text,
    ))
}

fn no_worker(
    queue: &QueueInfo,
    overdue_runs: &[OverdueRun<'_>],
    limit: Duration,
    workers: &[WorkerInfo],
) -> Option<Finding> {
    if queue.paused {
        return None;
    }
    let mut overdue_runs = overdue_runs.iter().filter(|(overdue, _)| *overdue > limit);
    let (run, why) = overdue_runs
        .find_map(|(_, run)| run_rules::why_no_worker(run, workers).map(|why| (run, why)))?;
    let text = format!("{} waits, and {why}", run_rules::name(run));
    Some(about(
        queue,
        Rule::NoWorker,
        format!("no worker for queue {}", queue.name),
        text,
    ))
}

async fn failures(
    store: &dyn Store,
    rate: &FailureRate,
    now: Timestamp,
) -> Result<Option<Finding>, StoreError> {
    let mut ended = 0_u64;
    let mut failed = BTreeMap::<String, u64>::new();
    for tally in store.tallies(Span::Minute, before(now, rate.over)).await? {
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
            run_rules::format_rounded(rate.over),
            most.unwrap_or_default()
        ),
        run: None,
        queue: None,
    }))
}
