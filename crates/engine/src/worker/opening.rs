//! What comes next in a run: skips the steps whose condition gives false, and starts the next or completes the run.

use serde_json::Value;

use crate::expression;
use crate::state::{Edit, RuleError, StepStatus};

/// What the next commit opens.
#[derive(Debug, PartialEq)]
pub(crate) enum Opening {
    /// An attempt of the step at `position`, with this input.
    Attempt { position: usize, input: Value },
    /// Nothing: the run has ended with this commit.
    Ended,
}

/// Applies to `edit` what comes next. `parameters` are those of the run as its handlers see them.
pub(crate) fn open(edit: &mut Edit, parameters: &Value) -> Result<Opening, RuleError> {
    while let Some(position) = edit.run().next_step() {
        match prepare(edit, position, parameters) {
            Ok(Some(input)) => {
                edit.start_step(position)?;
                return Ok(Opening::Attempt { position, input });
            }
            Ok(None) => edit.skip_step(position, "its condition gave false")?,
            Err(error) => {
                edit.start_step(position)?;
                edit.fail_step(position, &error.to_string())?;
                return Ok(Opening::Ended);
            }
        }
    }
    edit.complete_run()?;
    Ok(Opening::Ended)
}

/// The same for a run that a claim has brought: one that was not submitted by a [`crate::Client`] has parameters that nobody
/// may have checked. A run that has begun was checked when it did.
pub(crate) fn open_claimed(edit: &mut Edit, parameters: &Value) -> Result<Opening, RuleError> {
    let run = edit.run();
    let is_new = run
        .steps
        .iter()
        .all(|step| step.status == StepStatus::Pending && step.attempt == 0);
    if is_new && let Err(errors) = run.plan.check_parameters(parameters.clone()) {
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        edit.fail_step(0, &errors.join("; "))?;
        return Ok(Opening::Ended);
    }
    open(edit, parameters)
}

/// The input of a step, or `None` when its condition gives false. A step that began before is not asked again.
fn prepare(
    edit: &Edit,
    position: usize,
    parameters: &Value,
) -> Result<Option<Value>, expression::ExpressionError> {
    let run = edit.run();
    let plan = &run.plan.steps()[position];
    if plan.condition.is_none() && !expression::mentions(&plan.with) {
        return Ok(Some(plan.with.clone()));
    }
    let scope = run.scope(position, parameters.clone());
    if let Some(condition) = plan
        .condition
        .as_deref()
        .filter(|_| run.steps[position].attempt == 0)
        && !expression::truthy(condition, &scope)?
    {
        return Ok(None);
    }
    expression::render_value(&plan.with, &scope).map(Some)
}

/// The input of a step that is already running.
pub(crate) fn input_of(
    run: &crate::Run,
    position: usize,
    parameters: &Value,
) -> Result<Value, expression::ExpressionError> {
    expression::render_value(
        &run.plan.steps()[position].with,
        &run.scope(position, parameters.clone()),
    )
}
