//! Runs that this build cannot read: those with a plan of a newer build, or with a damaged row.

use surefoot::store::RunFilter;
use surefoot::{RunStatus, Store, StoreError};

use crate::Finding;
use crate::text::{count, some};

const SUBJECT: &str = "unreadable";

/// Limit of examined runs of each status, oldest first.
const LOOKED_AT: usize = 1000;

/// Checks the unfinished runs.
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
