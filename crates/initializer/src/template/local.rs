//! Directories and repositories of this machine that may be templates.
//!
//! The submitter of a run names its template, and a template's files end up in a repository: if any
//! directory were allowed, an operator could read whatever this process can. So a local template is
//! allowed in two cases. The configuration names a directory that contains it, or it was used on
//! this machine's command line, which is recorded in the data directory. A user that can write
//! there can read everything else anyway, and any process that resumes the run finds the record
//! there. Surefoot's own private files are never a template.

#![expect(
    clippy::disallowed_methods,
    reason = "appends a line before a run is submitted"
)]

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use surefoot::files::{self, Links};

use super::load::is_bare;
use super::{Source, TemplateError, builtin_names};

/// In the data directory: one directory a line, as JSON, since a path may contain anything.
const REMEMBERED: &str = "local-templates";

/// Size limit of the list.
const LARGEST_LIST: u64 = 1 << 20;

/// Directories and repositories of this machine that may be templates.
#[derive(Clone, Debug)]
pub struct LocalTemplates {
    remembered: PathBuf,
    /// Paths that no template may contain or be in.
    private: Vec<PathBuf>,
    /// Directories below which anything may be a template.
    folders: Vec<PathBuf>,
}

impl LocalTemplates {
    /// Allows only those recorded in the data directory by the command line.
    pub fn new(data_dir: &Path) -> Self {
        let data_dir = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned());
        Self {
            remembered: data_dir.join(REMEMBERED),
            private: vec![data_dir],
            folders: Vec::new(),
        }
    }

    /// Also allows those below these directories.
    #[must_use]
    pub fn below(mut self, folders: &[PathBuf]) -> Self {
        self.folders.extend_from_slice(folders);
        self
    }

    /// Excludes those that contain one of these paths or are in it.
    #[must_use]
    pub fn without(mut self, private: &[PathBuf]) -> Self {
        self.private.extend_from_slice(private);
        self
    }

    /// The source named by a run's parameter, if it may be used. A local one is returned with its
    /// symlinks resolved.
    ///
    /// # Errors
    /// Says what may be used, and how to allow more. A missing path and a forbidden one give the
    /// same error, so that it reveals nothing about this machine.
    pub fn source(&self, text: &str, reference: Option<&str>) -> Result<Source, TemplateError> {
        let source = match Source::parse(text, reference) {
            Err(_) if !builtin_names().any(|name| name == text) => return Err(refused(text)),
            other => other?,
        };
        let Some(path) = source.local() else {
            return Ok(source);
        };
        let path = path
            .canonicalize()
            .ok()
            .filter(|path| self.allows(path))
            .ok_or_else(|| refused(text))?;
        self.check(&path)?;
        // For a directory that is not a repository, git would use one beside it whose name ends in
        // `.git`.
        if matches!(source, Source::Git { .. }) && !is_bare(&path) && !path.join(".git").exists() {
            return Err(refused(text));
        }
        Ok(source.at(path))
    }

    /// Refuses a path that contains Surefoot's private files, or is in them.
    ///
    /// # Errors
    /// Names both.
    pub fn check(&self, path: &Path) -> Result<(), TemplateError> {
        let path = real(path);
        match self
            .private
            .iter()
            .map(|private| real(private))
            .find(|it| path.starts_with(it) || it.starts_with(&path))
        {
            Some(private) if path.starts_with(&private) => Err(TemplateError(format!(
                "{} cannot be a template: it lies in {}, which Surefoot keeps to itself; copy it to another place",
                path.display(),
                private.display()
            ))),
            Some(private) => Err(TemplateError(format!(
                "{} cannot be a template: it holds {}, which Surefoot keeps to itself; put one of them elsewhere",
                path.display(),
                private.display()
            ))),
            None => Ok(()),
        }
    }

    /// Records a template that was used on this machine's command line.
    ///
    /// # Errors
    /// If the data directory cannot be written.
    pub fn remember(&self, path: &Path) -> io::Result<()> {
        let path = path.canonicalize()?;
        if self.is_remembered(&path) {
            return Ok(());
        }
        // A single write, so that two concurrent ones leave two lines.
        let line = format!(
            "{}\n",
            serde_json::to_string(&path).map_err(io::Error::other)?
        );
        File::options()
            .append(true)
            .create(true)
            .open(&self.remembered)?
            .write_all(line.as_bytes())
    }

    fn allows(&self, path: &Path) -> bool {
        self.folders
            .iter()
            .any(|folder| path.starts_with(real(folder)))
            || self.is_remembered(path)
    }

    fn is_remembered(&self, path: &Path) -> bool {
        let text =
            files::read_text(&self.remembered, Links::Follow, LARGEST_LIST).unwrap_or_default();
        text.lines()
            .filter_map(|line| serde_json::from_str::<PathBuf>(line).ok())
            .any(|known| known == path)
    }
}

