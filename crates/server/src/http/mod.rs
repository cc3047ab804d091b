//! Everything between a connection and a handler: the table of routes, limits, problems, headers.

mod face;
mod problem;
pub(crate) mod routes;

pub(crate) use problem::Problem;

use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::{Router, response::IntoResponse as _};

use crate::state::App;
use crate::{api, auth, dashboard};

/// The whole of what is served.
pub(crate) fn router(app: &App) -> Router {
    Router::new()
        .merge(api::router())
        .merge(auth::router())
        .merge(dashboard::router())
        .layer(from_fn_with_state(app.auth().clone(), auth::guard))
        .fallback(|| async { Problem::not_found("there is nothing at this address").into_response() })
        .layer(DefaultBodyLimit::max(app.options().limits.body))
        .layer(from_fn(face::face))
        .layer(from_fn_with_state(app.auth().clone(), auth::security_headers))
        .with_state(app.clone())
}
