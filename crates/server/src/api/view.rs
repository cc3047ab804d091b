//! What the API shows of a run. Secrets among its parameters are masked wherever they turn up.

use serde::Serialize;
use serde_json::Value;
use surefoot::state::{CancelMode, Wait};
use surefoot::workflow::{Masker, without_secrets};
use surefoot::{Event, Run, StepPlan, StepState, StepStatus, Waiting, render_value};
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
    steps: Vec<StepView>,
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
    interruptions: u32,
    started_at: Option<Time>,
    completed_at: Option<Time>,
    error: Option<String>,
    output: Value,
    /// What a waiting step waits for: `retry`, `timer`, `worker`, `interrupted` or `approval`.
    waits_for: Option<&'static str>,
    /// What a person can answer.
    answers: Vec<&'static str>,
    /// How far its undoing is: `running`, `done` or `failed`.
    undo: Option<&'static str>,
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
    pub(crate) fn of(run: &Run, masker: &Masker) -> Self {
        let head = &run.head;
        let current = run.next_step().filter(|_| !head.status.is_ended()).map(|step| run.plan.steps()[step].id.clone());
        Self {
            id: Id(run.id),
            workflow: run.plan.name().to_owned(),
            title: run.plan.title().to_owned(),
            key: run.key.clone(),
            unique: run.unique.as_deref().map(|text| masker.text(text)),
            queue: run.queue().to_owned(),
            priority: run.priority,
            concurrency_key: run.concurrency_key.clone(),
            status: head.status.into(),
            progress: head.progress,
            error: head.error.as_deref().map(|text| masker.text(text)),
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
        }
    }

    /// With a masker of its own.
    pub(crate) fn alone(run: &Run) -> Self {
        Self::of(run, &masker(run))
    }
}

impl RunDetail {
    pub(crate) fn of(run: &Run, masker: &Masker, waiting: Option<&Waiting>) -> Self {
        let steps = run.plan.steps().iter().zip(&run.steps);
        Self {
            summary: RunSummary::of(run, masker),
            parameters: without_secrets(run.plan.parameters(), &run.parameters),
            output: output(run, masker),
            waiting: waiting.map(|waiting| masker.text(&waiting.to_string())),
            steps: steps.map(|(plan, step)| StepView::of(plan, step, masker)).collect(),
        }
    }

    /// With a masker of its own.
    pub(crate) fn alone(run: &Run, waiting: Option<&Waiting>) -> Self {
        Self::of(run, &masker(run), waiting)
    }
}

impl StepView {
    fn of(plan: &StepPlan, step: &StepState, masker: &Masker) -> Self {
        let text = |text: &Option<String>| text.as_deref().map(|text| masker.text(text));
        Self {
            id: plan.id.clone(),
            title: plan.title.clone(),
            action: plan.action.clone(),
            status: step.status.as_str(),
            progress: step.progress,
            message: text(&step.message),
            attempt: step.attempt,
            interruptions: step.interruptions,
            started_at: step.started_at.map(Time),
            completed_at: step.completed_at.map(Time),
            error: text(&step.error),
            output: step.output.as_ref().map(|output| masker.value(output)).unwrap_or_default(),
            waits_for: step.wait.filter(|_| step.status == StepStatus::Waiting).map(Wait::as_str),
            answers: answers(step),
            undo: step.undo.map(surefoot::state::Undo::as_str),
        }
    }
}

fn answers(step: &StepState) -> Vec<&'static str> {
    match step.wait.filter(|_| step.status == StepStatus::Waiting) {
        Some(Wait::Interrupted) => vec!["rerun", "skip", "fail"],
        Some(Wait::Approval) => vec!["approve", "reject"],
        _ => Vec::new(),
    }
}

impl EventView {
    pub(crate) fn of(event: &Event, masker: &Masker) -> Self {
        Self {
            seq: event.seq,
            at: Time(event.at),
            kind: event.kind.clone(),
            step: event.step.clone(),
            data: masker.value(&event.data),
        }
    }
}

/// Knows the secrets among the run's parameters.
pub(crate) fn masker(run: &Run) -> Masker {
    Masker::new(run.plan.parameters(), &run.parameters)
}

/// The run's output is said by its workflow, from what its steps gave.
fn output(run: &Run, masker: &Masker) -> Value {
    if run.head.status != surefoot::RunStatus::Completed || run.plan.output().is_null() {
        return Value::Null;
    }
    let mut scope = run.scope(run.steps.len());
    scope.parameters = without_secrets(run.plan.parameters(), &run.parameters);
    render_value(run.plan.output(), &scope).map(|output| masker.value(&output)).unwrap_or_default()
}
