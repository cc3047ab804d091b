//! Runs that have waited long, and their reason: no worker, a paused queue, its limits, a person.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use surefoot::store::{RunFilter, WorkerInfo};
use surefoot::{QueueInfo, Run, RunStatus, Store, StoreError, Timestamp};

use crate::Finding;
use crate::text::{count, some, time};

const SUBJECT: &str = "waiting";

/// A run waits long if it could have started this long ago.
pub const WAITING_LONG: Duration = Duration::from_secs(10 * 60);

/// Limit of examined runs of each status, oldest first.
const LOOKED_AT: usize = 200;

/// Checks the oldest queued and waiting runs.
///
/// # Errors
/// When the store cannot be read.
pub async fn waiting(store: &dyn Store) -> Result<Vec<Finding>, StoreError> {
    let now = store.now();
    let queues = store.queues().await?;
    let mut findings = Vec::new();
    let held_back = [
        oldest(store, RunStatus::Queued).await?,
        oldest(store, RunStatus::Waiting).await?,
    ]
    .concat();
    findings.extend(due(&held_back, &queues, now));
    findings.extend(missing_requirement(&held_back, &store.workers().await?));
    findings.extend(asking(&held_back, now));
    findings.extend(
        queues
            .iter()
            .filter(|queue| queue.paused)
            .filter_map(paused),
    );
    if findings.is_empty() {
        let found = format!("no run has waited for longer than {}", time(WAITING_LONG));
        findings.push(Finding::ok(SUBJECT, found, "what is submitted starts"));
    }
    Ok(findings)
}

async fn oldest(store: &dyn Store, status: RunStatus) -> Result<Vec<Run>, StoreError> {
    store
        .runs(RunFilter {
            status: Some(status),
            limit: LOOKED_AT,
            oldest_first: true,
            ..RunFilter::default()
        })
        .await
}

/// Time since the run could have been claimed.
fn overdue(run: &Run, now: Timestamp) -> Option<Duration> {
    run.head.available_at.map(|at| now.since(at))
}

/// Runs that could have been claimed long ago, by queue. Paused queues are reported separately.
fn due(runs: &[Run], queues: &[QueueInfo], now: Timestamp) -> Vec<Finding> {
    let mut late: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
    for run in runs {
        let waited = overdue(run, now).unwrap_or_default();
        if waited > WAITING_LONG {
            late.entry(run.queue()).or_default().push(waited);
        }
    }
    let open = |name: &str| {
        !queues
            .iter()
            .any(|queue| queue.name == name && queue.paused)
    };
    late.into_iter()
        .filter(|(queue, _)| open(queue))
        .map(|(queue, waits)| late_queue(queue, &waits, queues))
        .collect()
}

fn late_queue(name: &str, waits: &[Duration], queues: &[QueueInfo]) -> Finding {
    let longest = waits.iter().max().copied().unwrap_or_default();
    let full = queues
        .iter()
        .find(|queue| queue.name == name)
        .and_then(|queue| {
            let limit = queue.limits.concurrency?;
            (queue.running >= u64::from(limit))
                .then(|| format!("; its limit of {limit} at once is reached"))
        });
    let found = format!(
        "{} of queue {name} could have gone on for up to {}{}",
        count(waits.len() as u64, "run"),
        time(longest),
        full.as_deref().unwrap_or_default()
    );
    Finding::warn(SUBJECT, found, "nothing is lost, and no crash makes it worse; they wait for a slot or for a worker")
        .advice(if full.is_some() {
            "list the running ones with `surefoot runs --status running`, or raise the limit with `surefoot queue set`"
        } else {
            "start a worker, or find out why the live ones do not claim them: unknown actions, a rate limit, a full worker"
        })
}

/// Runs that no live worker may claim because it lacks a requirement. They are reported even if
/// they have not waited long.
fn missing_requirement(runs: &[Run], workers: &[WorkerInfo]) -> Option<Finding> {
    let able = |run: &&Run| {
        workers
            .iter()
            .any(|worker| run.requires.is_subset(&worker.resources))
    };
    let stuck = runs
        .iter()
        .filter(|run| !run.requires.is_empty())
        .filter(|run| !able(run))
        .collect::<Vec<_>>();
    let resources: BTreeSet<&String> = stuck.iter().flat_map(|run| &run.requires).collect();
    if stuck.is_empty() || workers.is_empty() {
        return None;
    }
    let resources = resources.into_iter().cloned().collect::<Vec<_>>();
    let found = format!(
        "{} for a worker that has what {} requires, and none lives: {}",
        if stuck.len() == 1 {
            "1 run waits".to_owned()
        } else {
            format!("{} runs wait", stuck.len())
        },
        if stuck.len() == 1 { "it" } else { "each" },
        some(&resources)
    );
    let means = "nothing is lost; they move when such a worker starts";
    Some(Finding::warn(SUBJECT, found, means).advice(
        "start a worker on the host that has it; `surefoot show RUN` says what a run waits for",
    ))
}

/// Runs that wait for a person.
fn asking(runs: &[Run], now: Timestamp) -> Option<Finding> {
    let asking = runs
        .iter()
        .filter(|run| run.asks().is_some())
        .collect::<Vec<_>>();
    let longest = asking.iter().map(|run| now.since(run.created_at)).max()?;
    let names = asking
        .iter()
        .map(|run| run.key.clone().unwrap_or_else(|| run.id.to_string()))
        .collect::<Vec<_>>();
    let found = format!(
        "{} for a person's answer, submitted up to {} ago: {}",
        if asking.len() == 1 {
            "1 run waits".to_owned()
        } else {
            format!("{} runs wait", asking.len())
        },
        time(longest),
        some(&names)
    );
    let means = "they wait through any crash, for as long as it takes";
    Some(
        Finding::note(SUBJECT, found, means)
            .advice("`surefoot answer RUN STEP ...`; `surefoot show RUN` says which step"),
    )
}

fn paused(queue: &QueueInfo) -> Option<Finding> {
    let held = queue.queued + queue.waiting;
    (held > 0).then(|| {
        let found = format!(
            "queue {} is paused, with {} held back",
            queue.name,
            count(held, "run")
        );
        Finding::note(
            SUBJECT,
            found,
            "nothing in it starts until it is resumed; a crash does not change that",
        )
        .advice(format!("`surefoot queue resume {}`", queue.name))
    })
}
