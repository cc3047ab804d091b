//! Bodies of error responses: a JSON document for programs, a page for people.

use axum::extract::Request;
use axum::http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::{Problem, routes};
use crate::dashboard;

/// Gives every error response a body that its client can read.
pub(crate) async fn error_body(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let headers = request.headers().clone();
    let mut response = next.run(request).await;
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let problem = response.extensions_mut().remove::<Problem>();
    // A page that a handler wrote itself, such as a form with its faults, stays.
    if problem.is_none() && is_page(response.headers()) {
        return response;
    }
    let problem = problem.unwrap_or_else(|| Problem::of(status, plain(&response)));
    let mut rendered = if is_for_people(&path, &headers) {
        page(&problem, &headers)
    } else {
        document(&problem)
    };
    for (name, value) in response.headers() {
        if *name != CONTENT_TYPE && *name != CONTENT_LENGTH {
            rendered.headers_mut().append(name, value.clone());
        }
    }
    rendered
}

fn plain(response: &Response) -> String {
    let status = response.status();
    status.canonical_reason().unwrap_or("error").to_lowercase()
}

fn is_page(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.starts_with("text/html"))
}

fn is_for_people(path: &str, headers: &HeaderMap) -> bool {
    let accepts = headers
        .get(ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .unwrap_or_default();
    !routes::is_for_programs(path) && accepts.contains("text/html")
}

fn document(problem: &Problem) -> Response {
    let kind = [(
        CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    )];
    (problem.status(), kind, problem.json().to_string()).into_response()
}

fn page(problem: &Problem, headers: &HeaderMap) -> Response {
    let text = dashboard::problem_page(
        headers,
        problem.status().as_u16(),
        problem.title(),
        Some(problem.detail()),
    );
    (problem.status(), axum::response::Html(text)).into_response()
}
