//! `GET /api/v1/runs`.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use surefoot::store::RunFilter;
use utoipa::{IntoParams, ToSchema};

use crate::api::extract::Query;
use crate::api::view::RunSummary;
use crate::api::wire::{Id, Line, Status, Time, Worker};
use crate::http::Problem;
use crate::state::App;

/// Selects runs. All given conditions must hold.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RunQuery {
    /// Only runs of this status.
    status: Option<Status>,
    /// Only runs of this workflow.
    workflow: Option<Line>,
    /// Only runs in this queue.
    queue: Option<Line>,
    /// Only the run with this key.
    key: Option<Line>,
    /// Only runs held by this worker.
    worker: Option<Worker>,
    /// Only runs submitted at this time or later.
    since: Option<Time>,
    /// Only runs submitted before this time.
    until: Option<Time>,
    /// Only runs whose key or unique value begins with this text (case-sensitive), or whose id
    /// equals it.
    text: Option<Line>,
    /// `newest` (the default) or `oldest` first.
    order: Option<Order>,
    /// The `next` of the previous page.
    cursor: Option<Id>,
    /// Number of runs per page: 1 to 500. Default: 50.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u16>,
}

/// The order of a listing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Order {
    /// Latest submission first.
    #[default]
    Newest,
    /// Earliest submission first.
    Oldest,
}

/// A page of runs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunPage {
    runs: Vec<RunSummary>,
    /// The `cursor` of the next page; null on the last one.
    next: Option<Id>,
}

/// Default and maximum page size.
const PAGE: u16 = 50;
const MAX_PAGE: u16 = 500;

impl RunQuery {
    fn filter(self) -> Result<RunFilter, Problem> {
        let text = |line: Option<Line>| line.map(|line| line.0);
        Ok(RunFilter {
            status: self.status.map(Into::into),
            workflow: text(self.workflow),
            queue: text(self.queue),
            key: text(self.key),
            worker: self.worker.map(|worker| worker.0),
            since: self.since.map(|time| time.0),
            until: self.until.map(|time| time.0),
            failed_since: None,
            text: text(self.text),
            oldest_first: self.order == Some(Order::Oldest),
            before: self.cursor.map(|id| id.0),
            limit: limit(self.limit, PAGE, MAX_PAGE)?,
        })
    }
}

/// Checks a page size.
pub(crate) fn limit(requested: Option<u16>, default: u16, max: u16) -> Result<usize, Problem> {
    match requested.unwrap_or(default) {
        limit if (1..=max).contains(&limit) => Ok(usize::from(limit)),
        limit => Err(Problem::invalid(
            "limit",
            format!("{limit} is not between 1 and {max}"),
        )),
    }
}

/// List runs, newest first.
#[utoipa::path(get, path = "/api/v1/runs", tag = "runs", params(RunQuery), responses((status = 200, body = RunPage)))]
pub(crate) async fn list(
    State(app): State<App>,
    Query(query): Query<RunQuery>,
) -> Result<Json<RunPage>, Problem> {
    let mut filter = query.filter()?;
    let limit = filter.limit;
    filter.limit += 1;
    let mut runs = app.store().runs(filter).await?;
    let more = runs.len() > limit;
    runs.truncate(limit);
    let next = match runs.last() {
        Some(run) if more => Some(Id(run.id)),
        _ => None,
    };
    Ok(Json(RunPage {
        runs: runs.iter().map(RunSummary::of).collect(),
        next,
    }))
}
