//! Text rows with the few types of facts.

use surefoot::StoreError;
use tokio_postgres::{SimpleQueryMessage, SimpleQueryRow};

use crate::connect::{Session, store_error};

/// A row of the text protocol.
pub(super) struct Row(SimpleQueryRow);

/// Executes a statement.
pub(super) async fn read(session: &Session, statement: &str) -> Result<Vec<Row>, StoreError> {
    let messages = session
        .simple_query(statement)
        .await
        .map_err(|error| store_error(&error))?;
    let row = |message| match message {
        SimpleQueryMessage::Row(row) => Some(Row(row)),
        _ => None,
    };
    Ok(messages.into_iter().filter_map(row).collect())
}

impl Row {
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.0.try_get(name).ok().flatten().map(str::to_owned)
    }

    /// A number, truncated to an integer; `None` if it is not a number.
    pub(super) fn number(&self, name: &str) -> Option<i64> {
        let text = self.text(name)?;
        text.split('.').next()?.parse().ok()
    }

    /// A number of at least 0.
    pub(super) fn size(&self, name: &str) -> Option<u64> {
        self.number(name)
            .map(|number| u64::try_from(number).unwrap_or(0))
    }

    /// True for `on` and `t`.
    pub(super) fn flag(&self, name: &str) -> bool {
        matches!(self.text(name).as_deref(), Some("on" | "t" | "true"))
    }
}

/// The first row, which must exist.
pub(super) fn first(rows: Vec<Row>) -> Result<Row, StoreError> {
    rows.into_iter()
        .next()
        .ok_or_else(|| StoreError::Fault("the database gave no row".to_owned()))
}
