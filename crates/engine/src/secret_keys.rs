//! Keys that secret parameters are encrypted with, before a run reaches its store.
//!
//! A file of keys has one key a line, in base64: the first encrypts, all decrypt. Its identity is
//! derived from the key itself, stands with what it has encrypted, and is a resource that the run
//! requires: a worker without the key never takes it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::{Map, Value};

use crate::workflow::secrets;
use crate::{Digest, Run, RunId};

/// Bytes of a key.
const KEY_LENGTH: usize = 32;

/// The most keys that a file may have: one to encrypt, and those of earlier rotations.
const MAX_KEYS: usize = 32;

/// The keys of a process. Cheap to clone; they never show themselves.
#[derive(Clone)]
pub struct SecretKeys(Arc<Vec<Key>>);

struct Key {
    id: String,
    key: LessSafeKey,
}

/// Secret parameters of a run as a store keeps them: the identity of their key, a colon, and what
/// it has encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed(String);

/// Why a text holds no keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    /// There is no key in it.
    #[error("there is no key in it: write one, 32 random bytes in base64, on its first line")]
    Empty,
    /// A line is no key. It is not repeated: it may be one that lacks a letter.
    #[error(
        "line {line} is not a key: write 32 random bytes in base64, as `head -c 32 /dev/urandom | base64` gives them"
    )]
    Line {
        /// From 1.
        line: usize,
    },
    /// It has too many keys.
    #[error("it has more than {MAX_KEYS} keys: take out those that no unfinished run needs")]
    TooMany,
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    NoRandomness,
}

/// Why secret parameters cannot be read, or cannot be kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The program was given no keys at all.
    #[error("this program has no key for secret parameters: give it a key file")]
    NoKeys,
    /// The key is not among those of this process.
    #[error(
        "secret parameters were encrypted with key {0}, which is not in the key file: add it, or submit the run again"
    )]
    NoKey(String),
    /// The stored value was changed, or belongs to another run.
    #[error(
        "the secret parameters cannot be decrypted: what is stored is damaged, or belongs to another run"
    )]
    Damaged,
}

impl SecretKeys {
    /// Reads the text of a key file. Empty lines and those that begin with `#` are passed over.
    ///
    /// # Errors
    /// Names the line that is not a key, and never repeats it.
    pub fn parse(text: &str) -> Result<Self, KeyFileError> {
        let lines = text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line.trim()));
        let keys = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let keys: Vec<Key> = keys
            .map(|(line, text)| {
                let bytes = STANDARD.decode(text).ok();
                bytes
                    .and_then(|bytes| Key::new(&bytes))
                    .ok_or(KeyFileError::Line { line })
            })
            .collect::<Result<_, _>>()?;
        match keys.len() {
            0 => Err(KeyFileError::Empty),
            1..=MAX_KEYS => Ok(Self(Arc::new(keys))),
            _ => Err(KeyFileError::TooMany),
        }
    }

    /// A new key, as a line of a key file.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn generate() -> Result<String, KeyFileError> {
        let mut bytes = [0; KEY_LENGTH];
        SystemRandom::new()
            .fill(&mut bytes)
            .map_err(|_| KeyFileError::NoRandomness)?;
        Ok(STANDARD.encode(bytes))
    }

    /// A new key that is kept nowhere, for a store that does not outlive the program.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn random() -> Result<Self, KeyFileError> {
        Self::parse(&Self::generate()?)
    }

    /// The identities of the keys; the first is that of the key that encrypts.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|key| key.id.as_str())
    }

    /// The resources that a worker with these keys offers.
    pub fn resources(&self) -> impl Iterator<Item = String> + '_ {
        self.ids().map(resource)
    }

    /// Encrypts the secret parameters among those of a run; `None` when there are none.
    pub(crate) fn seal(
        &self,
        run: RunId,
        schema: &Value,
        parameters: &Value,
    ) -> Result<Option<Sealed>, SealError> {
        let secrets = secrets(schema, parameters)
            .into_iter()
            .filter(|(_, secret)| !secret.is_null());
        let secrets: Map<String, Value> = secrets
            .map(|(place, secret)| (place, secret.clone()))
            .collect();
        if secrets.is_empty() {
            return Ok(None);
        }
        let key = self.0.first().ok_or(SealError::NoKeys)?;
        let sealed = key
            .seal(run, Value::from(secrets).to_string().as_bytes())
            .ok_or(SealError::Damaged)?;
        Ok(Some(Sealed(format!(
            "{}:{}",
            key.id,
            STANDARD.encode(sealed)
        ))))
    }

    /// A run's parameters with the secret ones in their places.
    fn open(&self, run: &Run, sealed: &Sealed) -> Result<Value, SealError> {
        let id = sealed.key();
        let key = self
            .0
            .iter()
            .find(|key| key.id == id)
            .ok_or_else(|| SealError::NoKey(id.to_owned()))?;
        let secrets = STANDARD
            .decode(sealed.data())
            .ok()
            .and_then(|data| key.open(run.id, data));
        let secrets =
            secrets.and_then(|text| serde_json::from_slice::<Map<String, Value>>(&text).ok());
        let mut parameters = run.parameters.clone();
        for (place, secret) in secrets.ok_or(SealError::Damaged)? {
            *parameters.pointer_mut(&place).ok_or(SealError::Damaged)? = secret;
        }
        Ok(parameters)
    }
}

