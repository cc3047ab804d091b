//! Step 4: the environments, as records. An undo removes a run's records by itself.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use surefoot::{Outcome, Output, StepContext, StepError, StepHandler, Undone};

use super::errors::OrStep;
use super::shared::Shared;
use crate::actions::fields::Fields;
use crate::environment::Environment;
use crate::gitops::check_environments;

const FIELDS: Fields = Fields {
    required: &["project", "environments"],
    one_of: &[],
    optional: &[],
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    project: String,
    environments: Vec<Environment>,
}

pub(super) struct CreateEnvironments(pub(super) Arc<Shared>);

#[async_trait]
impl StepHandler for CreateEnvironments {
    async fn undo(&self, _: StepContext) -> Result<Undone, StepError> {
        Ok(Undone::Nothing)
    }

    fn check(&self, with: &Value) -> Result<(), String> {
        FIELDS.check(with)
    }

    async fn run(&self, context: StepContext) -> Result<Outcome, StepError> {
        let Input {
            project,
            environments,
        } = context.input()?;
        check_environments(&environments).or_step()?;
        let mut output = Output::new(json!({ "environments": environments }))?;
        self.0
            .reached(&context, 10, format!("{} environments", environments.len()))
            .await;
        for Environment { name, approvals } in &environments {
            context.log(format!("environment {name}: {}", rule(*approvals)));
            let data = json!({ "project": project, "environment": name, "approvals": { "required": approvals } });
            output = output.record("environment", format!("{project}/{name}"), data);
        }
        self.0.reached(&context, 60, "approval rules").await;
        self.0
            .reached(
                &context,
                100,
                environments
                    .iter()
                    .map(|it| it.name.as_str())
                    .collect::<Vec<_>>()
                    .join(", "),
            )
            .await;
        Ok(output.into())
    }
}

fn rule(approvals: u32) -> String {
    match approvals {
        0 => "no approval".to_owned(),
        1 => "1 approval, recorded and not enforced".to_owned(),
        more => format!("{more} approvals, recorded and not enforced"),
    }
}
