//! Step 7: checks that everything promised exists, and reports what is missing.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use surefoot::{Outcome, Output, StepContext, StepError, StepHandler, Undone};

use super::errors::OrStep;
use super::gitops::wanted;
use super::scratch::Scratch;
use super::shared::Shared;
use super::what_is_left::WhatIsLeft;
use crate::actions::fields::Fields;
use crate::environment::Environment;
use crate::forge::Visibility;
use crate::git::{Git, GitError};

const FIELDS: Fields = Fields {
    required: &[
        "project",
        "push",
        "wanted",
        "environments",
        "records",
        "gitops",
    ],
    one_of: &[],
    optional: &["visibility"],
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    project: String,
    #[serde(default)]
    visibility: Visibility,
    /// Output of `git.push_template`.
    push: Pushed,
    /// The requested environments.
    wanted: Vec<Environment>,
    /// Output of `project.create_environments`.
    environments: Value,
    /// Output of `project.create_records`.
    records: Value,
    /// Output of `gitops.setup`; null if it was skipped.
    gitops: Value,
}

#[derive(Deserialize)]
struct Pushed {
    commit: String,
    tree: String,
}

pub(super) struct Finalize(pub(super) Arc<Shared>);

#[async_trait]
impl StepHandler for Finalize {
    async fn undo(&self, _: StepContext) -> Result<Undone, StepError> {
        Ok(Undone::Nothing)
    }

    fn check(&self, with: &Value) -> Result<(), String> {
        FIELDS.check(with)
    }

    async fn run(&self, context: StepContext) -> Result<Outcome, StepError> {
        let input: Input = context.input()?;
        self.0.local_forge(&context).await?;
        let scratch = self.0.scratch(&context).await?;
        self.0.reached(&context, 10, "cloning the repository").await;
        let mut missing = self.clone_faults(&input, &scratch).await?;
        self.0
            .reached(&context, 50, "looking at records and manifests")
            .await;
        missing.extend(record_faults(&input));
        missing.extend(self.gitops_faults(&input, &context, &scratch).await?);
        if !missing.is_empty() {
            return Err(format!(
                "not everything that was promised is there: {}",
                missing.join("; ")
            )
            .into());
        }
        self.0.reached(&context, 100, "everything is there").await;
        Ok(Output::new(self.output(&input, self.0.fleet(&context)?.url()))?.into())
    }
}

impl Finalize {
    /// Clones as a person would, and compares commit and tree.
    async fn clone_faults(
        &self,
        input: &Input,
        scratch: &Scratch,
    ) -> Result<Vec<String>, StepError> {
        let url = self.0.forge.url(&input.project);
        let git = Git::new(scratch.sub("clone")?);
        match git.run(&["clone", "--quiet", &url, "."]).await {
            Err(GitError::Failed { message, .. }) => {
                return Ok(vec![format!("{url} cannot be cloned ({message})")]);
            }
            other => drop(other.or_step()?),
        }
        let Pushed { commit, tree } = &input.push;
        let found = git
            .run(&[
                "rev-parse",
                "--verify",
                "--quiet",
                &format!("{commit}^{{tree}}"),
            ])
            .await;
        let is_there = git
            .test(&["merge-base", "--is-ancestor", commit, "HEAD"])
            .await;
        Ok(match (found, is_there) {
            (Ok(found), Ok(true)) if found.trim() == tree => Vec::new(),
            (Ok(_), Ok(true)) => vec![format!(
                "commit {commit} has another tree than the one that was pushed"
            )],
            _ => vec![format!(
                "commit {commit} is not on the main branch of {url}"
            )],
        })
    }

    async fn gitops_faults(
        &self,
        input: &Input,
        context: &StepContext,
        scratch: &Scratch,
    ) -> Result<Vec<String>, StepError> {
        if input.gitops.is_null() {
            return Ok(Vec::new());
        }
        let fleet = self.0.fleet(context)?;
        if self.0.fleet_is_absent() {
            return Ok(vec![format!("the fleet repository {}", fleet.url())]);
        }
        let run = context.run_id().to_string();
        let files = wanted(
            &self.0,
            &input.project,
            &run,
            input.visibility,
            &input.wanted,
        );
        let missing = fleet
            .missing(&scratch.sub("fleet")?, &files)
            .await
            .or_step()?;
        Ok(missing
            .iter()
            .map(|path| {
                format!(
                    "{path} as it was made, in the fleet repository {}",
                    fleet.url()
                )
            })
            .collect())
    }

    fn output(&self, input: &Input, fleet: &str) -> Value {
        let url = self.0.forge.url(&input.project);
        let address = self.0.cluster_url(&input.project);
        let left = WhatIsLeft {
            project: &input.project,
            url: &url,
            address: &address,
            is_local_address: self.0.has_only_a_local_url(),
            fleet: (!input.gitops.is_null()).then_some(fleet),
            visibility: input.visibility,
            environments: &input.wanted,
        };
        json!({
            "repository": { "url": url, "path": self.0.forge.path(&input.project), "branch": "main" },
            "commit": input.push.commit, "environments": input.wanted, "gitops": input.gitops,
            "next_steps": left.next_steps(), "not_done": left.not_done(),
        })
    }
}

/// Faults of the records, according to the outputs of earlier steps.
fn record_faults(input: &Input) -> Vec<String> {
    let has = |list: &Value, item: &Value| list.as_array().is_some_and(|list| list.contains(item));
    let kinds = ["project", "repository"]
        .into_iter()
        .filter(|kind| !has(&input.records["records"], &json!(kind)));
    let mut missing = kinds
        .map(|kind| format!("the {kind} record of {}", input.project))
        .collect::<Vec<_>>();
    let created = &input.environments["environments"];
    let environments = input
        .wanted
        .iter()
        .filter(|wanted| !has(created, &json!(wanted)));
    missing.extend(
        environments
            .map(|wanted| format!("the environment record {}/{}", input.project, wanted.name)),
    );
    missing
}
