//! Queues: limits, pause, resume.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use surefoot::{
    AllowList, QueueInfo, QueueLimits, Rate, Retention, RetentionLimit, format_duration,
    parse_duration,
};
use utoipa::ToSchema;

use super::extract::{Body, Segment};
use super::wire::{Line, present};
use crate::actions;
use crate::auth::Actor;
use crate::http::Problem;
use crate::state::App;

/// A queue and its current state.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QueueView {
    name: String,
    /// While true, no run starts; running ones continue.
    paused: bool,
    /// Runs waiting for a worker.
    queued: u64,
    /// Runs waiting for a time, a retry or an answer.
    waiting: u64,
    running: u64,
    limits: LimitsView,
}

/// The limits of a queue. Null means no limit.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LimitsView {
    /// Maximum number of concurrent runs, over all workers.
    concurrency: Option<u32>,
    /// Maximum number of concurrent runs with the same concurrency key.
    concurrency_per_key: Option<u32>,
    /// Maximum number of starts in any time window.
    rate: Option<RateView>,
    /// Retention of the details of ended runs.
    retention: RetentionView,
    /// The workflows that may be submitted, with `*` for any characters; null permits all, an empty
    /// list none.
    workflows: Option<Vec<String>>,
    /// The actions that their steps may have, likewise.
    actions: Option<Vec<String>>,
}

/// At most `max` runs start in any window of length `per`.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RateView {
    #[schema(minimum = 1)]
    max: u32,
    /// A duration such as `1s` or `5m`.
    #[schema(example = "1s")]
    per: String,
}

/// Retention by outcome.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RetentionView {
    completed: KeepView,
    failed: KeepView,
    cancelled: KeepView,
}

/// Details are removed when they are older than `age`, or when `count` newer runs have details.
/// Null keeps all.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeepView {
    /// A duration such as `720h`.
    #[schema(example = "720h")]
    age: Option<String>,
    count: Option<u64>,
}

/// Changes of limits. Absent fields stay; null removes a limit.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LimitsChange {
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<u32>, minimum = 1)]
    concurrency: Option<Option<u32>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<u32>, minimum = 1)]
    concurrency_per_key: Option<Option<u32>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<RateView>)]
    rate: Option<Option<RateView>>,
    #[serde(default)]
    retention: RetentionChange,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Vec<String>>)]
    workflows: Option<Option<Vec<String>>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Vec<String>>)]
    actions: Option<Option<Vec<String>>>,
}

/// Changes of retention. Absent fields stay; null keeps all details.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RetentionChange {
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<KeepView>)]
    completed: Option<Option<KeepView>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<KeepView>)]
    failed: Option<Option<KeepView>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<KeepView>)]
    cancelled: Option<Option<KeepView>>,
}

impl QueueView {
    pub(crate) fn of(queue: &QueueInfo) -> Self {
        Self {
            name: queue.name.clone(),
            paused: queue.paused,
            queued: queue.queued,
            waiting: queue.waiting,
            running: queue.running,
            limits: LimitsView::of(&queue.limits),
        }
    }
}

impl LimitsView {
    fn of(limits: &QueueLimits) -> Self {
        let keep = |keep: &RetentionLimit| KeepView {
            age: keep.age.map(format_duration),
            count: keep.count,
        };
        let entries = |list: &AllowList| list.entries().map(<[String]>::to_vec);
        let Retention {
            completed,
            failed,
            cancelled,
        } = &limits.retention;
        Self {
            workflows: entries(&limits.allow.workflows),
            actions: entries(&limits.allow.actions),
            concurrency: limits.concurrency,
            concurrency_per_key: limits.concurrency_per_key,
            rate: limits.rate.map(|rate| RateView {
                max: rate.max,
                per: format_duration(rate.per),
            }),
            retention: RetentionView {
                completed: keep(completed),
                failed: keep(failed),
                cancelled: keep(cancelled),
            },
        }
    }
}

impl LimitsChange {
    fn apply(self, limits: &mut QueueLimits) -> Result<(), Problem> {
        at_least_one("concurrency", self.concurrency, &mut limits.concurrency)?;
        at_least_one(
            "concurrency_per_key",
            self.concurrency_per_key,
            &mut limits.concurrency_per_key,
        )?;
        if let Some(rate) = self.rate {
            limits.rate = rate.map(RateView::read).transpose()?;
        }
        permit("workflows", self.workflows, &mut limits.allow.workflows)?;
        permit("actions", self.actions, &mut limits.allow.actions)?;
        let kept = &mut limits.retention;
        keep(
            "retention.completed",
            self.retention.completed,
            &mut kept.completed,
        )?;
        keep("retention.failed", self.retention.failed, &mut kept.failed)?;
        keep(
            "retention.cancelled",
            self.retention.cancelled,
            &mut kept.cancelled,
        )
    }
}

fn at_least_one(
    name: &str,
    change: Option<Option<u32>>,
    limit: &mut Option<u32>,
) -> Result<(), Problem> {
    match change {
        Some(Some(0)) => Err(Problem::unprocessable(
            name,
            "is 0: at least 1, or null for no limit",
        )),
        Some(change) => {
            *limit = change;
            Ok(())
        }
        None => Ok(()),
    }
}

