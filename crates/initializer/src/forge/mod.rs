//! Forges: where the repositories of projects live. For now there is `local`: bare repositories under the data directory.

mod address;
mod identity;
mod local;
mod mark;
mod offer;

pub use identity::{ForgeId, ForgeMark, LOCAL_FORGE, MARK_FILE};
pub use local::{Created, LocalForge, NewRepository, Visibility};
pub use mark::Mark;
pub use offer::{StoreForge, resources};

pub(crate) use address::escaped;

use crate::git::GitError;

/// The name of the only forge there is.
pub const LOCAL: &str = "local";

/// Why a forge did not do it.
#[derive(Debug, thiserror::Error)]
pub enum ForgeError {
    /// Something is there that is not this run's; it was not touched. No further attempt will help.
    #[error("{0}")]
    Taken(String),
    /// People's work would be lost; nothing was removed.
    #[error("{0}")]
    InUse(String),
    /// Git did not do it.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The file system did not do it.
    #[error("cannot {what}: {error}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        #[source]
        error: std::io::Error,
    },
}

impl ForgeError {
    /// Whether no further attempt will help.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Taken(_) | Self::InUse(_))
    }

    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |error| Self::Io { what, error }
    }
}
