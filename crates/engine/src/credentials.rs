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

/// A line of a secret, and a secret in a file, counts from this length on: what is shorter is found by chance.
const SHORTEST_PART: usize = 8;

/// Replaces every secret that this process has handed out by `***`, in whatever is about to be written, and finds it where it
/// cannot be replaced.
#[derive(Clone, Default)]
pub(crate) struct Mask(Arc<RwLock<Known>>);

#[derive(Default)]
struct Known {
    handed_out: Vec<Secret>,
    /// What is replaced: the secrets, the lines of those that have many (logs come line by line), and either as JSON has them.
    /// The longest first: a secret that contains another must go whole.
    masked: Vec<Secret>,
    /// What no file may hold: whole secrets only, for the first line of one key is the first line of all.
    kept_out: Vec<Secret>,
}

impl Known {
    fn add(&mut self, secret: &Secret) {
        let whole = secret.expose().trim();
        let lines = whole.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_PART);
        let parts = [secret.expose(), whole].into_iter().filter(|part| part.len() >= SHORTEST_MASKED).chain(lines);
        for part in parts.flat_map(with_escapes) {
            if !self.masked.contains(&part) {
                self.masked.push(part);
            }
        }
        self.masked.sort_by_key(|secret| std::cmp::Reverse(secret.expose().len()));
        if whole.len() >= SHORTEST_PART {
            self.kept_out.extend(with_escapes(whole));
        }
        self.handed_out.push(secret.clone());
    }
}

/// A secret as it is, and as it is within a text of JSON.
fn with_escapes(secret: &str) -> impl Iterator<Item = Secret> + use<> {
    let escaped = Value::from(secret).to_string();
    let within_quotes = escaped.get(1..escaped.len() - 1);
    let escaped = within_quotes.filter(|escaped| *escaped != secret).map(Secret::new);
    std::iter::once(Secret::new(secret)).chain(escaped)
}

impl Mask {
    /// One that masks these from the start.
    pub(crate) fn of(secrets: &[Secret]) -> Self {
        let mask = Self::default();
        secrets.iter().for_each(|secret| mask.add(secret));
        mask
    }

    /// From now on `secret` is masked.
    pub(crate) fn add(&self, secret: &Secret) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if !known.handed_out.contains(secret) {
            known.add(secret);
        }
    }

    /// Whether a secret is in these bytes as it is.
    pub(crate) fn is_in(&self, bytes: &[u8]) -> bool {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let found = |text: &str| known.kept_out.iter().any(|secret| text.contains(secret.expose()));
        // A secret is text: wherever it stands, it stands within one chunk of text.
        !known.kept_out.is_empty() && bytes.utf8_chunks().any(|chunk| found(chunk.valid()))
    }

    pub(crate) fn text(&self, text: String) -> String {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.masked.iter().fold(text, |text, secret| {
            if text.contains(secret.expose()) { text.replace(secret.expose(), "***") } else { text }
        })
    }

    pub(crate) fn value(&self, value: Value) -> Value {
        if self.0.read().unwrap_or_else(PoisonError::into_inner).masked.is_empty() {
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
    fn a_secret_of_many_lines_is_masked_line_by_line_and_as_json() {
        let mask = Mask::default();
        mask.add(&Secret::new("-----BEGIN KEY-----\n  MIIEvQIBADANBg\nshort\n-----END KEY-----\n"));
        let check = |text: &str, expect: &str| assert_eq!(mask.text(text.to_owned()), expect);
        check("line MIIEvQIBADANBg of it", "line *** of it");
        check("short is no secret", "short is no secret");
        check("all: -----BEGIN KEY-----\n  MIIEvQIBADANBg\nshort\n-----END KEY-----", "all: ***");
        check(r#"{"key":"-----BEGIN KEY-----\n  MIIEvQIBADANBg\nshort\n-----END KEY-----\n"}"#, r#"{"key":"***"}"#);
    }

    #[test]
    fn a_secret_is_found_in_a_file_whatever_stands_around_it() {
        let mask = Mask::default();
        assert!(!mask.is_in(b"hunter2-token"), "nothing was handed out");
        mask.add(&Secret::new("hunter2-token\n"));
        mask.add(&Secret::new("short"));
        mask.add(&Secret::new("-----BEGIN KEY-----\nMIIEvQIBADANBg\n-----END KEY-----\n"));
        let cases: [(&[u8], bool); 5] = [
            (b"https://x:hunter2-token@forge/x.git", true),
            (b"\xff\xc3hunter2-token\xe2\x82", true),
            (b"a short file", false),
            (b"-----BEGIN KEY-----\nanother's\n-----END KEY-----\n", false),
            (br#"{"key":"-----BEGIN KEY-----\nMIIEvQIBADANBg\n-----END KEY-----\n"}"#, true),
        ];
        for (bytes, found) in cases {
            assert_eq!(mask.is_in(bytes), found, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_secret_does_not_show_itself() {
        assert!(!format!("{:?}", Secret::new("hunter2")).contains("hunter2"));
    }
}
