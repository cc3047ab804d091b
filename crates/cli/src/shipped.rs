//! Contents of the program: the workflow `project-initialization`, its queue, and the actions for
//! any workflow.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use serde_json::Value;
use surefoot::{Handlers, QueueLimits, Run, RunStatus, StepPlan, StepState, Workflow};
use surefoot_initializer::forge::LocalForge;
use surefoot_initializer::project::{self, ProjectConfig};
use surefoot_initializer::template::{Source, TemplateError};

use crate::config::Settings;
use crate::drill;
use crate::errors::{Failure, unusable};
use crate::plan::plain;
use crate::progress::clean;

/// The shipped workflow's name.
pub(crate) const WORKFLOW: &str = project::PROJECT_INITIALIZATION;
/// The queue of the same name.
pub(crate) const QUEUE: &str = WORKFLOW;
/// The action of the shipped workflow that creates nothing.
const CREATES_NOTHING: &str = "project.resolve_credentials";
/// The beginnings of the actions that call git.
const GIT_ACTIONS: &[&str] = &["git.", "gitops."];

/// The shipped workflow.
pub(crate) fn workflow() -> Arc<Workflow> {
    Arc::new(project::workflow())
}

/// Returns whether a run of the shipped workflow has failed while it had created nothing: only its
/// first step, which looks at everything that can be wrong, has ever begun.
pub(crate) fn has_failed_creating_nothing(run: &Run) -> bool {
    let begun = |(_, step): &(&StepPlan, &StepState)| step.started_at.is_some();
    let mut begun = run.plan.steps().iter().zip(&run.steps).filter(begun);
    run.plan.name() == WORKFLOW
        && run.head.status == RunStatus::Failed
        && begun.all(|(plan, _)| plan.action == CREATES_NOTHING)
}

/// Every action that a worker of this program knows.
pub(crate) fn handlers(settings: &Settings) -> Handlers {
    let handlers = surefoot_initializer::actions::handlers_within(&settings.addresses)
        .merge(project::handlers(config(settings)));
    match &settings.drill {
        Some(folder) => drill::witnessed(handlers, folder, forge(settings).folder()),
        None => handlers,
    }
}

/// The folder of repositories that a worker of this host uses.
pub(crate) fn forge(settings: &Settings) -> LocalForge {
    config(settings).forge()
}

/// Configuration of the shipped workflow's handlers.
pub(crate) fn config(settings: &Settings) -> ProjectConfig {
    let secret = settings.auth.secret_file(&settings.data_dir);
    ProjectConfig {
        data_dir: settings.data_dir.clone(),
        repositories: settings.forge.repositories.clone(),
        fleet: settings.fleet.clone(),
        forge_credential: settings.forge.credential.clone(),
        repositories_url: settings.forge.repositories_url.clone(),
        addresses: settings.addresses.clone(),
        template_folders: settings.template_folders.clone(),
        private: vec![settings.credentials.clone(), secret],
        pace: settings.pace,
    }
}

/// The limits that the shipped queue begins with.
pub(crate) fn limits() -> QueueLimits {
    project::queue_limits()
}

/// Says so when a program that the workflow's steps call is not there, before anything is written.
pub(crate) fn expect_tools(workflow: &Workflow) -> Result<(), Failure> {
    let needs_git = workflow
        .actions()
        .iter()
        .any(|action| GIT_ACTIONS.iter().any(|prefix| action.starts_with(prefix)));
    if !needs_git
        || Command::new("git")
            .arg("--version")
            .output()
            .is_ok_and(|output| output.status.success())
    {
        return Ok(());
    }
    Err(
        Failure::usage("git is not to be found, and this workflow needs it")
            .hint("install git 2.32 or newer, or put it on PATH"),
    )
}

/// A template of this machine that a command names.
#[derive(Debug, Default)]
pub(crate) struct LocalTemplate(Option<PathBuf>);

impl LocalTemplate {
    /// A local template is kept by its full path, so that it is found from wherever the worker
    /// runs; what is no template at all, or may be none, is refused here, before anything is
    /// written.
    pub(crate) fn settle(parameters: &mut Value, settings: &Settings) -> Result<Self, Failure> {
        let Some(template) = parameters["template"].as_str() else {
            return Ok(Self(None));
        };
        let reference = parameters["template_ref"]
            .as_str()
            .filter(|reference| !reference.is_empty());
        let wrong = |error: TemplateError| Failure::usage(error.to_string());
        let path = Source::parse(template, reference).map_err(wrong)?.local();
        if let Some(path) = &path {
            config(settings).templates().check(path).map_err(wrong)?;
            // A `file://` is full already, and says that the commit is meant and not what lies in
            // the folder.
            if !template.starts_with("file://") {
                parameters["template"] = path.display().to_string().into();
            }
        }
        Ok(Self(path))
    }

    /// Lets the workers on this data directory use it: who gives commands here may choose.
    pub(crate) fn allow(&self, settings: &Settings) -> Result<(), Failure> {
        let Some(path) = &self.0 else { return Ok(()) };
        config(settings)
            .templates()
            .remember(path)
            .map_err(|error| unusable("use the template", path, &error))
    }
}

/// Summary of a finished initialization.
pub(crate) fn summary(output: &Value) -> String {
    let mut text = String::new();
    let mut line =
        |name: &str, value: String| text.push_str(&format!("  {name:<13} {}\n", clean(&value)));
    line("repository", plain(&output["repository"]["url"]));
    let copied = if output["template_copied"] == true {
        " (copied as it is: no surefoot-template.yaml)"
    } else {
        ""
    };
    line(
        "template",
        format!("{}{copied}", plain(&output["template"]["name"])),
    );
    line("commit", plain(&output["commit"]));
    line("environments", environments(&output["environments"]));
    for (index, file) in output["gitops"]["files"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        line(if index == 0 { "gitops" } else { "" }, plain(file));
    }
    list(&mut text, "not in force yet", &output["not_done"]);
    list(&mut text, "what to do next", &output["next_steps"]);
    text
}

/// Texts below a heading, which is left out when there is none.
fn list(text: &mut String, heading: &str, items: &Value) {
    let items = items.as_array().map(Vec::as_slice).unwrap_or_default();
    if items.is_empty() {
        return;
    }
    text.push_str(&format!("{heading}\n"));
    for item in items {
        text.push_str(&format!("  {}\n", clean(&plain(item))));
    }
}

/// `development, staging (1 approval wanted), production (2 approvals wanted)`: nothing enforces
/// them.
fn environments(list: &Value) -> String {
    let one = |environment: &Value| {
        let name = plain(&environment["name"]);
        match environment["approvals"].as_u64().unwrap_or(0) {
            0 => name,
            1 => format!("{name} (1 approval wanted)"),
            approvals => format!("{name} ({approvals} approvals wanted)"),
        }
    };
    list.as_array()
        .map(|list| list.iter().map(one).collect::<Vec<_>>().join(", "))
        .unwrap_or_default()
}
