//! Step 6: the project's directory in the fleet repository.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use surefoot::{Outcome, Output, StepContext, StepError, StepHandler, Undone};

use super::errors::OrStep;
use super::shared::Shared;
use crate::actions::fields::Fields;
use crate::environment::Environment;
use crate::forge::Visibility;
use crate::gitops::{
    Change, Deployment, Withdrawn, check_environments, check_project, folder, manifests,
};
use crate::template::Entry;

const FIELDS: Fields = Fields {
    required: &["project", "environments"],
    one_of: &[],
    optional: &["visibility"],
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    project: String,
    #[serde(default)]
    visibility: Visibility,
    environments: Vec<Environment>,
}

pub(super) struct SetUpGitOps(pub(super) Arc<Shared>);

#[async_trait]
impl StepHandler for SetUpGitOps {
    fn check(&self, with: &Value) -> Result<(), String> {
        FIELDS.check(with)
    }

    async fn run(&self, context: StepContext) -> Result<Outcome, StepError> {
        let Input {
            project,
            visibility,
            environments,
        } = context.input()?;
        check_project(&project).or_step()?;
        check_environments(&environments).or_step()?;
        let run = context.run_id().to_string();
        let files = wanted(&self.0, &project, &run, visibility, &environments);
        if self.0.has_local_fleet() {
            self.0.local_forge(&context).await?;
        }
        let fleet = self.0.open_fleet(&context).await?;
        self.0
            .reached(
                &context,
                20,
                format!("{} files for {}", files.len(), fleet.url()),
            )
            .await;
        let scratch = self.0.scratch(&context).await?;
        let change = Change {
            project: &project,
            run: &run,
            at: context.run_created_at(),
            files: &files,
        };
        let said = context.clone();
        let published = fleet
            .publish(&scratch.sub("fleet")?, change, &move |line| said.log(line))
            .await
            .or_step()?;
        context.log(format!("fleet commit {}", published.commit));
        self.0
            .reached(&context, 90, "pushed to the fleet repository")
            .await;
        self.0.reached(&context, 100, folder(&project)).await;
        let paths = files.iter().map(|file| &file.path).collect::<Vec<_>>();
        let output = json!({ "fleet": fleet.url(), "folder": folder(&project), "files": paths, "commit": published.commit });
        Ok(Output::new(output)?.into())
    }

    async fn undo(&self, context: StepContext) -> Result<Undone, StepError> {
        let Input {
            project,
            environments,
            visibility,
        } = context.input()?;
        if self.0.has_local_fleet() {
            self.0.local_forge(&context).await?;
        }
        if self.0.fleet_is_absent() {
            return Ok(Undone::Nothing);
        }
        let run = context.run_id().to_string();
        let scratch = self.0.scratch(&context).await?;
        let files = wanted(&self.0, &project, &run, visibility, &environments);
        let change = Change {
            project: &project,
            run: &run,
            at: context.run_created_at(),
            files: &files,
        };
        let written = context
            .previous_output()
            .and_then(|output| output["commit"].as_str());
        let said = context.clone();
        let fleet = self.0.fleet(&context)?;
        let log = move |line| said.log(line);
        let withdrawn = fleet
            .withdraw(&scratch.sub("fleet")?, change, written, &log)
            .await
            .or_step()?;
        if let Some(commit) = &withdrawn.commit {
            context.log(format!("fleet commit {commit} takes the project out"));
        }
        Ok(undone(withdrawn))
    }
}

fn undone(Withdrawn { commit, kept }: Withdrawn) -> Undone {
    match commit {
        _ if !kept.is_empty() => {
            Undone::Kept(format!("changed since it was written: {}", kept.join(", ")))
        }
        Some(commit) => Undone::Removed(format!(
            "the project's folder of the fleet, by fleet commit {commit}"
        )),
        None => Undone::Nothing,
    }
}

/// Wanted files of a project in the fleet.
pub(super) fn wanted(
    shared: &Shared,
    project: &str,
    run: &str,
    visibility: Visibility,
    environments: &[Environment],
) -> Vec<Entry> {
    manifests(&Deployment {
        project,
        run,
        url: &shared.cluster_url(project),
        visibility,
        environments,
    })
}
