//! The rules for what the holder of a lease does to a run: claim, start, complete, fail, suspend,
//! interrupt, undo.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{CancelMode, Run, RunStatus, StepState, StepStatus, Transition, Undo, Wait};
use crate::workflow::OnInterrupt;
use crate::{NewEvent, RecordChange, Snapshot, Timestamp, WorkerId};

/// A change to a run, made rule by rule and then written as one [`Transition`].
#[derive(Debug)]
pub struct Edit {
    pub(super) run: Run,
    pub(super) now: Timestamp,
    touched: BTreeSet<usize>,
    events: Vec<NewEvent>,
    records: Vec<RecordChange>,
    snapshot: Option<Arc<Snapshot>>,
    requires: Option<BTreeSet<String>>,
}

/// Why a run loses its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interruption {
    /// The worker hands the run back, for a shutdown or for another worker.
    HandedBack,
    /// The worker crashed or was lost.
    Crashed {
        /// Steps and undos that the worker ran then, over all its runs; see [`Run::in_flight`].
        in_flight: u32,
    },
}

/// A change that the rules do not allow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RuleError(pub String);

impl Edit {
    /// Begins a change at `now`.
    pub fn new(run: Run, now: Timestamp) -> Self {
        let touched = BTreeSet::new();
        let events = Vec::new();
        let records = Vec::new();
        Self {
            run,
            now,
            touched,
            events,
            records,
            snapshot: None,
            requires: None,
        }
    }

    /// The run with the changes so far.
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// Ends the change: the run as it is from now on, and what a store writes to make it so.
    pub fn finish(mut self) -> (Run, Transition) {
        self.run.head.progress = match self.run.head.status {
            RunStatus::Completed => 100,
            // The steps that a cancel drops are skipped, and that is no progress; nor is an undo.
            RunStatus::Cancelled => self.run.head.progress.min(99),
            _ if self.run.head.cancel == Some(CancelMode::Undo) => self.run.head.progress.min(99),
            _ => self.run.weigh().min(99),
        };
        let steps = self
            .touched
            .iter()
            .map(|&position| (position, self.run.steps[position].clone()))
            .collect();
        let status = self.run.head.status;
        let undone = status == RunStatus::Cancelled && Self::next_undo(&self.run).is_none();
        let transition = Transition {
            yields_to_undo: status.is_ended() && self.run.head.cancel.is_none() && !undone,
            head: self.run.head.clone(),
            steps,
            events: self.events,
            records: self.records,
            snapshot: self.snapshot,
            requires: self.requires,
        };
        (self.run, transition)
    }

    /// The same for what the holder of the lease writes with [`crate::Store::commit`]: the change
    /// has the next number.
    pub fn finish_as_holder(mut self) -> (Run, Transition) {
        self.run.head.commits += 1;
        self.finish()
    }

    /// The first event of every run.
    pub fn submitted(&mut self) {
        let data = match self.run.head.available_at {
            Some(at) if at > self.now => json!({ "available_at": at.to_string() }),
            _ => Value::Null,
        };
        self.say("run.submitted", data);
    }

    /// A worker takes the run, under a new lease.
    pub fn claim(&mut self, worker: WorkerId) -> Result<(), RuleError> {
        self.expect_run(&[RunStatus::Queued, RunStatus::Waiting], "claim")?;
        let head = &mut self.run.head;
        let resumed = head.started_at.is_some();
        head.status = RunStatus::Running;
        head.worker = Some(worker);
        head.epoch += 1;
        head.available_at = None;
        head.started_at.get_or_insert(self.now);
        let epoch = head.epoch;
        self.say(
            "run.started",
            json!({ "worker": worker.to_string(), "epoch": epoch, "resumed": resumed }),
        );
        Ok(())
    }

    /// An attempt of a step begins. An attempt that was interrupted, or that woke from a wait of
    /// its own, keeps its number.
    pub fn start_step(&mut self, position: usize) -> Result<(), RuleError> {
        self.expect_run(&[RunStatus::Running], "start a step of")?;
        self.expect_step(
            position,
            &[StepStatus::Pending, StepStatus::Waiting],
            "start",
        )?;
        let now = self.now;
        let step = self.touch(position);
        let same_attempt = matches!(
            step.wait,
            Some(Wait::Worker | Wait::Timer | Wait::Interrupted | Wait::Approval)
        );
        step.status = StepStatus::Running;
        step.wait = None;
        step.error = None;
        step.completed_at = None;
        step.started_at.get_or_insert(now);
        if !same_attempt || step.attempt == 0 {
            step.attempt += 1;
            step.deferrals = 0;
            step.progress = 0;
            step.message = None;
        }
        let attempt = step.attempt;
        self.say_of(position, "step.started", json!({ "attempt": attempt }));
        Ok(())
    }

