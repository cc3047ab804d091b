//! Signed links to one run, read-only and limited in time. A platform gives one to its own user,
//! who can then watch a project being created.
//!
//! A link consists of the run's id, its expiry time and a signature; nothing is stored. It cannot
//! be revoked before it expires, except by changing the server's secret.

use surefoot::{RunId, Timestamp};

use super::encoding::{base64url, from_base64url};
use super::keys::{Purpose, ServerSecret};

/// Length of the run's id and the expiry time, in bytes.
const SIGNED_LENGTH: usize = 24;

/// The path segment that lets its holder watch `run` until `expires_at`.
pub(crate) fn sign(secret: &ServerSecret, run: RunId, expires_at: Timestamp) -> String {
    let mut bytes = run.as_bytes().to_vec();
    bytes.extend(expires_at.as_micros().to_be_bytes());
    let signature = secret.sign(Purpose::Link, &bytes);
    bytes.extend(signature);
    base64url(&bytes)
}

/// The run that `link` gives access to, and until when. `None` for a link that is invalid or has
/// expired at `now`.
pub(crate) fn verify(
    secret: &ServerSecret,
    link: &str,
    now: Timestamp,
) -> Option<(RunId, Timestamp)> {
    let bytes = from_base64url(link)?;
    let (head, signature) = bytes.split_at_checked(SIGNED_LENGTH)?;
    if !secret.verify(Purpose::Link, head, signature) {
        return None;
    }
    let (run, time) = head.split_at(16);
    let expires_at = Timestamp::from_micros(i64::from_be_bytes(time.try_into().ok()?));
    (now < expires_at).then_some((RunId::from_bytes(run.try_into().ok()?), expires_at))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_link_is_valid_for_its_run_until_it_expires() {
        let secret = ServerSecret::random();
        let now = Timestamp::from_micros(1_800_000_000_000_000);
        let run = RunId::new();
        let end = now + Duration::from_secs(60);
        let link = sign(&secret, run, end);
        assert_eq!(verify(&secret, &link, now), Some((run, end)));
        assert_eq!(verify(&secret, &link, end), None, "it has ended");
        assert_eq!(
            verify(&ServerSecret::random(), &link, now),
            None,
            "another server's"
        );
        for text in ["", "AAAA", &link[1..], &format!("{link}A")] {
            assert_eq!(verify(&secret, text, now), None, "{text}");
        }
    }

    #[test]
    fn no_byte_of_a_link_can_be_changed() {
        let secret = ServerSecret::random();
        let now = Timestamp::from_micros(1_800_000_000_000_000);
        let link =
            from_base64url(&sign(&secret, RunId::new(), now + Duration::from_secs(60))).unwrap();
        for place in 0..link.len() {
            let mut changed = link.clone();
            changed[place] ^= 1;
            assert_eq!(
                verify(&secret, &base64url(&changed), now),
                None,
                "byte {place}"
            );
        }
    }
}
