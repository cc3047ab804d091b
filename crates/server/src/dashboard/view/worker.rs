//! A worker with the runs that it holds.

use std::collections::HashMap;

use serde::Serialize;
use surefoot::store::WorkerInfo;
use surefoot::{Run, RunId, StepStatus, Timestamp};

use super::{RunRow, name_of, short_id};
use crate::dashboard::page_context::PageContext;
use crate::dashboard::text::{Elapsed, Moment};

#[derive(Debug, Serialize)]
pub(in crate::dashboard) struct WorkerView {
    id: String,
    short: String,
    name: String,
    version: String,
    started: Moment,
    heartbeat: Moment,
    expires: Moment,
    running: u64,
    /// Brief form for the overview.
    holds: Vec<HeldRun>,
    /// Rows for the worker's own page.
    runs: Vec<RunRow>,
    /// Number of further runs held.
    more: u64,
    actions: Vec<String>,
    /// The workflows that it permits; `None` when it permits all.
    workflows: Option<Vec<String>>,
}

#[derive(Debug, Serialize)]
struct HeldRun {
    id: String,
    name: String,
    step: String,
    held: Option<Elapsed>,
}

impl WorkerView {
    /// The view of a worker with at most `max` of its runs, and the time since which each is held.
    pub(in crate::dashboard) fn new(
        context: &PageContext,
        worker: &WorkerInfo,
        runs: &[Run],
        since: &HashMap<RunId, Timestamp>,
        max: usize,
    ) -> Self {
        let held = runs
            .iter()
            .filter(|run| run.head.worker == Some(worker.id))
            .take(max)
            .collect::<Vec<_>>();
        Self {
            id: worker.id.to_string(),
            short: short_id(&worker.id.to_string()).to_owned(),
            name: worker.name.clone(),
            version: worker.version.clone(),
            started: context.moment(worker.started_at),
            heartbeat: context.moment(worker.heartbeat_at),
            expires: context.moment(worker.expires_at),
            running: worker.running,
            more: worker.running.saturating_sub(held.len() as u64),
            holds: held
                .iter()
                .map(|run| HeldRun::new(context, run, since.get(&run.id).copied()))
                .collect(),
            runs: held
                .iter()
                .map(|run| RunRow::held(context, run, since.get(&run.id).copied()))
                .collect(),
            actions: worker.actions.iter().cloned().collect(),
            workflows: worker.workflows.entries().map(<[String]>::to_vec),
        }
    }
}

impl HeldRun {
    fn new(context: &PageContext, run: &Run, since: Option<Timestamp>) -> Self {
        let at = run
            .steps
            .iter()
            .position(|step| step.status == StepStatus::Running);
        Self {
            id: run.id.to_string(),
            name: name_of(run),
            step: at
                .map(|at| run.plan.steps()[at].title.clone())
                .unwrap_or_default(),
            held: Elapsed::between(since, None, context.now),
        }
    }
}
