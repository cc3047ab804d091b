//! What the command line does stands in the audit log beside what is done over HTTP.
//!
//! It is written after the deed: whoever works on the command line can open the store anyway, and a run is not held up for
//! it. When it cannot be written that is said, and the deed stands.

use serde_json::{Value, json};
use surefoot::{QueueLimits, Run, Store};

use crate::app::person;
use crate::limits::{keep_text, rate_text};
use crate::out;

/// Writes down what was done.
pub(crate) async fn record(store: &dyn Store, action: &str, subject: &str, detail: Value) {
    let written =
        surefoot_server::record_by_command(store, &person(), action, subject, detail).await;
    if let Err(error) = written {
        out::say(&format!(
            "note: it is done, and the audit log does not say so: {error}"
        ));
    }
}

/// A run was submitted.
pub(crate) async fn submitted(store: &dyn Store, run: &Run) {
    record(
        store,
        "run.submit",
        run.plan.name(),
        json!({ "key": run.key, "run": run.id.to_string() }),
    )
    .await;
}

/// A queue was given limits; in the words of the server's own entries.
pub(crate) async fn limited(store: &dyn Store, queue: &str, limits: &QueueLimits) {
    let retention = &limits.retention;
    let detail = json!({
        "concurrency": limits.concurrency,
        "concurrency_per_key": limits.concurrency_per_key,
        "rate": limits.rate.map(rate_text),
        "workflows": limits.allow.workflows.entries(),
        "actions": limits.allow.actions.entries(),
        "retention": {
            "completed": keep_text(retention.completed),
            "failed": keep_text(retention.failed),
            "cancelled": keep_text(retention.cancelled),
        },
    });
    record(store, "queue.set", queue, detail).await;
}
