//! `GET /api/v1/runs/{id}` and its live events.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::api::events::Message;
use crate::api::extract::{Query, Segment};
use crate::api::view::RunDetail;
use crate::api::wire::{Id, entry};
use crate::http::Problem;
use crate::sse;
use crate::state::App;

/// Show a run with its steps.
#[utoipa::path(
    get, path = "/api/v1/runs/{id}", tag = "runs",
    params(("id" = Id, Path, description = "The run")),
    responses((status = 200, body = RunDetail))
)]
pub(crate) async fn show(
    State(app): State<App>,
    Segment(id): Segment<Id>,
) -> Result<Json<RunDetail>, Problem> {
    let run = app.client().run(id.0).await?;
    let waiting = app.client().waiting(&run).await?;
    Ok(Json(RunDetail::of(&run, waiting.as_ref())))
}

/// The start of a stream.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct WatchQuery {
    /// Start after this event instead of with a snapshot. Same as `Last-Event-ID`, for clients that
    /// cannot set headers.
    #[serde(default, deserialize_with = "entry")]
    #[param(maximum = 9_223_372_036_854_775_807_i64)]
    after: Option<u64>,
}

/// Watch a run.
///
/// Server-sent events: `snapshot` (the run as in `GET /api/v1/runs/{id}`, and `seq`), then `change`
/// for each entry of the history (with the `run.status` and `run.progress` of that time), then
/// `end`. Ids are the numbers of the entries. A request with `Last-Event-ID` continues after that
/// entry, without a snapshot; no event is lost or repeated. If the run has ended and every event
/// was sent, the response is 204, which tells a browser not to reconnect.
#[utoipa::path(
    get, path = "/api/v1/runs/{id}/events", tag = "runs",
    params(
        ("id" = Id, Path, description = "The run"),
        WatchQuery,
        ("Last-Event-ID" = Option<u64>, Header, description = "The last event that was seen"),
    ),
    responses(
        (status = 200, content_type = "text/event-stream", body = Message),
        (status = 204, description = "The run has ended and there is nothing more to tell"),
    )
)]
pub(crate) async fn watch(
    State(app): State<App>,
    Segment(id): Segment<Id>,
    Query(query): Query<WatchQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let seen = last_seen(&headers)?.or(query.after);
    Ok(sse::stream(app.hub(), id.0, seen).await?)
}

fn last_seen(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get("last-event-id") else {
        return Ok(None);
    };
    let number = value
        .to_str()
        .ok()
        .and_then(|text| text.trim().parse().ok());
    number
        .map(Some)
        .ok_or_else(|| Problem::invalid("Last-Event-ID", "the number of an event was expected"))
}
