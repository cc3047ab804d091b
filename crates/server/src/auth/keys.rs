//! The server's secret and the keys derived from it. Each purpose has its own key, so a signature
//! for one purpose is invalid for every other.
//!
//! Several servers on one database must share the secret: a page of one may be submitted to
//! another.

#![expect(
    clippy::disallowed_methods,
    reason = "read once, before the server starts"
)]

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use ring::hmac;
use surefoot::Secret;
use surefoot::files::{self, Links};

use super::random;

/// Minimum length; shorter secrets can be found by trial.
const MIN_LENGTH: usize = 32;

/// Size limit of a key file.
const MAX_FILE_SIZE: u64 = 1 << 16;

/// Signs values that the server hands out and receives back: form tokens, widget links, the state
/// of a sign-in under way.
#[derive(Clone)]
pub struct ServerSecret(hmac::Key);

/// The purpose of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Form tokens.
    Csrf,
    /// Widget links.
    Link,
    /// The state of a sign-in under way.
    SignIn,
    /// Comparing the secrets of two servers.
    Fingerprint,
}

/// Why the secret cannot be used, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// It is too short.
    #[error(
        "the server's secret has {0} characters: it needs at least {MIN_LENGTH} (openssl rand -base64 32 makes one)"
    )]
    Short(usize),
    /// The key file is readable by others.
    #[error(
        "others can read the key file {0}: chmod 600 it, or remove it so that a new one is made"
    )]
    Open(String),
    /// The key file cannot be read or created.
    #[error(
        "cannot use the key file {path}: {error}; name a credential in auth.secret to do without it"
    )]
    File {
        /// The file.
        path: String,
        /// The cause.
        error: io::Error,
    },
    /// Another server on the same store has another secret.
    #[error(
        "another server on this store signs with another secret: give both the same one, by copying the key file \
         (server.key in the data directory) or by auth.secret in the configuration; if that other server is gone, \
         try again in a minute"
    )]
    Differs,
}

impl ServerSecret {
    /// The secret given by the configuration.
    ///
    /// # Errors
    /// [`SecretError::Short`].
    pub fn new(secret: &Secret) -> Result<Self, SecretError> {
        let text = secret.expose().trim();
        if text.len() < MIN_LENGTH {
            return Err(SecretError::Short(text.len()));
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes())))
    }

    /// A random secret for the life of this process. Its signatures are invalid after a restart.
    pub fn random() -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, random::text().as_bytes()))
    }

    /// The secret in a key file. Creates the file, readable by its owner only, if there is none.
    ///
    /// # Errors
    /// [`SecretError::Open`] if others can read the file, [`SecretError::File`] if it cannot be
    /// used.
    pub fn from_file(path: &Path) -> Result<Self, SecretError> {
        let failed = |error| SecretError::File {
            path: path.display().to_string(),
            error,
        };
        if let Err(error) = create_if_absent(path)
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(failed(error));
        }
        if fs::metadata(path).map_err(failed)?.permissions().mode() & 0o077 != 0 {
            return Err(SecretError::Open(path.display().to_string()));
        }
        let text = files::read_text(path, Links::Follow, MAX_FILE_SIZE)
            .map_err(|error| failed(error.into()))?;
        Self::new(&Secret::new(text))
    }

    fn key(&self, purpose: Purpose) -> hmac::Key {
        let name = format!("surefoot {purpose:?} 1");
        hmac::Key::new(
            hmac::HMAC_SHA256,
            hmac::sign(&self.0, name.as_bytes()).as_ref(),
        )
    }

    /// The signature of `message`: 32 bytes.
    pub(crate) fn sign(&self, purpose: Purpose, message: &[u8]) -> Vec<u8> {
        hmac::sign(&self.key(purpose), message).as_ref().to_vec()
    }

    /// Returns true if `signature` is the signature of `message`; runs in constant time.
    pub(crate) fn verify(&self, purpose: Purpose, message: &[u8], signature: &[u8]) -> bool {
        hmac::verify(&self.key(purpose), message, signature).is_ok()
    }

    /// A digest that is equal for equal secrets and reveals nothing about them.
    pub(crate) fn fingerprint(&self) -> String {
        self.sign(Purpose::Fingerprint, b"")
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

impl std::fmt::Debug for ServerSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ServerSecret(***)")
    }
}

/// Creates the key file if there is none. The file is written under a temporary name and then
/// linked into place, so that two processes starting at once agree on one, and neither reads a part
/// of it.
fn create_if_absent(path: &Path) -> io::Result<()> {
    if path.try_exists()? {
        return Ok(());
    }
    let draft = path.with_extension(format!("draft-{}", random::text()));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)?;
    let written = file
        .write_all(format!("{}\n", random::text()).as_bytes())
        .and_then(|()| file.sync_all());
    let linked = written.and_then(|()| fs::hard_link(&draft, path));
    fs::remove_file(&draft)?;
    linked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_is_made_once_and_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("server.key");
        let first = ServerSecret::from_file(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(
            ServerSecret::from_file(&path).unwrap().fingerprint(),
            first.fingerprint()
        );
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            1,
            "no draft stays"
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            ServerSecret::from_file(&path),
            Err(SecretError::Open(_))
        ));
    }

    #[test]
    fn servers_that_start_at_once_get_the_same_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("server.key");
        let start = || ServerSecret::from_file(&path).unwrap().fingerprint();
        let made: std::collections::BTreeSet<String> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..16).map(|_| scope.spawn(start)).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert_eq!(made.len(), 1, "{made:?}");
    }

    #[test]
    fn a_signature_is_valid_for_one_purpose_only() {
        let secret = ServerSecret::random();
        let signature = secret.sign(Purpose::Csrf, b"session");
        assert!(secret.verify(Purpose::Csrf, b"session", &signature));
        assert!(!secret.verify(Purpose::Link, b"session", &signature));
        assert!(!secret.verify(Purpose::Csrf, b"another", &signature));
        assert!(!ServerSecret::random().verify(Purpose::Csrf, b"session", &signature));
    }

    #[test]
    fn a_short_secret_is_refused() {
        assert!(matches!(
            ServerSecret::new(&Secret::new("changeme")),
            Err(SecretError::Short(8))
        ));
    }
}
