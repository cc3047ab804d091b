//! `file.write`: writes one file of the workspace.

use std::path::Path;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use surefoot::{Outcome, Output, StepContext, StepError, StepHandler, files};

use super::fields::Fields;
use super::{blocking, paths};

const FIELDS: Fields = Fields {
    required: &["path"],
    one_of: &["content", "json"],
    optional: &["mode"],
};

/// Like the mode of an editor's new file, whatever the worker's umask is.
const USUAL_MODE: u32 = 0o644;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    path: String,
    content: Option<String>,
    /// Written with an indent of two spaces and a final line break.
    json: Option<Value>,
    /// In octal and in quotes: `"755"`. A workspace keeps only whether the file is executable.
    mode: Option<String>,
}

pub(super) struct FileWrite;

#[async_trait]
impl StepHandler for FileWrite {
    async fn run(&self, context: StepContext) -> Result<Outcome, StepError> {
        let input: Input = context.input()?;
        let mode = input.mode.as_deref().map_or(Ok(USUAL_MODE), mode)?;
        let content = content(&input)?;
        let workspace = context.workspace().await?;
        let output = json!({ "path": input.path, "bytes": content.len() });
        blocking(move || write(&workspace, &input.path, &content, mode)).await?;
        Ok(Output::new(output)?.into())
    }

    fn check(&self, with: &Value) -> Result<(), String> {
        FIELDS.check(with)
    }
}

fn mode(text: &str) -> Result<u32, StepError> {
    let mode = u32::from_str_radix(text.trim_start_matches("0o"), 8)
        .ok()
        .filter(|mode| *mode <= 0o777);
    mode.ok_or_else(|| {
        StepError::fatal(format!(
            "the mode `{text}` is none such as \"644\" or \"755\""
        ))
    })
}

fn content(input: &Input) -> Result<String, StepError> {
    match (&input.content, &input.json) {
        (Some(content), None) => Ok(content.clone()),
        (None, Some(json)) => Ok(format!("{json:#}\n")),
        _ => Err(StepError::fatal("give one of `content` and `json`")),
    }
}

fn write(workspace: &Path, path: &str, content: &str, mode: u32) -> Result<(), StepError> {
    let file = paths::writable(workspace, path).map_err(paths::PathError::step)?;
    files::write(&file, content.as_bytes(), mode).map_err(|error| paths::not_written(path, error))
}
