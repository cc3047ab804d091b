//! Audit log entries for actions on the command line, beside those over HTTP.
//!
//! An entry is written after its action. A user of the command line has access to the store anyway,
//! so the action neither waits for the entry nor fails without it; a failure to write it is
//! reported.

use serde_json::{Value, json};
use surefoot::{QueueLimits, Run, Store};
use surefoot_server::limits_detail;

use crate::app::person;
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

/// A queue was given limits.
pub(crate) async fn limited(store: &dyn Store, queue: &str, limits: &QueueLimits) {
    record(store, "queue.set", queue, limits_detail(limits)).await;
}
