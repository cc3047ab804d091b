//! A run's history, and the lines that its steps logged.

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

/// Which part of the history.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct HistoryQuery {
    /// Only what comes after this entry: the `next` of the page before.
    #[serde(default, deserialize_with = "entry")]
    #[param(maximum = 9_223_372_036_854_775_807_i64)]
    after: Option<u64>,
    /// Entries on a page: 1 to 1000, 200 by default.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
}

/// A page of a run's history.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HistoryPage {
    events: Vec<EventView>,
    /// The `after` of the next page; null at the present end of the history.
    next: Option<u64>,
}

const PAGE: u16 = 200;
const LARGEST_PAGE: u16 = 1000;

/// Read a run's history, in its order.
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
    let limit = limit(query.limit, PAGE, LARGEST_PAGE)?;
    app.client().run(id.0).await?;
    let mut events = app
        .store()
        .events(id.0, query.after.unwrap_or(0), limit + 1)
        .await?;
    let more = events.len() > limit;
    events.truncate(limit);
    let next = events.last().filter(|_| more).map(|event| event.seq);
    Ok(Json(HistoryPage {
        events: events.iter().map(EventView::of).collect(),
        next,
    }))
}

/// Which lines.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LogQuery {
    /// Only of this step.
    step: Option<Line>,
    /// Only what comes after this entry of the history: the `next` of the page before.
    #[serde(default, deserialize_with = "entry")]
    #[param(maximum = 9_223_372_036_854_775_807_i64)]
    after: Option<u64>,
    /// Lines on a page, or a few more: 1 to 5000, 1000 by default.
    #[param(minimum = 1, maximum = 5000)]
    limit: Option<u16>,
}

/// A page of lines.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LogPage {
    lines: Vec<LogLine>,
    /// The `after` of the next page; null at the present end of the history.
    next: Option<u64>,
}

/// A line that a step logged.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LogLine {
    /// The entry of the history that it is in.
    seq: u64,
    at: Time,
    step: Option<String>,
    attempt: u64,
    line: String,
}

const LINES: u16 = 1000;
const MOST_LINES: u16 = 5000;
/// Events read at a time, and at most for one page.
const READ: usize = 500;
const MOST_READ: usize = 20_000;

/// Read what a run's steps logged.
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
    let limit = limit(query.limit, LINES, MOST_LINES)?;
    app.client().run(id.0).await?;
    let (mut after, mut read) = (query.after.unwrap_or(0), 0);
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
        if events.len() < READ || read >= MOST_READ {
            let next = (events.len() == READ).then_some(after);
            return Ok(Json(LogPage { lines, next }));
        }
    }
}

fn logged(event: &Event) -> impl Iterator<Item = &str> {
    let lines = event.data["lines"]
        .as_array()
        .filter(|_| event.kind == "step.log");
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
