//! A run and its steps as they stand.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{CancelMode, Edit, Lease, RunStatus, StepStatus, Undo, Wait};
use crate::expression::{self, Scope, StepScope};
use crate::workflow::without_secrets;
use crate::{Digest, RunId, SealError, Sealed, SecretKeys, Timestamp, WorkerId, Workflow};

/// A durable execution of a workflow.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Permanent id.
    pub id: RunId,
    /// The workflow as it was when the run was submitted.
    pub plan: Arc<Workflow>,
    /// Its parameters, checked and with defaults. Those that are secret are replaced, and stand in
    /// [`Self::sealed`]; in a run that was submitted within a database they stand here.
    pub parameters: Value,
    /// Its secret parameters, encrypted.
    pub sealed: Option<Sealed>,
    /// The submitter's idempotency key; unique among the workflow's runs that are not cancelled.
    pub key: Option<String>,
    /// The value of [`Workflow::unique`] for this run; unique in the same way.
    pub unique: Option<String>,
    /// Runs with a higher priority start first.
    pub priority: i32,
    /// Runs with the same one count against [`crate::QueueLimits::concurrency_per_key`].
    pub concurrency_key: Option<String>,
    /// The resources that a worker must offer to take it: a local forge, a key. A step may change
    /// them.
    pub requires: BTreeSet<String>,
    /// When it was submitted.
    pub created_at: Timestamp,
    /// Why this build cannot read the run, if it cannot. What cannot be read is then empty: the
    /// plan has the names of the steps only.
    pub unreadable: Option<String>,
    /// The part that changes.
    pub head: Head,
    /// Its steps, in the plan's order.
    pub steps: Vec<StepState>,
}

/// The part of a run that changes: one row.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// Status of the run.
    pub status: RunStatus,
    /// 0 to 100, by the weight of the steps.
    pub progress: u8,
    /// Why it failed or was cancelled.
    pub error: Option<String>,
    /// When a worker first took it.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
    /// A queued or waiting run may be taken from this time on; `None` while it waits for a person,
    /// runs or has ended.
    pub available_at: Option<Timestamp>,
    /// The worker that holds it.
    pub worker: Option<WorkerId>,
    /// Counts the leases on this run; a write under an older one is refused.
    pub epoch: u64,
    /// Counts the commits of the holders of its leases, over all leases. Each commit has the number
    /// after the one that it follows, so that one which was long on its way is known for what it
    /// is; see [`super::Edit::finish_as_holder`].
    pub commits: u64,
    /// A person's cancel that has not been carried out.
    pub cancel: Option<CancelMode>,
}

/// A step of a run, stored as one row.
#[derive(Clone, Debug, PartialEq)]
pub struct StepState {
    /// Status of the step.
    pub status: StepStatus,
    /// 0 to 100, as its handler says.
    pub progress: u8,
    /// Last message of its handler.
    pub message: Option<String>,
    /// The number of the current or last attempt; 0 before the first.
    pub attempt: u32,
    /// Number of interruptions since it was last reset.
    pub interruptions: u32,
    /// Number of times its worker crashed while it, or its undo, was the only one in flight there:
    /// what the cap counts.
    pub crashes: u32,
    /// Number of steps that may be in flight in its worker while it runs, itself included; 1 is
    /// alone. Set when its worker crashed with several in flight ([`Self::SUSPECT`] at first), and
    /// smaller with each such crash; `None` once its handler or undo has returned.
    pub isolation: Option<u32>,
    /// Number of times this attempt was deferred because something that it needs was unavailable.
    pub deferrals: u32,
    /// When its first attempt began.
    pub started_at: Option<Timestamp>,
    /// When it completed, failed or was skipped.
    pub completed_at: Option<Timestamp>,
    /// Why the last attempt failed, or what a deferred one waits for.
    pub error: Option<String>,
    /// Output of the step.
    pub output: Option<Value>,
    /// Reason why a waiting step waits.
    pub wait: Option<Wait>,
    /// A handler's note to its next attempt.
    pub checkpoint: Option<Value>,
    /// A person's answer to the handler's question: `{"answer", "by", "note"}`.
    pub answer: Option<Value>,
    /// A person's answer to the last interruption, in the same form. It never counts as an
    /// approval.
    pub decision: Option<Value>,
    /// The workspace as the completed step left it.
    pub snapshot: Option<Digest>,
    /// Progress of its undo.
    pub undo: Option<Undo>,
    /// Things that the undo removed, or that it kept and why.
    pub undo_note: Option<String>,
}

