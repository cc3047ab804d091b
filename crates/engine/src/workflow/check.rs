//! Checks of a workflow before anything runs, and of the parameters of a run.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value};

use super::secrets::{marks_anything, secrets};
use super::{StepPlan, Workflow, WorkflowError};
use crate::expression::{self, KnownNames, Path};
use crate::limits::check_value;
use crate::{MAX_REQUIRED, validate};

/// A parameter that does not fit the workflow's schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("parameter {parameter}: {message}")]
pub struct ParameterError {
    /// The parameter, `environments/0/name` for one inside; `(all)` when no single one is at fault.
    pub parameter: String,
    /// Why it does not fit.
    pub message: String,
}

/// The most steps that a workflow may have; a position fits a byte's worth of rows without
/// surprise.
const MAX_STEPS: usize = 1000;

pub(super) fn workflow(workflow: &Workflow) -> Result<(), WorkflowError> {
    name("workflow", &workflow.name)?;
    name("queue", &workflow.queue)?;
    within_limits("field parameters", &workflow.parameters)?;
    within_limits("field output", &workflow.output)?;
    schema(&workflow.parameters)?;
    if workflow.steps.is_empty() || workflow.steps.len() > MAX_STEPS {
        let message = format!(
            "has {} steps: a workflow has 1 to {MAX_STEPS}",
            workflow.steps.len()
        );
        return Err(WorkflowError::invalid("steps", message));
    }
    let known = known_parameters(&workflow.parameters);
    let mut earlier = BTreeSet::new();
    for plan in &workflow.steps {
        step(plan, known.as_ref(), &earlier)?;
        if !earlier.insert(plan.id.as_str()) {
            return Err(WorkflowError::invalid(
                format!("step {}", plan.id),
                "another step has this id: give it one of its own",
            ));
        }
    }
    if let Some(unique) = &workflow.unique {
        references(
            "field unique",
            &Value::from(unique.as_str()),
            known.as_ref(),
            &BTreeSet::new(),
        )?;
    }
    if workflow.requires.len() > MAX_REQUIRED {
        let message = format!(
            "names {} resources: a workflow requires {MAX_REQUIRED} at most",
            workflow.requires.len()
        );
        return Err(WorkflowError::invalid("field requires", message));
    }
    references(
        "field requires",
        &Value::from(workflow.requires.clone()),
        known.as_ref(),
        &BTreeSet::new(),
    )?;
    references("field output", &workflow.output, known.as_ref(), &earlier)
}

fn step(
    plan: &StepPlan,
    parameters: Option<&BTreeSet<&str>>,
    earlier: &BTreeSet<&str>,
) -> Result<(), WorkflowError> {
    name("step", &plan.id)?;
    let place = |field: &str| format!("step {}, field {field}", plan.id);
    if plan.action.is_empty() {
        return Err(WorkflowError::invalid(
            place("action"),
            "is empty: name an action",
        ));
    }
    if plan.retry.attempts == 0 {
        return Err(WorkflowError::invalid(
            place("retry.attempts"),
            "is 0: a step has at least 1 attempt",
        ));
    }
    if !(0.0..=1.0).contains(&plan.retry.backoff.jitter) {
        return Err(WorkflowError::invalid(
            place("retry.backoff.jitter"),
            "is not between 0 and 1",
        ));
    }
    within_limits(&place("with"), &plan.with)?;
    references(&place("with"), &plan.with, parameters, earlier)?;
    match &plan.condition {
        Some(condition) => condition_references(&place("if"), condition, parameters, earlier),
        None => Ok(()),
    }
}

fn within_limits(place: &str, value: &Value) -> Result<(), WorkflowError> {
    check_value(value).map_err(|limit| WorkflowError::invalid(place, limit.to_string()))
}

