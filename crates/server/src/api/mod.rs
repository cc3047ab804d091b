//! The HTTP API, version 1: one file per resource. Handlers do no authorization: the table in
//! `http/routes.rs` states the access of each route, and routes missing there are not served.

mod alerts;
mod docs;
mod events;
mod extract;
mod openapi;
mod people;
mod problem;
mod queues;
mod records;
mod runs;
pub(crate) mod view;
mod wire;
mod workers;
mod workflows;

use axum::Router;
use axum::routing::{get, post};

use crate::state::App;

/// Every route of the API.
pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/api/openapi.json", get(openapi::json))
        .route("/api/docs", get(docs::page))
        .route("/api/v1/workflows", get(workflows::list))
        .route("/api/v1/workflows/{name}", get(workflows::show))
        .route("/api/v1/workflows/{name}/schema", get(workflows::schema))
        .route("/api/v1/workflows/{name}/dry-run", post(workflows::dry_run))
        .route("/api/v1/runs", get(runs::list).post(runs::submit))
        .route("/api/v1/runs/bulk/preview", post(runs::bulk_preview))
        .route("/api/v1/runs/bulk", post(runs::bulk))
        .route("/api/v1/runs/{id}", get(runs::show))
        .route("/api/v1/runs/{id}/history", get(runs::history))
        .route("/api/v1/runs/{id}/logs", get(runs::logs))
        .route("/api/v1/runs/{id}/events", get(runs::watch))
        .route("/api/v1/runs/{id}/retry", post(runs::retry))
        .route("/api/v1/runs/{id}/cancel", post(runs::cancel))
        .route("/api/v1/runs/{id}/answer", post(runs::answer))
        .route("/api/v1/runs/{id}/link", post(runs::link))
        .route("/api/v1/events", get(events::watch))
        .route("/api/v1/queues", get(queues::list))
        .route(
            "/api/v1/queues/{name}",
            get(queues::show).patch(queues::change),
        )
        .route("/api/v1/queues/{name}/pause", post(queues::pause))
        .route("/api/v1/queues/{name}/resume", post(queues::resume))
        .route("/api/v1/workers", get(workers::list))
        .route("/api/v1/alerts", get(alerts::list))
        .route("/api/v1/alerts/acknowledge", post(alerts::acknowledge))
        .route("/api/v1/records", get(records::list))
        .route("/api/v1/me", get(people::me))
        .route("/api/v1/audit", get(people::log))
}