impl StepState {
    /// [`Self::isolation`] after one crash beside others: most crashes are no step's fault, so
    /// nothing is limited yet.
    pub const SUSPECT: u32 = u32::MAX;

    /// A step whose turn has not come.
    pub const fn pending() -> Self {
        Self {
            status: StepStatus::Pending,
            progress: 0,
            message: None,
            attempt: 0,
            interruptions: 0,
            crashes: 0,
            isolation: None,
            deferrals: 0,
            started_at: None,
            completed_at: None,
            error: None,
            output: None,
            wait: None,
            checkpoint: None,
            answer: None,
            decision: None,
            snapshot: None,
            undo: None,
            undo_note: None,
        }
    }

    /// Reason for which a deferred step waits; `None` when it is not deferred.
    pub fn deferred_for(&self) -> Option<&str> {
        let is_deferred = self.wait == Some(super::Wait::Timer) && self.deferrals > 0;
        if is_deferred {
            self.error.as_deref()
        } else {
            None
        }
    }
}

impl StepState {
    /// Number of steps that may be in flight in its worker while it runs, itself included, when
    /// that is limited.
    pub fn isolation_limit(&self) -> Option<u32> {
        self.isolation.filter(|limit| *limit != Self::SUSPECT)
    }

    /// Returns whether the step may have made something that no undo has looked at yet.
    pub fn remains(&self) -> bool {
        self.started_at.is_some() && !matches!(self.undo, Some(Undo::Done | Undo::Kept))
    }
}

impl Run {
    /// A run that is queued from `available_at` on.
    pub fn new(
        id: RunId,
        plan: Arc<Workflow>,
        parameters: Value,
        now: Timestamp,
        available_at: Timestamp,
    ) -> Self {
        let steps = vec![StepState::pending(); plan.steps().len()];
        let head = Head {
            status: RunStatus::Queued,
            progress: 0,
            error: None,
            started_at: None,
            completed_at: None,
            available_at: Some(available_at),
            worker: None,
            epoch: 0,
            commits: 0,
            cancel: None,
        };
        Self {
            id,
            plan,
            parameters,
            sealed: None,
            key: None,
            unique: None,
            priority: 0,
            concurrency_key: None,
            requires: BTreeSet::new(),
            created_at: now,
            unreadable: None,
            head,
            steps,
        }
    }

    /// The queue it waits in.
    pub fn queue(&self) -> &str {
        self.plan.queue()
    }

    /// The first step that the run has not passed.
    pub fn next_step(&self) -> Option<usize> {
        self.steps.iter().position(|step| !step.status.is_passed())
    }

    /// The step whose handler or undo the run's worker has called.
    pub fn in_flight(&self) -> Option<usize> {
        if self.head.status != RunStatus::Running {
            return None;
        }
        let undoing = self.head.cancel == Some(CancelMode::Undo);
        let running = |step: &StepState| step.status == StepStatus::Running;
        let undone = |step: &StepState| undoing && step.undo == Some(Undo::Running);
        self.steps
            .iter()
            .position(undone)
            .or_else(|| self.steps.iter().position(running))
    }

    /// [`StepState::isolation_limit`] of the step in flight, or of the one that the run goes on
    /// with.
    pub fn isolation(&self) -> Option<u32> {
        if let Some(position) = self.in_flight() {
            return self.steps[position].isolation_limit();
        }
        let undoing = self.head.cancel == Some(CancelMode::Undo);
        let next = if undoing {
            Edit::next_undo(self)
        } else {
            self.next_step()
        };
        // An undo that has not begun is no suspect: what the step did counts against the step.
        let step = &self.steps[next?];
        if undoing && step.undo != Some(Undo::Interrupted) {
            None
        } else {
            step.isolation_limit()
        }
    }

