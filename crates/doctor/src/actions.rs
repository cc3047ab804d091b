//! Runs that wait for an action that nobody knows: a worker claims only what it can carry through.

use std::collections::{BTreeMap, BTreeSet};

use surefoot::store::{RunFilter, WorkerInfo};
use surefoot::{Run, RunStatus, Store, StoreError};

use crate::Finding;
use crate::text::{count, some};

const SUBJECT: &str = "actions";

/// Runs of each status that are looked at, the oldest first: those that nobody takes are among them.
const LOOKED_AT: usize = 500;

/// Looks for unfinished runs that no live worker takes for want of an action. While none lives, `known` is what a worker of
/// this program would know.
///
/// # Errors
/// When the store cannot be read.
pub async fn unknown_actions(
    store: &dyn Store,
    known: &BTreeSet<String>,
) -> Result<Vec<Finding>, StoreError> {
    let workers = store.workers().await?;
    let mut runs = Vec::new();
    for status in [RunStatus::Queued, RunStatus::Waiting] {
        let filter = RunFilter {
            status: Some(status),
            limit: LOOKED_AT,
            oldest_first: true,
            ..RunFilter::default()
        };
        runs.extend(store.runs(filter).await?);
    }
    Ok(judge(&runs, &workers, known))
}

fn judge(runs: &[Run], workers: &[WorkerInfo], known: &BTreeSet<String>) -> Vec<Finding> {
    let mut stuck: BTreeMap<(&str, Vec<String>), u64> = BTreeMap::new();
    for run in runs {
        if let Some(missing) = missing(run, workers, known) {
            *stuck.entry((run.plan.name(), missing)).or_default() += 1;
        }
    }
    if stuck.is_empty() {
        let who = if workers.is_empty() {
            "this program"
        } else {
            "a live worker"
        };
        let found = format!("{who} knows every action that the waiting runs need");
        return vec![Finding::ok(
            SUBJECT,
            found,
            "no run waits for a worker that does not come",
        )];
    }
    let who = if workers.is_empty() {
        "this program does not know"
    } else {
        "no live worker knows"
    };
    stuck
        .into_iter()
        .map(|((workflow, missing), runs)| finding(workflow, &missing, runs, who))
        .collect()
}

/// The actions for want of which nobody takes the run; `None` when somebody does. Of several workers that each lack
/// something, what the best of them lacks.
fn missing(run: &Run, workers: &[WorkerInfo], known: &BTreeSet<String>) -> Option<Vec<String>> {
    let lacks = |actions: &BTreeSet<String>| {
        run.plan
            .actions()
            .into_iter()
            .filter(|&action| !actions.contains(action))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let best = match workers {
        [] => lacks(known),
        workers => workers
            .iter()
            .map(|worker| lacks(&worker.actions))
            .min_by_key(Vec::len)?,
    };
    (!best.is_empty()).then_some(best)
}

fn finding(workflow: &str, missing: &[String], runs: u64, who: &str) -> Finding {
    let missing = missing
        .iter()
        .map(|action| format!("`{action}`"))
        .collect::<Vec<_>>();
    Finding::warn(
        SUBJECT,
        format!("{} of {workflow} held back by {}, which {who}", count(runs, "run"), some(&missing)),
        "they are safe and wait, through any crash, until a worker comes that knows all their actions",
    )
    .advice("start a worker of a version that knows them, or cancel the runs")
}
