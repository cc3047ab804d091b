//! What the database's errors mean for the store: whether the same call may succeed later.

use surefoot::StoreError;
use tokio_postgres::Error;
use tokio_postgres::error::{DbError, Severity, SqlState};

/// An error of the database in the store's words.
pub(crate) fn store_error(error: &Error) -> StoreError {
    match error.as_db_error() {
        Some(said) => of_the_database(said),
        None => of_the_client(error),
    }
}

/// Meaning of an error for the same call at a later time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// The server refuses what was sent: it would do so again.
    Refused,
    /// The server, the session or the transaction fails, whatever was sent: later it may succeed.
    Passing,
    /// A person has to mend the database, the schema or the rights; what a worker has to write is as good as before then.
    ToMend,
}

/// The meaning of each SQLSTATE, by its longest prefix here. What is not here passes: an error that is taken for passing is tried
/// again, while one that is taken for a refusal costs a finished step its result.
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
    // Statements too complex for the stack that the server has at the moment; more than a limit of its own is refused.
    ("54001", Meaning::Passing),
    // A prepared statement that a pooler or a restart has taken away.
    ("26000", Meaning::Passing),
    ("42P05", Meaning::Passing),
    // Names and rights.
    ("28", Meaning::Passing),
    ("3D000", Meaning::ToMend),
    ("3F000", Meaning::ToMend),
    ("42501", Meaning::ToMend),
    ("42P01", Meaning::ToMend),
    ("42703", Meaning::ToMend),
    ("42883", Meaning::ToMend),
];

/// Meaning of an error of the database.
pub(crate) fn meaning(said: &DbError) -> Meaning {
    // A session that ends says nothing about the statement that it was at.
    if matches!(
        said.parsed_severity(),
        Some(Severity::Fatal | Severity::Panic)
    ) && !is_of_the_start(said.code())
    {
        return Meaning::Passing;
    }
    meaning_of(said.code().code())
}

/// A new session is refused with FATAL as well, whatever the reason is.
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
        .map_or(Meaning::Passing, |(_, meaning)| *meaning)
}

fn of_the_database(said: &DbError) -> StoreError {
    let text = said.message();
    match meaning(said) {
        Meaning::Passing => StoreError::Unavailable(advice(said)),
        Meaning::ToMend => StoreError::Unusable(format!("the database cannot be used: {text}")),
        Meaning::Refused => StoreError::Fault(format!("{text} ({})", said.code().code())),
    }
}

/// Advice about an error that passes.
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
        // A server whose pg_hba.conf or passwords are being changed says the same as one that will never let us in.
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

/// The client tells its own errors apart in its text only.
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