/// A run's parameters as its handlers see them.
///
/// # Errors
/// When they are encrypted and the key is not here.
pub(crate) fn open_parameters(run: &Run, keys: Option<&SecretKeys>) -> Result<Value, SealError> {
    match (&run.sealed, keys) {
        (None, _) => Ok(run.parameters.clone()),
        (Some(sealed), Some(keys)) => keys.open(run, sealed),
        (Some(sealed), None) => Err(SealError::NoKey(sealed.key().to_owned())),
    }
}

/// The name of a key as a resource.
fn resource(id: &str) -> String {
    format!("key:{id}")
}

impl Key {
    fn new(bytes: &[u8]) -> Option<Self> {
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, bytes).ok()?);
        let id = Digest::of(&[b"surefoot key ", bytes].concat()).to_string();
        Some(Self {
            id: id.get(..16)?.to_owned(),
            key,
        })
    }

    /// The nonce, then what is encrypted. Bound to the run: in another row it cannot be read.
    fn seal(&self, run: RunId, text: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).ok()?;
        let mut data = text.to_vec();
        let bound = Aad::from(*run.as_bytes());
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), bound, &mut data)
            .ok()?;
        Some([nonce.as_slice(), &data].concat())
    }

    fn open(&self, run: RunId, mut data: Vec<u8>) -> Option<Vec<u8>> {
        let nonce = data
            .get(..NONCE_LEN)
            .and_then(|nonce| Nonce::try_assume_unique_for_key(nonce).ok())?;
        let text = self
            .key
            .open_within(nonce, Aad::from(*run.as_bytes()), &mut data, NONCE_LEN..)
            .ok()?;
        Some(text.to_vec())
    }
}

impl Sealed {
    /// As a store keeps it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The identity of the key.
    pub fn key(&self) -> &str {
        self.0.split_once(':').map_or("", |(key, _)| key)
    }

    /// The resource that a worker must offer to read it.
    pub fn resource(&self) -> String {
        resource(self.key())
    }

    fn data(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, data)| data)
    }
}

impl FromStr for Sealed {
    type Err = SealError;

    fn from_str(text: &str) -> Result<Self, SealError> {
        let is_key =
            |key: &str| !key.is_empty() && key.chars().all(|digit| digit.is_ascii_hexdigit());
        match text.split_once(':') {
            Some((key, _)) if is_key(key) => Ok(Self(text.to_owned())),
            _ => Err(SealError::Damaged),
        }
    }
}

