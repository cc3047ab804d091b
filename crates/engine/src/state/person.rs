//! The rules for what a person does to a run: cancel, retry, answer.

use std::fmt;
use std::str::FromStr;

use serde_json::json;

use super::edit::{Edit, Interruption, RuleError, names};
use super::{CancelMode, RunStatus, StepState, Undo, Wait};

/// A person's answer to a step that waits for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The interrupted attempt runs again.
    Rerun,
    /// The run goes on without the step.
    Skip,
    /// The step fails, and the run with it.
    Fail,
    /// The handler's question is answered with yes.
    Approve,
    /// The handler's question is answered with no: the step fails.
    Reject,
}

impl Answer {
    /// The kind of wait that it answers.
    const fn answers(self) -> Wait {
        match self {
            Self::Rerun | Self::Skip | Self::Fail => Wait::Interrupted,
            Self::Approve | Self::Reject => Wait::Approval,
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rerun => "rerun",
            Self::Skip => "skip",
            Self::Fail => "fail",
            Self::Approve => "approve",
            Self::Reject => "reject",
        })
    }
}

impl FromStr for Answer {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "rerun" => Ok(Self::Rerun),
            "skip" => Ok(Self::Skip),
            "fail" => Ok(Self::Fail),
            "approve" => Ok(Self::Approve),
            "reject" => Ok(Self::Reject),
            _ => Err(format!(
                "`{word}` is none of rerun, skip, fail, approve, reject"
            )),
        }
    }
}

impl Edit {
    /// A person cancels. A run that a worker holds is cancelled by that worker, which sees
    /// [`super::Head::cancel`]; any other ends here, or is queued for a worker to undo it. A mere
    /// cancel of a run whose undo failed, or waits for a worker, gives the undo up.
    ///
    /// # Errors
    /// A completed run is not cancelled, and one that is cancelled already only for its undo.
    pub fn request_cancel(&mut self, mode: CancelMode, by: &str) -> Result<(), RuleError> {
        let status = self.run.head.status;
        if status == RunStatus::Completed {
            return Err(RuleError(format!(
                "run {} is completed: there is nothing to cancel",
                self.run.id
            )));
        }
        if status == RunStatus::Cancelled && mode == CancelMode::Stop {
            return Err(RuleError(format!(
                "run {} is already cancelled",
                self.run.id
            )));
        }
        if status == RunStatus::Cancelled && Self::next_undo(&self.run).is_none() {
            return Err(RuleError(format!(
                "run {} is cancelled and left nothing to undo",
                self.run.id
            )));
        }
        self.say(
            "run.cancel_requested",
            json!({ "mode": mode.as_str(), "by": by }),
        );
        let undoes = mode == CancelMode::Undo || self.run.head.cancel == Some(CancelMode::Undo);
        let is_held = status == RunStatus::Running;
        if mode == CancelMode::Stop && undoes && !is_held {
            // No worker may ever have what the undo needs: a forge that is lost for good.
            self.leave_undo(by);
        } else if is_held {
            self.run.head.cancel = Some(if undoes {
                CancelMode::Undo
            } else {
                CancelMode::Stop
            });
        } else if undoes && Self::next_undo(&self.run).is_some() {
            self.requeue();
            self.run.head.cancel = Some(CancelMode::Undo);
        } else {
            self.cancelled(&format!("cancelled by {by}"));
        }
        Ok(())
    }

    /// A person cancels a run that may be unreadable. `is_held` tells whether a live worker holds
    /// it: that worker may be able to read it, and carries out the cancel. Otherwise an unreadable
    /// run ends here.
    ///
    /// # Errors
    /// As [`Self::request_cancel`]; an unreadable run cannot be undone.
    pub fn cancel_even_unreadable(
        &mut self,
        mode: CancelMode,
        by: &str,
        is_held: bool,
    ) -> Result<(), RuleError> {
        let Some(reason) = self.run.unreadable.clone() else {
            return self.request_cancel(mode, by);
        };
        let id = self.run.id;
        if mode == CancelMode::Undo {
            let message = format!(
                "run {id} cannot be read ({reason}), so it cannot be undone: cancel it without its undo, or use the surefoot that made it"
            );
            return Err(RuleError(message));
        }
        // An undo that was asked for needs what cannot be read.
        self.run.head.cancel = None;
        self.request_cancel(mode, by)?;
        if self.run.head.status == RunStatus::Running && !is_held {
            self.interrupt(Interruption::Crashed { in_flight: 2 }, "its worker died")?;
        }
        Ok(())
    }

