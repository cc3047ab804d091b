//! A note that a push of ours is in progress: a file in the repository, locked while the pushing
//! process lives. The system releases the lock when that process dies, however it dies and on
//! whichever machine it was; a note without a holder belongs to a push that was cut short.

#![expect(
    clippy::disallowed_methods,
    reason = "looks at the names of a repository and removes one file"
)]

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use surefoot::files::{self, Links};

const PREFIX: &str = "surefoot-push.";

/// The note of a push in progress.
#[derive(Debug)]
pub(super) struct Note {
    path: PathBuf,
    _lock: File,
}

impl Note {
    /// Creates a note, which is locked before it gets the name by which others find it. `None` if
    /// none can be created: the push then counts as a foreign one.
    pub(super) fn leave(repository: &Path) -> Option<Self> {
        let unnamed = tempfile::Builder::new()
            .prefix(&format!(".{PREFIX}"))
            .tempfile_in(repository)
            .ok()?;
        unnamed.as_file().try_lock().ok()?;
        let name = unnamed
            .path()
            .file_name()?
            .to_str()?
            .trim_start_matches('.')
            .to_owned();
        let path = repository.join(name);
        let lock = unnamed.persist_noclobber(&path).ok()?;
        Some(Self { path, _lock: lock })
    }

    /// Removes the note after the push. A note that is dropped without this stays, as evidence of a
    /// push that was cut short.
    pub(super) fn take_back(self) {
        // A note that cannot be removed counts as that of a dead push, and is examined again.
        let _ = fs::remove_file(&self.path);
    }
}

/// A push that was cut short.
#[derive(Debug)]
pub(super) struct Dead {
    path: PathBuf,
    /// Its start, by the file system's clock.
    pub(super) began: SystemTime,
}

impl Dead {
    /// The dead pushes of a repository.
    pub(super) fn of(repository: &Path) -> Vec<Self> {
        notes(repository).filter_map(Self::read).collect()
    }

    fn read(path: PathBuf) -> Option<Self> {
        let (file, _) = files::open(&path, Links::Refuse).ok()?;
        file.try_lock().ok()?;
        let began = file.metadata().ok()?.modified().ok()?;
        Some(Self { path, began })
    }

    /// Removes the note, once the remains of the push are gone.
    pub(super) fn remove_note(self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Start times of the pushes in progress in a repository.
pub(super) fn living(repository: &Path) -> Vec<SystemTime> {
    let began = |path: PathBuf| {
        let (file, _) = files::open(&path, Links::Refuse).ok()?;
        matches!(file.try_lock(), Err(TryLockError::WouldBlock))
            .then(|| file.metadata().ok()?.modified().ok())?
    };
    notes(repository).filter_map(began).collect()
}

fn notes(repository: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(repository).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX))
        .map(|entry| entry.path())
}
