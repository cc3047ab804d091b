//! Views of a run and its history. The store holds no secrets in clear text, so nothing is masked
//! here.

use serde::Serialize;
use serde_json::Value;
use surefoot::state::Wait;
use surefoot::{Event, Lacking, Run, StepPlan, StepState, StepStatus, Waiting};
use utoipa::ToSchema;

use super::wire::{Id, Status, Time, Worker};

/// A run, without its steps.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunSummary {
    /// Permanent identifier.
    id: Id,
    workflow: String,
    /// Title of the workflow.
    title: String,
    /// The submitter's idempotency key.
    key: Option<String>,
    /// Value that no other run of the workflow may have at the same time.
    unique: Option<String>,
    queue: String,
    priority: i32,
    concurrency_key: Option<String>,
    status: Status,
    /// Percent.
    #[schema(maximum = 100)]
    progress: u8,
    /// Why the run failed or was cancelled.
    error: Option<String>,
    created_at: Time,
    /// When a worker first claimed it.
    started_at: Option<Time>,
    completed_at: Option<Time>,
    /// Earliest time at which a worker may claim a waiting run.
    available_at: Option<Time>,
    /// Pending cancel: `cancel` or `undo`.
    cancel_requested: Option<String>,
    /// The worker that holds the run.
    worker: Option<Worker>,
    /// The current step.
    current_step: Option<String>,
    /// Resources that a worker must offer to claim the run: a local forge, a key.
    requires: Vec<String>,
    /// Why this server cannot read the run, if that is so. Unreadable fields are empty, and the
    /// only possible action is to cancel the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<String>,
}

/// A run with its steps.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunDetail {
    #[serde(flatten)]
    summary: RunSummary,
    /// Parameters with defaults; secrets are masked.
    #[schema(value_type = Object)]
    parameters: Value,
    /// Output of a completed run.
    output: Value,
    /// Description of what the run waits for.
    waiting: Option<String>,
    /// Live workers that could claim the run if they had the required resources, and the resources
    /// that each lacks. Empty unless the run waits for that.
    lacking: Vec<LackingView>,
    steps: Vec<StepView>,
}

/// A live worker that lacks what a run requires.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LackingView {
    /// The worker's name.
    worker: String,
    /// Resources that the run requires and the worker does not offer.
    resources: Vec<String>,
}

/// A step of a run.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StepView {
    id: String,
    title: String,
    action: String,
    /// `pending`, `running`, `waiting`, `completed`, `failed` or `skipped`.
    status: &'static str,
    /// Percent, as reported by its handler.
    #[schema(maximum = 100)]
    progress: u8,
    /// Last message of its handler.
    message: Option<String>,
    /// Number of the current or last attempt; 0 before the first.
    attempt: u32,
    /// Number of times its worker was lost while the step ran.
    interruptions: u32,
    /// Number of times its worker crashed while the step ran alone; compared with the limit of
    /// interruptions.
    crashes: u32,
    /// Maximum number of steps in the worker while this one runs, after crashes; 1 means alone.
    isolation: Option<u32>,
    started_at: Option<Time>,
    completed_at: Option<Time>,
    error: Option<String>,
    output: Value,
    /// Reason why the step waits: `retry`, `timer`, `worker`, `interrupted` or `approval`.
    waits_for: Option<&'static str>,
    /// The possible answers of a person.
    answers: Vec<&'static str>,
    /// State of its undo: `running`, `interrupted`, `done`, `kept` or `failed`.
    undo: Option<&'static str>,
    /// Result of the undo: what was removed, or what was kept and why.
    undo_note: Option<String>,
}

/// An entry of a run's history.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventView {
    /// Position in the history, starting at 1.
    seq: u64,
    at: Time,
    /// Kind of event, such as `step.completed` or `run.failed`.
    kind: String,
    /// The step concerned.
    step: Option<String>,
    /// Further details.
    data: Value,
}

impl RunSummary {
    pub(crate) fn of(run: &Run) -> Self {
        let head = &run.head;
        let active = !head.status.is_ended();
        let current_step = match run.next_step() {
            Some(step) if active => Some(run.plan.steps()[step].id.clone()),
            _ => None,
        };
        let cancel = if active { head.cancel } else { None };
        Self {
            id: Id(run.id),
            workflow: run.plan.name().to_owned(),
            title: run.plan.title().to_owned(),
            key: run.key.clone(),
            unique: run.unique.clone(),
            queue: run.queue().to_owned(),
            priority: run.priority,
            concurrency_key: run.concurrency_key.clone(),
            status: head.status.into(),
            progress: head.progress,
            error: head.error.clone(),
            created_at: Time(run.created_at),
            started_at: head.started_at.map(Time),
            completed_at: head.completed_at.map(Time),
            available_at: head.available_at.map(Time),
            cancel_requested: cancel.map(|mode| mode.as_str().to_owned()),
            worker: head.worker.map(Worker),
            current_step,
            requires: run.requires.iter().cloned().collect(),
            unreadable: run.unreadable.clone(),
        }
    }
}

impl RunDetail {
    pub(crate) fn of(run: &Run, waiting: Option<&Waiting>) -> Self {
        let steps = run.plan.steps().iter().zip(&run.steps);
        Self {
            summary: RunSummary::of(run),
            parameters: run.shown_parameters(),
            output: run.output(),
            waiting: waiting.map(ToString::to_string),
            lacking: waiting
                .map(Waiting::lacking)
                .unwrap_or_default()
                .iter()
                .map(LackingView::from)
                .collect(),
            steps: steps
                .enumerate()
                .map(|(position, (plan, step))| {
                    let asks = run
                        .asks()
                        .filter(|(asks, _)| *asks == position)
                        .map(|(_, wait)| wait);
                    StepView::of(plan, step, asks)
                })
                .collect(),
        }
    }
}

impl From<&Lacking> for LackingView {
    fn from(lacking: &Lacking) -> Self {
        Self {
            worker: lacking.worker.clone(),
            resources: lacking.resources.clone(),
        }
    }
}

impl StepView {
    fn of(plan: &StepPlan, step: &StepState, asks: Option<Wait>) -> Self {
        Self {
            id: plan.id.clone(),
            title: plan.title.clone(),
            action: plan.action.clone(),
            status: step.status.as_str(),
            progress: step.progress,
            message: step.message.clone(),
            attempt: step.attempt,
            interruptions: step.interruptions,
            crashes: step.crashes,
            isolation: step.isolation_limit(),
            started_at: step.started_at.map(Time),
            completed_at: step.completed_at.map(Time),
            error: step.error.clone(),
            output: step.output.clone().unwrap_or_default(),
            waits_for: match step.status {
                StepStatus::Waiting => step.wait.map(Wait::as_str),
                _ => None,
            },
            answers: answers(asks),
            undo: step.undo.map(surefoot::state::Undo::as_str),
            undo_note: step.undo_note.clone(),
        }
    }
}

fn answers(asks: Option<Wait>) -> Vec<&'static str> {
    match asks {
        Some(Wait::Interrupted) => vec!["rerun", "skip", "fail"],
        Some(Wait::Approval) => vec!["approve", "reject"],
        _ => Vec::new(),
    }
}

impl EventView {
    pub(crate) fn of(event: &Event) -> Self {
        Self {
            seq: event.seq,
            at: Time(event.at),
            kind: event.kind.clone(),
            step: event.step.clone(),
            data: event.data.clone(),
        }
    }
}
