//! Leases: the live workers, the age of their heartbeats, and runs of dead workers that are not
//! reclaimed.

use std::collections::BTreeSet;
use std::time::Duration;

use surefoot::store::{RunFilter, WorkerInfo};
use surefoot::{Run, RunId, RunStatus, Store, StoreError, Timestamp, WorkerId};

use crate::Finding;
use crate::text::{are, count, some, time};

/// Limit of examined runs; beyond it, numbers read "at least".
const MANY: usize = 1000;

/// Workers sweep about every 300 ms: runs still orphaned after this were not swept.
const SWEEP: Duration = Duration::from_millis(2500);

/// Checks the live workers, by the store's clock.
///
/// # Errors
/// When the store cannot be read.
pub async fn workers(store: &dyn Store) -> Result<Vec<Finding>, StoreError> {
    let workers = store.workers().await?;
    let now = store.now();
    if workers.is_empty() {
        return Ok(vec![no_workers(unfinished(store).await?)]);
    }
    let mut findings = workers
        .iter()
        .map(|worker| alive(worker, now))
        .collect::<Vec<_>>();
    findings.extend(versions(&workers));
    Ok(findings)
}

async fn unfinished(store: &dyn Store) -> Result<u64, StoreError> {
    let mut sum = 0;
    for status in [RunStatus::Queued, RunStatus::Waiting, RunStatus::Running] {
        sum += store.count_runs(status, MANY as u64).await?;
    }
    Ok(sum)
}

fn no_workers(unfinished: u64) -> Finding {
    const SUBJECT: &str = "workers";
    match unfinished {
        0 => Finding::ok(
            SUBJECT,
            "none is alive, and no run is unfinished",
            "nothing waits",
        ),
        runs => Finding::warn(
            SUBJECT,
            format!("none is alive, and {} unfinished", are(runs, "run")),
            "nothing is lost: they keep their state, and move within a second of a worker's start",
        )
        .advice("start one with `surefoot worker`"),
    }
}

/// A worker renews its lease three times within its duration.
fn alive(worker: &WorkerInfo, now: Timestamp) -> Finding {
    let lease = worker.expires_at.since(worker.heartbeat_at);
    let silence = now.since(worker.heartbeat_at);
    let found = format!(
        "{} is alive: last heartbeat {} ago, lease {}, {}",
        worker.name,
        time(silence),
        time(lease),
        count(worker.running, "run")
    );
    if silence > lease * 2 / 3 {
        let means = "its heartbeats are late: when the lease expires, other workers take over its runs and its writes are refused";
        return Finding::warn("worker", found, means).advice(
            "see whether it is frozen, starved of processor time, or cut off from the store",
        );
    }
    let means = format!(
        "if it dies, other workers notice within {} and take over its runs",
        time(lease)
    );
    Finding::ok("worker", found, means)
}

/// Several versions live together during a deploy, but should not for long.
fn versions(workers: &[WorkerInfo]) -> Option<Finding> {
    let versions = workers
        .iter()
        .map(|worker| worker.version.clone())
        .collect::<BTreeSet<_>>();
    (versions.len() > 1).then(|| {
        let list = versions.into_iter().collect::<Vec<_>>();
        Finding::note(
            "versions",
            format!("workers of {} versions are alive: {}", list.len(), some(&list)),
            "a run is claimed only by a worker that knows all its actions; a crash does not change that",
        )
        .advice("finish the deploy")
    })
}

/// Looks for runs of dead workers that were not reclaimed. If a worker is alive, it is given the
/// time to reclaim them.
///
/// # Errors
/// When the store cannot be read.
pub async fn orphans(store: &dyn Store) -> Result<Finding, StoreError> {
    const SUBJECT: &str = "sweep";
    let first = orphaned(store).await?;
    if first.is_empty() {
        return Ok(Finding::ok(
            SUBJECT,
            "no run is held by a dead worker",
            "nothing is orphaned",
        ));
    }
    if store.workers().await?.is_empty() {
        return Ok(Finding::note(
            SUBJECT,
            format!("{} held by a worker that is gone: {}", runs_are(first.len()), ids(&first)),
            "nothing is lost: the next worker marks the running step as interrupted, and the run carries on",
        )
        .advice("start one with `surefoot worker`"));
    }
    tokio::time::sleep(SWEEP).await;
    let seen = first
        .iter()
        .map(|run| (run.id, run.head.epoch))
        .collect::<BTreeSet<(RunId, u64)>>();
    let mut left = orphaned(store).await?;
    left.retain(|run| seen.contains(&(run.id, run.head.epoch)));
    if left.is_empty() {
        let found = format!(
            "{} just now taken from a dead worker",
            runs_are(first.len())
        );
        return Ok(Finding::ok(
            SUBJECT,
            found,
            "recovery works here: this was one",
        ));
    }
    Ok(Finding::broken(
        SUBJECT,
        format!(
            "{} held by a dead worker although others live: {}",
            runs_are(left.len()),
            ids(&left)
        ),
        "no worker reclaims them: these runs stand still until one does (promise 4 does not hold)",
    )
    .advice("see the logs of the live workers for why they cannot reclaim runs; restart one"))
}

/// Running runs whose worker's lease has expired.
async fn orphaned(store: &dyn Store) -> Result<Vec<Run>, StoreError> {
    let filter = RunFilter {
        status: Some(RunStatus::Running),
        limit: MANY,
        oldest_first: true,
        ..RunFilter::default()
    };
    // In this order, so that a worker that registers in between is in the second result.
    let runs = store.runs(filter).await?;
    let alive = store
        .workers()
        .await?
        .into_iter()
        .map(|worker| worker.id)
        .collect::<BTreeSet<WorkerId>>();
    Ok(runs
        .into_iter()
        .filter(|run| {
            run.head
                .worker
                .is_some_and(|worker| !alive.contains(&worker))
        })
        .collect())
}

fn runs_are(number: usize) -> String {
    let least = if number == MANY { "at least " } else { "" };
    format!("{least}{}", are(number as u64, "run"))
}

fn ids(runs: &[Run]) -> String {
    some(
        &runs
            .iter()
            .map(|run| run.key.clone().unwrap_or_else(|| run.id.to_string()))
            .collect::<Vec<_>>(),
    )
}
