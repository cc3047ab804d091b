//! A run as its events draw it: what both kinds of progress show.

use serde_json::Value;
use surefoot::state::Wait;
use surefoot::workflow::OnInterrupt;
use surefoot::{Event, Run, RunId, StepStatus};

/// A run, as far as its events have been seen.
#[derive(Debug)]
pub(crate) struct Picture {
    pub(crate) run: RunId,
    pub(crate) steps: Vec<StepPicture>,
    /// The step that something last happened to.
    pub(crate) current: usize,
}

#[derive(Debug)]
pub(crate) struct StepPicture {
    pub(crate) id: String,
    pub(crate) title: String,
    weight: u32,
    /// True if an interruption waits for a person.
    pub(crate) asks: bool,
    pub(crate) status: StepStatus,
    pub(crate) progress: u8,
    pub(crate) message: Option<String>,
    pub(crate) attempt: u64,
    /// True if the attempt continues after a wait or an interruption.
    pub(crate) again: bool,
}

impl Picture {
    pub(crate) fn of(run: &Run) -> Self {
        let step = |(plan, state): (&surefoot::StepPlan, &surefoot::StepState)| StepPicture {
            id: plan.id.clone(),
            title: plan.title.clone(),
            weight: plan.weight,
            asks: plan.on_interrupt == OnInterrupt::Ask || state.wait == Some(Wait::Interrupted),
            status: state.status,
            progress: state.progress,
            message: state.message.clone(),
            attempt: u64::from(state.attempt),
            again: false,
        };
        let steps = run.plan.steps().iter().zip(&run.steps).map(step).collect();
        Self {
            run: run.id,
            steps,
            current: run.next_step().unwrap_or(0),
        }
    }

    /// The same run before anything had happened to it: for who draws it again from its first event
    /// on.
    pub(crate) fn unbegun(run: &Run) -> Self {
        let mut picture = Self {
            current: 0,
            ..Self::of(run)
        };
        picture.renew(0);
        picture
    }

    /// Draws one more event.
    pub(crate) fn apply(&mut self, event: &Event) {
        if event.kind == "run.retried" {
            return self.rewind(event.data["from"].as_str());
        }
        let Some(position) = event.step.as_deref().and_then(|step| self.position(step)) else {
            return;
        };
        self.current = position;
        self.steps[position].apply(&event.kind, &event.data);
    }

    /// Percent by weight, as the engine counts it.
    pub(crate) fn percent(&self) -> u64 {
        let total: u64 = self.steps.iter().map(|step| u64::from(step.weight)).sum();
        let done: u64 = self
            .steps
            .iter()
            .map(|step| u64::from(step.weight) * step.share())
            .sum();
        done.checked_div(total).unwrap_or(0)
    }

    /// Number of finished steps.
    pub(crate) fn passed(&self) -> usize {
        self.steps
            .iter()
            .filter(|step| step.status.is_passed())
            .count()
    }

    pub(crate) fn step(&self, id: &str) -> Option<&StepPicture> {
        self.position(id).map(|position| &self.steps[position])
    }

    fn position(&self, id: &str) -> Option<usize> {
        self.steps.iter().position(|step| step.id == id)
    }

    /// A retry makes the steps from there on fresh again.
    fn rewind(&mut self, from: Option<&str>) {
        let reached = self
            .steps
            .iter()
            .position(|step| !step.status.is_passed())
            .unwrap_or(self.steps.len());
        let position = from.and_then(|step| self.position(step)).unwrap_or(reached);
        self.renew(position);
    }

    fn renew(&mut self, from: usize) {
        for step in &mut self.steps[from..] {
            (step.status, step.progress, step.message, step.attempt) =
                (StepStatus::Pending, 0, None, 0);
        }
    }
}

impl StepPicture {
    fn share(&self) -> u64 {
        if self.status.is_passed() {
            100
        } else {
            u64::from(self.progress.min(100))
        }
    }

    fn apply(&mut self, kind: &str, data: &Value) {
        match kind {
            "step.started" => self.start(data["attempt"].as_u64().unwrap_or(1)),
            "step.progress" => {
                self.progress = data["progress"]
                    .as_u64()
                    .and_then(|percent| u8::try_from(percent).ok())
                    .unwrap_or(0);
                self.message = data["message"].as_str().map(super::clean);
            }
            "step.completed" => (self.status, self.progress) = (StepStatus::Completed, 100),
            "step.skipped" => self.status = StepStatus::Skipped,
            "step.failed" => self.stand(StepStatus::Failed, data["error"].as_str()),
            "step.retrying" => self.stand(StepStatus::Waiting, data["error"].as_str()),
            "step.asking" => self.stand(StepStatus::Waiting, data["question"].as_str()),
            "step.sleeping" => self.stand(StepStatus::Waiting, None),
            "step.deferred" => self.stand(StepStatus::Waiting, data["reason"].as_str()),
            "step.interrupted" => self.stand(StepStatus::Waiting, Some("interrupted")),
            "step.undo_running" => self.message = Some("taking back what it made".to_owned()),
            "step.undo_done" => self.message = Some("undone".to_owned()),
            "step.undo_kept" => self.message = Some("kept".to_owned()),
            "step.undo_failed" => self.message = data["error"].as_str().map(super::clean),
            _ => {}
        }
    }

    fn start(&mut self, attempt: u64) {
        self.again = attempt == self.attempt;
        if !self.again {
            (self.progress, self.message) = (0, None);
        }
        (self.status, self.attempt) = (StepStatus::Running, attempt);
    }

    fn stand(&mut self, status: StepStatus, message: Option<&str>) {
        self.status = status;
        self.message = message.map(super::clean).or(self.message.take());
    }
}
