//! Credentials: found by name when a step needs them, never stored, and masked wherever a step writes text.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::Value;

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

/// Finds credentials by name. Where they come from - environment, files, a vault - is the program's affair.
pub trait CredentialSource: Send + Sync + 'static {
    /// The credential of that name.
    ///
    /// # Errors
    /// Says what to set, and where, when it is missing or cannot be read.
    fn get(&self, name: &str) -> Result<Secret, CredentialError>;
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
        Err(CredentialError(format!("no credential `{name}`: this program was given no source of credentials")))
    }
}

/// Secrets shorter than this are not masked: masking `ab` everywhere would garble what people read and hide nothing.
const SHORTEST_MASKED: usize = 4;

/// Replaces every secret that this process has handed out by `***`, in whatever is about to be written.
#[derive(Clone, Default)]
pub(crate) struct Mask(Arc<RwLock<Vec<Secret>>>);

impl Mask {
    /// From now on `secret` is masked.
    pub(crate) fn add(&self, secret: &Secret) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if secret.expose().len() >= SHORTEST_MASKED && !known.contains(secret) {
            known.push(secret.clone());
            // The longest first: a secret that contains another must go whole.
            known.sort_by_key(|secret| std::cmp::Reverse(secret.expose().len()));
        }
    }

    pub(crate) fn text(&self, text: String) -> String {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.iter().fold(text, |text, secret| {
            if text.contains(secret.expose()) { text.replace(secret.expose(), "***") } else { text }
        })
    }

    pub(crate) fn value(&self, value: Value) -> Value {
        if self.0.read().unwrap_or_else(PoisonError::into_inner).is_empty() {
            return value;
        }
        match value {
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(items) => items.into_iter().map(|item| self.value(item)).collect(),
            Value::Object(fields) => {
                fields.into_iter().map(|(name, field)| (self.text(name), self.value(field))).collect()
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn masks_every_secret_at_any_depth_and_the_longest_first() {
        let mask = Mask::default();
        mask.add(&Secret::new("hunter2"));
        mask.add(&Secret::new("hunter2-long"));
        assert_eq!(
            mask.value(json!({ "a": ["x hunter2 y", 1], "hunter2-long": { "b": "hunter2-long" } })),
            json!({ "a": ["x *** y", 1], "***": { "b": "***" } })
        );
    }

    #[test]
    fn a_secret_does_not_show_itself() {
        assert!(!format!("{:?}", Secret::new("hunter2")).contains("hunter2"));
    }
}
