//! Retrying and cancelling many runs at once, with a preview.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use surefoot::RunStatus;
use surefoot::store::RunFilter;
use utoipa::ToSchema;

use crate::actions::{Bulk, BulkAction, Which};
use crate::api::extract::Body;
use crate::api::wire::{Id, Line, Status, Time};
use crate::auth::Actor;
use crate::http::Problem;
use crate::state::App;

/// Which runs, and what to do to them.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BulkRequest {
    action: Action,
    /// With `cancel`: also take back what the runs made.
    #[serde(default)]
    undo: bool,
    #[serde(default)]
    filter: BulkFilter,
    /// Where an earlier request stopped: its `next`.
    cursor: Option<Id>,
    /// Runs at most in one request: 1 to 1000, 500 by default.
    #[schema(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
}

/// What to do to each run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Action {
    /// Failed runs, from the step that failed.
    Retry,
    /// Runs that have not ended.
    Cancel,
}

/// All that is given must hold. Give `until` from the preview, so that nothing is met that came after it.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BulkFilter {
    /// For `cancel` one of `queued`, `running`, `waiting`, or all of them when left out; for `retry` `failed` or nothing.
    status: Option<Status>,
    workflow: Option<Line>,
    queue: Option<Line>,
    /// Submitted at this time or later.
    since: Option<Time>,
    /// Submitted before this time.
    until: Option<Time>,
    /// Key or unique value begins with this text.
    text: Option<Line>,
}

/// How many runs an action would meet.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BulkPreview {
    /// Runs that match.
    count: usize,
    /// Whether there are more than were counted.
    more: bool,
    /// Some of them.
    sample: Vec<Id>,
    /// Now: as `until` of the filter it keeps out what comes later.
    until: Time,
}

/// What an action came to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BulkOutcome {
    /// Runs to which it was done.
    done: usize,
    /// Runs to which it was not done, and why; 100 at most are named.
    refused: Vec<BulkRefusal>,
    refused_count: usize,
    /// The `cursor` of a request that goes on; null when all were met.
    next: Option<Id>,
}

/// Why a run was left as it is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BulkRefusal {
    run: Id,
    detail: String,
}

const USUAL: u16 = 500;
const MOST: u16 = 1000;
const NAMED: usize = 100;
/// A preview counts no further.
const COUNTED: usize = 10_000;

impl BulkRequest {
    fn bulk(self) -> Result<Bulk, Problem> {
        if self.undo && self.action == Action::Retry {
            return Err(Problem::unprocessable("undo", "only a cancel can undo"));
        }
        let action = match (self.action, self.undo) {
            (Action::Retry, _) => BulkAction::Retry,
            (Action::Cancel, undo) => BulkAction::Cancel { undo },
        };
        let status = self.filter.status.map(RunStatus::from);
        if let Some(status) = status.filter(|status| !action.statuses().contains(status)) {
            let detail = format!("a {status} run cannot be met by this action");
            return Err(Problem::unprocessable("filter.status", detail));
        }
        let text = |line: Option<Line>| line.map(|line| line.0);
        let filter = RunFilter {
            status,
            workflow: text(self.filter.workflow),
            queue: text(self.filter.queue),
            since: self.filter.since.map(|time| time.0),
            until: self.filter.until.map(|time| time.0),
            text: text(self.filter.text),
            ..RunFilter::default()
        };
        let limit = super::list::limit(self.limit, USUAL, MOST)?;
        let which = Which::Matching {
            filter,
            before: self.cursor.map(|id| id.0),
        };
        Ok(Bulk {
            action,
            which,
            limit,
        })
    }
}

/// Count the runs that a bulk action would meet.
#[utoipa::path(
    post, path = "/api/v1/runs/bulk/preview", tag = "runs", request_body = BulkRequest,
    responses((status = 200, body = BulkPreview))
)]
pub(crate) async fn bulk_preview(
    State(app): State<App>,
    Body(request): Body<BulkRequest>,
) -> Result<Json<BulkPreview>, Problem> {
    let until = Time(app.store().now());
    let found = request.bulk()?.preview(&app, COUNTED).await?;
    let sample = found.first.iter().map(|run| Id(run.id)).collect();
    Ok(Json(BulkPreview {
        count: found.count,
        more: found.more,
        sample,
        until,
    }))
}

/// Retry or cancel every run that a filter finds.
///
/// A request meets `limit` runs at most; while `next` is not null, send it again with that as `cursor`.
#[utoipa::path(
    post, path = "/api/v1/runs/bulk", tag = "runs", request_body = BulkRequest,
    responses((status = 200, body = BulkOutcome))
)]
pub(crate) async fn bulk(
    State(app): State<App>,
    actor: Actor,
    Body(request): Body<BulkRequest>,
) -> Result<Json<BulkOutcome>, Problem> {
    let result = request.bulk()?.apply(&app, &actor).await?;
    let refused_count = result.refused.len();
    let refused = result.refused.into_iter().take(NAMED);
    Ok(Json(BulkOutcome {
        done: result.done,
        refused: refused
            .map(|(run, detail)| BulkRefusal {
                run: Id(run),
                detail,
            })
            .collect(),
        refused_count,
        next: result.next.map(Id),
    }))
}