    /// A step is passed without running: its condition gave false.
    pub fn skip_step(&mut self, position: usize, reason: &str) -> Result<(), RuleError> {
        self.expect_step(
            position,
            &[StepStatus::Pending, StepStatus::Waiting],
            "skip",
        )?;
        self.end_step(position, StepStatus::Skipped);
        self.say_of(position, "step.skipped", json!({ "reason": reason }));
        Ok(())
    }

    /// An attempt succeeded. Its output, records and snapshot are part of the same commit.
    pub fn complete_step(
        &mut self,
        position: usize,
        output: Value,
        records: Vec<RecordChange>,
        snapshot: Option<Snapshot>,
    ) -> Result<(), RuleError> {
        self.expect_step(position, &[StepStatus::Running], "complete")?;
        self.end_step(position, StepStatus::Completed);
        let step = self.touch(position);
        step.progress = 100;
        step.checkpoint = None;
        step.output = Some(output).filter(|output| !output.is_null());
        step.snapshot = snapshot.as_ref().map(|snapshot| snapshot.digest);
        self.records.extend(records);
        self.snapshot = snapshot.map(Arc::new);
        self.say_of(position, "step.completed", Value::Null);
        Ok(())
    }

    /// Every step is passed: the run is completed.
    pub fn complete_run(&mut self) -> Result<(), RuleError> {
        self.expect_run(&[RunStatus::Running], "complete")?;
        if self.run.next_step().is_some() {
            return Err(RuleError(
                "a run with steps to go cannot be completed".to_owned(),
            ));
        }
        self.end_run(RunStatus::Completed, None);
        self.say("run.completed", Value::Null);
        Ok(())
    }

    /// An attempt failed and there will be another after `delay`; the run gives back its lease and
    /// waits.
    pub fn retry_step(
        &mut self,
        position: usize,
        error: &str,
        delay: Duration,
    ) -> Result<(), RuleError> {
        self.expect_step(position, &[StepStatus::Running], "retry")?;
        let step = self.touch(position);
        step.status = StepStatus::Waiting;
        step.wait = Some(Wait::Retry);
        step.isolation = None;
        step.error = Some(error.to_owned());
        let attempt = step.attempt;
        self.wait_until(Some(self.now + delay));
        let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.say_of(
            position,
            "step.retrying",
            json!({ "attempt": attempt, "error": error, "delay_ms": delay_ms }),
        );
        Ok(())
    }

    /// A step failed for good, and the run with it.
    pub fn fail_step(&mut self, position: usize, error: &str) -> Result<(), RuleError> {
        self.expect_step(
            position,
            &[
                StepStatus::Running,
                StepStatus::Waiting,
                StepStatus::Pending,
            ],
            "fail",
        )?;
        self.end_step(position, StepStatus::Failed);
        self.touch(position).error = Some(error.to_owned());
        let attempt = self.run.steps[position].attempt;
        self.say_of(
            position,
            "step.failed",
            json!({ "attempt": attempt, "error": error }),
        );
        let reason = format!("step {}: {error}", self.run.plan.steps()[position].id);
        self.end_run(RunStatus::Failed, Some(&reason));
        self.say("run.failed", json!({ "error": reason }));
        Ok(())
    }

    /// The handler asks to be woken after `delay`; no worker is held meanwhile.
    pub fn sleep_step(
        &mut self,
        position: usize,
        delay: Duration,
        checkpoint: Value,
    ) -> Result<(), RuleError> {
        let until = self.now + delay;
        self.suspend(position, Wait::Timer, checkpoint)?;
        self.wait_until(Some(until));
        self.say_of(
            position,
            "step.sleeping",
            json!({ "until": until.to_string() }),
        );
        Ok(())
    }

    /// Defers an attempt because something that it needs is unavailable: the same attempt runs
    /// again after `delay`, with what it noted and was answered. No attempt is spent and no worker
    /// is held meanwhile.
    pub fn defer_step(
        &mut self,
        position: usize,
        reason: &str,
        delay: Duration,
    ) -> Result<(), RuleError> {
        self.expect_step(position, &[StepStatus::Running], "defer")?;
        let until = self.now + delay;
        let step = self.touch(position);
        step.status = StepStatus::Waiting;
        step.wait = Some(Wait::Timer);
        step.error = Some(reason.to_owned());
        step.deferrals += 1;
        let count = step.deferrals;
        self.wait_until(Some(until));
        let data = json!({ "reason": reason, "until": until.to_string(), "deferrals": count });
        self.say_of(position, "step.deferred", data);
        Ok(())
    }