impl fmt::Debug for SecretKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ids()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::{Timestamp, Workflow};

    fn keys(count: usize) -> (String, SecretKeys) {
        let lines: Vec<String> = (0..count)
            .map(|_| SecretKeys::generate().unwrap())
            .collect();
        let text = lines.join("\n");
        let keys = SecretKeys::parse(&text).unwrap();
        (text, keys)
    }

    fn run() -> Run {
        let schema = json!({ "properties": { "password": { "writeOnly": true }, "list": { "items": { "format": "password" } } } });
        let plan = Workflow::builder("w")
            .parameters(schema)
            .step("one", "act")
            .build()
            .unwrap();
        let given = json!({ "name": "shop", "password": "hunter22", "list": ["one", null] });
        let now = Timestamp::from_micros(0);
        Run::new(RunId::at(now), Arc::new(plan), given, now, now)
    }

    fn sealed(mut run: Run, keys: &SecretKeys) -> Run {
        run.seal(Some(keys)).unwrap();
        run
    }

    #[test]
    fn parameters_are_sealed_and_opened_under_the_same_key() {
        let (text, keys) = keys(1);
        let open = run();
        let sealed = sealed(run(), &keys);
        let stored = sealed.sealed.clone().unwrap();
        assert!(!format!("{} {}", stored.as_str(), sealed.parameters).contains("hunter22"));
        assert_eq!(stored.resource(), keys.resources().next().unwrap());
        assert_eq!(stored.as_str().parse(), Ok(stored.clone()));
        assert_eq!(
            open_parameters(&sealed, Some(&keys)).as_ref(),
            Ok(&open.parameters)
        );
        let rotated = SecretKeys::parse(&format!(
            "# new\n{}\n\n{text}\n",
            SecretKeys::generate().unwrap()
        ))
        .unwrap();
        assert_eq!(
            open_parameters(&sealed, Some(&rotated)),
            Ok(open.parameters),
            "an old key still opens"
        );
        assert_ne!(
            rotated.ids().next(),
            keys.ids().next(),
            "and the new one seals"
        );
    }

    #[test]
    fn another_key_another_run_and_damage_are_told_apart() {
        let other = keys(2).1;
        let keys = keys(1).1;
        let run = sealed(run(), &keys);
        let id = keys.ids().next().unwrap().to_owned();
        assert_eq!(
            open_parameters(&run, Some(&other)),
            Err(SealError::NoKey(id.clone()))
        );
        assert_eq!(
            open_parameters(&run, None),
            Err(SealError::NoKey(id.clone()))
        );
        let moved = Run {
            id: RunId::at(Timestamp::from_micros(1)),
            ..run.clone()
        };
        assert_eq!(
            open_parameters(&moved, Some(&keys)),
            Err(SealError::Damaged)
        );
        let damaged = Run {
            sealed: Some(format!("{id}:AAAA").parse().unwrap()),
            ..run
        };
        assert_eq!(
            open_parameters(&damaged, Some(&keys)),
            Err(SealError::Damaged)
        );
        assert_eq!("no key".parse::<Sealed>(), Err(SealError::Damaged));
    }

    #[test]
    fn a_key_file_that_is_wrong_is_told_without_its_text() {
        assert_eq!(
            SecretKeys::parse("# only this\n").unwrap_err(),
            KeyFileError::Empty
        );
        let error = SecretKeys::parse("\nc2hvcnQ=").unwrap_err();
        assert_eq!(error, KeyFileError::Line { line: 2 });
        assert!(!error.to_string().contains("c2hv"), "{error}");
        assert_eq!(
            SecretKeys::parse(&keys(33 - 1).0).unwrap().ids().count(),
            32
        );
        let many = format!("{}\n{}", keys(32).0, keys(1).0);
        assert_eq!(SecretKeys::parse(&many).unwrap_err(), KeyFileError::TooMany);
        let shown = format!("{:?}", keys(1).1);
        assert!(shown.len() < 24, "{shown}");
    }
}
