//! The ownership mark: the owner of a repository, written in its own Git configuration.

use std::fmt;
use std::path::Path;

use crate::git::{Git, GitError};

/// Owner of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The project that it was created for, or `(fleet)`.
    pub project: String,
    /// The run that created it.
    pub run: String,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "project `{}`, run {}", self.project, self.run)
    }
}

impl Mark {
    /// Lines for a repository's `config`.
    pub(super) fn config(&self) -> String {
        format!(
            "[surefoot]\n\tproject = \"{}\"\n\trun = \"{}\"\n",
            self.project, self.run
        )
    }

    /// Reads the mark of the repository at `path`; `None` if it has none.
    pub(super) async fn read(path: &Path) -> Result<Option<Self>, GitError> {
        let listing = ["config", "--file", "config", "--get-regexp", r"^surefoot\."];
        let text = match Git::new(path).run(&listing).await {
            Ok(text) => text,
            Err(error) if error.code() == Some(1) => return Ok(None),
            Err(error) => return Err(error),
        };
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
                .map(str::to_owned)
        };
        Ok(field("surefoot.project")
            .zip(field("surefoot.run"))
            .map(|(project, run)| Self { project, run }))
    }
}