    /// The handler asks a person.
    pub fn ask_step(
        &mut self,
        position: usize,
        question: &str,
        checkpoint: Value,
    ) -> Result<(), RuleError> {
        self.suspend(position, Wait::Approval, checkpoint)?;
        self.touch(position).message = Some(question.to_owned());
        self.wait_until(None);
        self.say_of(position, "step.asking", json!({ "question": question }));
        Ok(())
    }

    fn suspend(&mut self, position: usize, wait: Wait, checkpoint: Value) -> Result<(), RuleError> {
        self.expect_step(position, &[StepStatus::Running], "suspend")?;
        let step = self.touch(position);
        step.status = StepStatus::Waiting;
        step.wait = Some(wait);
        step.isolation = None;
        step.checkpoint = Some(checkpoint).filter(|checkpoint| !checkpoint.is_null());
        step.answer = None;
        step.deferrals = 0;
        Ok(())
    }

    /// Changes the resources that the run requires of a worker: those in `released` go, those in
    /// `required` come.
    pub fn require(&mut self, required: &[String], released: &[String]) {
        let mut requires = self.run.requires.clone();
        requires.retain(|name| !released.contains(name));
        requires.extend(required.iter().cloned());
        if requires != self.run.requires {
            self.say("run.requires", json!({ "resources": requires }));
            self.run.requires.clone_from(&requires);
            self.requires = Some(requires);
        }
    }

    /// An attempt needs a resource that its worker lacks: the run gives back its lease and waits
    /// for a worker that offers it. The attempt goes on there, with the same number.
    pub fn hand_over(&mut self, position: usize, resource: &str) -> Result<(), RuleError> {
        self.expect_step(position, &[StepStatus::Running], "hand over")?;
        let step = self.touch(position);
        step.status = StepStatus::Waiting;
        step.wait = Some(Wait::Worker);
        self.require(&[resource.to_owned()], &[]);
        self.requeue();
        Ok(())
    }

    /// Adds the progress and log lines that a handler reported since the last report.
    pub fn report(
        &mut self,
        position: usize,
        progress: Option<(u8, Option<String>)>,
        lines: Vec<String>,
    ) {
        if let Some((percent, message)) = progress {
            let step = self.touch(position);
            step.progress = percent.min(100);
            step.message = message.clone();
            self.say_of(
                position,
                "step.progress",
                json!({ "progress": percent.min(100), "message": message }),
            );
        }
        if !lines.is_empty() {
            let attempt = self.run.steps[position].attempt;
            self.say_of(
                position,
                "step.log",
                json!({ "attempt": attempt, "lines": lines }),
            );
        }
    }

    /// A handler's note to its next attempt.
    pub fn checkpoint(&mut self, position: usize, checkpoint: Value) -> Result<(), RuleError> {
        self.expect_step(position, &[StepStatus::Running], "checkpoint")?;
        self.touch(position).checkpoint =
            Some(checkpoint).filter(|checkpoint| !checkpoint.is_null());
        Ok(())
    }

    /// The worker is gone, or goes: the lease ends. A running step follows its `on_interrupt`; no
    /// attempt is spent.
    pub fn interrupt(&mut self, cause: Interruption, reason: &str) -> Result<(), RuleError> {
        self.expect_run(&[RunStatus::Running], "interrupt")?;
        match (self.run.head.cancel, self.run.in_flight()) {
            (Some(CancelMode::Stop), _) => self.cancelled("cancelled"),
            (None, Some(position)) => self.interrupt_step(position, cause, reason)?,
            (Some(CancelMode::Undo), Some(position))
                if self.run.steps[position].undo == Some(Undo::Running) =>
            {
                self.interrupt_undo(position, cause, reason);
            }
            (Some(CancelMode::Undo), _) | (None, None) => {
                self.begin_undo_if(self.run.head.cancel.is_some());
                self.requeue();
                self.say("run.released", json!({ "reason": reason }));
            }
        }
        Ok(())
    }

    fn interrupt_step(
        &mut self,
        position: usize,
        cause: Interruption,
        reason: &str,
    ) -> Result<(), RuleError> {
        let plan = self.run.plan.clone();
        let plan = &plan.steps()[position];
        let too_many = self.count_interruption(position, cause, reason, "step.interrupted");
        if let Some(error) = too_many {
            return self.fail_step(position, &error);
        }
        if plan.on_interrupt == OnInterrupt::Fail {
            return self.fail_step(position, &format!("interrupted: {reason}"));
        }
        let asks = plan.on_interrupt == OnInterrupt::Ask;
        let step = self.touch(position);
        step.status = StepStatus::Waiting;
        step.wait = Some(if asks {
            Wait::Interrupted
        } else {
            Wait::Worker
        });
        if asks {
            step.decision = None;
            self.wait_until(None);
        } else {
            self.requeue();
        }
        Ok(())
    }

