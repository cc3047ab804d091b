//! CSRF protection: `Origin` and `Sec-Fetch-Site` checks, plus a token bound to the session.

use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, Method};

use super::encoding;
use super::keys::{Purpose, ServerSecret};

/// The form field that holds the token.
pub(crate) const FIELD: &str = "csrf";

/// The header that holds the token when a script sends the request.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-csrf-token");

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Stands for the session in form tokens of pages without one.
pub(crate) const NO_SESSION: &str = "none";

/// The token of a session, or of [`NO_SESSION`].
pub(crate) fn token(secret: &ServerSecret, session: &str) -> String {
    encoding::base64url(&secret.sign(Purpose::Csrf, session.as_bytes()))
}

/// Returns true if `token` is the token of `session`.
pub(crate) fn matches(secret: &ServerSecret, session: &str, token: &str) -> bool {
    encoding::from_base64url(token)
        .is_some_and(|bytes| secret.verify(Purpose::Csrf, session.as_bytes(), &bytes))
}

/// Returns true if requests of this method may change something.
pub(crate) fn is_write(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Returns true if the request comes from a page of this server, or from no page at all.
///
/// Browsers state the origin of every request that may change something. A request without one is
/// not from a browser, and cannot be made to carry another person's cookies.
///
/// `public` is the configured scheme and host of this server. It counts beside `Host`, which a
/// proxy in front may have changed.
pub(crate) fn is_same_origin(headers: &HeaderMap, public: Option<&str>) -> bool {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let site = text(FETCH_SITE).is_none_or(|site| matches!(site, "same-origin" | "none"));
    let origin = text(ORIGIN.clone()).is_none_or(|origin| {
        let host = origin.split_once("://").map(|(_, host)| host);
        public == Some(origin) || (host.is_some() && host == text(HOST.clone()))
    });
    site && origin
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn a_token_is_bound_to_its_session_and_secret() {
        let secret = ServerSecret::random();
        let token = token(&secret, "one");
        assert!(matches(&secret, "one", &token));
        assert!(!matches(&secret, "two", &token));
        assert!(!matches(&ServerSecret::random(), "one", &token));
        assert!(!matches(&secret, "one", "") && !matches(&secret, "one", "!"));
    }

    #[test]
    fn requests_from_other_sites_are_recognised() {
        let check = |expect: bool, pairs: &[(&'static str, &str)]| {
            let ours = is_same_origin(&headers(pairs), Some("https://surefoot.example"));
            assert_eq!(ours, expect, "{pairs:?}");
        };
        check(true, &[("host", "localhost:7878")]);
        check(
            true,
            &[
                ("host", "localhost:7878"),
                ("origin", "http://localhost:7878"),
            ],
        );
        check(
            true,
            &[
                ("host", "10.0.0.5:7878"),
                ("origin", "https://surefoot.example"),
            ],
        );
        check(
            true,
            &[
                ("host", "a"),
                ("origin", "http://a"),
                ("sec-fetch-site", "same-origin"),
            ],
        );
        check(true, &[("host", "a"), ("sec-fetch-site", "none")]);
        check(false, &[("host", "a"), ("sec-fetch-site", "cross-site")]);
        check(false, &[("host", "a"), ("sec-fetch-site", "same-site")]);
        check(
            false,
            &[
                ("host", "a"),
                ("origin", "http://a"),
                ("sec-fetch-site", "cross-site"),
            ],
        );
        check(
            false,
            &[
                ("host", "localhost:7878"),
                ("origin", "http://localhost:9999"),
            ],
        );
        check(
            false,
            &[
                ("host", "localhost:7878"),
                ("origin", "http://evil.example"),
            ],
        );
        check(false, &[("host", "localhost:7878"), ("origin", "null")]);
        check(false, &[("host", ""), ("origin", "null")]);
        check(false, &[("origin", "http://evil.example")]);
    }
}
