//! Runs that wait for an action unknown to every worker: a worker claims only runs whose actions it
//! has.

use std::collections::{BTreeMap, BTreeSet};

use surefoot::store::{RunFilter, WorkerInfo};
use surefoot::{Run, RunStatus, Store, StoreError};

use crate::Finding;
use crate::text::{count, some};

const SUBJECT: &str = "actions";

/// Limit of examined runs of each status, oldest first, so that runs that are never claimed are
/// among them.
const LOOKED_AT: usize = 500;

/// Checks for unfinished runs that no live worker claims because it lacks an action. Without a live
/// worker, `known` is the set of actions that a worker of this program would have.
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
    Ok(report(&runs, &workers, known))
}

fn report(runs: &[Run], workers: &[WorkerInfo], known: &BTreeSet<String>) -> Vec<Finding> {
    let mut stuck: BTreeMap<(&str, Missing), u64> = BTreeMap::new();
    for run in runs {
        if let Some(missing) = missing(run, workers, known) {
            *stuck.entry((run.plan.name(), missing)).or_default() += 1;
        }
    }
    if stuck.is_empty() {
        let claimant = if workers.is_empty() {
            "this program"
        } else {
            "a live worker"
        };
        let found = format!("{claimant} knows and permits every action that the waiting runs need");
        return vec![Finding::ok(
            SUBJECT,
            found,
            "no run waits for a worker that does not come",
        )];
    }
    let unaware = if workers.is_empty() {
        "this program does not know or permit"
    } else {
        "no live worker knows and permits"
    };
    stuck
        .into_iter()
        .map(|((workflow, missing), runs)| finding(workflow, &missing, runs, unaware))
        .collect()
}

/// Reason for which no worker claims a run.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Missing {
    /// No live worker permits its workflow.
    Permission,
    /// Actions that are not known, or not permitted.
    Actions(Vec<String>),
}

/// Reason that keeps every worker from claiming the run; `None` when some worker can. If all lack
/// actions, those that the best-equipped worker lacks.
fn missing(run: &Run, workers: &[WorkerInfo], known: &BTreeSet<String>) -> Option<Missing> {
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
        workers => {
            let permitting = workers
                .iter()
                .filter(|worker| worker.workflows.permits(run.plan.name()));
            let best = permitting
                .map(|worker| lacks(&worker.actions))
                .min_by_key(Vec::len);
            match best {
                Some(best) => best,
                None => return Some(Missing::Permission),
            }
        }
    };
    (!best.is_empty()).then_some(Missing::Actions(best))
}

fn finding(workflow: &str, missing: &Missing, runs: u64, unaware: &str) -> Finding {
    let runs = count(runs, "run");
    match missing {
        Missing::Permission => Finding::warn(
            SUBJECT,
            format!("{runs} of {workflow} held back: no live worker permits the workflow"),
            "they are safe, and wait through any crash for a worker that permits it",
        )
        .advice("start a worker whose `workflows` under [worker] has it, or cancel the runs"),
        Missing::Actions(actions) => {
            let actions = actions
                .iter()
                .map(|action| format!("`{action}`"))
                .collect::<Vec<_>>();
            Finding::warn(
                SUBJECT,
                format!("{runs} of {workflow} held back by {}, which {unaware}", some(&actions)),
                "they are safe, and wait through any crash for a worker that knows and permits all their actions",
            )
            .advice(
                "start a worker of a version that knows them and whose `actions` under [worker] has them, or cancel the runs",
            )
        }
    }
}
