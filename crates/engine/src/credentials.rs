//! Credentials: found by name when a step needs them, never stored, and masked wherever a step
//! writes text (`mask`).

use std::fmt;
use std::sync::Arc;

/// A secret. It shows itself only to who calls [`Secret::expose`].
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Wraps a secret.
    pub fn new(secret: impl Into<Arc<str>>) -> Self {
        Self(secret.into())
    }

    /// The secret itself. Hand it to what needs it; never write it down.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// Finds credentials by name. Where they come from - environment, files, a vault - is the program's
/// affair.
pub trait CredentialSource: Send + Sync + 'static {
    /// The credential of that name.
    ///
    /// # Errors
    /// Says what to set, and where, when it is missing or cannot be read.
    fn get(&self, name: &str) -> Result<Secret, CredentialError>;

    /// The only hosts that may be sent the credential; `None` when none are set down, and the
    /// workflow decides.
    fn hosts(&self, _name: &str) -> Option<&[String]> {
        None
    }
}

/// Why there is no such credential, and what to set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CredentialError(pub String);

/// Knows no credential.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCredentials;

impl CredentialSource for NoCredentials {
    fn get(&self, name: &str) -> Result<Secret, CredentialError> {
        Err(CredentialError(format!(
            "no credential `{name}`: this program was given no source of credentials"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_show_itself() {
        assert!(!format!("{:?}", Secret::new("hunter2")).contains("hunter2"));
    }
}