/// Names are stored, shown in addresses and typed in shells.
fn name(what: &str, text: &str) -> Result<(), WorkflowError> {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    let begins = text.starts_with(|letter: char| letter.is_ascii_alphanumeric());
    if begins && text.len() <= 100 && text.chars().all(fits) {
        return Ok(());
    }
    let message =
        "is not a name: up to 100 letters, digits, `-`, `_` and `.`, the first a letter or a digit";
    Err(WorkflowError::invalid(format!("{what} `{text}`"), message))
}

/// The parameters that expressions may name; `None` when the schema takes any.
fn known_parameters(schema: &Value) -> Option<BTreeSet<&str>> {
    let properties = schema.get("properties")?.as_object()?;
    Some(properties.keys().map(String::as_str).collect())
}

fn references(
    place: &str,
    value: &Value,
    parameters: Option<&BTreeSet<&str>>,
    earlier: &BTreeSet<&str>,
) -> Result<(), WorkflowError> {
    let names = KnownNames {
        parameters,
        steps: earlier,
    };
    let used = expression::references(value, &names)
        .map_err(|error| WorkflowError::invalid(place, error.to_string()))?;
    used.iter()
        .try_for_each(|path| reference(place, path, parameters, earlier))
}

fn condition_references(
    place: &str,
    condition: &str,
    parameters: Option<&BTreeSet<&str>>,
    earlier: &BTreeSet<&str>,
) -> Result<(), WorkflowError> {
    let names = KnownNames {
        parameters,
        steps: earlier,
    };
    let used = expression::condition_references(condition, &names)
        .map_err(|error| WorkflowError::invalid(place, error.to_string()))?;
    used.iter()
        .try_for_each(|path| reference(place, path, parameters, earlier))
}

/// Refuses `parameters.nmae` and `steps.not_yet.output` when the workflow is read, not when the
/// step is reached.
fn reference(
    place: &str,
    path: &Path,
    parameters: Option<&BTreeSet<&str>>,
    earlier: &BTreeSet<&str>,
) -> Result<(), WorkflowError> {
    let mut parts = path.iter().map(String::as_str);
    let root = parts.next().unwrap_or_default();
    let first = parts.next();
    let path = path.join(".");
    let fault = match (root, first) {
        ("run", _) | ("parameters" | "steps", None) => None,
        ("parameters", Some(name)) => {
            parameters
                .filter(|known| !known.contains(name))
                .map(|known| {
                    format!(
                        "`{path}` names no parameter of this workflow; it has {}",
                        listed(known)
                    )
                })
        }
        ("steps", Some(name)) => (!earlier.contains(name)).then(|| {
            format!(
                "`{path}` names no step before this one; there is {}",
                listed(earlier)
            )
        }),
        _ => Some(format!(
            "`{path}` is not known here: expressions see `parameters`, `steps` and `run`"
        )),
    };
    fault.map_or(Ok(()), |message| {
        Err(WorkflowError::invalid(place, message))
    })
}

fn listed(names: &BTreeSet<&str>) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn schema(schema: &Value) -> Result<(), WorkflowError> {
    jsonschema::validator_for(schema)
        .map(drop)
        .map_err(|error| {
            let place = format!("field parameters{}", error.instance_path());
            WorkflowError::invalid(place, format!("is not a JSON Schema: {error}"))
        })
}

/// A workflow's schema made ready for use. Making it takes longer than using it, and a workflow is
/// used for many runs.
#[derive(Clone, Default)]
pub(super) struct Validator(Arc<OnceLock<jsonschema::Validator>>, Arc<OnceLock<bool>>);

impl Validator {
    fn of(&self, schema: &Value) -> Result<&jsonschema::Validator, Vec<ParameterError>> {
        if let Some(ready) = self.0.get() {
            return Ok(ready);
        }
        let made = jsonschema::validator_for(schema).map_err(|error| all(error.to_string()))?;
        Ok(self.0.get_or_init(|| made))
    }