fn permit(
    name: &str,
    change: Option<Option<Vec<String>>>,
    list: &mut AllowList,
) -> Result<(), Problem> {
    let Some(change) = change else { return Ok(()) };
    *list = match change {
        None => AllowList::everything(),
        Some(entries) => AllowList::new(entries)
            .map_err(|error| Problem::unprocessable(name, error.to_string()))?,
    };
    Ok(())
}

fn keep(
    name: &str,
    change: Option<Option<KeepView>>,
    keep: &mut RetentionLimit,
) -> Result<(), Problem> {
    let Some(change) = change else { return Ok(()) };
    let KeepView { age, count } = change.unwrap_or_default();
    let age = age
        .map(|age| duration(&format!("{name}.age"), &age))
        .transpose()?;
    if count.is_some_and(|count| i64::try_from(count).is_err()) {
        return Err(Problem::unprocessable(
            format!("{name}.count"),
            "is larger than any store",
        ));
    }
    *keep = RetentionLimit { age, count };
    Ok(())
}

impl RateView {
    fn read(self) -> Result<Rate, Problem> {
        let per = duration("rate.per", &self.per)?;
        if self.max == 0 {
            return Err(Problem::unprocessable(
                "rate.max",
                "is 0: at least 1; pause the queue to start nothing",
            ));
        }
        if per.is_zero() {
            return Err(Problem::unprocessable("rate.per", "is zero: at least 1ms"));
        }
        Ok(Rate { max: self.max, per })
    }
}

/// Longer durations are input errors, and beyond the range of stores.
const MAX_DURATION: Duration = Duration::from_secs(100 * 366 * 24 * 3600);

fn duration(name: &str, text: &str) -> Result<Duration, Problem> {
    let duration =
        parse_duration(text).map_err(|error| Problem::unprocessable(name, error.to_string()))?;
    if duration > MAX_DURATION {
        return Err(Problem::unprocessable(name, "is longer than 100 years"));
    }
    Ok(duration)
}

/// All queues.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QueueList {
    queues: Vec<QueueView>,
}

/// List the queues that have limits, are paused or have had a run.
#[utoipa::path(get, path = "/api/v1/queues", tag = "queues", responses((status = 200, body = QueueList)))]
pub(crate) async fn list(State(app): State<App>) -> Result<Json<QueueList>, Problem> {
    let queues = app.store().queues().await?;
    Ok(Json(QueueList {
        queues: queues.iter().map(QueueView::of).collect(),
    }))
}

async fn find(app: &App, name: &str) -> Result<QueueInfo, Problem> {
    let found = app
        .store()
        .queues()
        .await?
        .into_iter()
        .find(|queue| queue.name == name);
    found.ok_or_else(|| Problem::not_found(format!("there is no queue `{name}`")))
}

/// Show a queue.
#[utoipa::path(
    get, path = "/api/v1/queues/{name}", tag = "queues", params(("name" = Line, Path, description = "The queue")),
    responses((status = 200, body = QueueView))
)]
pub(crate) async fn show(
    State(app): State<App>,
    Segment(name): Segment<Line>,
) -> Result<Json<QueueView>, Problem> {
    Ok(Json(QueueView::of(&find(&app, &name.0).await?)))
}

/// Change the limits of a queue.
#[utoipa::path(
    patch, path = "/api/v1/queues/{name}", tag = "queues", params(("name" = Line, Path, description = "The queue")),
    request_body = LimitsChange, responses((status = 200, body = QueueView))
)]
pub(crate) async fn change(
    State(app): State<App>,
    actor: Actor,
    Segment(name): Segment<Line>,
    Body(change): Body<LimitsChange>,
) -> Result<Json<QueueView>, Problem> {
    let mut limits = find(&app, &name.0).await?.limits;
    change.apply(&mut limits)?;
    actions::set_queue(&app, &actor, &name.0, limits).await?;
    Ok(Json(QueueView::of(&find(&app, &name.0).await?)))
}

/// Pause a queue: no further run starts, running ones continue.
#[utoipa::path(
    post, path = "/api/v1/queues/{name}/pause", tag = "queues", params(("name" = Line, Path, description = "The queue")),
    responses((status = 200, body = QueueView))
)]
pub(crate) async fn pause(
    State(app): State<App>,
    actor: Actor,
    Segment(name): Segment<Line>,
) -> Result<Json<QueueView>, Problem> {
    find(&app, &name.0).await?;
    actions::pause(&app, &actor, &name.0).await?;
    Ok(Json(QueueView::of(&find(&app, &name.0).await?)))
}

/// Resume a paused queue.
#[utoipa::path(
    post, path = "/api/v1/queues/{name}/resume", tag = "queues", params(("name" = Line, Path, description = "The queue")),
    responses((status = 200, body = QueueView))
)]
pub(crate) async fn resume(
    State(app): State<App>,
    actor: Actor,
    Segment(name): Segment<Line>,
) -> Result<Json<QueueView>, Problem> {
    find(&app, &name.0).await?;
    actions::resume(&app, &actor, &name.0).await?;
    Ok(Json(QueueView::of(&find(&app, &name.0).await?)))
}
