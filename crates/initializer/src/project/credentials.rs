//! Step 1: checks everything that can be wrong before something is created: the forge, the name of
//! the credential that it needs, the template and its values. Leaves the first commit in the run's
//! workspace; its output contains only names.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use surefoot::{Outcome, Output, StepContext, StepError, StepHandler, Undone};

use super::content::ContentRequest;
use super::errors::OrStep;
use super::prepared;
use super::shared::Shared;
use crate::actions::fields::Fields;
use crate::forge::LOCAL;
use crate::git::Git;

const FIELDS: Fields = Fields {
    required: &["forge"],
    one_of: &[],
    optional: &["content"],
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    forge: String,
    /// Absent in plans of earlier versions, which render in the step that pushes.
    #[serde(default)]
    content: Option<ContentRequest>,
}

pub(super) struct ResolveCredentials(pub(super) Arc<Shared>);

#[async_trait]
impl StepHandler for ResolveCredentials {
    async fn undo(&self, _: StepContext) -> Result<Undone, StepError> {
        Ok(Undone::Nothing)
    }

    fn check(&self, with: &Value) -> Result<(), String> {
        FIELDS.check(with)
    }

    async fn run(&self, context: StepContext) -> Result<Outcome, StepError> {
        let Input { forge, content } = context.input()?;
        self.0
            .reached(&context, 10, format!("looking for the forge `{forge}`"))
            .await;
        let credential = self.credential(&context, &forge).await?;
        let mut output =
            json!({ "forge": forge, "credentials": credential.into_iter().collect::<Vec<_>>() });
        if let Some(content) = content {
            self.0
                .reached(
                    &context,
                    40,
                    format!("preparing the template {}", content.template),
                )
                .await;
            output["prepared"] = self.prepare(&context, content).await?;
        }
        let message = credential.map_or("no credential needed".to_owned(), |name| {
            format!("found `{name}`")
        });
        self.0.reached(&context, 100, message).await;
        Ok(Output::new(output)?.into())
    }
}

impl ResolveCredentials {
    /// Checks forge, git and credential; returns the credential's name.
    async fn credential(
        &self,
        context: &StepContext,
        forge: &str,
    ) -> Result<Option<&str>, StepError> {
        if forge != LOCAL {
            return Err(StepError::fatal(format!(
                "there is no forge `{forge}`: the only one is `{LOCAL}`"
            )));
        }
        self.0.local_forge(context).await?;
        let git = Git::new(std::env::temp_dir()).version().await.or_step()?;
        context.log(format!("git {git}"));
        let credential = self.0.forge_credential.as_deref();
        if let Some(name) = credential {
            context.credential(name)?;
            context.log(format!("credential `{name}` found"));
        }
        Ok(credential)
    }

    /// Renders the project's content, and leaves its first commit in the workspace.
    async fn prepare(
        &self,
        context: &StepContext,
        request: ContentRequest,
    ) -> Result<Value, StepError> {
        let scratch = self.0.scratch(context).await?;
        let content = self.0.content(context, request, &scratch).await?;
        let stream = content.first_commit(&context.run_id().to_string(), context.run_created_at());
        let digest = prepared::write(context, stream).await?;
        let template =
            json!({ "name": content.template.name, "version": content.template.version });
        Ok(
            json!({ "digest": digest, "template": template, "files": content.files.len(), "copied": content.template.is_copied }),
        )
    }
}