    pub(super) fn marks_secrets(&self, schema: &Value) -> bool {
        *self.1.get_or_init(|| marks_anything(schema))
    }
}

/// It follows from the schema, which is compared itself.
impl PartialEq for Validator {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl std::fmt::Debug for Validator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Validator")
    }
}

fn all(message: String) -> Vec<ParameterError> {
    vec![ParameterError {
        parameter: "(all)".to_owned(),
        message,
    }]
}

/// Fills in defaults, then validates.
pub(super) fn parameters(
    schema: &Value,
    validator: &Validator,
    parameters: Value,
) -> Result<Value, Vec<ParameterError>> {
    check_value(&parameters).map_err(|limit| all(limit.to_string()))?;
    let mut parameters = match parameters {
        Value::Null => Value::Object(Map::new()),
        other => other,
    };
    defaults(schema, &mut parameters);
    if !parameters.is_object() {
        return Err(all(
            "parameters are an object, `{\"name\": \"value\"}`".to_owned()
        ));
    }
    let holds_nul = |parameter| ParameterError {
        parameter,
        message: "holds a NUL character, which no store keeps: take it out".to_owned(),
    };
    let errors: Vec<ParameterError> = validate::places(&parameters)
        .into_iter()
        .map(holds_nul)
        .collect();
    if !errors.is_empty() {
        return Err(errors);
    }
    let validator = validator.of(schema)?;
    // Asked first: it is the rule, and needs no list of errors.
    if validator.is_valid(&parameters) {
        return Ok(parameters);
    }
    let hidden: Vec<String> = secrets(schema, &parameters)
        .into_iter()
        .map(|(pointer, _)| pointer)
        .collect();
    Err(validator
        .iter_errors(&parameters)
        .map(|error| fault(&error, &hidden))
        .collect())
}

/// A default applies to an absent property of an object, at any depth where the object itself is
/// given.
fn defaults(schema: &Value, value: &mut Value) {
    let (Some(properties), Some(object)) = (
        schema.get("properties").and_then(Value::as_object),
        value.as_object_mut(),
    ) else {
        return;
    };
    for (name, property) in properties {
        match (object.get_mut(name), property.get("default")) {
            (Some(present), _) => defaults(property, present),
            (None, Some(default)) => drop(object.insert(name.clone(), default.clone())),
            (None, None) => {}
        }
    }
}

/// Converts a violation of the schema. Its message reaches answers, pages and the audit log, so it
/// quotes no secret value; `hidden` lists the paths of those.
fn fault(error: &jsonschema::ValidationError<'_>, hidden: &[String]) -> ParameterError {
    use jsonschema::error::ValidationErrorKind as Kind;
    let inside = error.instance_path().to_string();
    let holds = |outer: &str, inner: &str| {
        inner
            .strip_prefix(outer)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let quotes_secret = hidden
        .iter()
        .any(|secret| holds(&inside, secret) || holds(secret, &inside));
    let at = |name: &str| format!("{inside}/{name}").trim_matches('/').to_owned();
    let (parameter, message) = match error.kind() {
        Kind::Required { property } => (
            at(property.as_str().unwrap_or_default()),
            "is required".to_owned(),
        ),
        Kind::AdditionalProperties { unexpected } => (
            at(&unexpected.join(", ")),
            "is not a parameter of this workflow".to_owned(),
        ),
        // The schema library would quote the schema.
        Kind::Not { .. } if quotes_secret => (at(""), "the value is not allowed".to_owned()),
        Kind::Not { .. } => (at(""), format!("{} is not allowed", error.instance())),
        _ if quotes_secret => (
            inside.trim_start_matches('/').to_owned(),
            error.masked_with("the value").to_string(),
        ),
        _ => (inside.trim_start_matches('/').to_owned(), error.to_string()),
    };
    ParameterError {
        parameter: if parameter.is_empty() {
            "(all)".to_owned()
        } else {
            parameter
        },
        message,
    }
}
