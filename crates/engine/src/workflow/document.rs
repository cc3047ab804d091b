//! The workflow file: its fields, read from YAML or JSON and written back as JSON.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Backoff, OnInterrupt, RetryPolicy, StepPlan, Workflow, WorkflowError, check, title_of,
    yaml_numbers,
};
use crate::{Digest, format_duration, parse_duration};

/// The file as it is written. Every field that it may have is here; any other is refused.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    pub(super) workflow: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) queue: Option<String>,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub(super) parameters: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) unique: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) requires: Vec<String>,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub(super) output: Value,
    pub(super) steps: Vec<Step>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    action: String,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    with: Value,
    #[serde(default, rename = "if", skip_serializing_if = "Option::is_none")]
    condition: Option<Condition>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    weight: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry: Option<Retry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    on_interrupt: Option<Interrupt>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_interruptions: Option<u32>,
}

/// `if: true` and `if: ${{ parameters.gitops }}` are both what people write.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Condition {
    Constant(bool),
    Expression(String),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Retry {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attempts: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    backoff: Option<Wait>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wait {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exponential: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fixed: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jitter: Option<f64>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Interrupt {
    Rerun,
    Ask,
    Fail,
}

pub(super) fn from_yaml(text: &str) -> Result<Workflow, WorkflowError> {
    // `y`, `no` and `on` are words, as YAML 1.2 has it; only `true` and `false` are not.
    let options = serde_saphyr::options! { with_snippet: false, strict_booleans: true };
    let document =
        serde_saphyr::from_str_with_options::<Document>(text, options).map_err(syntax)?;
    yaml_numbers::check(text)?;
    build(document)
}

pub(super) fn from_json(text: &str) -> Result<Workflow, WorkflowError> {
    let document =
        serde_json::from_str::<Document>(text).map_err(|error| WorkflowError::Syntax {
            line: error.line() as u64,
            column: error.column() as u64,
            message: error.to_string(),
        })?;
    build(document)
}

fn syntax(error: serde_saphyr::Error) -> WorkflowError {
    let place = error.location();
    // The message may carry its own " at line 3, column 5"; we say it once, in front.
    let message = error.to_string();
    let message = message
        .split(" at line ")
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned();
    WorkflowError::Syntax {
        line: place.map_or(1, |at| at.line()),
        column: place.map_or(1, |at| at.column()),
        message,
    }
}

/// Makes the workflow of a document and checks that it holds together.
pub(super) fn build(document: Document) -> Result<Workflow, WorkflowError> {
    let mut steps = Vec::with_capacity(document.steps.len());
    for step in document.steps {
        steps.push(step.plan()?);
    }
    finish(Workflow {
        queue: document.queue.unwrap_or_else(|| document.workflow.clone()),
        name: document.workflow,
        title: document.title,
        description: document.description,
        parameters: document.parameters,
        validator: check::Validator::default(),
        unique: document.unique,
        requires: document.requires,
        output: document.output,
        steps,
        json: "".into(),
        format: Workflow::FORMAT,
        digest: Digest::of(b""),
    })
}

/// Checks a workflow and gives it its JSON and digest.
pub(super) fn finish(mut workflow: Workflow) -> Result<Workflow, WorkflowError> {
    if workflow.parameters.is_null() {
        workflow.parameters = json!({ "type": "object" });
    }
    check::workflow(&workflow)?;
    let json = serde_json::to_string(&Document::of(&workflow))
        .map_err(|error| WorkflowError::invalid("workflow", error.to_string()))?;
    workflow.digest = Digest::of(json.as_bytes());
    workflow.json = json.into();
    Ok(workflow)
}

impl Document {
    fn of(workflow: &Workflow) -> Self {
        Self {
            workflow: workflow.name.clone(),
            title: workflow.title.clone(),
            description: workflow.description.clone(),
            queue: Some(workflow.queue.clone()),
            parameters: workflow.parameters.clone(),
            unique: workflow.unique.clone(),
            requires: workflow.requires.clone(),
            output: workflow.output.clone(),
            steps: workflow.steps.iter().map(Step::of).collect(),
        }
    }
}

impl Step {
    fn plan(self) -> Result<StepPlan, WorkflowError> {
        let place = |field: &str| format!("step {}, field {field}", self.id);
        let duration = |field: &str, text: &str| {
            parse_duration(text)
                .map_err(|error| WorkflowError::invalid(place(field), error.to_string()))
        };
        Ok(StepPlan {
            title: self.title.unwrap_or_else(|| title_of(&self.id)),
            timeout: self
                .timeout
                .as_deref()
                .map(|text| duration("timeout", text))
                .transpose()?,
            retry: self.retry.map_or(Ok(RetryPolicy::default()), |retry| {
                retry.policy(duration, &place)
            })?,
            condition: self.condition.map(|condition| match condition {
                Condition::Constant(constant) => constant.to_string(),
                Condition::Expression(text) => text,
            }),
            weight: self.weight.unwrap_or(1),
            on_interrupt: match self.on_interrupt {
                None | Some(Interrupt::Rerun) => OnInterrupt::Rerun,
                Some(Interrupt::Ask) => OnInterrupt::Ask,
                Some(Interrupt::Fail) => OnInterrupt::Fail,
            },
            max_interruptions: self
                .max_interruptions
                .unwrap_or(StepPlan::MAX_INTERRUPTIONS),
            action: self.action,
            with: self.with,
            id: self.id,
        })
    }

    fn of(plan: &StepPlan) -> Self {
        let backoff = &plan.retry.backoff;
        let initial = Some(format_duration(backoff.initial));
        Self {
            id: plan.id.clone(),
            title: Some(plan.title.clone()),
            action: plan.action.clone(),
            with: plan.with.clone(),
            condition: plan.condition.clone().map(Condition::Expression),
            weight: Some(plan.weight),
            retry: Some(Retry {
                attempts: Some(plan.retry.attempts),
                backoff: Some(Wait {
                    exponential: initial.clone().filter(|_| backoff.factor > 1),
                    fixed: initial.filter(|_| backoff.factor <= 1),
                    max: Some(format_duration(backoff.max)),
                    jitter: Some(backoff.jitter),
                }),
            }),
            timeout: plan.timeout.map(format_duration),
            on_interrupt: Some(match plan.on_interrupt {
                OnInterrupt::Rerun => Interrupt::Rerun,
                OnInterrupt::Ask => Interrupt::Ask,
                OnInterrupt::Fail => Interrupt::Fail,
            }),
            max_interruptions: Some(plan.max_interruptions),
        }
    }
}

impl Retry {
    fn policy(
        self,
        duration: impl Fn(&str, &str) -> Result<std::time::Duration, WorkflowError>,
        place: &impl Fn(&str) -> String,
    ) -> Result<RetryPolicy, WorkflowError> {
        let defaults = RetryPolicy::default();
        let attempts = self.attempts.unwrap_or(defaults.attempts);
        let Some(wait) = self.backoff else {
            return Ok(RetryPolicy {
                attempts,
                ..defaults
            });
        };
        let (initial, factor) = match (&wait.exponential, &wait.fixed) {
            (Some(_), Some(_)) => {
                let message = "has both `exponential` and `fixed`: keep one";
                return Err(WorkflowError::invalid(place("retry.backoff"), message));
            }
            (None, Some(text)) => (duration("retry.backoff.fixed", text)?, 1),
            (Some(text), None) => (duration("retry.backoff.exponential", text)?, 2),
            (None, None) => (defaults.backoff.initial, defaults.backoff.factor),
        };
        let max = match &wait.max {
            Some(text) => duration("retry.backoff.max", text)?,
            None => defaults.backoff.max.max(initial),
        };
        let jitter = wait.jitter.unwrap_or(defaults.backoff.jitter);
        Ok(RetryPolicy {
            attempts,
            backoff: Backoff {
                initial,
                factor,
                max,
                jitter,
            },
        })
    }
}
