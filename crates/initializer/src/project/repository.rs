//! Step 2: the repository of the project.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use surefoot::{Outcome, Output, StepContext, StepError, StepHandler, Undone};

use super::errors::OrStep;
use super::shared::{Shared, mark};
use crate::actions::fields::Fields;
use crate::forge::{Created, ForgeError, LOCAL_FORGE, NewRepository, Visibility};
use crate::gitops::check_project;

const FIELDS: Fields = Fields {
    required: &["name"],
    one_of: &[],
    optional: &["description", "visibility"],
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    visibility: Visibility,
}

pub(super) struct CreateRepository(pub(super) Arc<Shared>);

#[async_trait]
impl StepHandler for CreateRepository {
    fn check(&self, with: &Value) -> Result<(), String> {
        FIELDS.check(with)
    }

    async fn run(&self, context: StepContext) -> Result<Outcome, StepError> {
        let Input {
            name,
            description,
            visibility,
        } = context.input()?;
        check_project(&name).or_step()?;
        let id = self.0.local_forge(&context).await?;
        let forge = &self.0.forge;
        self.0
            .reached(
                &context,
                10,
                format!("looking at {}", forge.path(&name).display()),
            )
            .await;
        let mark = mark(&context, &name);
        let by = mark.run.clone();
        let new = NewRepository {
            name: &name,
            mark,
            by: &by,
            description: &description,
            visibility,
        };
        let created = forge.create(&new).await.or_step()?;
        let how = match created {
            Created::Now => "created",
            Created::Before => "found as an earlier attempt made it",
        };
        context.log(format!("{} {how}", forge.path(&name).display()));
        self.0
            .reached(&context, 90, format!("repository {how}"))
            .await;
        self.0.reached(&context, 100, forge.url(&name)).await;
        let output = json!({
            "name": name, "url": forge.url(&name), "path": forge.path(&name), "cluster_url": self.0.cluster_url(&name),
            "branch": "main", "visibility": visibility,
        });
        // From here on the run needs a worker with exactly this forge, whatever becomes the store's
        // forge.
        Ok(Output::new(output)?
            .require(id.resource())
            .release(LOCAL_FORGE)
            .into())
    }

    async fn undo(&self, context: StepContext) -> Result<Undone, StepError> {
        let Input { name, .. } = context.input()?;
        self.0.check_name(&name)?;
        self.0.local_forge(&context).await?;
        let path = self.0.forge.path(&name);
        match (
            self.0.forge.remove(&name, &mark(&context, &name)).await,
            context.previous_output(),
        ) {
            (Ok(true), _) => Ok(Undone::Removed(format!(
                "the repository {}",
                path.display()
            ))),
            (Ok(false), Some(_)) => Ok(Undone::Kept(format!(
                "the repository {} was not found: nothing was removed",
                path.display()
            ))),
            // A repository that is not ours stays: the step failed because of it.
            (Ok(false) | Err(ForgeError::Taken(_)), None) => Ok(Undone::Nothing),
            (Err(error), _) => Err(error).or_step(),
        }
    }
}
