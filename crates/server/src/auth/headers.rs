//! Security headers of every response.

use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

use super::Auth;

/// The policy of pages: own files only, no inline script or style, no framing.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The policy of the widget's pages, which other sites embed in frames.
const WIDGET_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
                      connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors *";

const OPENER: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const RESOURCE: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const PERMISSIONS: HeaderName = HeaderName::from_static("permissions-policy");

/// Adds the security headers. Headers that a route set itself stay.
pub(crate) async fn layer(State(auth): State<Auth>, request: Request, next: Next) -> Response {
    let framed = is_framed(request.uri().path());
    let mut response = next.run(request).await;
    add(response.headers_mut(), framed, auth.is_secure());
    response
}

fn is_framed(path: &str) -> bool {
    path == "/widget" || path.starts_with("/widget/") || path.starts_with("/widget.")
}

fn add(headers: &mut HeaderMap, framed: bool, secure: bool) {
    let mut put = |name: HeaderName, value: &'static str| {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    };
    put(
        CONTENT_SECURITY_POLICY,
        if framed { WIDGET_POLICY } else { POLICY },
    );
    put(X_CONTENT_TYPE_OPTIONS, "nosniff");
    // Not `no-referrer`: browsers then send `Origin: null` with our own forms.
    put(REFERRER_POLICY, "same-origin");
    put(
        PERMISSIONS,
        "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    );
    put(CACHE_CONTROL, "no-store");
    put(
        RESOURCE,
        if framed {
            "cross-origin"
        } else {
            "same-origin"
        },
    );
    if !framed {
        put(X_FRAME_OPTIONS, "DENY");
        put(OPENER, "same-origin");
    }
    if secure {
        put(STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(framed: bool, secure: bool) -> HeaderMap {
        let mut headers = HeaderMap::new();
        add(&mut headers, framed, secure);
        headers
    }

    #[test]
    fn no_inline_script_and_no_frame() {
        let headers = of(false, false);
        let policy = headers[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert!(
            !policy.contains("unsafe") && !policy.contains('*'),
            "{policy}"
        );
        assert!(
            !headers.contains_key(STRICT_TRANSPORT_SECURITY),
            "over plain HTTP it would say nothing"
        );
        assert!(of(false, true).contains_key(STRICT_TRANSPORT_SECURITY));
    }

    #[test]
    fn only_the_widget_may_be_framed() {
        assert!(
            is_framed("/widget/abc")
                && is_framed("/widget.js")
                && !is_framed("/widgets")
                && !is_framed("/")
        );
        assert!(
            of(true, false)[CONTENT_SECURITY_POLICY]
                .to_str()
                .unwrap()
                .contains("frame-ancestors *")
        );
    }

    #[test]
    fn headers_set_by_a_route_stay() {
        let mut headers =
            HeaderMap::from_iter([(CACHE_CONTROL, HeaderValue::from_static("max-age=60"))]);
        add(&mut headers, false, false);
        assert_eq!(headers[CACHE_CONTROL], "max-age=60");
    }
}
