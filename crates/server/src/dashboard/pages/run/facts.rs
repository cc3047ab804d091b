//! Facts and status of a run, and the actions available.

use std::collections::BTreeSet;

use serde::Serialize;
use surefoot::state::{CancelMode, Edit};
use surefoot::{Run, RunStatus};

use super::Subject;
use crate::dashboard::size_budget::SizeBudget;
use crate::dashboard::text::{Elapsed, Moment, first_line, url};
use crate::dashboard::view::{Tone, name_of, tone};
use crate::state::App;

#[derive(Serialize)]
pub(super) struct RunView {
    id: String,
    name: String,
    workflow: String,
    url_workflow: String,
    workflow_title: String,
    queue: String,
    key: Option<String>,
    unique: Option<String>,
    #[serde(flatten)]
    tone: Tone,
    progress: u8,
    steps: usize,
    passed: String,
    step: Option<String>,
    say: Option<String>,
    failure: Option<String>,
    created: Moment,
    started: Option<Moment>,
    ended: Option<Moment>,
    available: Option<Moment>,
    took: Option<Elapsed>,
    worker: Option<String>,
    priority: Option<i32>,
    concurrency_key: Option<String>,
    /// Resources that a worker must offer to take it.
    requires: Option<String>,
}

/// The actions available to a person.
#[derive(Serialize)]
pub(super) struct Actions {
    retry: bool,
    cancel: bool,
    undo: bool,
    duplicate: bool,
}

/// Size limit of a failure's reason here; it is also shown with its step.
const MAX_FAILURE_SIZE: usize = 4000;

impl Subject<'_> {
    pub(super) fn facts(&self, budget: &mut SizeBudget) -> RunView {
        let run = self.run;
        let context = self.context;
        let head = &run.head;
        let at = (!head.status.is_ended()).then(|| run.next_step()).flatten();
        let done = run
            .steps
            .iter()
            .filter(|step| step.status.is_passed())
            .count();
        let failure = match head.status {
            RunStatus::Failed => head.error.as_deref(),
            _ => None,
        };
        RunView {
            id: run.id.to_string(),
            name: name_of(run),
            workflow: run.plan.name().to_owned(),
            url_workflow: url(run.plan.name()),
            workflow_title: run.plan.title().to_owned(),
            queue: run.queue().to_owned(),
            key: run.key.clone(),
            unique: run
                .unique
                .as_deref()
                .filter(|unique| Some(*unique) != run.key.as_deref())
                .map(str::to_owned),
            tone: tone(context, run),
            progress: head.progress,
            steps: run.steps.len(),
            passed: context.t(
                "run.passed",
                &[
                    ("done", &done.to_string()),
                    ("all", &run.steps.len().to_string()),
                ],
            ),
            step: at.map(|at| run.plan.steps()[at].title.clone()),
            say: at
                .and_then(|at| run.steps[at].message.as_deref())
                .map(|text| first_line(text, 160)),
            failure: failure.map(|text| {
                budget.fit_in(MAX_FAILURE_SIZE, text.to_owned(), super::MAX_VALUE_LENGTH)
            }),
            created: context.moment(run.created_at),
            started: head.started_at.map(|at| context.moment(at)),
            ended: head.completed_at.map(|at| context.moment(at)),
            available: head
                .available_at
                .filter(|at| *at > context.now)
                .map(|at| context.moment(at)),
            took: Elapsed::between(head.started_at, head.completed_at, context.now),
            worker: head.worker.map(|worker| self.worker(&worker.to_string())),
            priority: Some(run.priority).filter(|priority| *priority != 0),
            concurrency_key: run.concurrency_key.as_deref().map(str::to_owned),
            requires: (!run.requires.is_empty()).then(|| list(&run.requires)),
        }
    }

    pub(super) fn actions(&self, app: &App) -> Actions {
        let run = self.run;
        let asked = run.head.cancel.is_some() && !run.head.status.is_ended();
        // Cancelling such a run abandons the undo.
        let undo_failed =
            run.head.status == RunStatus::Failed && run.head.cancel == Some(CancelMode::Undo);
        Actions {
            retry: run.head.status == RunStatus::Failed,
            cancel: !run.head.status.is_ended() && !asked || undo_failed,
            undo: may_undo(run),
            duplicate: app.workflows().get(run.plan.name()).is_some(),
        }
    }
}

/// Names of resources in one line.
fn list(resources: &BTreeSet<String>) -> String {
    let names = resources.iter().map(String::as_str).collect::<Vec<_>>();
    names.join(", ")
}

fn may_undo(run: &Run) -> bool {
    let asked = run.head.cancel == Some(CancelMode::Undo);
    run.head.status != RunStatus::Completed && !asked && Edit::next_undo(run).is_some()
}
