//! Retrying and cancelling many runs at once, with a preview.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use surefoot::RunStatus;
use surefoot::store::RunFilter;
use utoipa::ToSchema;

use crate::actions::{Bulk, BulkAction, Selection};
use crate::api::extract::Body;
use crate::api::wire::{Id, Line, Status, Time};
use crate::auth::Actor;
use crate::http::Problem;
use crate::state::App;

/// An action on many runs.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BulkRequest {
    action: Action,
    /// With `cancel`: also undo what the runs created.
    #[serde(default)]
    undo: bool,
    #[serde(default)]
    filter: BulkFilter,
    /// Continue an earlier request: its `next`.
    cursor: Option<Id>,
    /// Maximum number of runs in one request: 1 to 1000. Default: 500.
    #[schema(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
}

/// The action on each run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Action {
    /// Retry failed runs from the step that failed.
    Retry,
    /// Cancel runs that have not ended.
    Cancel,
}

/// Selects runs. All given conditions must hold. Pass the `until` of the preview to exclude runs
/// submitted after it.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BulkFilter {
    /// For `cancel`: `queued`, `running` or `waiting`. Default: all of them. For `retry`: `failed`,
    /// or absent.
    status: Option<Status>,
    workflow: Option<Line>,
    queue: Option<Line>,
    /// Only runs submitted at this time or later.
    since: Option<Time>,
    /// Only runs submitted before this time.
    until: Option<Time>,
    /// Only runs whose key or unique value begins with this text.
    text: Option<Line>,
}

/// The runs that an action would apply to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BulkPreview {
    /// Number of matching runs.
    count: usize,
    /// True if there are more runs than were counted.
    more: bool,
    /// Some of them.
    sample: Vec<Id>,
    /// The current time. As `until` of the filter it excludes later runs.
    until: Time,
}

/// The result of an action on many runs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BulkOutcome {
    /// Number of runs the action was applied to.
    done: usize,
    /// Runs the action was refused for, with the reason; at most 100 are listed.
    refused: Vec<BulkRefusal>,
    refused_count: usize,
    /// The `cursor` of a request that continues; null when no runs are left.
    next: Option<Id>,
}

/// The reason why a run was left unchanged.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BulkRefusal {
    run: Id,
    detail: String,
}

const DEFAULT_LIMIT: u16 = 500;
const MAX_LIMIT: u16 = 1000;
const LISTED_REFUSALS: usize = 100;
/// Limit of a preview's count.
const MAX_COUNT: usize = 10_000;

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
            let detail = format!("a {status} run cannot be selected for this action");
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
        let limit = super::list::limit(self.limit, DEFAULT_LIMIT, MAX_LIMIT)?;
        let selection = Selection::Matching {
            filter,
            before: self.cursor.map(|id| id.0),
        };
        Ok(Bulk {
            action,
            selection,
            limit,
        })
    }
}

/// Count the runs that a bulk action would apply to.
#[utoipa::path(
    post, path = "/api/v1/runs/bulk/preview", tag = "runs", request_body = BulkRequest,
    responses((status = 200, body = BulkPreview))
)]
pub(crate) async fn bulk_preview(
    State(app): State<App>,
    Body(request): Body<BulkRequest>,
) -> Result<Json<BulkPreview>, Problem> {
    let until = Time(app.store().now());
    let found = request.bulk()?.preview(&app, MAX_COUNT).await?;
    let sample = found.first.iter().map(|run| Id(run.id)).collect();
    Ok(Json(BulkPreview {
        count: found.count,
        more: found.more,
        sample,
        until,
    }))
}

/// Retry or cancel every run that matches a filter.
///
/// A request acts on at most `limit` runs. While `next` is not null, send the request again with
/// that value as `cursor`.
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
    let refused = result.refused.into_iter().take(LISTED_REFUSALS);
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
