//! A worker with what it holds.

use std::collections::HashMap;

use serde::Serialize;
use surefoot::store::WorkerInfo;
use surefoot::{Run, RunId, StepStatus, Timestamp};

use super::{RunRow, name_of, short_id};
use crate::dashboard::text::{Moment, Took};
use crate::dashboard::visitor::Visitor;

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
    /// In a few words, for the overview.
    holds: Vec<Held>,
    /// As rows, for its own page.
    runs: Vec<RunRow>,
    /// Held runs beyond those.
    more: u64,
    actions: Vec<String>,
    /// The workflows that it permits; `None` when it permits all.
    workflows: Option<Vec<String>>,
}

#[derive(Debug, Serialize)]
struct Held {
    id: String,
    name: String,
    step: String,
    held: Option<Took>,
}

impl WorkerView {
    /// With those of `runs` that it holds, `most` of them at most, and since when it does.
    pub(in crate::dashboard) fn new(
        visitor: &Visitor,
        worker: &WorkerInfo,
        runs: &[Run],
        since: &HashMap<RunId, Timestamp>,
        most: usize,
    ) -> Self {
        let held = runs
            .iter()
            .filter(|run| run.head.worker == Some(worker.id))
            .take(most)
            .collect::<Vec<_>>();
        Self {
            id: worker.id.to_string(),
            short: short_id(&worker.id.to_string()).to_owned(),
            name: worker.name.clone(),
            version: worker.version.clone(),
            started: visitor.moment(worker.started_at),
            heartbeat: visitor.moment(worker.heartbeat_at),
            expires: visitor.moment(worker.expires_at),
            running: worker.running,
            more: worker.running.saturating_sub(held.len() as u64),
            holds: held
                .iter()
                .map(|run| Held::new(visitor, run, since.get(&run.id).copied()))
                .collect(),
            runs: held
                .iter()
                .map(|run| RunRow::held(visitor, run, since.get(&run.id).copied()))
                .collect(),
            actions: worker.actions.iter().cloned().collect(),
            workflows: worker.workflows.entries().map(<[String]>::to_vec),
        }
    }
}

impl Held {
    fn new(visitor: &Visitor, run: &Run, since: Option<Timestamp>) -> Self {
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
            held: Took::between(since, None, visitor.now),
        }
    }
}
