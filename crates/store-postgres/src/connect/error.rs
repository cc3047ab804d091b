//! What the database's errors mean for the store: whether the same call may succeed later.

use surefoot::StoreError;
use tokio_postgres::Error;
use tokio_postgres::error::{DbError, SqlState};

/// An error of the database in the store's words.
pub(crate) fn store_error(error: &Error) -> StoreError {
    match error.as_db_error() {
        Some(said) => of_the_database(said),
        None => of_the_client(error),
    }
}

/// Classes of <https://www.postgresql.org/docs/current/errcodes-appendix.html> that pass: connections (08), what it runs out of
/// (53), what an operator does (57), the system (58), and transactions that got into each other's way (40).
const PASSING: [&str; 5] = ["08", "53", "57", "58", "40"];

fn of_the_database(said: &DbError) -> StoreError {
    let (code, text) = (said.code(), said.message());
    let passes = PASSING.iter().any(|class| code.code().starts_with(class));
    match code {
        code if *code == SqlState::DISK_FULL => {
            StoreError::Unavailable(format!("the database's disk is full: free some space there ({text})"))
        }
        code if *code == SqlState::TOO_MANY_CONNECTIONS => StoreError::Unavailable(format!(
            "the database has no connection left ({text}): raise its max_connections, or put a pooler before it"
        )),
        code if *code == SqlState::READ_ONLY_SQL_TRANSACTION => StoreError::Unavailable(
            "the database is read-only, a standby perhaps: give the address of the primary, or all of them and \
             target_session_attrs=read-write"
                .to_owned(),
        ),
        // A server whose pg_hba.conf or passwords are being changed says the same as one that will never let us in.
        code if KEEPS_OUT.contains(&code) => {
            StoreError::Unavailable(format!("the database does not let us in: {text}"))
        }
        code if *code == SqlState::LOCK_NOT_AVAILABLE => StoreError::Unavailable(format!(
            "another transaction holds what this needs, a key perhaps that it has submitted and not committed: {text}"
        )),
        code if *code == SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT => StoreError::Unavailable(format!(
            "the database ended a transaction in which nothing came for too long, from a process that stood still or over a slow \
             way: {text}"
        )),
        code if passes || *code == SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE => {
            StoreError::Unavailable(format!("the database refuses for now: {text}"))
        }
        code if UNUSABLE.contains(&code) => StoreError::Unusable(format!("the database cannot be used: {text}")),
        code => StoreError::Fault(format!("{text} ({})", code.code())),
    }
}

const KEEPS_OUT: [&SqlState; 2] = [&SqlState::INVALID_PASSWORD, &SqlState::INVALID_AUTHORIZATION_SPECIFICATION];

/// What a person has to mend: the database, the schema or the rights that we were given are not what a store needs.
const UNUSABLE: [&SqlState; 6] = [
    &SqlState::INVALID_CATALOG_NAME,
    &SqlState::INSUFFICIENT_PRIVILEGE,
    &SqlState::UNDEFINED_TABLE,
    &SqlState::UNDEFINED_COLUMN,
    &SqlState::UNDEFINED_FUNCTION,
    &SqlState::INVALID_SCHEMA_NAME,
];

/// The client tells its own errors apart in its text only.
fn of_the_client(error: &Error) -> StoreError {
    let kind = error.to_string();
    let text = std::error::Error::source(error).map_or_else(|| kind.clone(), |source| format!("{kind}: {source}"));
    let is = |words: &[&str]| words.iter().any(|word| kind.starts_with(word));
    if is(&["error serializing", "error deserializing", "invalid column", "query returned", "expected "]) {
        return StoreError::Fault(text);
    }
    if is(&["invalid configuration", "authentication error"]) {
        return StoreError::Unusable(format!("the database cannot be reached: {text}"));
    }
    StoreError::Unavailable(format!("the database cannot be reached: {text}"))
}

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;
