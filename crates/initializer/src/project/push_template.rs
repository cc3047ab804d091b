//! Step 3: the project's first commit, as the first step prepared it, or rendered here.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use surefoot::{Outcome, Output, StepContext, StepError, StepHandler, Undone};

use super::content::ContentRequest;
use super::errors::OrStep;
use super::prepared;
use super::push::{Facts, Found, Push};
use super::scratch::Scratch;
use super::shared::{Shared, mark};
use crate::actions::fields::Fields;
use crate::forge::ForgeError;

const FIELDS: Fields = Fields {
    required: &["project"],
    one_of: &["prepared", "template"],
    optional: &[
        "ref",
        "description",
        "owner",
        "environments",
        "gitops",
        "values",
    ],
};

/// Source of the content.
enum Input {
    /// Digest of the commit that the first step left in the workspace.
    Prepared(Prepared),
    /// Rendered by this step, in plans of earlier versions.
    Template(ContentRequest),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Prepared {
    project: String,
    prepared: String,
}

impl Input {
    fn read(context: &StepContext) -> Result<Self, StepError> {
        if context.raw_input().get("prepared").is_some() {
            return context.input().map(Self::Prepared);
        }
        context.input().map(Self::Template)
    }

    fn project(&self) -> &str {
        match self {
            Self::Prepared(Prepared { project, .. })
            | Self::Template(ContentRequest { project, .. }) => project,
        }
    }
}

pub(super) struct PushTemplate(pub(super) Arc<Shared>);

#[async_trait]
impl StepHandler for PushTemplate {
    fn check(&self, with: &Value) -> Result<(), String> {
        FIELDS.check(with)
    }

    async fn run(&self, context: StepContext) -> Result<Outcome, StepError> {
        let input = Input::read(&context)?;
        self.0.local_forge(&context).await?;
        let run = context.run_id().to_string();
        let scratch = self.0.scratch(&context).await?;
        let push = self.open(&scratch, input.project()).await?;
        let commit = match push.look(&run).await.or_step()? {
            Found::Ours(commit) => {
                context.log(format!("commit {commit} is there from an earlier attempt"));
                commit
            }
            Found::Nothing => {
                self.first_commit(&context, input, &scratch, &push, &run)
                    .await?
            }
            Found::Strangers => return Err(StepError::fatal(strangers(input.project()))),
        };
        let facts = push.facts(&commit).await.or_step()?;
        self.0
            .reached(
                &context,
                100,
                format!("commit {}, {} files", &commit[..8], facts.files.len()),
            )
            .await;
        Ok(Output::new(output(&facts))?.into())
    }

    async fn undo(&self, context: StepContext) -> Result<Undone, StepError> {
        let input = Input::read(&context)?;
        self.0.local_forge(&context).await?;
        let project = input.project();
        let mark = mark(&context, project);
        match self.0.forge.is_ours(project, &mark).await {
            Ok(true) => {}
            Ok(false) | Err(ForgeError::Taken(_)) => return Ok(Undone::Nothing),
            Err(error) => return Err(error).or_step(),
        }
        let scratch = self.0.scratch(&context).await?;
        match self
            .open(&scratch, project)
            .await?
            .look(&mark.run)
            .await
            .or_step()?
        {
            Found::Nothing => Ok(Undone::Nothing),
            Found::Strangers => Err(StepError::fatal(strangers(project))),
            Found::Ours(commit) => {
                self.0
                    .forge
                    .remove_branch(project, &mark, "main", &commit)
                    .await
                    .or_step()?;
                Ok(Undone::Removed(format!(
                    "commit {commit} on the branch main"
                )))
            }
        }
    }
}

impl PushTemplate {
    async fn open(&self, scratch: &Scratch, project: &str) -> Result<Push, StepError> {
        let remote = self.0.forge.path(project).display().to_string();
        Push::new(&scratch.sub("commit")?, remote).await.or_step()
    }

    async fn first_commit(
        &self,
        context: &StepContext,
        input: Input,
        scratch: &Scratch,
        push: &Push,
        run: &str,
    ) -> Result<String, StepError> {
        self.0.reached(context, 10, "making the first commit").await;
        let stream = match input {
            Input::Prepared(Prepared { prepared, .. }) => {
                prepared::read(context, &prepared).await?
            }
            Input::Template(request) => {
                let content = self.0.content(context, request, scratch).await?;
                content.first_commit(run, context.run_created_at())
            }
        };
        let commit = push.import(&stream).await.or_step()?;
        self.0
            .reached(context, 70, "pushing the first commit")
            .await;
        let Err(error) = push.push(&commit).await else {
            return Ok(commit);
        };
        // Another attempt of this run, on a worker that lost its lease meanwhile, may have been
        // faster.
        match push.look(run).await.or_step()? {
            Found::Ours(commit) => Ok(commit),
            _ => Err(error).or_step(),
        }
    }
}

fn strangers(project: &str) -> String {
    format!(
        "the repository of {project} has commits that this run did not make: they were left as they are"
    )
}

fn output(facts: &Facts) -> Value {
    let (name, version) = facts
        .template
        .rsplit_once(' ')
        .unwrap_or((&facts.template, ""));
    json!({
        "commit": facts.commit, "tree": facts.tree, "branch": "main", "files": facts.files.len(),
        "template": { "name": name, "version": version },
    })
}