    /// The undo runs again, unless it has crashed too many workers: it must not crash every worker
    /// for ever.
    fn interrupt_undo(&mut self, position: usize, cause: Interruption, reason: &str) {
        match self.count_interruption(position, cause, reason, "step.undo_interrupted") {
            Some(error) => self.undo_failed(position, &error),
            None => {
                self.touch(position).undo = Some(Undo::Interrupted);
                self.requeue();
                self.say("run.released", json!({ "reason": reason }));
            }
        }
    }

    /// Counts an interruption of a step or of its undo. Returns why the step fails when there were
    /// too many.
    ///
    /// A handed back run counts nothing. A crash counts against the cap only when the step was the
    /// only one in its worker; otherwise any of those in flight may be to blame, and each runs
    /// beside fewer others from then on.
    fn count_interruption(
        &mut self,
        position: usize,
        cause: Interruption,
        reason: &str,
        kind: &str,
    ) -> Option<String> {
        let most = self.run.plan.steps()[position].max_interruptions;
        let step = self.touch(position);
        let before = step.crashes;
        step.interruptions += 1;
        match cause {
            Interruption::HandedBack => {}
            Interruption::Crashed { in_flight: 0 | 1 } => step.crashes += 1,
            Interruption::Crashed { in_flight } => {
                let halve = |limit: u32| limit.min(in_flight).div_ceil(2);
                step.isolation = Some(step.isolation.map_or(StepState::SUSPECT, halve));
            }
        }
        let crashes = step.crashes;
        let isolation = step.isolation_limit();
        let data = json!({
            "reason": reason, "interruptions": step.interruptions, "crashes": crashes, "isolation": isolation,
        });
        self.say_of(position, kind, data);
        (crashes > before && crashes > most).then(|| {
            format!("interrupted {crashes} times, more than the {most} allowed; last: {reason}")
        })
    }

    /// The holder of the lease carries out a person's cancel: the run ends, what it made stays.
    pub fn cancelled(&mut self, reason: &str) {
        self.drop_steps(reason);
        self.end_run(RunStatus::Cancelled, Some(reason));
        self.say("run.cancelled", json!({ "reason": reason }));
    }

    /// The holder of the lease begins to undo: the step under way ends where it is.
    pub fn begin_undo(&mut self) -> Result<(), RuleError> {
        self.expect_run(&[RunStatus::Running], "undo")?;
        self.begin_undo_if(true);
        Ok(())
    }

    fn begin_undo_if(&mut self, undoing: bool) {
        if !undoing {
            return;
        }
        let unfinished =
            |step: &StepState| matches!(step.status, StepStatus::Running | StepStatus::Waiting);
        if let Some(position) = self.run.steps.iter().position(unfinished) {
            self.end_step(position, StepStatus::Failed);
            self.touch(position).error = Some("cancelled".to_owned());
        }
    }

    /// The step to undo next: the last one that ever began and is neither undone nor kept.
    pub fn next_undo(run: &Run) -> Option<usize> {
        run.steps.iter().rposition(StepState::remains)
    }

    /// The undoing of a step begins or ends. `note` is what was removed, what was kept and why, or
    /// why the undo failed.
    pub fn undo_step(&mut self, position: usize, undo: Undo, note: Option<&str>) {
        let step = self.touch(position);
        if undo == Undo::Running && step.undo != Some(Undo::Interrupted) {
            // An undo has a count of its own; one that a person asks for once more begins it again.
            step.crashes = 0;
            step.isolation = None;
        }
        if matches!(undo, Undo::Done | Undo::Kept | Undo::Failed) {
            step.isolation = None;
        }
        step.undo = Some(undo);
        step.undo_note = None;
        let data = match undo {
            Undo::Running | Undo::Interrupted => Value::Null,
            Undo::Done | Undo::Kept => {
                step.undo_note = note.map(str::to_owned);
                json!({ "note": note })
            }
            Undo::Failed => {
                step.error = note.map(str::to_owned).or(step.error.take());
                json!({ "error": note })
            }
        };
        self.say_of(position, &format!("step.undo_{undo}"), data);
    }

