//! The body of a response: read up to a limit, and kept as JSON, as text by its charset, or in
//! base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use encoding_rs::{Encoding, UTF_8};
use reqwest::Response;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde_json::Value;
use surefoot::StepError;

/// Size limit of a body that becomes a step's output.
const LARGEST_BODY: usize = 1 << 20;

/// Size limit of the read part of a refusal's body.
const LARGEST_REFUSAL: usize = 64 << 10;

/// Content of a body.
#[derive(Debug, PartialEq)]
pub(super) struct Content {
    pub(super) value: Value,
    /// True if the value is the bytes in base64, because they are not text.
    pub(super) is_base64: bool,
}

/// Reads the body of the response to `request`.
pub(super) async fn read(mut response: Response, request: &str) -> Result<Content, StepError> {
    let headers = response.headers().clone();
    let too_large = || StepError::fatal("the response is larger than 1 MiB");
    if response
        .content_length()
        .is_some_and(|length| length > LARGEST_BODY as u64)
        && !has_no_body(&response)
    {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    let broken = |error: reqwest::Error| {
        StepError::from(format!(
            "the answer to {request} broke off: {}",
            error.without_url()
        ))
    };
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        if bytes.len() + chunk.len() > LARGEST_BODY {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(content(&headers, &bytes))
}

/// Statuses whose length is that of a body which is not sent.
fn has_no_body(response: &Response) -> bool {
    matches!(response.status().as_u16(), 204 | 304)
}

/// First part of a refusal's body, for a message. A read error leaves the refusal as it is.
pub(super) async fn beginning(mut response: Response) -> String {
    let headers = response.headers().clone();
    let mut bytes = Vec::new();
    while bytes.len() < LARGEST_REFUSAL
        && let Ok(Some(chunk)) = response.chunk().await
    {
        bytes.extend_from_slice(&chunk[..chunk.len().min(LARGEST_REFUSAL - bytes.len())]);
    }
    let encoding = charset(&headers)
        .and_then(|label| Encoding::for_label(label.as_bytes()))
        .unwrap_or(UTF_8);
    encoding.decode(&bytes).0.into_owned()
}

fn content(headers: &HeaderMap, bytes: &[u8]) -> Content {
    match decoded(headers, bytes) {
        // No store keeps a NUL, and no text has one.
        Some(text) if !text.contains('\0') => {
            let parsed = if is_json(headers) {
                surefoot::from_json(&text).ok()
            } else {
                None
            };
            Content {
                value: parsed.unwrap_or(Value::String(text)),
                is_base64: false,
            }
        }
        _ => Content {
            value: STANDARD.encode(bytes).into(),
            is_base64: true,
        },
    }
}

/// Text of a body, by the charset in its header or else as UTF-8; `None` if it is invalid.
fn decoded(headers: &HeaderMap, bytes: &[u8]) -> Option<String> {
    let encoding = match charset(headers) {
        Some(label) => Encoding::for_label(label.as_bytes())?,
        None => UTF_8,
    };
    let (text, _, has_errors) = encoding.decode(bytes);
    (!has_errors).then(|| text.into_owned())
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = content_type(headers)
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    kind == "application/json" || kind.ends_with("+json")
}

/// Extracts `utf-8` from `text/plain; charset="utf-8"`.
fn charset(headers: &HeaderMap) -> Option<String> {
    content_type(headers)
        .split(';')
        .skip(1)
        .find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.trim()
                .eq_ignore_ascii_case("charset")
                .then(|| value.trim().trim_matches(['"', '\'']).to_owned())
        })
}

fn content_type(headers: &HeaderMap) -> &str {
    headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_body_is_decoded_by_its_charset_or_kept_as_base64() {
        let check = |kind: &str, bytes: &[u8], value: Value, is_base64: bool| {
            let headers =
                HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_str(kind).unwrap())]);
            assert_eq!(
                content(&headers, bytes),
                Content { value, is_base64 },
                "{kind} {bytes:?}"
            );
        };
        check(
            "text/plain; charset=iso-8859-1",
            b"Gr\xfc\xdfe",
            json!("Gr\u{fc}\u{df}e"),
            false,
        );
        check(
            "text/plain; Charset=\"Shift_JIS\"",
            b"\x93\xfa\x96{",
            json!("\u{65e5}\u{672c}"),
            false,
        );
        check(
            "text/plain; charset=utf-16le",
            b"a\0b\0",
            json!("ab"),
            false,
        );
        check(
            "text/plain",
            "Gr\u{fc}\u{df}e".as_bytes(),
            json!("Gr\u{fc}\u{df}e"),
            false,
        );
        check("text/plain; charset=utf-8", b"Gr\xfc", json!("R3L8"), true);
        check("text/plain; charset=klingon", b"abc", json!("YWJj"), true);
        check("image/png", b"\x89PNG\r\n", json!("iVBORw0K"), true);
        check("text/plain", b"a\0b", json!("YQBi"), true);
        check(
            "application/json",
            b"\xef\xbb\xbf{\"a\": 1}",
            json!({ "a": 1 }),
            false,
        );
        check(
            "application/problem+json; charset=utf-8",
            b"[1]",
            json!([1]),
            false,
        );
        check(
            "application/json",
            b"{ not json",
            json!("{ not json"),
            false,
        );
        check("application/json", b"", json!(""), false);
    }

    #[test]
    fn fuzzed_bodies_become_values_that_can_be_kept() {
        let types = [
            "application/json",
            "application/problem+json; charset=utf-8",
            "text/plain; charset=utf-16",
            "text/plain; charset=\"",
            "application/json; charset=shift_jis",
            ";;;",
            "",
        ];
        surefoot_fuzz::fuzz("HTTP bodies", 1500, |random| {
            let kind = HeaderValue::from_static(random.pick::<&str>(&types));
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, kind)]);
            let text = surefoot_fuzz::Grammar { random }.json_text();
            let bytes = surefoot_fuzz::mutate(random, text.as_bytes(), &["{", "\"", "[", "\\"]);
            let Content { value, is_base64 } = content(&headers, &bytes);
            assert!(!is_base64 || value.is_string());
            if surefoot::limits::check_value(&value).is_ok() {
                assert!(surefoot::from_json(&value.to_string()).is_ok());
            }
        });
    }

    #[test]
    fn numbers_in_a_body_keep_their_digits() {
        let headers =
            HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        let body = b"{\"id\": 12345678901234567890123, \"n\": 18446744073709551615, \"x\": 1.5}";
        assert_eq!(
            content(&headers, body).value,
            json!({ "id": "12345678901234567890123", "n": u64::MAX, "x": 1.5 })
        );
    }
}
