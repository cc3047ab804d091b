//! Failures as people see them: what is wrong, what to do, and the exit status.

use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use surefoot::{RunStatus, StoreError, SubmitError};

/// Exit status of the program. Scripts rely on the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 0: done.
    Done,
    /// 1: the run failed or was cancelled.
    RunFailed,
    /// 1: a promise does not hold.
    Broken,
    /// 2: wrong use.
    Usage,
    /// 3: the store cannot be reached or is in use.
    Store,
    /// 128 and the signal's number: told to stop before the run had ended. The run carries on
    /// later.
    Signal(u8),
}

impl Exit {
    /// Returns the exit status for the end of a followed run.
    pub(crate) fn of(status: RunStatus) -> Self {
        if status == RunStatus::Completed {
            Self::Done
        } else {
            Self::RunFailed
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::RunFailed | Exit::Broken => 1,
            Exit::Usage => 2,
            Exit::Store => 3,
            Exit::Signal(number) => 128 + number,
        })
    }
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit status.
    pub(crate) exit: Exit,
    message: String,
    hint: Option<String>,
}

impl Failure {
    /// Wrong use.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Usage,
            message: message.into(),
            hint: None,
        }
    }

    /// The store cannot be reached or used.
    pub(crate) fn store(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Store,
            message: message.into(),
            hint: None,
        }
    }

    /// The message, without the hint.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Says where it is that something is wrong.
    #[must_use]
    pub(crate) fn within(mut self, place: &str) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// Says what to do.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        self.hint
            .as_ref()
            .map_or(Ok(()), |hint| write!(f, "\nhint: {hint}"))
    }
}

/// A file or folder that cannot be used.
pub(crate) fn unusable(what: &str, path: &Path, error: &std::io::Error) -> Failure {
    let reason = match error.kind() {
        std::io::ErrorKind::StorageFull => "the disk is full".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        std::io::ErrorKind::NotADirectory | std::io::ErrorKind::AlreadyExists => {
            "it is not a folder".to_owned()
        }
        _ => error.to_string(),
    };
    Failure::store(format!("cannot {what} {}: {reason}", path.display()))
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        match error {
            StoreError::NoRun(_) => {
                Self::usage(message).hint("`surefoot runs` lists the runs of this store")
            }
            StoreError::NotPermitted(_) => Self::usage(message).hint(
                "`surefoot queues` shows what each queue permits, and `surefoot queue set` changes it",
            ),
            StoreError::Rule(_)
            | StoreError::Unreadable { .. }
            | StoreError::RecordTaken { .. } => Self::usage(message),
            StoreError::Unavailable(_) => {
                Self::store(message).hint("nothing accepted is lost: try again once it is back")
            }
            StoreError::InUse(_) => Self::store(message)
                .hint("one worker at a time: it runs what `surefoot submit` hands to the store"),
            StoreError::LeaseLost | StoreError::Unusable(_) | StoreError::Fault(_) => {
                Self::store(message)
            }
        }
    }
}

impl From<SubmitError> for Failure {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Parameters(errors) => {
                let lines = errors.iter().map(ToString::to_string).collect::<Vec<_>>();
                Self::usage(lines.join("\nerror: "))
            }
            SubmitError::Store(error) => error.into(),
            other => Self::usage(other.to_string()),
        }
    }
}
