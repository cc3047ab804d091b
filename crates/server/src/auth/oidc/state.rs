//! The state that the browser keeps while a person is at the provider.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use surefoot::Timestamp;

use crate::auth::encoding::{base64url, from_base64url};
use crate::auth::keys::{Purpose, ServerSecret};
use crate::auth::random;

/// Time limit of a sign-in at the provider.
pub(in crate::auth) const SIGN_IN_TIME_LIMIT: Duration = Duration::from_secs(600);

/// Length limit of `next`: browsers limit cookies to 4 kB.
const MAX_NEXT_LENGTH: usize = 1000;

/// A sign-in under way.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::auth) struct State {
    pub(super) state: String,
    pub(super) nonce: String,
    pub(super) verifier: String,
    /// The page to open after the sign-in.
    pub(in crate::auth) next: String,
    began_at: i64,
}

impl State {
    pub(super) fn new(verifier: String, next: &str, now: Timestamp) -> Self {
        let next = if next.len() > MAX_NEXT_LENGTH {
            "/"
        } else {
            next
        };
        let state = random::text();
        let nonce = random::text();
        Self {
            state,
            nonce,
            verifier,
            next: next.to_owned(),
            began_at: now.as_micros(),
        }
    }

    /// The signed form for a cookie. It is readable in the browser whose own sign-in it is, which
    /// does no harm.
    pub(in crate::auth) fn seal(&self, secret: &ServerSecret) -> String {
        let bytes = serde_json::to_vec(self).expect("text and a number can be written");
        let signature = secret.sign(Purpose::SignIn, &bytes);
        format!("{}.{}", base64url(&bytes), base64url(&signature))
    }

    /// Reads the result of [`Self::seal`]. `None` if its signature is wrong or it has expired.
    pub(in crate::auth) fn open(
        secret: &ServerSecret,
        sealed: &str,
        now: Timestamp,
    ) -> Option<Self> {
        let (bytes, signature) = sealed.split_once('.')?;
        let bytes = from_base64url(bytes)?;
        let signature = from_base64url(signature)?;
        let state: Self = secret
            .verify(Purpose::SignIn, &bytes, &signature)
            .then(|| serde_json::from_slice(&bytes).ok())??;
        (now.since(Timestamp::from_micros(state.began_at)) < SIGN_IN_TIME_LIMIT).then_some(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_recent_sealed_state_is_accepted() {
        let secret = ServerSecret::random();
        let now = Timestamp::from_micros(1_800_000_000_000_000);
        let state = State::new("verifier".to_owned(), "/runs", now);
        let sealed = state.seal(&secret);
        assert_eq!(State::open(&secret, &sealed, now), Some(state));
        assert_eq!(State::open(&ServerSecret::random(), &sealed, now), None);
        assert_eq!(
            State::open(&secret, &sealed, now + SIGN_IN_TIME_LIMIT),
            None
        );
        assert_eq!(State::open(&secret, &format!("A{sealed}"), now), None);
        assert_eq!(State::open(&secret, "", now), None);
    }

    #[test]
    fn a_sealed_state_fits_into_a_cookie() {
        let now = Timestamp::from_micros(1_800_000_000_000_000);
        let of = |length| State::new("v".repeat(43), &format!("/{}", "x".repeat(length)), now);
        assert!(of(900).seal(&ServerSecret::random()).len() < 3000);
        assert_eq!(of(5000).next, "/");
    }
}
