//! Exclusion of other worker processes: operating-system locks that end with the process.
//!
//! The lock on the database's inode decides, by whatever path a process came. The lock file beside
//! the database names the holder for people, and separates workers where an inode cannot be locked:
//! on network file systems.

#![expect(clippy::disallowed_methods, reason = "taken before the worker starts")]

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use surefoot::StoreError;

use crate::database_file::{DatabaseFile, with_end};

/// The lock of one [`crate::SqliteStore`], held or not.
#[derive(Debug)]
pub(crate) struct WorkerLock {
    database: Arc<DatabaseFile>,
    path: PathBuf,
    held: Option<File>,
}

impl WorkerLock {
    /// The lock of the store in `database`, not taken yet.
    pub(crate) fn of(database: Arc<DatabaseFile>) -> Self {
        Self {
            path: path_beside(database.path()),
            database,
            held: None,
        }
    }

    /// Takes the lock. Returns whether this call took it; false if this store holds it already.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if another store holds it, in this process or another.
    pub(crate) fn take(&mut self) -> Result<bool, StoreError> {
        if self.held.is_some() {
            return Ok(false);
        }
        // Not truncated: until this process has the lock, the content belongs to the holder.
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&self.path);
        let mut file = file.map_err(|error| self.unavailable(&error))?;
        if !self
            .database
            .try_lock()
            .map_err(|error| self.unavailable(&error))?
        {
            return Err(self.in_use(&mut file));
        }
        if let Err(error) = self.lock_and_sign(&mut file) {
            self.database.unlock();
            return Err(error);
        }
        self.held = Some(file);
        Ok(true)
    }

    fn lock_and_sign(&self, file: &mut File) -> Result<(), StoreError> {
        match file.try_lock() {
            Ok(()) => sign(file).map_err(|error| self.unavailable(&error)),
            Err(TryLockError::WouldBlock) => Err(self.in_use(file)),
            Err(TryLockError::Error(error)) => Err(self.unavailable(&error)),
        }
    }

    /// Releases the locks; closing the lock file releases its lock.
    pub(crate) fn release(&mut self) {
        if self.held.take().is_some() {
            self.database.unlock();
        }
    }

    fn in_use(&self, file: &mut File) -> StoreError {
        let mut holder = String::new();
        // A holder that has just started may not have signed yet.
        let _ = file.take(32).read_to_string(&mut holder);
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

impl Drop for WorkerLock {
    fn drop(&mut self) {
        self.release();
    }
}

/// Path of the lock file of the store at `database`.
pub(crate) fn path_beside(database: &Path) -> PathBuf {
    with_end(database, ".worker-lock")
}

/// Writes the process id into the file, for the message of [`StoreError::InUse`].
fn sign(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}
