//! Pausing, resuming and limiting queues.

use serde_json::json;
use surefoot::{QueueLimits, RetentionLimit, StoreError, format_duration};

use crate::audit::audited;
use crate::auth::Actor;
use crate::state::App;

/// Pauses a queue: no further run starts in it.
pub(crate) async fn pause(app: &App, actor: &Actor, queue: &str) -> Result<(), StoreError> {
    audited(
        app,
        actor,
        "queue.pause",
        queue,
        json!({}),
        app.store().pause_queue(queue, true),
    )
    .await
}

/// Resumes a queue.
pub(crate) async fn resume(app: &App, actor: &Actor, queue: &str) -> Result<(), StoreError> {
    audited(
        app,
        actor,
        "queue.resume",
        queue,
        json!({}),
        app.store().pause_queue(queue, false),
    )
    .await
}

/// Sets the limits of a queue.
pub(crate) async fn set_queue(
    app: &App,
    actor: &Actor,
    queue: &str,
    limits: QueueLimits,
) -> Result<(), StoreError> {
    let detail = json!({
        "concurrency": limits.concurrency,
        "concurrency_per_key": limits.concurrency_per_key,
        "workflows": limits.allow.workflows.entries(),
        "actions": limits.allow.actions.entries(),
        "retention": {
            "completed": keep(limits.retention.completed),
            "failed": keep(limits.retention.failed),
            "cancelled": keep(limits.retention.cancelled),
        },
        "rate": limits.rate.map(|rate| format!("{}/{}", rate.max, format_duration(rate.per))),
    });
    audited(
        app,
        actor,
        "queue.set",
        queue,
        detail,
        app.store().set_queue(queue, limits, false),
    )
    .await
}

/// A retention limit in the notation of the command line, `720h,1000`; `None` when everything is
/// kept.
fn keep(keep: RetentionLimit) -> Option<String> {
    let parts = [
        keep.age.map(format_duration),
        keep.count.map(|count| count.to_string()),
    ];
    let parts = parts.into_iter().flatten().collect::<Vec<_>>();
    (!parts.is_empty()).then(|| parts.join(","))
}
