//! Step 5: the records of the project and its repository, in the commit that completes the step.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use surefoot::{Outcome, Output, StepContext, StepError, StepHandler, Undone};

use super::shared::Shared;
use crate::actions::fields::Fields;
use crate::environment::Environment;

const FIELDS: Fields = Fields {
    required: &["project", "forge", "repository", "push", "environments"],
    one_of: &[],
    optional: &["description", "owner", "visibility"],
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    project: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    owner: String,
    #[serde(default)]
    visibility: String,
    forge: String,
    repository: Value,
    push: Value,
    environments: Vec<Environment>,
}

pub(super) struct CreateRecords(pub(super) Arc<Shared>);

#[async_trait]
impl StepHandler for CreateRecords {
    async fn undo(&self, _: StepContext) -> Result<Undone, StepError> {
        Ok(Undone::Nothing)
    }

    fn check(&self, with: &Value) -> Result<(), String> {
        FIELDS.check(with)
    }

    async fn run(&self, context: StepContext) -> Result<Outcome, StepError> {
        let input: Input = context.input()?;
        self.0.reached(&context, 10, "the project").await;
        let project = json!({
            "description": input.description, "owner": input.owner, "visibility": input.visibility,
            "template": input.push["template"], "repository": input.repository["url"],
            "environments": input.environments.iter().map(|it| &it.name).collect::<Vec<_>>(),
        });
        self.0.reached(&context, 50, "its repository").await;
        let repository = json!({
            "forge": input.forge, "url": input.repository["url"], "cluster_url": input.repository["cluster_url"],
            "branch": input.repository["branch"], "visibility": input.visibility, "commit": input.push["commit"],
        });
        self.0
            .reached(&context, 100, "project and repository")
            .await;
        let name = &input.project;
        let output = Output::new(json!({ "records": ["project", "repository"], "project": name }))?;
        Ok(output
            .record("project", name, project)
            .record("repository", name, repository)
            .into())
    }
}
