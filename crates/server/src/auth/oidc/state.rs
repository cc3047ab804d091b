//! What the browser keeps for us while a person is at the provider.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use surefoot::Timestamp;

use crate::auth::encoding::{base64url, from_base64url};
use crate::auth::keys::{Purpose, ServerSecret};
use crate::auth::random;

/// How long a person may take at the provider.
pub(in crate::auth) const LONGEST: Duration = Duration::from_secs(600);

/// Cookies are small.
const LONGEST_NEXT: usize = 1000;

/// A sign-in under way.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::auth) struct State {
    pub(super) state: String,
    pub(super) nonce: String,
    pub(super) verifier: String,
    /// Where the person wants to go.
    pub(in crate::auth) next: String,
    began_at: i64,
}

impl State {
    pub(super) fn new(verifier: String, next: &str, now: Timestamp) -> Self {
        let next = if next.len() > LONGEST_NEXT { "/" } else { next };
        let (state, nonce) = (random::text(), random::text());
        Self {
            state,
            nonce,
            verifier,
            next: next.to_owned(),
            began_at: now.as_micros(),
        }
    }

    /// As the browser keeps it: signed. That it can be read there hurts nobody; it is that browser's own sign-in.
    pub(in crate::auth) fn seal(&self, secret: &ServerSecret) -> String {
        let bytes = serde_json::to_vec(self).expect("text and a number can be written");
        let signature = secret.sign(Purpose::SignIn, &bytes);
        format!("{}.{}", base64url(&bytes), base64url(&signature))
    }

    /// What [`Self::seal`] gave, unless it is not ours or too old.
    pub(in crate::auth) fn open(
        secret: &ServerSecret,
        sealed: &str,
        now: Timestamp,
    ) -> Option<Self> {
        let (bytes, signature) = sealed.split_once('.')?;
        let (bytes, signature) = (from_base64url(bytes)?, from_base64url(signature)?);
        let state: Self = secret
            .verify(Purpose::SignIn, &bytes, &signature)
            .then(|| serde_json::from_slice(&bytes).ok())??;
        (now.since(Timestamp::from_micros(state.began_at)) < LONGEST).then_some(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_we_sealed_is_opened_and_only_for_a_while() {
        let secret = ServerSecret::random();
        let now = Timestamp::from_micros(1_800_000_000_000_000);
        let state = State::new("verifier".to_owned(), "/runs", now);
        let sealed = state.seal(&secret);
        assert_eq!(State::open(&secret, &sealed, now), Some(state));
        assert_eq!(State::open(&ServerSecret::random(), &sealed, now), None);
        assert_eq!(State::open(&secret, &sealed, now + LONGEST), None);
        assert_eq!(State::open(&secret, &format!("A{sealed}"), now), None);
        assert_eq!(State::open(&secret, "", now), None);
    }

    #[test]
    fn it_fits_into_a_cookie() {
        let now = Timestamp::from_micros(1_800_000_000_000_000);
        let of = |length| State::new("v".repeat(43), &format!("/{}", "x".repeat(length)), now);
        assert!(of(900).seal(&ServerSecret::random()).len() < 3000);
        assert_eq!(of(5000).next, "/");
    }
}
