//! Failure of an operation, before it is converted into the store's error.

use surefoot::StoreError;
use surefoot::state::RuleError;
use tokio_postgres::error::SqlState;

use crate::connect::{Meaning, meaning, store_error};

/// Reason for which an operation failed. Everything it had written is rolled back.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The store refuses it.
    Store(StoreError),
    /// The database refuses it, or is away.
    Database(tokio_postgres::Error),
}

impl Failure {
    pub(crate) fn into_error(self) -> StoreError {
        match self {
            Self::Store(error) => error,
            Self::Database(error) => store_error(&error),
        }
    }

    /// Returns whether the database processed the statement and refused it, so that another one may
    /// succeed.
    pub(crate) fn is_of_the_statement(&self) -> bool {
        match self {
            Self::Store(_) => true,
            Self::Database(error) => match error.as_db_error() {
                Some(said) => {
                    meaning(said) != Meaning::Transient || is_of_one_transaction(said.code())
                }
                None => false,
            },
        }
    }

    /// Returns whether another transaction interfered, so that the same operation should be retried
    /// at once.
    pub(crate) fn is_collision(&self) -> bool {
        let collisions = [
            &SqlState::T_R_DEADLOCK_DETECTED,
            &SqlState::T_R_SERIALIZATION_FAILURE,
            &SqlState::FOREIGN_KEY_VIOLATION,
        ];
        matches!(self, Self::Database(error) if error.code().is_some_and(|code| collisions.contains(&code)))
    }
}

/// Returns whether a transient error concerns only one operation and its locks, so that another
/// beside it may succeed: collisions (40), a lock held by another transaction (55), a cancelled
/// statement.
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

/// A row with content that this program never writes.
pub(crate) fn fault(what: impl std::fmt::Display) -> StoreError {
    StoreError::Fault(what.to_string())
}
