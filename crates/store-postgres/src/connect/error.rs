//! Meaning of the database's errors for the store: whether the same call may succeed later.

use surefoot::StoreError;
use tokio_postgres::Error;
use tokio_postgres::error::{DbError, Severity, SqlState};

/// Converts an error of the database into the store's.
pub(crate) fn store_error(error: &Error) -> StoreError {
    match error.as_db_error() {
        Some(said) => of_the_database(said),
        None => of_the_client(error),
    }
}

/// Meaning of an error for the same call at a later time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// The server refuses the request, and would do so again.
    Refused,
    /// The server, the session or the transaction failed, whatever the request was: it may succeed
    /// later.
    Transient,
    /// A person must fix the database, the schema or the rights; a worker's writes remain valid
    /// until then.
    NeedsRepair,
}

/// Meaning of each SQLSTATE, by its longest prefix in this table. A code that is missing counts as
/// transient: such an error is retried, while one mistaken for a refusal would cost a finished step
/// its result.
/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
const MEANINGS: &[(&str, Meaning)] = &[
    // A statement or a value that is wrong in itself.
    ("21", Meaning::Refused),
    ("22", Meaning::Refused),
    ("23", Meaning::Refused),
    ("26", Meaning::Refused),
    ("42", Meaning::Refused),
    ("44", Meaning::Refused),
    ("54", Meaning::Refused),
    ("P0", Meaning::Refused),
    // Statements too complex for the server's current stack; a statement beyond a fixed limit is
    // refused.
    ("54001", Meaning::Transient),
    // A prepared statement that a pooler or a restart has removed.
    ("26000", Meaning::Transient),
    ("42P05", Meaning::Transient),
    // Names and rights.
    ("28", Meaning::Transient),
    ("3D000", Meaning::NeedsRepair),
    ("3F000", Meaning::NeedsRepair),
    ("42501", Meaning::NeedsRepair),
    ("42P01", Meaning::NeedsRepair),
    ("42703", Meaning::NeedsRepair),
    ("42883", Meaning::NeedsRepair),
];

/// Meaning of an error of the database.
pub(crate) fn meaning(said: &DbError) -> Meaning {
    // The end of a session says nothing about its current statement.
    if matches!(
        said.parsed_severity(),
        Some(Severity::Fatal | Severity::Panic)
    ) && !is_of_the_start(said.code())
    {
        return Meaning::Transient;
    }
    meaning_of(said.code().code())
}

/// A rejected session also ends with FATAL, whatever the reason.
fn is_of_the_start(code: &SqlState) -> bool {
    ["28", "3D", "3F", "42"]
        .iter()
        .any(|class| code.code().starts_with(class))
}

fn meaning_of(code: &str) -> Meaning {
    let fitting = MEANINGS
        .iter()
        .filter(|(prefix, _)| code.starts_with(prefix));
    fitting
        .max_by_key(|(prefix, _)| prefix.len())
        .map_or(Meaning::Transient, |(_, meaning)| *meaning)
}

fn of_the_database(said: &DbError) -> StoreError {
    let text = said.message();
    match meaning(said) {
        Meaning::Transient => StoreError::Unavailable(advice(said)),
        Meaning::NeedsRepair => {
            StoreError::Unusable(format!("the database cannot be used: {text}"))
        }
        Meaning::Refused => StoreError::Fault(format!("{text} ({})", said.code().code())),
    }
}

/// Advice for a transient error.
fn advice(said: &DbError) -> String {
    let code = said.code();
    let text = said.message();
    match code {
        code if *code == SqlState::DISK_FULL => {
            format!("the database's disk is full: free some space there ({text})")
        }
        code if *code == SqlState::TOO_MANY_CONNECTIONS => format!(
            "the database has no connection left ({text}): raise its max_connections, or put a pooler before it"
        ),
        code if *code == SqlState::READ_ONLY_SQL_TRANSACTION => {
            "the database is read-only, a standby perhaps: give the address of the primary, or all of them and \
             target_session_attrs=read-write"
                .to_owned()
        }
        // A server whose pg_hba.conf or passwords are being changed returns the same error as one
        // that will never accept the role.
        code if KEEPS_OUT.contains(&code) => format!("the database does not let us in: {text}"),
        code if *code == SqlState::LOCK_NOT_AVAILABLE => format!(
            "another transaction holds what this needs, a key perhaps that it has submitted and not committed: {text}"
        ),
        code if *code == SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT => format!(
            "the database ended a transaction in which nothing came for too long, from a process that stood still or over a slow \
             way: {text}"
        ),
        code => format!("the database refuses for now: {text} ({})", code.code()),
    }
}

const KEEPS_OUT: [&SqlState; 2] = [
    &SqlState::INVALID_PASSWORD,
    &SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
];

/// The client's own errors differ only in their text.
fn of_the_client(error: &Error) -> StoreError {
    let kind = error.to_string();
    let text = std::error::Error::source(error)
        .map_or_else(|| kind.clone(), |source| format!("{kind}: {source}"));
    let is = |words: &[&str]| words.iter().any(|word| kind.starts_with(word));
    if is(&[
        "error serializing",
        "error deserializing",
        "invalid column",
        "query returned",
        "expected ",
    ]) {
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