    /// Every step is undone or kept: the run is cancelled, and its reason names what was kept.
    pub fn end_undo(&mut self) {
        let steps = self.run.plan.steps().iter().zip(&self.run.steps);
        let kept = steps
            .filter(|(_, step)| step.undo == Some(Undo::Kept))
            .map(|(plan, _)| plan.id.as_str());
        let kept = names(kept.collect());
        let reason = if kept.is_empty() {
            "cancelled, and what it made is undone".to_owned()
        } else {
            format!("cancelled, and undone except for what these steps made: {kept}")
        };
        self.cancelled(&reason);
    }

    /// Adds the removals of records by a completed undo.
    pub fn remove_records(&mut self, records: Vec<RecordChange>) {
        self.records.extend(records);
    }

    /// An undo failed for good: the run fails, and a person's retry goes on with the undoing.
    pub fn undo_failed(&mut self, position: usize, error: &str) {
        self.undo_step(position, Undo::Failed, Some(error));
        let reason = format!(
            "undo of step {}: {error}",
            self.run.plan.steps()[position].id
        );
        self.drop_steps("cancelled");
        self.end_run(RunStatus::Failed, Some(&reason));
        self.run.head.cancel = Some(CancelMode::Undo);
        self.say("run.failed", json!({ "error": reason }));
    }

    // Helpers of the rules.

    pub(super) fn touch(&mut self, position: usize) -> &mut StepState {
        self.touched.insert(position);
        &mut self.run.steps[position]
    }

    pub(super) fn say(&mut self, kind: &str, data: Value) {
        self.events.push(NewEvent::run(kind, data));
    }

    pub(super) fn say_of(&mut self, position: usize, kind: &str, data: Value) {
        self.events.push(NewEvent::step(
            kind,
            &self.run.plan.steps()[position].id,
            data,
        ));
    }

    /// The run ends its lease and waits: until a time, or for a person.
    pub(super) fn wait_until(&mut self, at: Option<Timestamp>) {
        self.leave(RunStatus::Waiting, at);
    }

    /// The run ends its lease, if it has one, and may be taken at once. One that may be taken
    /// already keeps its place.
    pub(super) fn requeue(&mut self) {
        let head = &self.run.head;
        let since = head
            .available_at
            .filter(|at| head.status == RunStatus::Queued && *at < self.now);
        self.leave(RunStatus::Queued, Some(since.unwrap_or(self.now)));
    }

    fn leave(&mut self, status: RunStatus, available_at: Option<Timestamp>) {
        let head = &mut self.run.head;
        head.status = status;
        head.worker = None;
        head.available_at = available_at;
        head.completed_at = None;
    }

    pub(super) fn end_run(&mut self, status: RunStatus, error: Option<&str>) {
        let head = &mut self.run.head;
        head.status = status;
        head.worker = None;
        head.available_at = None;
        head.cancel = None;
        head.completed_at = Some(self.now);
        head.error = error.map(str::to_owned);
    }

    pub(super) fn end_step(&mut self, position: usize, status: StepStatus) {
        let now = self.now;
        let step = self.touch(position);
        step.status = status;
        step.wait = None;
        step.isolation = None;
        step.completed_at = Some(now);
    }

    /// A cancelled run has no step that could go on.
    fn drop_steps(&mut self, reason: &str) {
        for position in 0..self.run.steps.len() {
            match self.run.steps[position].status {
                StepStatus::Pending => self.end_step(position, StepStatus::Skipped),
                StepStatus::Running | StepStatus::Waiting => {
                    self.end_step(position, StepStatus::Failed);
                    self.touch(position).error = Some(reason.to_owned());
                }
                StepStatus::Completed | StepStatus::Failed | StepStatus::Skipped => {}
            }
        }
    }

    pub(super) fn expect_run(&self, allowed: &[RunStatus], verb: &str) -> Result<(), RuleError> {
        let status = self.run.head.status;
        if allowed.contains(&status) {
            return Ok(());
        }
        Err(RuleError(format!(
            "cannot {verb} run {}: it is {status}",
            self.run.id
        )))
    }

    fn expect_step(
        &self,
        position: usize,
        allowed: &[StepStatus],
        verb: &str,
    ) -> Result<(), RuleError> {
        let status = self.run.steps[position].status;
        if allowed.contains(&status) {
            return Ok(());
        }
        let step = &self.run.plan.steps()[position].id;
        Err(RuleError(format!(
            "cannot {verb} step {step}: it is {status}"
        )))
    }
}

/// Steps named in a text.
const NAMED: usize = 10;

/// The names of steps in one line of a bounded length.
pub(super) fn names(steps: Vec<&str>) -> String {
    let named = steps
        .iter()
        .take(NAMED)
        .copied()
        .collect::<Vec<_>>()
        .join(", ");
    match steps.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}
