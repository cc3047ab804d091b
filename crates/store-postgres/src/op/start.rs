//! Adds one run that starts at once, in the simplest case: the shortest way from a submission to
//! its handler.
//!
//! The statement for batches joins arrays and looks for existing runs; for a single submission that
//! cost the server more than the commit. This one adds a single run without a key or requirements,
//! of a plan in use, whose first step simply starts. If it adds nothing, for whatever reason, the
//! statement for batches decides.

use surefoot::StepStatus;
use surefoot::state::StepState;

use super::submit::{Start, Submit};
use crate::args::Args;
use crate::connect::Session;
use crate::failure::Failure;
use crate::row::{signed, uuid};
use crate::shared::Shared;

/// Returns whether the run was added and started.
pub(super) async fn starts(
    shared: &Shared,
    session: &Session,
    submit: &Submit,
) -> Result<bool, Failure> {
    let Some(start) = submit.started.as_ref() else {
        return Ok(false);
    };
    let Some(position) = first_step(start) else {
        return Ok(false);
    };
    // Other waiting runs would go first: the statement for batches ensures that, and this one would
    // be in vain.
    if !submit.is_plain() || shared.has_backlog() || !shared.plans.is_used(submit.plan_id) {
        return Ok(false);
    }
    let steps: Vec<&str> = submit
        .plan
        .steps()
        .iter()
        .map(|step| step.id.as_str())
        .collect();
    let args = Args::none()
        .with(uuid(submit.id.as_bytes()))
        .with(submit.plan_id)
        .with(submit.plan.name())
        .with(submit.plan.queue())
        .with(submit.priority)
        .with(submit.concurrency_key.as_deref())
        .with(submit.created_at.as_micros())
        .with(submit.parameters.as_str())
        .with(i16::from(start.written.head.progress))
        .with(uuid(start.lease.worker.as_bytes()))
        .with(signed(start.lease.epoch))
        .with(start.at.as_micros())
        .with(start.written.events.count)
        .with(submit.available_at.as_micros())
        .with(shared.now().as_micros())
        .with(start.written.events.body.as_str())
        .with_all(steps)
        .with(position);
    Ok(!session
        .rows((&shared.sql.start_run, args))
        .await?
        .is_empty())
}

/// The step that starts, if that is the only change of the steps.
fn first_step(start: &Start) -> Option<i16> {
    let [row] = &start.written.steps[..] else {
        return None;
    };
    let begun = StepState {
        status: StepStatus::Running,
        attempt: 1,
        started_at: Some(start.at),
        ..StepState::pending()
    };
    (*row.state() == begun).then(|| row.position())
}
