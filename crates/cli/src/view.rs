//! Output of `--json`. The field names and their order are a contract: scripts read them.

use serde::Serialize;
use serde_json::Value;
use surefoot::{
    AllowList, Lacking, QueueInfo, Record, RetentionLimit, Run, StepPlan, StepState, Timestamp,
    Waiting,
};

/// A run: what `show --json` prints, and each element of `runs --json`.
#[derive(Debug, Serialize)]
pub(crate) struct RunView {
    id: String,
    workflow: String,
    key: Option<String>,
    queue: String,
    status: &'static str,
    progress: u8,
    created_at: String,
    started_at: Option<String>,
    completed_at: Option<String>,
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<String>,
    requires: Vec<String>,
    /// Present in `show --json` while the run waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<String>,
    /// Present in `show --json` while the run waits for what it requires.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lacking: Vec<LackingView>,
    steps: Vec<StepView>,
}

/// A live worker, and what it lacks of what a run requires.
#[derive(Debug, Serialize)]
struct LackingView {
    worker: String,
    resources: Vec<String>,
}

#[derive(Debug, Serialize)]
struct StepView {
    id: String,
    title: String,
    action: String,
    status: &'static str,
    progress: u8,
    message: Option<String>,
    attempt: u32,
    interruptions: u32,
    started_at: Option<String>,
    completed_at: Option<String>,
    error: Option<String>,
    output: Option<Value>,
    undo: Option<&'static str>,
    undo_note: Option<String>,
    crashes: u32,
    isolation: Option<u32>,
}

impl From<&Run> for RunView {
    fn from(run: &Run) -> Self {
        Self {
            id: run.id.to_string(),
            workflow: run.plan.name().to_owned(),
            key: run.key.clone(),
            queue: run.queue().to_owned(),
            status: run.head.status.as_str(),
            progress: run.head.progress,
            created_at: run.created_at.to_string(),
            started_at: time(run.head.started_at),
            completed_at: time(run.head.completed_at),
            error: run.head.error.clone(),
            unreadable: run.unreadable.clone(),
            requires: run.requires.iter().cloned().collect(),
            waiting: None,
            lacking: Vec::new(),
            steps: run
                .plan
                .steps()
                .iter()
                .zip(&run.steps)
                .map(StepView::from)
                .collect(),
        }
    }
}

impl RunView {
    /// The same with what the run waits for.
    pub(crate) fn waiting(self, waiting: Option<&Waiting>) -> Self {
        let view = |lacking: &Lacking| LackingView {
            worker: lacking.worker.clone(),
            resources: lacking.resources.clone(),
        };
        let lacking = waiting.map(Waiting::lacking).unwrap_or_default();
        Self {
            waiting: waiting.map(ToString::to_string),
            lacking: lacking.iter().map(view).collect(),
            ..self
        }
    }
}

impl From<(&StepPlan, &StepState)> for StepView {
    fn from((plan, step): (&StepPlan, &StepState)) -> Self {
        Self {
            id: plan.id.clone(),
            title: plan.title.clone(),
            action: plan.action.clone(),
            status: step.status.as_str(),
            progress: step.progress,
            message: step.message.clone(),
            attempt: step.attempt,
            interruptions: step.interruptions,
            started_at: time(step.started_at),
            completed_at: time(step.completed_at),
            error: step.error.clone(),
            output: step.output.clone(),
            undo: step.undo.map(|undo| undo.as_str()),
            undo_note: step.undo_note.clone(),
            crashes: step.crashes,
            isolation: step.isolation_limit(),
        }
    }
}

/// A queue: each element of `queues --json`.
#[derive(Debug, Serialize)]
pub(crate) struct QueueView {
    name: String,
    paused: bool,
    queued: u64,
    waiting: u64,
    running: u64,
    concurrency: Option<u32>,
    concurrency_per_key: Option<u32>,
    rate: Option<String>,
    keep_completed: Option<String>,
    keep_failed: Option<String>,
    keep_cancelled: Option<String>,
    workflows: Option<Vec<String>>,
    actions: Option<Vec<String>>,
}

impl From<&QueueInfo> for QueueView {
    fn from(queue: &QueueInfo) -> Self {
        let retention = &queue.limits.retention;
        let keep = |limit: RetentionLimit| limit.limited().map(|limit| limit.to_string());
        Self {
            name: queue.name.clone(),
            paused: queue.paused,
            queued: queue.queued,
            waiting: queue.waiting,
            running: queue.running,
            concurrency: queue.limits.concurrency,
            concurrency_per_key: queue.limits.concurrency_per_key,
            rate: queue.limits.rate.map(|rate| rate.to_string()),
            keep_completed: keep(retention.completed),
            keep_failed: keep(retention.failed),
            keep_cancelled: keep(retention.cancelled),
            workflows: entries(&queue.limits.allow.workflows),
            actions: entries(&queue.limits.allow.actions),
        }
    }
}

fn entries(list: &AllowList) -> Option<Vec<String>> {
    list.entries().map(<[String]>::to_vec)
}

/// A record: each element of `records --json`.
#[derive(Debug, Serialize)]
pub(crate) struct RecordView {
    kind: String,
    name: String,
    run: String,
    data: Value,
    created_at: String,
    updated_at: String,
}

impl From<&Record> for RecordView {
    fn from(record: &Record) -> Self {
        Self {
            kind: record.kind.clone(),
            name: record.name.clone(),
            run: record.run.to_string(),
            data: record.data.clone(),
            created_at: record.created_at.to_string(),
            updated_at: record.updated_at.to_string(),
        }
    }
}

/// A logged line: `logs --json` prints one object a line.
#[derive(Debug, Serialize)]
pub(crate) struct LogView<'a> {
    pub(crate) at: String,
    pub(crate) step: Option<&'a str>,
    pub(crate) attempt: u64,
    pub(crate) line: &'a str,
}

fn time(at: Option<Timestamp>) -> Option<String> {
    at.map(|at| at.to_string())
}
