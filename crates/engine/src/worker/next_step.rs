//! The next step of a run: skips steps whose condition is false, then starts the next or completes
//! the run.

use serde_json::Value;

use crate::expression;
use crate::state::{Edit, RuleError, StepStatus};

/// Result of advancing a run.
#[derive(Debug, PartialEq)]
pub(crate) enum NextStep {
    /// The step at `position` starts with this input.
    Attempt { position: usize, input: Value },
    /// The run ends with this commit.
    Ended,
}

/// Advances the run in `edit`. `parameters` are those that its handlers see.
pub(crate) fn advance(edit: &mut Edit, parameters: &Value) -> Result<NextStep, RuleError> {
    while let Some(position) = edit.run().next_step() {
        match prepare(edit, position, parameters) {
            Ok(Some(input)) => {
                edit.start_step(position)?;
                return Ok(NextStep::Attempt { position, input });
            }
            Ok(None) => edit.skip_step(position, "its condition gave false")?,
            Err(error) => {
                edit.start_step(position)?;
                edit.fail_step(position, &error.to_string())?;
                return Ok(NextStep::Ended);
            }
        }
    }
    edit.complete_run()?;
    Ok(NextStep::Ended)
}

/// Advances a claimed run, and checks its parameters first if it is new.
///
/// A run that did not come from a [`crate::Client`] may have unchecked parameters. A run that has
/// begun was checked when it did.
pub(crate) fn advance_claimed(edit: &mut Edit, parameters: &Value) -> Result<NextStep, RuleError> {
    let run = edit.run();
    let is_new = run
        .steps
        .iter()
        .all(|step| step.status == StepStatus::Pending && step.attempt == 0);
    if is_new && let Err(errors) = run.plan.check_parameters(parameters.clone()) {
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        edit.fail_step(0, &errors.join("; "))?;
        return Ok(NextStep::Ended);
    }
    advance(edit, parameters)
}

/// Renders the input of a step; `None` when its condition is false. The condition of a step that
/// has begun before is not evaluated again.
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
    if run.steps[position].attempt == 0
        && let Some(condition) = &plan.condition
        && !expression::truthy(condition, &scope)?
    {
        return Ok(None);
    }
    expression::render_value(&plan.with, &scope).map(Some)
}

/// Renders the input of a step that is already running.
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
