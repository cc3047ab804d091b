//! Content of a project: its template is loaded, its values are checked and every file is rendered
//! before anything is created.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use surefoot::{AddressPolicy, Timestamp, files};

use super::ProjectConfig;
use super::push::FirstCommit;
use crate::environment::Environment;
use crate::gitops::{NameError, check_environments, check_project};
use crate::template::{Entry, LoadError, Source, Template, TemplateError, load, render};

/// Inputs that determine the content of a project.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ContentRequest {
    pub(super) project: String,
    pub(super) template: String,
    /// Branch, tag or commit of the template; the default branch if empty.
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

/// A project's files, and their template.
pub(super) struct Content {
    project: String,
    pub(super) template: Template,
    pub(super) files: Vec<Entry>,
}

impl ContentRequest {
    /// Reads the parameters of the shipped workflow.
    fn of_parameters(parameters: &Value) -> Result<Self, TemplateError> {
        let fields = json!({
            "project": parameters["name"], "template": parameters["template"], "ref": parameters["template_ref"],
            "description": parameters["description"], "owner": parameters["owner"], "gitops": parameters["gitops"],
            "environments": parameters["environments"], "values": parameters["values"],
        });
        Self::deserialize(fields)
            .map_err(|error| TemplateError(format!("the parameters of the project: {error}")))
    }

    pub(super) fn reference(&self) -> Option<&str> {
        if self.reference.is_empty() {
            None
        } else {
            Some(&self.reference)
        }
    }

    /// Loads the template and renders it. `scratch` is an empty directory; `addresses` are those
    /// that a URL may lead to.
    ///
    /// # Errors
    /// [`LoadError::Git`] may be transient. Any other is a mistake in the request or the template,
    /// and says what to do.
    pub(super) async fn render(
        self,
        source: Source,
        scratch: &Path,
        addresses: &AddressPolicy,
    ) -> Result<Content, LoadError> {
        let wrong = |error: NameError| TemplateError(error.to_string());
        check_project(&self.project).map_err(wrong)?;
        check_environments(&self.environments).map_err(wrong)?;
        let template = load(source, scratch, addresses).await?;
        // Rendering is CPU work, as much as a template causes.
        let rendering = tokio::task::spawn_blocking(move || self.rendered(template));
        rendering
            .await
            .map_err(|error| TemplateError(format!("the template cannot be rendered: {error}")))?
    }

    fn rendered(self, template: Template) -> Result<Content, LoadError> {
        let values = template
            .check_values(self.values)
            .map_err(LoadError::Values)?;
        let scope = json!({
            "name": self.project, "description": self.description, "owner": self.owner,
            "environments": self.environments, "gitops": self.gitops, "values": values,
        });
        let files = render(&template, &scope)?;
        if self.gitops {
            overlays(&template, &files, &self.environments)?;
        }
        Ok(Content {
            project: self.project,
            template,
            files,
        })
    }
}

impl Content {
    /// The first commit, as `git fast-import` reads it.
    pub(super) fn first_commit(&self, run: &str, at: Timestamp) -> Vec<u8> {
        let template = format!("{} {}", self.template.name, self.template.version);
        FirstCommit {
            project: &self.project,
            run,
            at,
            template: &template,
            files: &self.files,
        }
        .stream()
    }

    /// Text for people.
    pub(super) fn summary(&self) -> String {
        let Template {
            name,
            version,
            is_copied,
            ..
        } = &self.template;
        let how = if *is_copied {
            "copied as they are: there is no surefoot-template.yaml"
        } else {
            "rendered"
        };
        format!(
            "template {name} {version}: {} files, {how}",
            self.files.len()
        )
    }
}

/// Checks the parameters of the shipped workflow that concern the project's content, as the first
/// step does: loads the template and renders it. `scratch` is an empty directory; `addresses` are
/// those that a URL may lead to.
///
/// # Errors
/// [`LoadError::Git`] may be transient. Any other is a mistake in the parameters or the template,
/// and says what to do.
pub async fn check_content(
    parameters: &Value,
    scratch: &Path,
    addresses: &AddressPolicy,
) -> Result<(), LoadError> {
    let request = ContentRequest::of_parameters(parameters)?;
    let source = Source::parse(&request.template, request.reference())?;
    request.render(source, scratch, addresses).await.map(drop)
}

/// Checks a submission of the shipped workflow by a server whose workers have this configuration,
/// as the first step will: a template that is built in or a folder is loaded and rendered, within
/// [`CHECKED_WITHIN`]. One in a Git repository is left to the first step, which fails before
/// anything is created, and so is one for which the time is too short.
///
/// # Errors
/// The parameter that is wrong, and why.
pub async fn check_submission(
    config: &ProjectConfig,
    parameters: &Value,
) -> Result<(), SubmissionError> {
    let in_template = |error: TemplateError| SubmissionError::new("template", error.into());
    let request = ContentRequest::of_parameters(parameters).map_err(in_template)?;
    let in_names = |parameter| {
        move |error: NameError| {
            SubmissionError::new(parameter, TemplateError(error.to_string()).into())
        }
    };
    check_project(&request.project).map_err(in_names("name"))?;
    check_environments(&request.environments).map_err(in_names("environments"))?;
    let templates = config.templates();
    let addresses = config.addresses.clone();
    let (template, reference) = (
        request.template.clone(),
        request.reference().map(str::to_owned),
    );
    let checking = async move {
        let looking = files::blocking(move || templates.source(&template, reference.as_deref()));
        let looked = looking
            .await
            .map_err(|error| TemplateError(error.to_string()))?;
        let source = looked.map_err(LoadError::Unknown)?;
        if matches!(source, Source::Git { .. }) {
            return Ok(());
        }
        // A folder needs no scratch.
        request
            .render(source, Path::new(""), &addresses)
            .await
            .map(drop)
    };
    match tokio::time::timeout(CHECKED_WITHIN, checking).await {
        Ok(Err(LoadError::Values(error))) => {
            Err(SubmissionError::new("values", LoadError::Values(error)))
        }
        Ok(Ok(()) | Err(LoadError::Process(_))) | Err(_) => Ok(()),
        Ok(Err(error)) => Err(SubmissionError::new("template", error)),
    }
}

/// Time that the check of a submission takes at most.
pub const CHECKED_WITHIN: Duration = Duration::from_secs(10);

/// A submission that the first step would refuse.
#[derive(Debug, thiserror::Error)]
#[error("the parameter {parameter} is wrong")]
pub struct SubmissionError {
    /// The parameter of the shipped workflow that is wrong.
    pub parameter: &'static str,
    /// The reason.
    #[source]
    pub error: Box<LoadError>,
}

impl SubmissionError {
    fn new(parameter: &'static str, error: LoadError) -> Self {
        Self {
            parameter,
            error: Box::new(error),
        }
    }
}

/// Refuses a project without the files that GitOps applies.
fn overlays(
    template: &Template,
    files: &[Entry],
    environments: &[Environment],
) -> Result<(), TemplateError> {
    for Environment { name, .. } in environments {
        let folder = format!("deploy/overlays/{name}/");
        if !files.iter().any(|file| file.path.starts_with(&folder)) {
            return Err(TemplateError(format!(
                "the template {} has no folder {folder}, from which GitOps deploys {name}: initialise with `-p gitops=false`, or \
                 add the folder to the template (`environment` in a path gives one for each)",
                template.name
            )));
        }
    }
    Ok(())
}
