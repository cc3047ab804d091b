//! Why an operation came to nothing, before it is told in the words of the store.

use surefoot::StoreError;
use surefoot::state::RuleError;
use tokio_postgres::error::SqlState;

use crate::connect::{Meaning, meaning, store_error};

/// Why an operation came to nothing. Whatever it had written is rolled back.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The store says no.
    Store(StoreError),
    /// The database does, or is away.
    Database(tokio_postgres::Error),
}

impl Failure {
    pub(crate) fn into_error(self) -> StoreError {
        match self {
            Self::Store(error) => error,
            Self::Database(error) => store_error(&error),
        }
    }

    /// Whether the database understood the statement and refused it, and goes on: another may succeed.
    pub(crate) fn is_of_the_statement(&self) -> bool {
        match self {
            Self::Store(_) => true,
            Self::Database(error) => match error.as_db_error() {
                Some(said) => {
                    meaning(said) != Meaning::Passing || is_of_one_transaction(said.code())
                }
                None => false,
            },
        }
    }

    /// Whether another transaction came between, so that the same operation is worth another look at once.
    pub(crate) fn is_collision(&self) -> bool {
        let collisions = [
            &SqlState::T_R_DEADLOCK_DETECTED,
            &SqlState::T_R_SERIALIZATION_FAILURE,
            &SqlState::FOREIGN_KEY_VIOLATION,
        ];
        matches!(self, Self::Database(error) if error.code().is_some_and(|code| collisions.contains(&code)))
    }
}

/// Returns whether an error that passes is of one operation and its locks, so that another beside it may succeed: collisions (40), a
/// lock that somebody holds (55), a statement that was cancelled.
fn is_of_one_transaction(code: &SqlState) -> bool {
    *code == SqlState::QUERY_CANCELED
        || ["40", "55P03"]
            .iter()
            .any(|class| code.code().starts_with(class))
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<RuleError> for Failure {
    fn from(error: RuleError) -> Self {
        Self::Store(StoreError::Rule(error))
    }
}

/// A row that says what no row of ours says.
pub(crate) fn fault(what: impl std::fmt::Display) -> StoreError {
    StoreError::Fault(what.to_string())
}
