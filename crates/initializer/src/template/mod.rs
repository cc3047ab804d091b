//! Templates: their sources, their content, and their conversion into the files of a project.
//!
//! Loading ([`load`]) and rendering ([`render`]) are separate: rendering is a pure function of a
//! template and its values, so that every attempt of a run produces the same bytes.

mod builtin;
mod child;
mod foreign;
mod glob;
mod language;
mod limits;
mod load;
mod local;
mod manifest;
mod path;
mod remote;
mod render;
mod symlink;
mod texts;
mod undecodable;

use std::fmt::Write as _;

use serde_json::Value;
use surefoot::Digest;

pub use builtin::{builtin, builtin_names};
pub use child::{CHILD_ARGUMENT, child_main, render_in_child};
pub use foreign::ForeignTemplate;
pub(crate) use limits::FILE as LARGEST_FILE;
pub use load::{LoadError, Source, load, load_folder};
pub use local::LocalTemplates;
pub use manifest::Manifest;
pub use render::render;

/// A loaded template, not yet rendered.
#[derive(Clone, Debug)]
pub struct Template {
    /// Its name for people: the built-in name, the directory, the URL.
    pub name: String,
    /// Its exact version: a commit (`git:...`) or the digest of its content (`sha256:...`).
    pub version: String,
    /// Its description of itself.
    pub manifest: Manifest,
    has_manifest: bool,
    /// True if its files are copied byte for byte: a project's template without a manifest.
    pub is_copied: bool,
    /// True for a built-in template, whose work is known to be little.
    is_builtin: bool,
    /// Its files, by path.
    pub entries: Vec<Entry>,
}

/// A file of a template or of a rendered project.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// From the top of the template, with `/` between the parts.
    pub path: String,
    /// Its content.
    pub content: Content,
}

/// Content at a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Content {
    /// A file.
    File {
        /// Its bytes.
        bytes: Vec<u8>,
        /// True if it can be executed: the only mode that Git keeps.
        executable: bool,
    },
    /// A symbolic link.
    Symlink {
        /// Its target, relative to its own directory.
        target: String,
    },
}

/// Reason for which a template cannot be used. It is always a person's mistake, so retrying does
/// not help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TemplateError(pub String);

/// Why a template was not rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// It cannot be.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The process that renders could not do its work, for now.
    #[error("cannot render the template: {0}")]
    Process(#[from] std::io::Error),
}

impl TemplateError {
    pub(crate) fn at(path: &str, message: impl std::fmt::Display) -> Self {
        Self(format!("template file {path}: {message}"))
    }
}

impl Template {
    /// A template of these files, one of which may be the manifest.
    ///
    /// # Errors
    /// If the manifest is invalid, or a limit is exceeded.
    pub fn new(
        name: impl Into<String>,
        version: Option<String>,
        entries: Vec<Entry>,
    ) -> Result<Self, TemplateError> {
        let name = name.into();
        limits::check(&entries)?;
        let version = version.unwrap_or_else(|| digest(&entries));
        let (manifests, mut entries): (Vec<_>, Vec<_>) = entries
            .into_iter()
            .partition(|entry| entry.path == manifest::FILE);
        let has_manifest = !manifests.is_empty();
        let manifest = match manifests.first().map(|entry| &entry.content) {
            Some(Content::File { bytes, .. }) => Manifest::read(bytes)?,
            Some(Content::Symlink { .. }) => {
                return Err(TemplateError::at(manifest::FILE, "is a symbolic link"));
            }
            None => Manifest::default(),
        };
        entries.sort();
        Ok(Self {
            name,
            version,
            manifest,
            has_manifest,
            is_copied: false,
            is_builtin: false,
            entries,
        })
    }

    /// The same as the template of a project: without a manifest it is copied as it is, unless it
    /// is a template of another tool.
    fn of_project(mut self) -> Result<Self, ForeignTemplate> {
        if !self.has_manifest {
            foreign::check(&self.entries)?;
            self.is_copied = true;
        }
        Ok(self)
    }

