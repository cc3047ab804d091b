//! The server's cookies: names, attributes, lookup.

use std::time::Duration;

use axum::http::header::COOKIE;
use axum::http::{HeaderMap, HeaderValue};

/// A cookie, by its name without a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cookie {
    name: &'static str,
}

/// Holds the id of a session.
pub(crate) const SESSION: Cookie = Cookie {
    name: "surefoot_session",
};

/// Identifies the browser that opened the sign-in page; the page's form token is bound to it.
pub(crate) const FORM: Cookie = Cookie {
    name: "surefoot_form",
};

/// Holds the state of a sign-in that is under way at an identity provider.
pub(crate) const SIGN_IN: Cookie = Cookie {
    name: "surefoot_sign_in",
};

impl Cookie {
    /// The name as sent. Over TLS it carries the `__Host-` prefix, which browsers accept only from
    /// this very host and over TLS: a neighbouring host cannot plant the cookie.
    fn name(self, secure: bool) -> String {
        if secure {
            format!("__Host-{}", self.name)
        } else {
            self.name.to_owned()
        }
    }

    /// The `Set-Cookie` value. `SameSite=Lax`: the cookie comes along when a person follows a link
    /// to the dashboard, and with no other request that another site starts. `Strict` would make
    /// everyone who follows a link from a chat message sign in again.
    pub(crate) fn set(self, value: &str, lifetime: Duration, secure: bool) -> HeaderValue {
        let name = self.name(secure);
        let only_tls = if secure { "; Secure" } else { "" };
        let text = format!(
            "{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={}{only_tls}",
            lifetime.as_secs()
        );
        HeaderValue::from_str(&text).expect("our values are letters, digits, `-`, `_` and `.`")
    }

    /// The `Set-Cookie` value that removes the cookie.
    pub(crate) fn remove(self, secure: bool) -> HeaderValue {
        self.set("", Duration::ZERO, secure)
    }

    /// The cookie's value in a request.
    pub(crate) fn find(self, headers: &HeaderMap, secure: bool) -> Option<&str> {
        let name = self.name(secure);
        let texts = headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok());
        let mut pairs = texts
            .flat_map(|text| text.split(';'))
            .filter_map(|pair| pair.trim().split_once('='));
        pairs
            .find(|(found, value)| *found == name && !value.is_empty())
            .map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_hidden_from_scripts_and_other_sites() {
        let text = SESSION.set("abc", Duration::from_secs(60), true);
        assert_eq!(
            text,
            "__Host-surefoot_session=abc; Path=/; HttpOnly; SameSite=Lax; Max-Age=60; Secure"
        );
        let text = SESSION.remove(false);
        assert_eq!(
            text,
            "surefoot_session=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0"
        );
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let of = |text: &str| HeaderMap::from_iter([(COOKIE, text.parse().unwrap())]);
        let headers = of("a=1; surefoot_session=abc; __Host-surefoot_session=def");
        assert_eq!(SESSION.find(&headers, false), Some("abc"));
        assert_eq!(
            SESSION.find(&headers, true),
            Some("def"),
            "only the name that no other host can set"
        );
        assert_eq!(SESSION.find(&of("surefoot_session="), false), None);
        assert_eq!(SESSION.find(&of("xsurefoot_session=1"), false), None);
    }
}
