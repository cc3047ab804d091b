//! `GET /api/v1/events`: signals changes of listings.

use axum::extract::State;
use axum::response::Response;
use utoipa::ToSchema;

use crate::sse;
use crate::state::App;

/// A server-sent event.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "it describes what `sse` writes")]
pub(crate) struct Message {
    /// The kind of event.
    event: String,
    /// A JSON document.
    data: String,
    /// The sequence number, for events that are entries of the history.
    #[schema(nullable = false)]
    id: Option<String>,
}

/// Watch everything.
///
/// Server-sent events: `changed`, at most twice a second, with the depth of each queue and the
/// number of workers. It signals that listings may have changed; fetch them again for their
/// content.
#[utoipa::path(
    get, path = "/api/v1/events", tag = "runs",
    responses((status = 200, content_type = "text/event-stream", body = Message))
)]
pub(crate) async fn watch(State(app): State<App>) -> Response {
    sse::changes(app.hub(), true)
}
