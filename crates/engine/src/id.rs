//! Identifiers: UUID v7 newtypes, which sort by the time they were made, and content digests.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};

use sha2::Digest as _;
use uuid::{Builder, Uuid};

use crate::Timestamp;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// A new identifier, later in order than every one this process made before.
            #[expect(clippy::new_without_default, reason = "each call makes another one; that is no default")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// The 16 bytes, as stores keep them.
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// From the 16 bytes that a store kept.
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                Uuid::try_parse(text).map(Self).map_err(|_| format!("`{text}` is not an id such as {}", Uuid::nil()))
            }
        }
    };
}

uuid_id!(
    /// Names one run, for ever.
    RunId
);
uuid_id!(
    /// Names one life of one worker process; a restart makes another.
    WorkerId
);

/// The SHA-256 of some content, by which stores address it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl RunId {
    /// A new identifier for a run submitted at `at`, by the store's clock: runs sort by when they
    /// were submitted, and those that this process submits in the same millisecond by the order in
    /// which it did.
    pub fn at(at: Timestamp) -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let mut rest = [0; 10];
        rest.copy_from_slice(&Uuid::new_v4().as_bytes()[6..]);
        // The version takes four bits of the first byte and the variant two of the third; the count
        // goes around them.
        let count = MADE.fetch_add(1, Ordering::Relaxed);
        let bits = count.to_be_bytes();
        rest[0] = bits[0] >> 4;
        rest[1] = bits[0] << 4 | bits[1] >> 4;
        rest[2] = (bits[1] & 0x0f) << 2 | bits[2] >> 6;
        rest[3] = bits[2] << 2 | bits[3] >> 6;
        rest[4] = bits[3] << 2 | rest[4] & 0x03;
        Self(Builder::from_unix_timestamp_millis(Self::millis(at), &rest).into_uuid())
    }

    /// Not above any identifier made for a run that was submitted at `at` or later, to the
    /// millisecond.
    pub fn first_at(at: Timestamp) -> Self {
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&Self::millis(at).to_be_bytes()[2..]);
        Self(Uuid::from_bytes(bytes))
    }

    fn millis(at: Timestamp) -> u64 {
        u64::try_from(at.as_micros() / 1000).unwrap_or(0)
    }
}

impl Digest {
    /// The digest of `content`.
    pub fn of(content: &[u8]) -> Self {
        Self(sha2::Sha256::digest(content).into())
    }

    /// The 32 bytes, as stores keep them.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// From the 32 bytes that a store kept.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is not a SHA-256 digest of 64 hexadecimal digits");
        if text.len() != 64 || !text.is_ascii() {
            return Err(bad());
        }
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[index * 2..index * 2 + 2], 16).map_err(|_| bad())?;
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_sort_by_when_they_were_submitted() {
        let at = |millis: i64| Timestamp::from_micros(1_777_888_999_000_000 + millis * 1000);
        let made: Vec<RunId> = (0..3)
            .flat_map(|millis| (0..600).map(move |_| RunId::at(at(millis))))
            .collect();
        assert!(made.is_sorted_by(|a, b| a < b));
        for (millis, ids) in (0..3).zip(made.chunks(600)) {
            let first = RunId::first_at(at(millis));
            let next = RunId::first_at(at(millis + 1));
            assert!(ids.iter().all(|id| (first..next).contains(id)));
        }
        let id = Uuid::from_bytes(*made[0].as_bytes());
        assert_eq!(
            (id.get_version_num(), id.get_variant()),
            (7, uuid::Variant::RFC4122)
        );
    }
}
