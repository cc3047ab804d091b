//! Runs that this build cannot read: of a plan that a newer build wrote, or with a damaged row.

use surefoot::store::RunFilter;
use surefoot::{RunStatus, Store, StoreError};

use crate::Finding;
use crate::text::{count, some};

const SUBJECT: &str = "unreadable";

/// Runs of each status that are looked at, the oldest first.
const LOOKED_AT: usize = 1000;

/// Looks at the runs that have not ended.
///
/// # Errors
/// When the store cannot be read.
pub async fn unreadable(store: &dyn Store) -> Result<Finding, StoreError> {
    let mut found = Vec::new();
    for status in [RunStatus::Queued, RunStatus::Running, RunStatus::Waiting] {
        let filter = RunFilter {
            status: Some(status),
            limit: LOOKED_AT,
            oldest_first: true,
            ..RunFilter::default()
        };
        for run in store.runs(filter).await? {
            found.extend(
                run.unreadable
                    .map(|reason| format!("{} ({reason})", run.id)),
            );
        }
    }
    if found.is_empty() {
        return Ok(Finding::ok(
            SUBJECT,
            "every run that has not ended can be read",
            "each can be claimed, shown and retried",
        ));
    }
    let text = format!(
        "{} cannot be read: {}",
        count(found.len() as u64, "run"),
        some(&found)
    );
    Ok(Finding::warn(SUBJECT, text, "they wait, and no other run is affected")
        .advice("upgrade surefoot if a newer one wrote them, restore their rows from a copy, or `surefoot cancel RUN`"))
}
