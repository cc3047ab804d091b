//! What the API shows of a run. What steps gave is free of secrets as it is read from the store.

use serde::Serialize;
use serde_json::Value;
use surefoot::state::{CancelMode, Wait};
use surefoot::{Event, Lacking, Run, StepPlan, StepState, StepStatus, Waiting};
use utoipa::ToSchema;

use super::wire::{Id, Status, Time, Worker};

/// A run, without its steps.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunSummary {
    /// Its name, for ever.
    id: Id,
    workflow: String,
    /// What people read of the workflow.
    title: String,
    /// The submitter's idempotency key.
    key: Option<String>,
    /// What no other run of the workflow may have at the same time.
    unique: Option<String>,
    queue: String,
    priority: i32,
    concurrency_key: Option<String>,
    status: Status,
    /// Percent.
    #[schema(maximum = 100)]
    progress: u8,
    /// Why it failed or was cancelled.
    error: Option<String>,
    created_at: Time,
    /// When a worker first took it.
    started_at: Option<Time>,
    completed_at: Option<Time>,
    /// From when on a worker may take it, when it waits.
    available_at: Option<Time>,
    /// A cancel that has not been carried out: `cancel` or `undo`.
    cancel_requested: Option<String>,
    /// Who holds it.
    worker: Option<Worker>,
    /// The step that it is on.
    current_step: Option<String>,
    /// Resources that a worker must offer to take it: a local forge, a key.
    requires: Vec<String>,
    /// Why this server cannot read the run, if it cannot: what cannot be read is empty, and all that can be done is to cancel it.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<String>,
}

/// A run with its steps.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunDetail {
    #[serde(flatten)]
    summary: RunSummary,
    /// As they were given, with defaults; secrets are masked.
    #[schema(value_type = Object)]
    parameters: Value,
    /// What a completed run says of itself.
    output: Value,
    /// What it waits for, in words.
    waiting: Option<String>,
    /// Live workers that could take it if they had what it requires, and what each lacks. Empty
    /// unless it waits for that.
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
    /// Percent, as its handler says.
    #[schema(maximum = 100)]
    progress: u8,
    /// What its handler said last.
    message: Option<String>,
    /// The number of the current or last attempt; 0 before the first.
    attempt: u32,
    /// How often its worker was lost while it ran.
    interruptions: u32,
    /// How often its worker crashed while it ran there alone: what the cap on interruptions counts.
    crashes: u32,
    /// How many steps may run in its worker while it does, after crashes; 1 is alone.
    isolation: Option<u32>,
    started_at: Option<Time>,
    completed_at: Option<Time>,
    error: Option<String>,
    output: Value,
    /// What a waiting step waits for: `retry`, `timer`, `worker`, `interrupted` or `approval`.
    waits_for: Option<&'static str>,
    /// What a person can answer.
    answers: Vec<&'static str>,
    /// How far its undoing is: `running`, `interrupted`, `done`, `kept` or `failed`.
    undo: Option<&'static str>,
    /// What the undo removed, or what it kept and why.
    undo_note: Option<String>,
}

/// An entry of a run's history.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventView {
    /// Its place in the history: 1, 2, 3 and so on.
    seq: u64,
    at: Time,
    /// What happened: `step.completed`, `run.failed`.
    kind: String,
    /// The step that it happened to.
    step: Option<String>,
    /// What there is to say of it.
    data: Value,
}

impl RunSummary {
    pub(crate) fn of(run: &Run) -> Self {
        let head = &run.head;
        let current = run
            .next_step()
            .filter(|_| !head.status.is_ended())
            .map(|step| run.plan.steps()[step].id.clone());
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
            cancel_requested: head
                .cancel
                .filter(|_| !head.status.is_ended())
                .map(CancelMode::as_str)
                .map(str::to_owned),
            worker: head.worker.map(Worker),
            current_step: current,
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
            waits_for: step
                .wait
                .filter(|_| step.status == StepStatus::Waiting)
                .map(Wait::as_str),
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
