//! Conversion of SQLite's errors into the store's.

use rusqlite::ErrorCode;
use surefoot::StoreError;
use surefoot::state::RuleError;

/// Reason for which an operation on the writer's connection failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Refused before it wrote anything; the shared transaction is intact.
    Refused(StoreError),
    /// It may have written a part, so the transaction must be rolled back.
    Aborted(StoreError),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Aborted(store_error(&error))
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Aborted(error)
    }
}

impl From<RuleError> for Failure {
    fn from(error: RuleError) -> Self {
        Self::Refused(StoreError::Rule(error))
    }
}

impl Failure {
    pub(crate) fn into_error(self) -> StoreError {
        match self {
            Self::Refused(error) | Self::Aborted(error) => error,
        }
    }
}

/// Distinguishes errors that a person or time can fix from bugs.
pub(crate) fn store_error(error: &rusqlite::Error) -> StoreError {
    let away = |what: &str| StoreError::Unavailable(format!("{what} ({error})"));
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => {
            away("the disk is full, or the store has reached its largest size: free some space")
        }
        Some(ErrorCode::SystemIoFailure) => {
            away("the disk that holds the store fails: see the system's log")
        }
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::FileLockingProtocolFailed,
        ) => away("the store is locked by another process: wait for it, or end it"),
        Some(ErrorCode::CannotOpen) => {
            away("the store's file cannot be opened: see that it and its folder are there")
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            away("the store cannot be written: see the permissions of its file and folder")
        }
        Some(ErrorCode::OutOfMemory) => away("no memory is left for the store"),
        Some(ErrorCode::NotADatabase) => {
            StoreError::Unusable("the file is not a SQLite database".to_owned())
        }
        Some(ErrorCode::DatabaseCorrupt) => StoreError::Unusable(format!(
            "the store's file is damaged: restore it from a copy ({error})"
        )),
        _ => StoreError::Fault(error.to_string()),
    }
}

/// A row with content that this program never writes.
pub(crate) fn fault(what: impl std::fmt::Display) -> StoreError {
    StoreError::Fault(what.to_string())
}
