//! Workflows before they run: read from a file, checked against the known actions, and shown as a
//! dry run.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use surefoot::workflow::{DryRunStep, WillRun, without_secrets};
use surefoot::{Handlers, PlanError, Workflow, WorkflowError, files};

use crate::errors::Failure;
use crate::near;

/// The largest workflow file that is read.
const LARGEST_WORKFLOW: u64 = 1 << 20;

/// Reads a workflow file.
pub(crate) fn read(path: &Path) -> Result<Arc<Workflow>, Failure> {
    let shown = path.display();
    let text = files::read_argument(path, LARGEST_WORKFLOW).map_err(|error| {
        Failure::usage(format!("cannot read the workflow file {shown}: {error}"))
    })?;
    let workflow = Workflow::from_yaml(&text).map_err(|error| match error {
        WorkflowError::Syntax {
            line,
            column,
            message,
        } => Failure::usage(format!("{shown}:{line}:{column}: {message}")),
        WorkflowError::Invalid { .. } => Failure::usage(format!("{shown}: {error}")),
    })?;
    Ok(Arc::new(workflow))
}

/// Refuses a workflow whose actions are not known here, or whose steps do not fit them.
pub(crate) fn check(workflow: &Workflow, handlers: &Handlers) -> Result<(), Failure> {
    handlers.check(workflow).map_err(|error| match error {
        PlanError::UnknownAction { step, action } => unknown(&step, &action, handlers),
        error @ PlanError::Input { .. } => Failure::usage(error.to_string()),
    })
}

fn unknown(step: &str, action: &str, handlers: &Handlers) -> Failure {
    let actions = handlers.actions();
    let known = actions.iter().map(String::as_str).collect::<Vec<_>>();
    let near = near::did_you_mean(action, known.iter().copied());
    Failure::usage(format!("step {step}: there is no action `{action}`{near}"))
        .hint(format!("the actions are {}", known.join(", ")))
}

/// The steps of a run, as far as they are known before it runs.
#[derive(Debug, Serialize)]
pub(crate) struct Plan {
    workflow: String,
    queue: String,
    key: Option<String>,
    parameters: Value,
    steps: Vec<PlannedStep>,
}

#[derive(Debug, Serialize)]
struct PlannedStep {
    id: String,
    title: String,
    action: String,
    /// `true` or `false`, or the condition's own text when it depends on what earlier steps give.
    runs: Value,
    with: Value,
}

/// Renders every step. What depends on earlier steps keeps its expression.
pub(crate) fn dry_run(
    workflow: &Workflow,
    parameters: Value,
    key: Option<&str>,
) -> Result<Plan, Failure> {
    let shown = without_secrets(workflow.parameters(), &parameters);
    let steps = workflow
        .dry_run(parameters, key)
        .map_err(|error| Failure::usage(error.to_string()))?;
    Ok(Plan {
        workflow: workflow.name().to_owned(),
        queue: workflow.queue().to_owned(),
        key: key.map(str::to_owned),
        parameters: shown,
        steps: steps.into_iter().map(PlannedStep::from).collect(),
    })
}

impl From<DryRunStep> for PlannedStep {
    fn from(step: DryRunStep) -> Self {
        let runs = match step.runs {
            WillRun::Yes => Value::Bool(true),
            WillRun::No => Value::Bool(false),
            WillRun::When(condition) => condition.into(),
        };
        Self {
            id: step.id,
            title: step.title,
            action: step.action,
            runs,
            with: step.with,
        }
    }
}

impl Plan {
    /// The plan as people read it.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("workflow {}, queue {}\n", self.workflow, self.queue);
        text.push_str("parameters\n");
        fields(&mut text, &self.parameters, "  ");
        text.push_str("steps\n");
        for (index, step) in self.steps.iter().enumerate() {
            let runs = match &step.runs {
                Value::Bool(true) => String::new(),
                Value::Bool(false) => " - skipped".to_owned(),
                condition => format!(" - if {}", plain(condition)),
            };
            text.push_str(&format!(
                "  {}. {} ({}): {}{runs}\n",
                index + 1,
                step.id,
                step.action,
                step.title
            ));
            fields(&mut text, &step.with, "       ");
        }
        text.push_str("a dry run: nothing was written\n");
        text
    }
}

fn fields(text: &mut String, value: &Value, indent: &str) {
    match value {
        Value::Null => {}
        Value::Object(fields) => {
            for (name, value) in fields {
                text.push_str(&format!(
                    "{indent}{name}: {}\n",
                    plain(value).replace('\n', &format!("\n{indent}  "))
                ));
            }
        }
        other => text.push_str(&format!("{indent}{}\n", plain(other))),
    }
}

/// A string as it is, anything else as JSON.
pub(crate) fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}
