//! Which folders and repositories of this machine may be templates.
//!
//! Whoever may submit a run names its template, and a template's files end in a repository: a template of any folder would
//! let an operator read whatever this process can. So a local one is used when the configuration names a folder that it is
//! in, or when somebody used it from this machine's command line, which is remembered in the data directory: who writes
//! there can read all the rest by themselves, and whichever process carries the run on finds it there. What Surefoot keeps
//! to itself is no template for anybody.

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

/// In the data directory: a folder a line, as JSON, since a path may hold anything.
const REMEMBERED: &str = "local-templates";

/// The largest list that is read.
const LARGEST_LIST: u64 = 1 << 20;

/// Which folders and repositories of this machine may be templates.
#[derive(Clone, Debug)]
pub struct LocalTemplates {
    remembered: PathBuf,
    /// What no template may hold, or lie in.
    private: Vec<PathBuf>,
    /// What is below these may be a template.
    folders: Vec<PathBuf>,
}

impl LocalTemplates {
    /// None but those that the command line used, as the data directory remembers.
    pub fn new(data_dir: &Path) -> Self {
        let data_dir = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned());
        Self {
            remembered: data_dir.join(REMEMBERED),
            private: vec![data_dir],
            folders: Vec::new(),
        }
    }

    /// Those below these folders too.
    #[must_use]
    pub fn below(mut self, folders: &[PathBuf]) -> Self {
        self.folders.extend_from_slice(folders);
        self
    }

    /// None that holds one of these, or lies in it.
    #[must_use]
    pub fn without(mut self, private: &[PathBuf]) -> Self {
        self.private.extend_from_slice(private);
        self
    }

    /// What a run's parameter names, if it may be used. A local one comes with its links followed.
    ///
    /// # Errors
    /// Says what may be used, and how to allow more. The same words for what is not there and what is not allowed: nobody
    /// learns from them what this machine has.
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
        // Given a folder that is no repository, git would take one beside it whose name ends in `.git`.
        if matches!(source, Source::Git { .. }) && !is_bare(&path) && !path.join(".git").exists() {
            return Err(refused(text));
        }
        Ok(source.at(path))
    }

    /// Refuses a place that holds what Surefoot keeps to itself, or lies in it.
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

    /// Remembers a template that somebody uses from this machine's command line.
    ///
    /// # Errors
    /// When the data directory cannot be written.
    pub fn remember(&self, path: &Path) -> io::Result<()> {
        let path = path.canonicalize()?;
        if self.is_remembered(&path) {
            return Ok(());
        }
        // One write: two that come at once leave two lines.
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

/// With its links followed, as far as it is there.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

fn refused(text: &str) -> TemplateError {
    TemplateError(format!(
        "`{text}` is no template that may be used here: name a built-in one ({}), a Git URL, or a folder below one that \
         `folders` under [templates] names in the worker's configuration; on the worker's machine, \
         `surefoot init NAME --template FOLDER` may use any",
        builtin_names().collect::<Vec<_>>().join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A folder with a data directory, credentials in it, and two templates beside it.
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
    fn what_the_configuration_names_and_nothing_else() {
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
        // A folder beside which there is a repository of that name.
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
    fn what_the_command_line_used_is_remembered() {
        let (all, templates) = scene();
        let closed = all.path().join("closed");
        let text = closed.display().to_string();
        assert!(templates.source(&text, None).is_err());
        for _ in 0..2 {
            templates.remember(&closed).unwrap();
        }
        // Whichever process it is.
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
    fn what_surefoot_keeps_to_itself_is_no_template_whoever_says_so() {
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