    /// The step that waits for a person's answer, and the kind of answer; `None` once that is
    /// given.
    pub fn asks(&self) -> Option<(usize, Wait)> {
        if self.head.status != RunStatus::Waiting || self.head.available_at.is_some() {
            return None;
        }
        let asked = |step: &StepState| {
            step.wait
                .filter(|wait| matches!(wait, Wait::Approval | Wait::Interrupted))
        };
        self.steps
            .iter()
            .enumerate()
            .find_map(|(position, step)| Some((position, asked(step)?)))
    }

    /// The lease under which `worker` holds it.
    pub fn lease(&self) -> Option<Lease> {
        self.head.worker.map(|worker| Lease {
            run: self.id,
            worker,
            epoch: self.head.epoch,
        })
    }

    /// The newest snapshot of the workspace before the step at `position`.
    pub fn snapshot_before(&self, position: usize) -> Option<Digest> {
        self.steps[..position]
            .iter()
            .rev()
            .find_map(|step| step.snapshot)
    }

    /// Scope of the expressions of the step at `position` with these parameters; past the last
    /// step, what the run's output sees.
    pub(crate) fn scope(&self, position: usize, parameters: Value) -> Scope {
        let seen = |(plan, step): (&crate::StepPlan, &StepState)| {
            let output = step.output.clone().unwrap_or(Value::Null);
            (
                plan.id.clone(),
                StepScope {
                    status: step.status.as_str(),
                    output,
                },
            )
        };
        Scope {
            parameters,
            steps: self
                .plan
                .steps()
                .iter()
                .zip(&self.steps)
                .take(position)
                .map(seen)
                .collect(),
            run: json!({ "id": self.id.to_string(), "workflow": self.plan.name(), "key": self.key }),
        }
    }

    /// Encrypts the secret parameters, and requires their key of every worker.
    pub(crate) fn seal(&mut self, keys: Option<&SecretKeys>) -> Result<(), SealError> {
        if !self.plan.has_secret_parameters() {
            return Ok(());
        }
        let shown = without_secrets(self.plan.parameters(), &self.parameters);
        if shown == self.parameters {
            return Ok(());
        }
        let keys = keys.ok_or(SealError::NoKeys)?;
        self.sealed = keys.seal(self.id, self.plan.parameters(), &self.parameters)?;
        self.parameters = shown;
        self.requires
            .extend(self.sealed.as_ref().map(Sealed::resource));
        Ok(())
    }

    /// Its parameters as they are shown: secret ones are replaced.
    pub fn shown_parameters(&self) -> Value {
        if self.sealed.is_none() && self.plan.has_secret_parameters() {
            return without_secrets(self.plan.parameters(), &self.parameters);
        }
        self.parameters.clone()
    }

    /// Input of the step at `position`, with secret parameters replaced; `None` if the step has not
    /// started.
    pub fn shown_input(&self, position: usize) -> Option<Value> {
        self.steps.get(position)?.started_at?;
        self.shown(&self.plan.steps().get(position)?.with, position)
    }

    /// Output of a completed run, by [`Workflow::output`]; null when there is none, or it has not
    /// completed.
    pub fn output(&self) -> Value {
        if self.head.status != RunStatus::Completed || self.plan.output().is_null() {
            return Value::Null;
        }
        self.shown(self.plan.output(), self.steps.len())
            .unwrap_or_default()
    }

    /// A value with expressions as the step at `position` sees it, with secret parameters replaced.
    fn shown(&self, value: &Value, position: usize) -> Option<Value> {
        let scope = self.scope(position, self.shown_parameters());
        expression::render_value(value, &scope).ok()
    }

    /// Progress by weight: passed steps count in full, the running one by its own progress.
    pub(super) fn weigh(&self) -> u8 {
        let total: u64 = self
            .plan
            .steps()
            .iter()
            .map(|plan| u64::from(plan.weight))
            .sum();
        let done: u64 = self
            .plan
            .steps()
            .iter()
            .zip(&self.steps)
            .map(|(plan, step)| {
                let share = if step.status.is_passed() {
                    100
                } else {
                    u64::from(step.progress.min(100))
                };
                u64::from(plan.weight) * share
            })
            .sum();
        u8::try_from(done.checked_div(total).unwrap_or(0)).unwrap_or(100)
    }
}
