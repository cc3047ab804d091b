//! Pausing, resuming and limiting queues.

use serde_json::{Value, json};
use surefoot::{QueueLimits, RetentionLimit, StoreError};

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
    audited(
        app,
        actor,
        "queue.set",
        queue,
        limits_detail(&limits),
        app.store().set_queue(queue, limits, false),
    )
    .await
}

/// The detail of an audit log entry on the limits of a queue.
pub fn limits_detail(limits: &QueueLimits) -> Value {
    let keep = |limit: RetentionLimit| limit.limited().map(|limit| limit.to_string());
    json!({
        "concurrency": limits.concurrency,
        "concurrency_per_key": limits.concurrency_per_key,
        "workflows": limits.allow.workflows.entries(),
        "actions": limits.allow.actions.entries(),
        "retention": {
            "completed": keep(limits.retention.completed),
            "failed": keep(limits.retention.failed),
            "cancelled": keep(limits.retention.cancelled),
        },
        "rate": limits.rate.map(|rate| rate.to_string()),
    })
}
