//! What says that a push of ours is under way: a file in the repository, locked as long as the process that pushes lives. The
//! system lets go of the lock when that process dies, however it dies and on whichever machine it was; a note that nobody
//! holds is of a push that was cut short.

#![expect(
    clippy::disallowed_methods,
    reason = "looks at the names of a repository and removes one file"
)]

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use surefoot::files::{self, Links};

const PREFIX: &str = "surefoot-push.";

/// The note of a push that is under way.
#[derive(Debug)]
pub(super) struct Note {
    path: PathBuf,
    _lock: File,
}

impl Note {
    /// Leaves a note. `None` where none can be left: the push is then like anybody's. It is locked before it has the name by
    /// which others find it.
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

    /// The push is over. A note that is dropped without this stays, and tells of a push that was cut short.
    pub(super) fn take_back(self) {
        // One that cannot be removed is somebody's note who is dead: it is looked at again.
        let _ = fs::remove_file(&self.path);
    }
}

/// A push that was cut short.
#[derive(Debug)]
pub(super) struct Dead {
    path: PathBuf,
    /// When it began, by the file system's clock.
    pub(super) began: SystemTime,
}

impl Dead {
    /// Those of a repository.
    pub(super) fn of(repository: &Path) -> Vec<Self> {
        notes(repository).filter_map(Self::read).collect()
    }

    fn read(path: PathBuf) -> Option<Self> {
        let (file, _) = files::open(&path, Links::Refuse).ok()?;
        file.try_lock().ok()?;
        let began = file.metadata().ok()?.modified().ok()?;
        Some(Self { path, began })
    }

    /// What it left is dealt with.
    pub(super) fn bury(self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// When the pushes began that are under way in a repository.
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
