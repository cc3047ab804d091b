//! Random text for tokens and session ids, and the digest under which they are stored.

use ring::rand::{SecureRandom as _, SystemRandom};
use surefoot::Digest;

/// 43 of 62 letters are 256 bits.
const LENGTH: usize = 43;

const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Unguessable text of letters and digits only, so that a double click selects all of it.
pub(crate) fn text() -> String {
    let mut text = String::with_capacity(LENGTH);
    while text.len() < LENGTH {
        // A byte from the last multiple of 62 upwards would favour some letters.
        let even = bytes::<64>().into_iter().filter(|byte| *byte < 248);
        text.extend(
            even.take(LENGTH - text.len())
                .map(|byte| char::from(LETTERS[usize::from(byte % 62)])),
        );
    }
    text
}

/// Random bytes.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .expect("the system has no source of random bytes: nothing would be safe");
    bytes
}

/// The digest under which a secret is stored: the content of the store lets no one in. The secrets
/// are random, so no slow hash is needed against guessing.
pub(crate) fn digest(secret: &str) -> String {
    Digest::of(secret.as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_text_is_long_and_never_repeats() {
        let made: std::collections::BTreeSet<String> = (0..1000).map(|_| text()).collect();
        assert_eq!(made.len(), 1000);
        assert!(made.iter().all(
            |text| text.len() == LENGTH && text.bytes().all(|letter| LETTERS.contains(&letter))
        ));
        let seen: std::collections::BTreeSet<u8> =
            made.iter().flat_map(|text| text.bytes()).collect();
        assert_eq!(seen.len(), LETTERS.len(), "every letter comes up");
    }
}
