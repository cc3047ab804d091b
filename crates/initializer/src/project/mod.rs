//! Project initialization: the shipped workflow and the handlers of its seven steps.
//!
//! A handler is thin: it reads its input, reports progress, and calls the module that does the work
//! (`forge`, `template`, `gitops`, `push`), which knows nothing of steps.

mod content;
mod credentials;
mod environments;
mod errors;
mod finalize;
mod gitops;
mod prepared;
mod push;
mod push_template;
mod records;
mod repository;
mod scratch;
mod shared;
mod what_is_left;

use std::path::PathBuf;
use std::time::Duration;

use surefoot::{AddressPolicy, Handlers, QueueLimits, Rate, Retention, RetentionLimit, Workflow};

pub use content::{CHECKED_WITHIN, SubmissionError, check_content, check_submission};

use crate::forge::LocalForge;
use crate::template::LocalTemplates;
use shared::Shared;

/// Name of the workflow and of its queue.
pub const PROJECT_INITIALIZATION: &str = "project-initialization";

/// Locations and settings of project initialization.
#[derive(Clone, Debug)]
pub struct ProjectConfig {
    /// The data directory: work in progress is in its `scratch`.
    pub data_dir: PathBuf,
    /// Directory of the repositories, the local forge; `None` for `repositories` in the data
    /// directory.
    pub repositories: Option<PathBuf>,
    /// The fleet repository, a path or URL; `None` for `repositories/fleet.git`, which is created
    /// when it is needed.
    pub fleet: Option<String>,
    /// Name of the credential that the forge needs: a token for a fleet repository behind `https`.
    /// Local repositories need none.
    pub forge_credential: Option<String>,
    /// Address under which clusters reach the repositories, without the repository's name: Flux
    /// accepts `https://`, `http://` and `ssh://`. `None` for ssh to this machine.
    pub repositories_url: Option<String>,
    /// Addresses that the URL of a template may lead to.
    pub addresses: AddressPolicy,
    /// Directories of this machine below which templates may be, in addition to those used on the
    /// command line.
    pub template_folders: Vec<PathBuf>,
    /// Paths, besides the data directory, that no template may contain or be in: they hold secrets.
    pub private: Vec<PathBuf>,
    /// Minimum duration of each step: for demonstrations, and for tests that need time to
    /// interfere.
    pub pace: Option<Duration>,
}

impl ProjectConfig {
    /// All defaults, in this data directory.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            repositories: None,
            fleet: None,
            forge_credential: None,
            repositories_url: None,
            addresses: AddressPolicy::default(),
            template_folders: Vec::new(),
            private: Vec::new(),
            pace: None,
        }
    }

    /// Local forge of this worker.
    pub fn forge(&self) -> LocalForge {
        let folder = self
            .repositories
            .clone()
            .unwrap_or_else(|| self.data_dir.join("repositories"));
        LocalForge::new(std::path::absolute(&folder).unwrap_or(folder))
    }

    /// Directories and repositories of this machine that may be templates.
    pub fn templates(&self) -> LocalTemplates {
        let forge = self.forge().folder().to_owned();
        LocalTemplates::new(&self.data_dir)
            .below(&self.template_folders)
            .without(&self.private)
            .without(&[forge])
    }
}

/// The shipped workflow.
///
/// # Panics
/// Never: a test reads the embedded file.
pub fn workflow() -> Workflow {
    let text = include_str!("../../workflows/project-initialization.yaml");
    Workflow::from_yaml(text).expect("the workflow that is built in is sound")
}

/// Limits of the workflow's queue unless a person sets others.
pub fn queue_limits() -> QueueLimits {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let keep = |days: u32, count| RetentionLimit {
        age: Some(DAY * days),
        count: Some(count),
    };
    QueueLimits {
        concurrency: Some(3),
        concurrency_per_key: None,
        rate: Some(Rate {
            max: 5,
            per: Duration::from_secs(1),
        }),
        retention: Retention {
            completed: keep(30, 1000),
            failed: keep(90, 5000),
            cancelled: keep(30, 1000),
        },
        ..QueueLimits::default()
    }
}

