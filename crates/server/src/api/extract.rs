//! Extractors for path, query and body. Invalid input becomes a problem that names the parameter.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse as _;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::http::Problem;

/// The query of a URL.
#[derive(Debug)]
pub(crate) struct Query<T>(pub(crate) T);

/// A JSON body.
#[derive(Debug)]
pub(crate) struct Body<T>(pub(crate) T);

/// An optional JSON body.
#[derive(Debug)]
pub(crate) struct OptionalBody<T>(pub(crate) T);

/// The single parameter of a path.
#[derive(Debug)]
pub(crate) struct Segment<T>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let pairs = form_urlencoded::parse(query.as_bytes());
        if let Some((name, _)) = pairs
            .clone()
            .find(|(name, value)| (name.to_string() + value).contains('\0'))
        {
            return Err(Problem::invalid(
                name.replace('\0', "?"),
                "a text without a NUL character was expected",
            ));
        }
        let deserializer = serde_urlencoded::Deserializer::new(pairs);
        serde_path_to_error::deserialize(deserializer)
            .map(Self)
            .map_err(|error| at_fault(&error))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let json = is_json(request.headers());
        let body = bytes(request, state).await?;
        if !json {
            let detail = "a body of Content-Type application/json was expected";
            return Err(Problem::of(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
        read(&body).map(Self)
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for OptionalBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let none = request.headers().get(CONTENT_TYPE).is_none();
        let json = is_json(request.headers());
        let body = bytes(request, state).await?;
        if (body.is_empty() && (none || json)) || (json && body.trim_ascii() == b"null") {
            return Ok(Self(T::default()));
        }
        if !json {
            let detail = "a body of Content-Type application/json was expected, or none";
            return Err(Problem::of(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
        read(&body).map(Self)
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Segment<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let unreadable = |_| Problem::not_found("there is nothing at this address");
        let params = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(unreadable)?;
        let (name, value) = params.iter().next().unwrap_or_default();
        if value.contains('\0') {
            return Err(Problem::invalid(
                name,
                "a text without a NUL character was expected",
            ));
        }
        let value = serde::de::value::StrDeserializer::<serde::de::value::Error>::new(value);
        T::deserialize(value)
            .map(Self)
            .map_err(|error| Problem::invalid(name, error.to_string()))
    }
}

async fn bytes<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    Bytes::from_request(request, state)
        .await
        .map_err(|rejection: BytesRejection| {
            let status = rejection.into_response().status();
            let detail = match status {
                StatusCode::PAYLOAD_TOO_LARGE => "the body is larger than this server takes",
                _ => "the body did not arrive whole",
            };
            Problem::of(status, detail)
        })
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    // Invalid UTF-8 is reported by the JSON parser, with its position.
    let kept = std::str::from_utf8(body).map(surefoot::keep_digits);
    let body = kept.as_deref().map_or(body, str::as_bytes);
    if let Some(place) = serde_json::from_slice(body)
        .ok()
        .and_then(|body| list_in(&body))
    {
        return Err(Problem::invalid(place, "a JSON object was expected"));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        if error.inner().is_data() {
            return at_fault(&error);
        }
        Problem::of(
            StatusCode::BAD_REQUEST,
            format!("the body is not JSON: {}", error.inner()),
        )
    })?;
    deserializer.end().map_err(|error| {
        Problem::of(
            StatusCode::BAD_REQUEST,
            format!("the body is not JSON: {error}"),
        )
    })?;
    Ok(value)
}

/// Fields of requests that are lists, or may hold any: the parameters of a workflow, and the
/// allow-lists of a queue.
const LISTS: [&str; 3] = ["parameters", "workflows", "actions"];

/// The path of a list where an object is expected. serde would read the list as the fields in
/// order, which the OpenAPI document does not allow. The fields in [`LISTS`] may hold lists.
fn list_in(body: &Value) -> Option<String> {
    match body {
        Value::Array(_) => Some("(body)".to_owned()),
        Value::Object(fields) => fields
            .iter()
            .filter(|(name, _)| !LISTS.contains(&name.as_str()))
            .find_map(|(name, value)| {
                let place = list_in(value)?;
                Some(if place == "(body)" {
                    name.clone()
                } else {
                    format!("{name}.{place}")
                })
            }),
        _ => None,
    }
}

/// A problem that names the parameter: the one at which parsing stopped, or the one in the message.
fn at_fault<E: std::fmt::Display>(error: &serde_path_to_error::Error<E>) -> Problem {
    let path = error.path().to_string();
    let detail = error.inner().to_string();
    let spoken_of = ["missing field `", "unknown field `", "duplicate field `"]
        .iter()
        .find_map(|words| {
            let (_, rest) = detail.split_once(words)?;
            rest.split_once('`').map(|(name, _)| name.to_owned())
        });
    let parameter = match (path.as_str(), spoken_of) {
        ("." | "", Some(name)) => name,
        ("." | "", None) => "(body)".to_owned(),
        (path, Some(name)) if path != name && !path.ends_with(&format!(".{name}")) => {
            format!("{path}.{name}")
        }
        (path, _) => path.to_owned(),
    };
    Problem::invalid(parameter, detail)
}
