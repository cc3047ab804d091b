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

/// Which runs. All that is given must hold.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RunQuery {
    /// Only of this status.
    status: Option<Status>,
    /// Only of this workflow.
    workflow: Option<Line>,
    /// Only in this queue.
    queue: Option<Line>,
    /// Only with this key.
    key: Option<Line>,
    /// Only those that this worker holds.
    worker: Option<Worker>,
    /// Only those submitted at this time or later.
    since: Option<Time>,
    /// Only those submitted before this time.
    until: Option<Time>,
    /// Only those whose key or unique value begins with this text (case matters), or whose id is this text.
    text: Option<Line>,
    /// `newest` (the default) or `oldest` first.
    order: Option<Order>,
    /// The `next` of the page before.
    cursor: Option<Id>,
    /// Runs on a page: 1 to 500, 50 by default.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u16>,
}

/// Which comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Order {
    /// The last one submitted.
    #[default]
    Newest,
    /// The first one submitted.
    Oldest,
}

/// A page of runs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunPage {
    runs: Vec<RunSummary>,
    /// The `cursor` of the next page; null on the last one.
    next: Option<Id>,
}

/// Runs on a page.
const PAGE: u16 = 50;
const LARGEST_PAGE: u16 = 500;

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
            limit: limit(self.limit, PAGE, LARGEST_PAGE)?,
        })
    }
}

/// A page's length.
pub(crate) fn limit(asked: Option<u16>, usual: u16, largest: u16) -> Result<usize, Problem> {
    match asked.unwrap_or(usual) {
        limit if (1..=largest).contains(&limit) => Ok(usize::from(limit)),
        limit => Err(Problem::invalid(
            "limit",
            format!("{limit} is not between 1 and {largest}"),
        )),
    }
}

/// List runs, the newest first.
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
    let next = runs.last().filter(|_| more).map(|run| Id(run.id));
    Ok(Json(RunPage {
        runs: runs.iter().map(RunSummary::of).collect(),
        next,
    }))
}
