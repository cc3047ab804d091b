//! Dry run: the steps of a run as far as they are known before it runs. Writes nothing.

use serde_json::{Value, json};

use super::{Workflow, without_secrets};
use crate::expression::{self, ExpressionError, Scope};

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
    let Some(condition) = condition else {
        return Ok(WillRun::Yes);
    };
    if expression::condition_reads_steps(condition, scope)? {
        return Ok(WillRun::When(condition.to_owned()));
    }
    let is_true = expression::truthy(condition, scope)?;
    Ok(if is_true { WillRun::Yes } else { WillRun::No })
}

fn foresee(value: &Value, scope: &Scope) -> Result<Value, ExpressionError> {
    Ok(match value {
        Value::Array(items) => items
            .iter()
            .map(|item| foresee(item, scope))
            .collect::<Result<_, _>>()?,
        Value::Object(fields) => fields
            .iter()
            .map(|(name, field)| Ok((name.clone(), foresee(field, scope)?)))
            .collect::<Result<_, ExpressionError>>()?,
        other if expression::reads_steps(other, scope)? => other.clone(),
        other => expression::render_value(other, scope)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The dry run of a step behind the steps `a` and `get-it`.
    fn last_step(step: Value) -> DryRunStep {
        let workflow = json!({
            "workflow": "w",
            "parameters": { "properties": { "name": {}, "count": {} } },
            "steps": [
                { "id": "a", "action": "test.work" },
                { "id": "get-it", "action": "test.work" },
                step,
            ],
        });
        let workflow = Workflow::from_json(&workflow.to_string()).unwrap();
        let parameters = json!({ "name": "shop", "count": 3 });
        let mut steps = workflow.dry_run(parameters, None).unwrap();
        steps.pop().unwrap()
    }

    #[test]
    fn input_is_rendered_unless_it_reads_a_step() {
        let check = |with: Value, expect: Value| {
            let step = json!({ "id": "s", "action": "test.work", "with": { "x": with } });
            assert_eq!(last_step(step).with, json!({ "x": expect }), "{with}");
        };
        let unchanged = |with: Value| check(with.clone(), with);
        check(
            json!("echo ${{ parameters.name }} > steps.txt"),
            json!("echo shop > steps.txt"),
        );
        check(json!("${{ 'steps.a' }}"), json!("steps.a"));
        check(json!("${{ parameters['count'] }}"), json!(3));
        unchanged(json!("cat steps.txt"));
        unchanged(json!("${{ steps.a.output.n }}"));
        unchanged(json!("${{ steps['a'].output.n }}"));
        unchanged(json!("${{ steps.get-it.output.n }}"));
        unchanged(json!(
            "${{ steps [ 'a' ].status }} of ${{ parameters.name }}"
        ));
        unchanged(json!("${{ toJSON(steps) }}"));
        unchanged(json!("${{ parameters.count-steps.a.output.n }}"));
        check(
            json!([{ "a": "${{ parameters.name }}/steps.txt", "b": "${{ steps['a'].output }}" }]),
            json!([{ "a": "shop/steps.txt", "b": "${{ steps['a'].output }}" }]),
        );
    }

    #[test]
    fn a_condition_is_decided_unless_it_reads_a_step() {
        let check = |condition: &str, expect: WillRun| {
            let step = json!({ "id": "s", "action": "test.work", "if": condition });
            assert_eq!(last_step(step).runs, expect, "{condition}");
        };
        let open = |condition: &str| check(condition, WillRun::When(condition.to_owned()));
        check("parameters.name == 'shop'", WillRun::Yes);
        check("${{ parameters.name == 'steps.txt' }}", WillRun::No);
        open("steps.a.status == 'completed'");
        open("${{ steps['a'].output.n == 1 }}");
        open("contains(toJSON(steps), parameters.name)");
    }
}
