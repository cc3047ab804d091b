//! Forges: hosts of the projects' repositories. For now there is `local`: bare repositories under
//! the data directory.

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

/// Name of the only forge.
pub const LOCAL: &str = "local";

/// Error of a forge.
#[derive(Debug, thiserror::Error)]
pub enum ForgeError {
    /// The name is taken by something that is not this run's; it was not touched. Retrying does not
    /// help.
    #[error("{0}")]
    Taken(String),
    /// People's work would be lost; nothing was removed.
    #[error("{0}")]
    InUse(String),
    /// Git failed.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The file system failed.
    #[error("cannot {what}: {error}")]
    Io {
        /// The attempted operation.
        what: String,
        /// Error of the system.
        #[source]
        error: std::io::Error,
    },
}

impl ForgeError {
    /// Returns whether retrying cannot help.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Taken(_) | Self::InUse(_))
    }

    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |error| Self::Io { what, error }
    }
}
