//! Classification of errors: transient ones are worth another attempt.

use surefoot::{AddressError, StepError};

use crate::forge::ForgeError;
use crate::git::GitError;
use crate::gitops::{FleetError, NameError};
use crate::process;
use crate::template::{LoadError, TemplateError};

/// Converts the error of a part into that of a step.
pub(super) trait OrStep<T> {
    fn or_step(self) -> Result<T, StepError>;
}

impl<T, E: IsFatal + std::error::Error + Send + Sync + 'static> OrStep<T> for Result<T, E> {
    fn or_step(self) -> Result<T, StepError> {
        self.map_err(|error| {
            if process::meets_shortage(&error) {
                StepError::shortage(error)
            } else if error.is_fatal() {
                StepError::fatal(error)
            } else {
                StepError::from(error)
            }
        })
    }
}

pub(super) trait IsFatal {
    fn is_fatal(&self) -> bool;
}

impl IsFatal for TemplateError {
    fn is_fatal(&self) -> bool {
        true
    }
}

impl IsFatal for NameError {
    fn is_fatal(&self) -> bool {
        true
    }
}

impl IsFatal for GitError {
    fn is_fatal(&self) -> bool {
        match self {
            Self::Missing | Self::Argument { .. } | Self::TooMuchOutput(_) => true,
            Self::Address(error) => matches!(error, AddressError::Denied { .. }),
            _ => false,
        }
    }
}

impl IsFatal for LoadError {
    fn is_fatal(&self) -> bool {
        match self {
            Self::Template(_) | Self::Unknown(_) | Self::Foreign(_) | Self::Values(_) => true,
            Self::Process(_) => false,
            Self::Git(error) => IsFatal::is_fatal(error),
        }
    }
}

impl IsFatal for ForgeError {
    fn is_fatal(&self) -> bool {
        match self {
            Self::Git(error) => IsFatal::is_fatal(error),
            _ => Self::is_fatal(self),
        }
    }
}

impl IsFatal for FleetError {
    fn is_fatal(&self) -> bool {
        match self {
            Self::Taken(_) => true,
            Self::Busy => false,
            Self::Git(error) => IsFatal::is_fatal(error),
        }
    }
}
