//! Protects the server against a single request: a time limit, and a handler for panics.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;

use super::Problem;

/// Responds in place of a handler that takes too long or panics.
pub(crate) async fn guard(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
    match tokio::time::timeout(limit, answer).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => {
            // The panic hook has already reported the panic itself.
            tracing::error!(path, "a handler panicked");
            Problem::internal("internal error: the server's log has the details").into_response()
        }
        Err(_) => {
            tracing::warn!(path, ?limit, "a request took too long");
            let detail = "the request took too long: the store may be away, or the request be too slow to arrive";
            Problem::of(StatusCode::SERVICE_UNAVAILABLE, detail).into_response()
        }
    }
}
