//! One worker process at a time: an operating-system lock beside the store's file, which ends with the process.

#![expect(clippy::disallowed_methods, reason = "taken before the worker starts")]

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use surefoot::StoreError;

/// The lock of one [`crate::SqliteStore`], held or not.
#[derive(Debug)]
pub(crate) struct WorkerLock {
    path: PathBuf,
    held: Option<File>,
}

impl WorkerLock {
    /// The lock for the store at `database`. It is not taken yet.
    pub(crate) fn beside(database: &Path) -> Self {
        Self { path: path_beside(database), held: None }
    }

    /// Takes the lock. Returns whether this call took it; false when this store holds it already.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another store holds it, in this process or another.
    pub(crate) fn take(&mut self) -> Result<bool, StoreError> {
        if self.held.is_some() {
            return Ok(false);
        }
        // Not truncated: until the lock is ours, what is in the file is another's.
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&self.path);
        let mut file = file.map_err(|error| self.unavailable(&error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(self.in_use(&mut file)),
            Err(TryLockError::Error(error)) => return Err(self.unavailable(&error)),
        }
        sign(&mut file).map_err(|error| self.unavailable(&error))?;
        self.held = Some(file);
        Ok(true)
    }

    /// Gives the lock back. Closing the file does it.
    pub(crate) fn release(&mut self) {
        self.held = None;
    }

    fn in_use(&self, file: &mut File) -> StoreError {
        let mut holder = String::new();
        // A holder that has just begun may not have signed yet.
        let _ = file.read_to_string(&mut holder);
        let holder = match holder.trim() {
            "" => "another process".to_owned(),
            pid => format!("process {pid}"),
        };
        let path = self.path.display();
        StoreError::InUse(format!(
            "{holder} is the worker of this store and holds {path}: let it work, or end it first"
        ))
    }

    fn unavailable(&self, error: &std::io::Error) -> StoreError {
        StoreError::Unavailable(format!("cannot lock {}: {error}", self.path.display()))
    }
}

/// Where the lock of the store at `database` is.
pub(crate) fn path_beside(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".worker-lock");
    name.into()
}

/// Writes our process id, for the people who read [`StoreError::InUse`].
fn sign(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}
