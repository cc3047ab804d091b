//! A workflow made in Rust.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::{OnInterrupt, RetryPolicy, StepPlan, Workflow, WorkflowError, document};
use crate::Digest;

/// Makes a [`Workflow`]; [`WorkflowBuilder::build`] checks it as a file is checked.
#[derive(Debug)]
#[must_use]
pub struct WorkflowBuilder {
    workflow: Workflow,
}

/// Makes one step of a [`WorkflowBuilder`].
#[derive(Debug)]
#[must_use]
pub struct StepBuilder {
    plan: StepPlan,
}

impl WorkflowBuilder {
    pub(super) fn new(name: String) -> Self {
        Self {
            workflow: Workflow {
                queue: name.clone(),
                name,
                title: None,
                description: None,
                parameters: Value::Null,
                validator: super::check::Validator::default(),
                unique: None,
                requires: Vec::new(),
                output: Value::Null,
                steps: Vec::new(),
                json: "".into(),
                format: Workflow::FORMAT,
                digest: Digest::of(b""),
            },
        }
    }

    /// See [`Workflow::title`].
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.workflow.title = Some(title.into());
        self
    }

    /// See [`Workflow::queue`].
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.workflow.queue = queue.into();
        self
    }

    /// The JSON Schema of the parameters.
    pub fn parameters(mut self, schema: Value) -> Self {
        self.workflow.parameters = schema;
        self
    }

    /// See [`Workflow::unique`].
    pub fn unique(mut self, template: impl Into<String>) -> Self {
        self.workflow.unique = Some(template.into());
        self
    }

    /// Adds a template to [`Workflow::requires`].
    pub fn requires(mut self, template: impl Into<String>) -> Self {
        self.workflow.requires.push(template.into());
        self
    }

    /// See [`Workflow::output`].
    pub fn output(mut self, output: Value) -> Self {
        self.workflow.output = output;
        self
    }

    /// Adds a step that runs `action`.
    pub fn step(self, id: impl Into<String>, action: impl Into<String>) -> Self {
        self.step_with(id, action, |step| step)
    }

    /// Adds a step that runs `action`, with more to say of it.
    pub fn step_with(
        mut self,
        id: impl Into<String>,
        action: impl Into<String>,
        more: impl FnOnce(StepBuilder) -> StepBuilder,
    ) -> Self {
        self.workflow.steps.push(
            more(StepBuilder {
                plan: StepPlan::new(id, action),
            })
            .plan,
        );
        self
    }

    /// Checks the workflow and gives it.
    ///
    /// # Errors
    /// Names the step and field of what does not hold together.
    pub fn build(self) -> Result<Workflow, WorkflowError> {
        document::finish(self.workflow)
    }
}

impl StepBuilder {
    /// See [`StepPlan::title`].
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.plan.title = title.into();
        self
    }

    /// The handler's input; strings in it may hold expressions.
    ///
    /// # Panics
    /// When `input` cannot be written as JSON: a map with keys that are not strings, or a failing
    /// `Serialize`.
    pub fn with(mut self, input: impl Serialize) -> Self {
        self.plan.with =
            serde_json::to_value(input).expect("the input of a step can be written as JSON");
        self
    }

    /// See [`StepPlan::condition`].
    pub fn condition(mut self, expression: impl Into<String>) -> Self {
        self.plan.condition = Some(expression.into());
        self
    }

    /// See [`StepPlan::weight`].
    pub fn weight(mut self, weight: u32) -> Self {
        self.plan.weight = weight;
        self
    }

    /// See [`StepPlan::retry`].
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.plan.retry = retry;
        self
    }

    /// See [`StepPlan::timeout`].
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.plan.timeout = Some(timeout);
        self
    }

    /// See [`StepPlan::on_interrupt`].
    pub fn on_interrupt(mut self, policy: OnInterrupt) -> Self {
        self.plan.on_interrupt = policy;
        self
    }

    /// See [`StepPlan::max_interruptions`].
    pub fn max_interruptions(mut self, interruptions: u32) -> Self {
        self.plan.max_interruptions = interruptions;
        self
    }
}
