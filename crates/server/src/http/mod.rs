//! Everything between a connection and a handler: the table of routes, limits, problems, headers.

mod connections;
mod error_body;
mod exposition;
mod guards;
mod health;
mod metrics;
mod peers;
mod problem;
pub(crate) mod routes;
mod write_timeout;

pub(crate) use connections::serve_connections;
pub(crate) use peers::Peers;
pub(crate) use problem::Problem;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::IntoResponse as _;
use axum::routing::get;

use crate::state::App;
use crate::{api, auth, dashboard};

/// The complete router. Layers apply from the last to the first.
pub(crate) fn router(app: &App) -> Router {
    let limits = app.options().limits;
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::metrics))
        .merge(api::router())
        .merge(auth::router())
        .merge(dashboard::router())
        .layer(from_fn_with_state(app.auth().clone(), auth::guard))
        .fallback(|| async {
            Problem::not_found("there is nothing at this address").into_response()
        })
        .layer(DefaultBodyLimit::max(limits.body))
        .layer(from_fn_with_state(limits.time, guards::guard))
        .layer(from_fn(error_body::error_body))
        .layer(from_fn_with_state(
            app.auth().clone(),
            auth::security_headers,
        ))
        .with_state(app.clone())
}
