//! Replay of a run's events, compared with its rows: the history has no gap and no duplicate, and
//! it tells of everything that the rows show.

use surefoot::{Event, Run, RunStatus, StepStatus};

#[derive(Debug, Default)]
pub(crate) struct Story {
    /// The sequence of the last event.
    pub(crate) seq: u64,
    claims: u64,
    status: Option<RunStatus>,
    steps: Vec<StepStatus>,
}

impl Story {
    pub(crate) fn of(run: &Run) -> Self {
        Self {
            steps: vec![StepStatus::Pending; run.steps.len()],
            ..Self::default()
        }
    }

    /// Reads what was written together, and holds it against the rows as they are then.
    pub(crate) fn read(&mut self, events: &[Event], run: &Run) -> Result<(), String> {
        for event in events {
            if event.seq != self.seq + 1 {
                return Err(format!("event {} comes after {}", event.seq, self.seq));
            }
            self.seq = event.seq;
            let step = event
                .step
                .as_deref()
                .and_then(|step| run.plan.position(step));
            match step {
                Some(step) => self.step(&event.kind, step)?,
                None => self.run(&event.kind, run),
            }
        }
        self.compare(run)
    }

    fn run(&mut self, kind: &str, run: &Run) {
        let status = match kind {
            "run.submitted" | "run.released" => RunStatus::Queued,
            "run.started" => {
                self.claims += 1;
                RunStatus::Running
            }
            // An end that came after a person asked for the undo yields to it.
            "run.completed" | "run.failed" | "run.cancelled"
                if run.head.status == RunStatus::Queued =>
            {
                RunStatus::Queued
            }
            "run.completed" => RunStatus::Completed,
            "run.failed" => RunStatus::Failed,
            "run.cancelled" => RunStatus::Cancelled,
            // An ended run whose undo is asked for is queued for it.
            "run.cancel_requested" if !run.head.status.is_ended() => RunStatus::Queued,
            "run.retried" => {
                // The rows tell which steps restart.
                self.steps = run.steps.iter().map(|step| step.status).collect();
                RunStatus::Queued
            }
            _ => return,
        };
        self.status = Some(status);
    }

    fn step(&mut self, kind: &str, step: usize) -> Result<(), String> {
        let (from, to): (&[StepStatus], _) = match kind {
            "step.started" => (
                &[StepStatus::Pending, StepStatus::Waiting],
                StepStatus::Running,
            ),
            "step.completed" => (&[StepStatus::Running], StepStatus::Completed),
            "step.skipped" => (
                &[StepStatus::Pending, StepStatus::Waiting],
                StepStatus::Skipped,
            ),
            "step.retrying" | "step.sleeping" | "step.deferred" | "step.asking"
            | "step.interrupted" => (&[StepStatus::Running], StepStatus::Waiting),
            "step.failed" => (
                &[
                    StepStatus::Running,
                    StepStatus::Waiting,
                    StepStatus::Pending,
                ],
                StepStatus::Failed,
            ),
            _ => return Ok(()),
        };
        if !from.contains(&self.steps[step]) {
            return Err(format!(
                "{kind} of step {}, which is told to be {}",
                step + 1,
                self.steps[step]
            ));
        }
        self.steps[step] = to;
        Ok(())
    }

    fn compare(&mut self, run: &Run) -> Result<(), String> {
        if self.claims != run.head.epoch {
            return Err(format!(
                "{} starts are told of, its epoch is {}",
                self.claims, run.head.epoch
            ));
        }
        let told = self.status.filter(|status| status.is_ended());
        if told != Some(run.head.status).filter(|status| status.is_ended()) {
            return Err(format!(
                "it is told to be {:?}, and is {}",
                self.status, run.head.status
            ));
        }
        let cancelling = run.head.status == RunStatus::Cancelled || run.head.cancel.is_some();
        for (step, (told, row)) in self.steps.iter_mut().zip(&run.steps).enumerate() {
            // A cancel ends the steps that are under way, and tells of itself only.
            let dropped =
                cancelling && matches!(row.status, StepStatus::Failed | StepStatus::Skipped);
            if *told != row.status && !dropped {
                return Err(format!(
                    "step {} is told to be {told}, and is {}",
                    step + 1,
                    row.status
                ));
            }
            *told = row.status;
        }
        Ok(())
    }
}
