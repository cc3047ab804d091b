//! What keeps one request from holding up or ending the server: a time limit, and a net under panics.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;

use super::Problem;

/// Answers for a handler that takes too long, and for one that panics.
pub(crate) async fn guard(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
    match tokio::time::timeout(limit, answer).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => {
            // The panic itself was reported by its hook.
            tracing::error!(path, "a handler panicked");
            Problem::internal("something went wrong here; the server's log says what")
                .into_response()
        }
        Err(_) => {
            tracing::warn!(path, ?limit, "a request took too long");
            let detail = "the request took too long: the store may be away, or the request be too slow to arrive";
            Problem::of(StatusCode::SERVICE_UNAVAILABLE, detail).into_response()
        }
    }
}
