//! Facts of a database, reported by the server or measured. For `surefoot doctor` and other
//! diagnostics.
//!
//! Each part is queried separately: roles differ in what they may see, and a part that cannot be
//! seen has its own error.

mod measure;
mod rows;
mod server;
mod vacuum;

use std::time::Duration;

use surefoot::StoreError;

pub use server::{Settings, Standby};
pub use vacuum::{Holder, HolderKind, TableFacts, Usage};

use crate::connect::{KNOWN_SCHEMA, PostgresOptions, Session, sql};

/// Facts of a database.
#[derive(Debug)]
pub struct PostgresFacts {
    /// Settings of the server, in a session like the store's.
    pub settings: Settings,
    /// Its standbys.
    pub standbys: Result<Vec<Standby>, StoreError>,
    /// True if a pooler is in between, which may assign each transaction to another session of the
    /// server.
    pub pooled: bool,
    /// Time from NOTIFY in one session to its arrival in another; `None` if it did not arrive.
    pub notify: Result<Option<Duration>, StoreError>,
    /// Median time of an empty statement.
    pub round_trip: Result<Duration, StoreError>,
    /// Median time of a commit that must reach the server's disk.
    pub commit: Result<Duration, StoreError>,
    /// Lead of the database's clock over this host's, in microseconds, and the uncertainty of that.
    pub clock: Result<(i64, Duration), StoreError>,
    /// Obstacles that keep vacuum from removing dead rows.
    pub holders: Result<Vec<Holder>, StoreError>,
    /// Tables of the store.
    pub tables: Result<Vec<TableFacts>, StoreError>,
    /// Connections and age.
    pub usage: Result<Usage, StoreError>,
    /// Data directory, if the server runs on this host and reveals it.
    pub folder: Option<std::path::PathBuf>,
    /// Version of the store's schema (0 if there is none), and that of this build.
    pub schema: Result<(i32, i32), StoreError>,
}

impl PostgresOptions {
    /// Collects the facts, without changing the database.
    ///
    /// # Errors
    /// If it cannot be reached, or does not reveal its settings.
    pub async fn facts(&self) -> Result<PostgresFacts, StoreError> {
        let connector = self.connector()?;
        let session = connector.connect().await?;
        let schema = connector.schema();
        Ok(PostgresFacts {
            settings: server::settings(&session).await?,
            standbys: server::standbys(&session).await,
            pooled: !session.is_direct(),
            notify: measure::notify(&connector).await,
            round_trip: measure::round_trip(&session).await,
            commit: measure::commit(&session).await,
            clock: measure::clock(&session).await,
            holders: vacuum::holders(&session).await,
            tables: vacuum::tables(&session, schema).await,
            usage: vacuum::usage(&session).await,
            folder: server::folder(&session).await,
            schema: schema_version(&session, schema).await,
        })
    }
}

/// Uses the text protocol, which needs no prepared statement.
async fn ask(session: &Session, statement: &str) -> Result<Vec<rows::Row>, StoreError> {
    rows::read(session, statement).await
}

/// The last migration that was run, and the last of this build.
async fn schema_version(session: &Session, schema: &str) -> Result<(i32, i32), StoreError> {
    let there = sql(
        "SELECT to_regclass('{schema}.migrations') IS NOT NULL AS there",
        schema,
    );
    if !rows::first(ask(session, &there).await?)?.flag("there") {
        return Ok((0, KNOWN_SCHEMA));
    }
    let row = rows::first(
        ask(
            session,
            &sql(
                "SELECT max(version) AS version FROM {schema}.migrations",
                schema,
            ),
        )
        .await?,
    )?;
    let found = row
        .number("version")
        .and_then(|number| i32::try_from(number).ok());
    Ok((found.unwrap_or(0), KNOWN_SCHEMA))
}
