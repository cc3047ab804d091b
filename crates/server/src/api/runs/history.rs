//! A run's history, and the log lines of its steps.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use surefoot::Event;
use utoipa::{IntoParams, ToSchema};

use super::list::limit;
use crate::api::extract::{Query, Segment};
use crate::api::view::EventView;
use crate::api::wire::{Id, Line, Time, entry};
use crate::http::Problem;
use crate::state::App;

/// Selects a page of the history.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct HistoryQuery {
    /// Only entries after this one: the `next` of the previous page.
    #[serde(default, deserialize_with = "entry")]
    #[param(maximum = 9_223_372_036_854_775_807_i64)]
    after: Option<u64>,
    /// Number of entries per page: 1 to 1000. Default: 200.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
}

/// A page of a run's history.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HistoryPage {
    events: Vec<EventView>,
    /// The `after` of the next page; null at the current end of the history.
    next: Option<u64>,
}

const PAGE: u16 = 200;
const MAX_PAGE: u16 = 1000;

/// Read a run's history in order.
#[utoipa::path(
    get, path = "/api/v1/runs/{id}/history", tag = "runs",
    params(("id" = Id, Path, description = "The run"), HistoryQuery),
    responses((status = 200, body = HistoryPage))
)]
pub(crate) async fn history(
    State(app): State<App>,
    Segment(id): Segment<Id>,
    Query(query): Query<HistoryQuery>,
) -> Result<Json<HistoryPage>, Problem> {
    let limit = limit(query.limit, PAGE, MAX_PAGE)?;
    app.client().run(id.0).await?;
    let mut events = app
        .store()
        .events(id.0, query.after.unwrap_or(0), limit + 1)
        .await?;
    let more = events.len() > limit;
    events.truncate(limit);
    let next = match events.last() {
        Some(event) if more => Some(event.seq),
        _ => None,
    };
    Ok(Json(HistoryPage {
        events: events.iter().map(EventView::of).collect(),
        next,
    }))
}

/// Selects log lines.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LogQuery {
    /// Only lines of this step.
    step: Option<Line>,
    /// Only lines after this entry of the history: the `next` of the previous page.
    #[serde(default, deserialize_with = "entry")]
    #[param(maximum = 9_223_372_036_854_775_807_i64)]
    after: Option<u64>,
    /// Number of lines per page, or a few more: 1 to 5000. Default: 1000.
    #[param(minimum = 1, maximum = 5000)]
    limit: Option<u16>,
}

/// A page of log lines.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LogPage {
    lines: Vec<LogLine>,
    /// The `after` of the next page; null at the current end of the history.
    next: Option<u64>,
}

/// A line logged by a step.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LogLine {
    /// The entry of the history that contains it.
    seq: u64,
    at: Time,
    step: Option<String>,
    attempt: u64,
    line: String,
}

const LINES: u16 = 1000;
const MAX_LINES: u16 = 5000;
/// Events read at a time, and limit of events read for one page.
const READ: usize = 500;
const MAX_READ: usize = 20_000;

/// Read the log lines of a run's steps.
#[utoipa::path(
    get, path = "/api/v1/runs/{id}/logs", tag = "runs",
    params(("id" = Id, Path, description = "The run"), LogQuery),
    responses((status = 200, body = LogPage))
)]
pub(crate) async fn logs(
    State(app): State<App>,
    Segment(id): Segment<Id>,
    Query(query): Query<LogQuery>,
) -> Result<Json<LogPage>, Problem> {
    let limit = limit(query.limit, LINES, MAX_LINES)?;
    app.client().run(id.0).await?;
    let mut after = query.after.unwrap_or(0);
    let mut read = 0;
    let mut lines = Vec::new();
    loop {
        let events = app.store().events(id.0, after, READ).await?;
        for event in &events {
            if lines.len() >= limit {
                return Ok(Json(LogPage {
                    lines,
                    next: Some(after),
                }));
            }
            after = event.seq;
            if query
                .step
                .as_ref()
                .is_none_or(|step| event.step.as_deref() == Some(&step.0))
            {
                lines.extend(logged(event).map(|text| LogLine::of(event, text.to_owned())));
            }
        }
        read += events.len();
        if events.len() < READ || read >= MAX_READ {
            let next = (events.len() == READ).then_some(after);
            return Ok(Json(LogPage { lines, next }));
        }
    }
}

fn logged(event: &Event) -> impl Iterator<Item = &str> {
    let lines = match event.kind.as_str() {
        "step.log" => event.data["lines"].as_array(),
        _ => None,
    };
    lines.into_iter().flatten().filter_map(Value::as_str)
}

impl LogLine {
    fn of(event: &Event, line: String) -> Self {
        let attempt = event.data["attempt"].as_u64().unwrap_or(0);
        Self {
            seq: event.seq,
            at: Time(event.at),
            step: event.step.clone(),
            attempt,
            line,
        }
    }
}
