//! Step 3: the project's first commit, rendered from a template.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use surefoot::{Outcome, Output, StepContext, StepError, StepHandler};

use super::errors::OrStep;
use super::push::{Facts, FirstCommit, Found, Push};
use super::scratch::Scratch;
use super::shared::{Shared, mark};
use crate::actions::fields::Fields;
use crate::environment::Environment;
use crate::forge::ForgeError;
use crate::template::{Entry, Template, TemplateError, load, render};

const FIELDS: Fields = Fields {
    required: &["project", "template"],
    one_of: &[],
    optional: &["ref", "description", "owner", "environments", "gitops", "values"],
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    project: String,
    template: String,
    #[serde(default, rename = "ref")]
    reference: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    owner: String,
    #[serde(default)]
    environments: Vec<Environment>,
    #[serde(default)]
    gitops: bool,
    #[serde(default)]
    values: Value,
}

pub(super) struct PushTemplate(pub(super) Arc<Shared>);

#[async_trait]
impl StepHandler for PushTemplate {
    fn check(&self, with: &Value) -> Result<(), String> {
        FIELDS.check(with)
    }

    async fn run(&self, context: StepContext) -> Result<Outcome, StepError> {
        let input: Input = context.input()?;
        let run = context.run_id().to_string();
        let scratch = self.0.scratch(&context).await?;
        let push = self.open(&scratch, &input.project).await?;
        let commit = match push.look(&run).await.or_step()? {
            Found::Ours(commit) => {
                context.log(format!("commit {commit} is there from an earlier attempt"));
                commit
            }
            Found::Nothing => self.first_commit(&context, &input, &scratch, &push, &run).await?,
            Found::Strangers => return Err(StepError::fatal(strangers(&input.project))),
        };
        let facts = push.facts(&commit).await.or_step()?;
        self.0.reached(&context, 100, format!("commit {}, {} files", &commit[..8], facts.files.len())).await;
        Ok(Output::new(output(&facts))?.into())
    }

    async fn undo(&self, context: StepContext) -> Result<(), StepError> {
        let input: Input = context.input()?;
        let mark = mark(&context, &input.project);
        match self.0.forge.is_ours(&input.project, &mark).await {
            Ok(true) => {}
            Ok(false) | Err(ForgeError::Taken(_)) => return Ok(()),
            Err(error) => return Err(error).or_step(),
        }
        let scratch = self.0.scratch(&context).await?;
        match self.open(&scratch, &input.project).await?.look(&mark.run).await.or_step()? {
            Found::Nothing => Ok(()),
            Found::Strangers => Err(StepError::fatal(strangers(&input.project))),
            Found::Ours(commit) => self.0.forge.remove_branch(&input.project, &mark, "main", &commit).await.or_step(),
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
        input: &Input,
        scratch: &Scratch,
        push: &Push,
        run: &str,
    ) -> Result<String, StepError> {
        let (template, files) = self.rendered(context, input, scratch).await?;
        let template = format!("{} {}", template.name, template.version);
        let at = context.run_created_at();
        let first = FirstCommit { project: &input.project, run, at, template: &template, files: &files };
        let commit = push.commit(&first).await.or_step()?;
        self.0.reached(context, 70, format!("pushing {} files", files.len())).await;
        let Err(error) = push.push(&commit).await else { return Ok(commit) };
        // Another attempt of this run, on a worker that lost its lease meanwhile, may have been quicker.
        match push.look(run).await.or_step()? {
            Found::Ours(commit) => Ok(commit),
            _ => Err(error).or_step(),
        }
    }

    async fn rendered(
        &self,
        context: &StepContext,
        input: &Input,
        scratch: &Scratch,
    ) -> Result<(Template, Vec<Entry>), StepError> {
        self.0.reached(context, 10, format!("loading the template {}", input.template)).await;
        let reference = Some(input.reference.as_str()).filter(|reference| !reference.is_empty());
        let source = self.0.templates.source(&input.template, reference).or_step()?;
        let template = load(source, &scratch.sub("template")?).await.or_step()?;
        context.log(format!("template {} {}: {} files", template.name, template.version, template.entries.len()));
        let values = template.check_values(input.values.clone()).or_step()?;
        let scope = json!({
            "name": input.project, "description": input.description, "owner": input.owner,
            "environments": input.environments, "gitops": input.gitops, "values": values,
        });
        let files = render(&template, &scope).or_step()?;
        if input.gitops {
            overlays(&template, &files, &input.environments).or_step()?;
        }
        Ok((template, files))
    }
}

/// What GitOps applies must be in the project: refused before anything is pushed.
fn overlays(template: &Template, files: &[Entry], environments: &[Environment]) -> Result<(), TemplateError> {
    for Environment { name, .. } in environments {
        let folder = format!("deploy/overlays/{name}/");
        if !files.iter().any(|file| file.path.starts_with(&folder)) {
            let message =
                "add it to the template (see its use of `environment` in paths), or initialise with gitops=false";
            return Err(TemplateError(format!(
                "the template {} has no folder {folder}, from which GitOps deploys {name}: {message}",
                template.name
            )));
        }
    }
    Ok(())
}

fn strangers(project: &str) -> String {
    format!("the repository of {project} has commits that this run did not make: they were left as they are")
}

fn output(facts: &Facts) -> Value {
    let (name, version) = facts.template.rsplit_once(' ').unwrap_or((&facts.template, ""));
    json!({
        "commit": facts.commit, "tree": facts.tree, "branch": "main", "files": facts.files.len(),
        "template": { "name": name, "version": version },
    })
}
