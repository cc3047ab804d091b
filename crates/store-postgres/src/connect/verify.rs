//! Settings that a session cannot change: refused if they break a promise, otherwise reported.

use surefoot::StoreError;
use tokio_postgres::SimpleQueryMessage;

use super::error::store_error;
use super::session::Session;

const QUESTION: &str = "SELECT current_setting('session_replication_role'), current_setting('fsync'), \
                        current_setting('full_page_writes'), current_setting('synchronous_standby_names')";

/// Checks the settings that the server, the database or the role imposes. Returns sentences for
/// people about those that weaken a promise.
pub(super) async fn verify(session: &Session) -> Result<Vec<String>, StoreError> {
    let messages = session
        .simple_query(QUESTION)
        .await
        .map_err(|error| store_error(&error))?;
    let row = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let get = |index| row.and_then(|row| row.get(index)).unwrap_or_default();
    if get(0) != "origin" {
        return Err(StoreError::Unusable(format!(
            "session_replication_role is {} for this role, which turns off the constraints that the store relies on: \
             ALTER ROLE ... RESET session_replication_role",
            get(0)
        )));
    }
    let mut warnings = Vec::new();
    if get(1) == "off" {
        let means = "fsync is off: a crash of the machine loses acknowledged runs and can destroy the database; set fsync = on";
        warnings.push(means.to_owned());
    }
    if get(2) == "off" {
        let means = "full_page_writes is off: a page that a power cut tears stays torn; set full_page_writes = on";
        warnings.push(means.to_owned());
    }
    warnings.extend(weak_commit(session.synchronous_commit(), get(3)));
    Ok(warnings)
}

fn weak_commit(found: &str, standbys: &str) -> Option<String> {
    match found {
        "off" => Some(
            "synchronous_commit is off for this role, which loses acknowledged commits in a crash: Surefoot uses on for its \
             own commits, but a run that another session adds with surefoot.submit is only as safe as that session; \
             set synchronous_commit = on for the server, the database and the role"
                .to_owned(),
        ),
        "local" | "remote_write" if !standbys.trim().is_empty() => Some(format!(
            "synchronous_commit is {found} for this role: a failover to a standby may lose acknowledged runs; \
             set synchronous_commit = on"
        )),
        _ => None,
    }
}
