//! `surefoot-template.yaml`: a template's description of itself.

use serde::Deserialize;
use serde_json::{Value, json};
use surefoot::Workflow;

use super::{TemplateError, glob};

/// Path of the manifest in a template; the file itself is not part of the project.
pub(super) const FILE: &str = "surefoot-template.yaml";

/// A template's description of itself. Everything is optional.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Manifest {
    /// Title for people.
    pub title: Option<String>,
    /// Its purpose.
    pub description: Option<String>,
    /// JSON Schema of its own values, available as `values.<name>` during rendering.
    pub parameters: Option<Value>,
    /// Globs of files whose content is copied instead of rendered, such as CI files with
    /// expressions of their own.
    pub raw: Vec<String>,
    /// Directories that are created even without a file of the template in them.
    pub directories: Vec<String>,
}

impl Manifest {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, TemplateError> {
        let text =
            std::str::from_utf8(bytes).map_err(|_| TemplateError::at(FILE, "is not UTF-8"))?;
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let options = serde_saphyr::options! { with_snippet: false };
        let manifest: Self = serde_saphyr::from_str_with_options(text, options)
            .map_err(|error| TemplateError::at(FILE, error))?;
        manifest.schema()?;
        Ok(manifest)
    }

    /// Returns whether the content of the file at `path` is copied.
    pub fn is_raw(&self, path: &str) -> bool {
        self.raw.iter().any(|pattern| glob::matches(pattern, path))
    }

    /// Checks a template's values and fills in defaults.
    ///
    /// # Errors
    /// Names each invalid value, and the reason.
    pub fn check_values(&self, values: Value) -> Result<Value, TemplateError> {
        let values = if values.is_null() { json!({}) } else { values };
        if self.parameters.is_none() {
            return Ok(values);
        }
        self.schema()?.check_parameters(values).map_err(|errors| {
            let list = errors
                .iter()
                .map(|error| format!("values.{}: {}", error.parameter, error.message));
            TemplateError(format!(
                "the template's values do not fit: {}",
                list.collect::<Vec<_>>().join("; ")
            ))
        })
    }

    /// A template's values are checked as a workflow's parameters are: the same schema, defaults
    /// and messages.
    fn schema(&self) -> Result<Workflow, TemplateError> {
        let schema = self
            .parameters
            .clone()
            .unwrap_or_else(|| json!({ "type": "object" }));
        let workflow = Workflow::builder("template")
            .parameters(schema)
            .step("render", "render")
            .build();
        workflow.map_err(|error| TemplateError::at(FILE, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked_and_defaults_filled_in() {
        let manifest = Manifest::read(
            b"parameters: { type: object, properties: { port: { type: integer, default: 8080 } }, additionalProperties: false }",
        )
        .unwrap();
        assert_eq!(
            manifest.check_values(Value::Null).unwrap(),
            json!({ "port": 8080 })
        );
        assert_eq!(
            manifest.check_values(json!({ "port": 1 })).unwrap(),
            json!({ "port": 1 })
        );
        let error = manifest
            .check_values(json!({ "port": "x", "prot": 1 }))
            .unwrap_err()
            .0;
        assert!(
            error.contains("values.port: ") && error.contains("values.prot: "),
            "{error}"
        );
    }

    #[test]
    fn unreadable_manifests_are_refused_with_the_reason() {
        let check = |text: &str, expect: &str| {
            let error = Manifest::read(text.as_bytes()).unwrap_err().0;
            assert!(error.contains(FILE) && error.contains(expect), "{error}");
        };
        check("titel: x", "titel");
        check("raw: [", "line 1");
        check("parameters: { type: 7 }", "JSON Schema");
    }
}
