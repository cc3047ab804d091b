//! Dry run: the steps of a run as far as they are known before it runs. Writes nothing.

use serde_json::{Value, json};

use super::{Workflow, without_secrets};
use crate::expression::{ExpressionError, Scope, render_value, truthy};

/// A step as it would be run.
#[derive(Clone, Debug, PartialEq)]
pub struct DryRunStep {
    /// [`super::StepPlan::id`].
    pub id: String,
    /// [`super::StepPlan::title`].
    pub title: String,
    /// [`super::StepPlan::action`].
    pub action: String,
    /// Decision if the step runs.
    pub runs: WillRun,
    /// Input of its handler; parts that depend on earlier steps keep their expressions.
    pub with: Value,
}

/// Decision if a step runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WillRun {
    /// It runs.
    Yes,
    /// Its condition gives false.
    No,
    /// Its condition, which depends on what earlier steps give.
    When(String),
}

/// Why nothing can be foreseen of a step.
#[derive(Debug, thiserror::Error)]
#[error("step {step}, field {field}: {error}")]
pub struct DryRunError {
    /// The step's id.
    pub step: String,
    /// `with` or `if`.
    pub field: &'static str,
    /// Error of its expression.
    #[source]
    pub error: ExpressionError,
}

impl Workflow {
    /// Renders every step for these parameters, which [`Workflow::check_parameters`] gave. Secret
    /// ones are replaced: what is foreseen is for people.
    ///
    /// # Errors
    /// Names the step whose expression has no value.
    pub fn dry_run(
        &self,
        parameters: Value,
        key: Option<&str>,
    ) -> Result<Vec<DryRunStep>, DryRunError> {
        let run = json!({ "id": "(the run's id)", "workflow": self.name(), "key": key });
        let parameters = without_secrets(self.parameters(), &parameters);
        let scope = Scope {
            parameters,
            run,
            ..Scope::default()
        };
        self.steps()
            .iter()
            .map(|step| {
                let wrong = |field| {
                    move |error| DryRunError {
                        step: step.id.clone(),
                        field,
                        error,
                    }
                };
                Ok(DryRunStep {
                    id: step.id.clone(),
                    title: step.title.clone(),
                    action: step.action.clone(),
                    runs: runs(step.condition.as_deref(), &scope).map_err(wrong("if"))?,
                    with: foresee(&step.with, &scope).map_err(wrong("with"))?,
                })
            })
            .collect()
    }
}

fn runs(condition: Option<&str>, scope: &Scope) -> Result<WillRun, ExpressionError> {
    match condition {
        None => Ok(WillRun::Yes),
        Some(text) if text.contains("steps.") => Ok(WillRun::When(text.to_owned())),
        Some(text) => truthy(text, scope).map(|runs| if runs { WillRun::Yes } else { WillRun::No }),
    }
}

fn foresee(value: &Value, scope: &Scope) -> Result<Value, ExpressionError> {
    Ok(match value {
        Value::String(text) if text.contains("steps.") => value.clone(),
        Value::Array(items) => items
            .iter()
            .map(|item| foresee(item, scope))
            .collect::<Result<_, _>>()?,
        Value::Object(fields) => {
            let field =
                |(name, field): (&String, &Value)| Ok((name.clone(), foresee(field, scope)?));
            fields
                .iter()
                .map(field)
                .collect::<Result<_, ExpressionError>>()?
        }
        other => render_value(other, scope)?,
    })
}
