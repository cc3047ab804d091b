//! Invariants of a run's rows, and of their changes.

use surefoot::state::{CancelMode, Edit, StepState, Undo, Wait};
use surefoot::{Run, RunStatus, StepStatus};

/// Cause of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    Submit,
    Claim,
    Commit,
    /// Its worker was taken for dead, or took its leave.
    Lost,
    /// A person retried it.
    Retry,
    /// A person cancelled it or answered it.
    Person,
}

macro_rules! hold {
    ($($holds:expr => $what:expr,)+) => {
        $(if !$holds { return Err(format!("{}", $what)); })+
    };
}

/// The invariants of `docs/state-machine.md`.
pub(crate) fn check(run: &Run) -> Result<(), String> {
    let head = &run.head;
    let running = head.status == RunStatus::Running;
    let ended = head.status.is_ended();
    let under_way =
        |step: &&StepState| matches!(step.status, StepStatus::Running | StepStatus::Waiting);
    let open = run.steps.iter().filter(under_way).count();
    let asks = run
        .steps
        .iter()
        .any(|step| matches!(step.wait, Some(Wait::Approval | Wait::Interrupted)));
    hold! {
        running == head.worker.is_some() => "a worker holds a run exactly while it runs",
        !running || head.epoch > 0 && head.started_at.is_some() => "it runs under a lease",
        ended == head.completed_at.is_some() => "it has an end exactly when it has ended",
        head.status != RunStatus::Queued || head.available_at.is_some() => "a queued run can be taken at some time",
        matches!(head.status, RunStatus::Queued | RunStatus::Waiting) || head.available_at.is_none()
            => "who runs or has ended cannot be taken",
        head.status != RunStatus::Waiting || head.available_at.is_some() || asks
            => "who waits for no time waits for a person",
        (head.progress == 100) == (head.status == RunStatus::Completed) => "100 % is completed",
        head.status != RunStatus::Completed || run.next_step().is_none() => "completed is every step",
        !ended || head.cancel.is_none() || head.status == RunStatus::Failed => "an end carries the cancel out",
        open <= usize::from(!ended) => format!("{open} steps are under way in a run that is {}", head.status),
    }
    run.steps
        .iter()
        .zip(run.plan.steps())
        .try_for_each(|(step, plan)| {
            check_step(step, plan, running).map_err(|what| format!("step {}: {what}", plan.id))
        })
}

fn check_step(step: &StepState, plan: &surefoot::StepPlan, running: bool) -> Result<(), String> {
    let ended = matches!(
        step.status,
        StepStatus::Completed | StepStatus::Failed | StepStatus::Skipped
    );
    hold! {
        step.status != StepStatus::Running || running => "a step runs only while its run does",
        step.status != StepStatus::Running || step.attempt > 0 && step.started_at.is_some() => "it runs, and never began",
        (step.status == StepStatus::Waiting) == step.wait.is_some() => "who waits, waits for something",
        ended == step.completed_at.is_some() => "it has an end exactly when it has ended",
        step.attempt <= plan.retry.attempts => format!("attempt {} of {}", step.attempt, plan.retry.attempts),
        step.crashes <= plan.max_interruptions + 1 => format!("crashed alone {} times", step.crashes),
        step.crashes <= plan.max_interruptions
            || step.status == StepStatus::Failed || step.undo == Some(Undo::Failed)
            => "it is past its cap of interruptions, and has not failed",
    }
    Ok(())
}

/// Checks the change from `before` to `after`: no completed step restarts, and only a failure
/// spends an attempt.
pub(crate) fn check_change(before: &Run, after: &Run, cause: Cause) -> Result<(), String> {
    let old = &before.head;
    let new = &after.head;
    let claims = u64::from(cause == Cause::Claim);
    hold! {
        new.epoch == old.epoch + claims => format!("the epoch goes from {} to {}", old.epoch, new.epoch),
        old.started_at.is_none() || new.started_at == old.started_at => "its first start is forgotten",
        !old.status.is_ended() || matches!(cause, Cause::Retry | Cause::Person) => "it goes on after its end",
        !(cause == Cause::Commit && old.cancel.is_some() && new.cancel.is_none()) || new.status.is_ended()
            => "a worker takes back what a person asked",
        !(cause == Cause::Commit && old.cancel == Some(CancelMode::Undo) && new.status.is_ended())
            || new.cancel.is_some() || new.status == RunStatus::Cancelled && Edit::next_undo(after).is_none()
            => "an undo that a person asked for is forgotten",
    }
    for ((old, new), plan) in before
        .steps
        .iter()
        .zip(&after.steps)
        .zip(before.plan.steps())
    {
        check_step_change(old, new, cause).map_err(|what| format!("step {}: {what}", plan.id))?;
    }
    Ok(())
}

fn check_step_change(old: &StepState, new: &StepState, cause: Cause) -> Result<(), String> {
    if cause == Cause::Retry {
        return Ok(());
    }
    let kept = StepState {
        undo: new.undo,
        undo_note: new.undo_note.clone(),
        error: new.error.clone(),
        interruptions: new.interruptions,
        crashes: new.crashes,
        isolation: new.isolation,
        ..old.clone()
    };
    let same_attempt = matches!(
        old.wait,
        Some(Wait::Worker | Wait::Timer | Wait::Interrupted | Wait::Approval)
    ) || old.status == StepStatus::Running;
    let more = new.attempt.wrapping_sub(old.attempt);
    let interrupted = new.interruptions.wrapping_sub(old.interruptions);
    hold! {
        old.status != StepStatus::Completed || *new == kept => format!("it is completed, and now {}", new.status),
        more <= 1 => format!("from attempt {} to {}", old.attempt, new.attempt),
        more == 0 || !same_attempt => format!("it spends an attempt, having waited for {:?}", old.wait),
        more == 0 || new.status != StepStatus::Pending => "it spends an attempt, and does not run",
        interrupted <= 1 => format!("from {} interruptions to {}", old.interruptions, new.interruptions),
        interrupted == 0 || more == 0 => "an interruption spends an attempt",
        interrupted == 0 || old.status == StepStatus::Running || old.undo == Some(Undo::Running)
            => "what did not run is interrupted",
        interrupted == 0 || matches!(cause, Cause::Lost | Cause::Commit) => "it is interrupted without a cause",
    }
    Ok(())
}