    /// Checks the given values, and fills in defaults.
    ///
    /// # Errors
    /// Names each invalid value, and the reason.
    pub fn check_values(&self, values: Value) -> Result<Value, TemplateError> {
        let given = values
            .as_object()
            .map(|values| values.keys().map(String::as_str).collect::<Vec<_>>());
        let given = given.unwrap_or_default().join(", ");
        if self.is_copied && !given.is_empty() {
            return Err(TemplateError(format!(
                "the template {} takes no values, but {given} was given: it has no {} and is copied as it is",
                self.name,
                manifest::FILE
            )));
        }
        self.manifest.check_values(values)
    }
}

/// Digest of a template's content: paths, modes and bytes, each with its length, so that it is
/// unambiguous.
fn digest(entries: &[Entry]) -> String {
    let mut sorted = entries.iter().collect::<Vec<_>>();
    sorted.sort();
    let mut text = String::new();
    for entry in sorted {
        let (mode, bytes) = match &entry.content {
            Content::File {
                bytes,
                executable: false,
            } => ('f', bytes.as_slice()),
            Content::File {
                bytes,
                executable: true,
            } => ('x', bytes.as_slice()),
            Content::Symlink { target } => ('l', target.as_bytes()),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{mode} {} {}:{}",
            Digest::of(bytes),
            entry.path.len(),
            entry.path
        );
    }
    format!("sha256:{}", Digest::of(text.as_bytes()))
}

#[cfg(test)]
pub(crate) mod testing {
    //! Helpers that write a template concisely.

    use super::{Content, Entry, Template};

    pub(crate) fn file(path: &str, text: &str) -> Entry {
        Entry {
            path: path.to_owned(),
            content: Content::File {
                bytes: text.as_bytes().to_vec(),
                executable: false,
            },
        }
    }

    pub(crate) fn symlink(path: &str, target: &str) -> Entry {
        Entry {
            path: path.to_owned(),
            content: Content::Symlink {
                target: target.to_owned(),
            },
        }
    }

    pub(crate) fn template(entries: impl IntoIterator<Item = Entry>) -> Template {
        Template::new("test", None, entries.into_iter().collect()).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{file, symlink, template};
    use super::*;

    #[test]
    fn the_digest_changes_with_path_mode_and_bytes_but_not_with_the_order() {
        let version = |entries: &[Entry]| template(entries.iter().cloned()).version;
        let a = file("a", "1");
        let b = file("b", "2");
        let base = version(&[a.clone(), b.clone()]);
        assert_eq!(base, version(&[b.clone(), a.clone()]));
        let executable = Entry {
            content: Content::File {
                bytes: b"1".to_vec(),
                executable: true,
            },
            ..a.clone()
        };
        for other in [
            executable,
            file("a", "2"),
            file("c", "1"),
            symlink("a", "1"),
        ] {
            assert_ne!(base, version(&[other, b.clone()]));
        }
    }

    #[test]
    fn without_a_manifest_nothing_is_rendered_and_no_value_is_taken() {
        let copied = template([file("${{ name }}/a", "${{ gone")])
            .of_project()
            .unwrap();
        assert_eq!(
            render(&copied, &serde_json::json!({})).unwrap(),
            [file("${{ name }}/a", "${{ gone")]
        );
        assert!(
            copied.check_values(Value::Null).is_ok()
                && copied.check_values(serde_json::json!({})).is_ok()
        );
        let error = copied
            .check_values(serde_json::json!({ "port": 1 }))
            .unwrap_err()
            .0;
        assert!(
            error.contains("port was given") && error.contains("surefoot-template.yaml"),
            "{error}"
        );
        assert!(
            template([file("copier.yml", "")])
                .of_project()
                .unwrap_err()
                .to_string()
                .contains("copier")
        );
        let ours = template([file("copier.yml", ""), file("surefoot-template.yaml", "")])
            .of_project()
            .unwrap();
        assert!(!ours.is_copied);
    }

    #[test]
    fn the_manifest_is_no_file_of_the_project() {
        let template = template([file("surefoot-template.yaml", "title: T"), file("a", "")]);
        assert_eq!(template.manifest.title.as_deref(), Some("T"));
        assert_eq!(template.entries, [file("a", "")]);
    }
}
