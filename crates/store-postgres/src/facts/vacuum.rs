//! Work of vacuum and its obstacles; connections; the age of the oldest row.

use std::time::Duration;

use surefoot::StoreError;

use super::ask;
use super::rows::{Row, first};
use crate::connect::{Session, sql};

/// An obstacle that keeps vacuum from removing dead rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its kind.
    pub kind: HolderKind,
    /// Its name.
    pub name: String,
    /// Its age; unknown for a slot.
    pub age: Option<Duration>,
    /// Amount of log that a slot keeps from being removed.
    pub keeps: Option<u64>,
}

/// Kinds of [`Holder`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HolderKind {
    /// A transaction that has been open for long.
    Transaction,
    /// A prepared transaction that is neither committed nor rolled back.
    Prepared,
    /// A replication slot without a reader.
    Slot,
}

/// A table of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableFacts {
    /// Its name.
    pub name: String,
    /// Rows, according to the statistics.
    pub live: u64,
    /// Dead rows.
    pub dead: u64,
    /// Time since it was last vacuumed, if ever.
    pub vacuumed: Option<Duration>,
    /// Its size with its indexes.
    pub bytes: u64,
}

/// Use of limited resources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Connections of all clients.
    pub connections: u64,
    /// Transactions since the oldest row was frozen; at about two thousand million the database
    /// stops.
    pub oldest: u64,
    /// Size of the database.
    pub bytes: u64,
}

pub(super) async fn holders(session: &Session) -> Result<Vec<Holder>, StoreError> {
    let rows = ask(session, include_str!("../../sql/facts/holders.sql")).await?;
    let holder = |row: Row| Holder {
        kind: match row.text("kind").as_deref() {
            Some("prepared") => HolderKind::Prepared,
            Some("slot") => HolderKind::Slot,
            _ => HolderKind::Transaction,
        },
        name: row.text("name").unwrap_or_default(),
        age: row.size("seconds").map(Duration::from_secs),
        keeps: row.size("bytes"),
    };
    Ok(rows.into_iter().map(holder).collect())
}

pub(super) async fn tables(session: &Session, schema: &str) -> Result<Vec<TableFacts>, StoreError> {
    let rows = ask(
        session,
        &sql(include_str!("../../sql/facts/tables.sql"), schema),
    )
    .await?;
    let table = |row: Row| TableFacts {
        name: row.text("name").unwrap_or_default(),
        live: row.size("live").unwrap_or(0),
        dead: row.size("dead").unwrap_or(0),
        vacuumed: row.size("vacuumed").map(Duration::from_secs),
        bytes: row.size("bytes").unwrap_or(0),
    };
    Ok(rows.into_iter().map(table).collect())
}

pub(super) async fn usage(session: &Session) -> Result<Usage, StoreError> {
    let row = first(ask(session, include_str!("../../sql/facts/usage.sql")).await?)?;
    let size = |name: &str| row.size(name).unwrap_or(0);
    Ok(Usage {
        connections: size("connections"),
        oldest: size("oldest"),
        bytes: size("bytes"),
    })
}
