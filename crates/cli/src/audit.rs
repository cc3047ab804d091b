//! Audit log entries for actions on the command line, beside those over HTTP.
//!
//! An entry is written after its action. A user of the command line has access to the store anyway,
//! so the action neither waits for the entry nor fails without it; a failure to write it is
//! reported.

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