/// Handlers of the workflow's seven actions.
pub fn handlers(config: ProjectConfig) -> Handlers {
    let shared = Shared::new(config);
    Handlers::new()
        .with(
            "project.resolve_credentials",
            credentials::ResolveCredentials(shared.clone()),
        )
        .with(
            "git.create_repository",
            repository::CreateRepository(shared.clone()),
        )
        .with(
            "git.push_template",
            push_template::PushTemplate(shared.clone()),
        )
        .with(
            "project.create_environments",
            environments::CreateEnvironments(shared.clone()),
        )
        .with(
            "project.create_records",
            records::CreateRecords(shared.clone()),
        )
        .with("gitops.setup", gitops::SetUpGitOps(shared.clone()))
        .with("project.finalize", finalize::Finalize(shared))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_workflow_names_seven_actions_that_have_handlers() {
        let workflow = workflow();
        assert_eq!(workflow.name(), PROJECT_INITIALIZATION);
        assert_eq!(workflow.queue(), PROJECT_INITIALIZATION);
        assert_eq!(workflow.steps().len(), 7);
        let handlers = handlers(ProjectConfig::new("data"));
        assert_eq!(handlers.actions().len(), 7);
        for step in workflow.steps() {
            assert_eq!(
                handlers.get(&step.action).unwrap().check(&step.with),
                Ok(()),
                "{}",
                step.id
            );
        }
        assert_eq!(
            workflow.steps().iter().map(|step| step.weight).sum::<u32>(),
            100
        );
    }

    #[test]
    fn parameters_are_checked_and_filled_in() {
        let workflow = workflow();
        let parameters = workflow
            .check_parameters(json!({ "name": "my-shop" }))
            .unwrap();
        assert_eq!(
            parameters["environments"][2],
            json!({ "name": "production", "approvals": 2 })
        );
        assert_eq!(parameters["template"], "rust-service");
        let refused = |parameters: serde_json::Value, at: &str| {
            let errors = workflow
                .check_parameters(parameters.clone())
                .expect_err(&parameters.to_string());
            assert!(
                errors.iter().any(|error| error.parameter.starts_with(at)),
                "{errors:?}"
            );
        };
        let names = [
            "",
            "x",
            "Shop",
            "1shop",
            "-shop",
            "shop-",
            "sh op",
            "a/b",
            "../x",
            "a--b",
            "no",
            "kube",
            "kubes",
            "default",
            "fleet",
            "flux",
            "flux-system",
            "flux-x",
            "kube-x",
            "openshift-x",
            "a1-2",
            &"x".repeat(63),
            &"x".repeat(64),
        ];
        for name in names {
            match crate::gitops::check_project(name) {
                Ok(()) => drop(workflow.check_parameters(json!({ "name": name })).unwrap()),
                Err(_) => refused(json!({ "name": name }), "name"),
            }
        }
        for name in [
            "",
            "a",
            "eu-prod",
            "eu--prod",
            "-a",
            "a-",
            "9",
            "Prod",
            "default",
            &"x".repeat(32),
            &"x".repeat(33),
        ] {
            let parameters = json!({ "name": "shop", "environments": [{ "name": name }] });
            let environment = crate::Environment {
                name: name.to_owned(),
                approvals: 0,
            };
            match crate::gitops::check_environments(&[environment]) {
                Ok(()) => drop(workflow.check_parameters(parameters).unwrap()),
                Err(_) => refused(parameters, "environments/0/name"),
            }
        }
        refused(
            json!({ "name": "shop", "environments": [] }),
            "environments",
        );
        refused(
            json!({ "name": "shop", "environments": [{ "name": "Prod" }] }),
            "environments/0/name",
        );
        for template in [
            "https://me:secret@host/t.git",
            "https://secret@host/t.git",
            "ssh://git:secret@host/t.git",
        ] {
            refused(json!({ "name": "shop", "template": template }), "template");
        }
        assert!(
            workflow
                .check_parameters(json!({ "name": "shop", "template": "ssh://git@host/t.git" }))
                .is_ok()
        );
        refused(
            json!({ "name": "shop", "visibility": "secret" }),
            "visibility",
        );
        refused(json!({ "name": "shop", "nmae": "x" }), "nmae");
    }
}
