//! Reasons to refuse a request, each with advice.

use std::time::Duration;

use axum::http::StatusCode;
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue};
use surefoot::StoreError;

use super::Role;

/// The reason why a request is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// The request is not authenticated.
    #[error("{}", if *bad_token { BAD_TOKEN } else { SIGN_IN })]
    SignIn {
        /// The request carried a token, and it is invalid.
        bad_token: bool,
    },
    /// The role is not enough.
    #[error("this needs the role {needed}: you are {name}, {role}")]
    Role {
        needed: Role,
        name: String,
        role: Role,
    },
    /// Another site's page made the request.
    #[error("the request was made by a page of another site: open Surefoot itself and try again")]
    OtherSite,
    /// The form has no token, or that of another session.
    #[error("the form is too old, or was not ours: load the page again and send it once more")]
    Form,
    /// The request's `Host` is not a name of this machine.
    #[error(
        "the request names another host: reach this server as localhost, or configure who may sign in"
    )]
    Host,
    /// The request came through a local proxy while no sign-in is configured.
    #[error(
        "the request came through a proxy, and no sign-in is configured: create a token first (surefoot token create \
         --role admin NAME), or connect to 127.0.0.1 directly"
    )]
    Proxy,
    /// Too many attempts to sign in.
    #[error("too many attempts to sign in: try again in {} s", seconds(*.0))]
    TooMany(Duration),
    /// The body is larger than a form may be.
    #[error("the form is too large")]
    Large,
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

const SIGN_IN: &str = "sign in first, or send a token as `Authorization: Bearer sf_...` (surefoot token create makes one)";

const BAD_TOKEN: &str = "the token is not known: it was revoked, has expired or is mistyped";

fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

impl Refusal {
    /// The status of the answer.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::SignIn { .. } => StatusCode::UNAUTHORIZED,
            Self::Role { .. } | Self::OtherSite | Self::Form | Self::Proxy => StatusCode::FORBIDDEN,
            Self::Host => StatusCode::MISDIRECTED_REQUEST,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Large => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Store(error) if error.is_retryable() => StatusCode::SERVICE_UNAVAILABLE,
            Self::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Headers of the response.
    pub(crate) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        match self {
            Self::SignIn { .. } => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Self::TooMany(wait) => {
                headers.insert(RETRY_AFTER, seconds(*wait).into());
            }
            _ => {}
        }
        headers
    }
}
