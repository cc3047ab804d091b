//! `template.render`: renders a directory or a file of the workspace into another place of it.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use surefoot::files::{self, FileError, Links};
use surefoot::{Outcome, Output, StepContext, StepError, StepHandler};

use super::fields::Fields;
use super::{blocking, paths};
use crate::process::meets_shortage;
use crate::template::{Content, Entry, LARGEST_FILE, RenderError, Template, load_folder, render};

const FIELDS: Fields = Fields {
    required: &["from", "to"],
    one_of: &[],
    optional: &["values"],
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    from: String,
    /// A directory if `from` is one, a file if `from` is one.
    to: String,
    #[serde(default)]
    values: Value,
}

pub(super) struct TemplateRender;

#[async_trait]
impl StepHandler for TemplateRender {
    async fn run(&self, context: StepContext) -> Result<Outcome, StepError> {
        let input: Input = context.input()?;
        let workspace = context.workspace().await?;
        let files = blocking(move || render_all(&workspace, &input)).await?;
        Ok(Output::new(json!({ "files": files }))?.into())
    }

    fn check(&self, with: &Value) -> Result<(), String> {
        FIELDS.check(with)
    }
}

/// Renders, and returns the number of written files.
fn render_all(workspace: &Path, input: &Input) -> Result<usize, StepError> {
    let from = paths::existing(workspace, &input.from).map_err(paths::PathError::step)?;
    let is_folder = from.is_dir();
    let template = if is_folder {
        load_folder(&from)
    } else {
        single(&from, &input.from)?
    };
    let template = template.map_err(StepError::fatal)?;
    let values = template
        .manifest
        .check_values(input.values.clone())
        .map_err(StepError::fatal)?;
    let entries = render(&template, &values).map_err(not_rendered)?;
    for entry in &entries {
        let to = if is_folder {
            format!("{}/{}", input.to, entry.path)
        } else {
            input.to.clone()
        };
        let path = paths::writable(workspace, &to).map_err(paths::PathError::step)?;
        write(&path, &entry.content).map_err(|error| paths::not_written(&to, error))?;
    }
    Ok(entries.len())
}

fn not_rendered(error: RenderError) -> StepError {
    match error {
        RenderError::Template(error) => StepError::fatal(error),
        error if meets_shortage(&error) => StepError::shortage(error),
        error => StepError::from(error),
    }
}

/// A template of one file, whose name is not rendered.
fn single(
    file: &Path,
    from: &str,
) -> Result<Result<Template, crate::template::TemplateError>, StepError> {
    let bytes = files::read(file, Links::Refuse, LARGEST_FILE)
        .map_err(|error| paths::not_read(from, error))?;
    let executable = file.metadata()?.permissions().mode() & 0o100 != 0;
    let entry = Entry {
        path: "file".to_owned(),
        content: Content::File { bytes, executable },
    };
    Ok(Template::new(from, None, vec![entry]))
}

fn write(path: &Path, content: &Content) -> Result<(), FileError> {
    match content {
        Content::File { bytes, executable } => {
            files::write(path, bytes, if *executable { 0o755 } else { 0o644 })
        }
        Content::Symlink { target } => Ok(symlink(target, path)?),
    }
}