/// Resolves the symlinks of the existing part of a path.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

fn refused(text: &str) -> TemplateError {
    TemplateError(format!(
        "`{text}` is not a template that may be used here: name a built-in one ({}), a Git URL, or a folder below one that \
         `folders` under [templates] names in the worker's configuration; on the worker's machine, \
         `surefoot init NAME --template FOLDER` may use any",
        builtin_names().collect::<Vec<_>>().join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A directory with a data directory, credentials in it, and two templates beside it.
    fn scene() -> (tempfile::TempDir, LocalTemplates) {
        let all = tempfile::tempdir().unwrap();
        for folder in [
            "data/credentials",
            "data/repositories/shop.git",
            "open/one/.git",
            "open/a b/.git",
            "closed",
            "keys",
        ] {
            fs::create_dir_all(all.path().join(folder)).unwrap();
        }
        let templates = LocalTemplates::new(&all.path().join("data"));
        let templates = templates
            .below(&[all.path().join("open")])
            .without(&[all.path().join("keys")]);
        (all, templates)
    }

    #[test]
    fn only_configured_local_templates_are_allowed() {
        let (all, templates) = scene();
        let at = |path: &str| all.path().join(path).display().to_string();
        std::os::unix::fs::symlink(at("closed"), at("open/out")).unwrap();
        std::os::unix::fs::symlink(at("open/one"), at("in")).unwrap();
        let check = |text: &str, reference: Option<&str>, expect: &str| {
            let found = templates
                .source(text, reference)
                .map(|source| source.local());
            let found = found.map_or_else(
                |error| error.0,
                |path| path.unwrap_or_default().display().to_string(),
            );
            let expect = if expect.is_empty() {
                String::new()
            } else {
                at(expect)
            };
            assert!(
                found == expect || expect.is_empty() && found.contains("[templates]"),
                "{text}: {found}"
            );
        };
        check(&at("open/one"), None, "open/one");
        check(&at("open"), None, "open");
        check(&at("open/one"), Some("v1"), "open/one");
        check(&format!("file://{}", at("open/one")), None, "open/one");
        check(&format!("file://{}", at("open/a%20b")), None, "open/a b");
        check(&at("in"), None, "open/one");
        let out = [
            "closed",
            "open/out",
            "open/../closed",
            "data",
            "data/credentials",
            "data/repositories/shop.git",
            "",
            "gone",
        ];
        for path in out {
            for text in [
                at(path),
                format!("file://{}", at(path)),
                format!("file://localhost{}", at(path)),
            ] {
                check(&text, None, "");
                check(&text, Some("main"), "");
            }
        }
        // A directory with a repository of that name beside it.
        for folder in ["open/shop", "open/shop.git/refs", "open/shop.git/objects"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        fs::write(at("open/shop.git/HEAD"), "ref: refs/heads/main").unwrap();
        check(&at("open/shop"), Some("main"), "");
        check(&format!("file://{}", at("open/shop")), None, "");
        check(&at("open/shop.git"), Some("main"), "open/shop.git");
        check("/etc", None, "");
        check(".", None, "");
        assert_eq!(
            templates.source("rust-service", None).unwrap(),
            Source::Builtin("rust-service".to_owned())
        );
        assert!(
            templates.source("https://host/t.git", None).is_ok()
                && templates.source("git@host:t.git", None).is_ok()
        );
    }

    #[test]
    fn templates_of_the_command_line_are_remembered() {
        let (all, templates) = scene();
        let closed = all.path().join("closed");
        let text = closed.display().to_string();
        assert!(templates.source(&text, None).is_err());
        for _ in 0..2 {
            templates.remember(&closed).unwrap();
        }
        // In whatever process.
        let other = LocalTemplates::new(&all.path().join("data"));
        assert_eq!(
            other.source(&text, None).unwrap(),
            Source::Folder(closed.canonicalize().unwrap())
        );
        assert!(
            other
                .source(&all.path().join("keys").display().to_string(), None)
                .is_err()
        );
        assert_eq!(
            fs::read_to_string(all.path().join("data/local-templates"))
                .unwrap()
                .lines()
                .count(),
            1
        );
    }

    #[test]
    fn private_files_are_never_a_template() {
        let (all, templates) = scene();
        let templates = templates.below(&[all.path().to_owned()]);
        let check = |path: &str, expect: &str| {
            let path = all.path().join(path);
            templates.remember(&path).unwrap();
            let error = templates
                .source(&path.display().to_string(), None)
                .unwrap_err()
                .0;
            assert!(error.contains(expect), "{error}");
        };
        check("data/credentials", "it lies in");
        check("data", "it lies in");
        check("keys", "it lies in");
        check("", "it holds");
    }
}