    /// A person gives up an undo that failed, or waits for a worker. What it has not taken back
    /// stays, and is named.
    fn leave_undo(&mut self, by: &str) {
        let steps = self.run.plan.steps().iter().zip(&self.run.steps);
        let left = |step: &StepState| step.remains() || step.undo == Some(Undo::Kept);
        let left = steps
            .filter(|(_, step)| left(step))
            .map(|(plan, _)| plan.id.as_str());
        let left = names(left.collect());
        self.cancelled(&format!(
            "cancelled by {by}, its undo given up: what these steps made stays: {left}"
        ));
    }

    /// A person retries a failed run: from the step that failed, or from an earlier one that runs
    /// again with all after it.
    ///
    /// # Errors
    /// When the run has not failed, or `from` is a step that the run has not reached.
    pub fn retry(&mut self, from: Option<&str>, by: &str) -> Result<(), RuleError> {
        self.expect_run(&[RunStatus::Failed], "retry")?;
        let undoing = self.run.head.cancel == Some(CancelMode::Undo);
        if !undoing {
            let reached = self.run.next_step().unwrap_or(0);
            let position = match from {
                None => reached,
                Some(step) => self.position(step)?,
            };
            if position > reached {
                let (step, at) = (
                    &self.run.plan.steps()[position].id,
                    &self.run.plan.steps()[reached].id,
                );
                return Err(RuleError(format!(
                    "cannot retry from {step}: the run got only as far as {at}"
                )));
            }
            for position in position..self.run.steps.len() {
                // The start time stays, because the undo needs it; all else is reset.
                let started_at = self.run.steps[position].started_at;
                *self.touch(position) = StepState {
                    started_at,
                    ..StepState::pending()
                };
            }
        }
        self.run.head.error = None;
        self.requeue();
        self.say("run.retried", json!({ "by": by, "from": from }));
        Ok(())
    }

    /// A person answers a step that waits for an answer.
    ///
    /// # Errors
    /// When the step waits for none, or for one of another kind, or when the run is being
    /// cancelled.
    pub fn answer(
        &mut self,
        step: &str,
        answer: Answer,
        by: &str,
        note: Option<&str>,
    ) -> Result<(), RuleError> {
        let position = self.position(step)?;
        let asked = self.asked(position)?;
        if asked != answer.answers() {
            let words = if asked == Wait::Approval {
                "approve or reject"
            } else {
                "rerun, skip or fail"
            };
            return Err(RuleError(format!(
                "step {step} waits for {words}, not for {answer}"
            )));
        }
        let given = json!({ "answer": answer.to_string(), "by": by, "note": note });
        let state = self.touch(position);
        // Apart: a handler that asks must not take the answer to an interruption for its own.
        match asked {
            Wait::Approval => state.answer = Some(given.clone()),
            _ => state.decision = Some(given.clone()),
        }
        self.say_of(position, "step.answered", given);
        match answer {
            Answer::Rerun | Answer::Approve => self.requeue(),
            Answer::Skip => {
                self.skip_step(position, &format!("skipped by {by}"))?;
                self.requeue();
            }
            Answer::Fail => self.fail_step(position, &format!("failed by {by}"))?,
            Answer::Reject => self.fail_step(position, &format!("rejected by {by}"))?,
        }
        Ok(())
    }

    /// The kind of answer that the step at `position` waits for.
    fn asked(&self, position: usize) -> Result<Wait, RuleError> {
        let (step, state) = (
            &self.run.plan.steps()[position].id,
            &self.run.steps[position],
        );
        let waits = state
            .wait
            .filter(|wait| matches!(wait, Wait::Approval | Wait::Interrupted));
        if waits.is_some() && self.run.head.cancel.is_some() {
            // An answer that ends the run would take back what was asked: the undo, above all.
            return Err(RuleError(format!(
                "run {} is being cancelled: step {step} needs no answer",
                self.run.id
            )));
        }
        if let Some((asks, wait)) = self.run.asks()
            && asks == position
        {
            return Ok(wait);
        }
        let given = if waits == Some(Wait::Interrupted) {
            &state.decision
        } else {
            &state.answer
        };
        let Some(given) = given.as_ref().or(state.decision.as_ref()) else {
            return Err(RuleError(format!(
                "step {step} waits for no answer: it is {}",
                state.status
            )));
        };
        let word = |field: &str| given[field].as_str().unwrap_or("unknown").to_owned();
        Err(RuleError(format!(
            "step {step} is answered already: {} answered {}; the first answer holds",
            word("by"),
            word("answer")
        )))
    }

    fn position(&self, step: &str) -> Result<usize, RuleError> {
        self.run.plan.position(step).ok_or_else(|| {
            let known = self
                .run
                .plan
                .steps()
                .iter()
                .map(|plan| plan.id.as_str())
                .collect::<Vec<_>>()
                .join(", ");
            RuleError(format!(
                "run {} has no step {step}; it has {known}",
                self.run.id
            ))
        })
    }
}
