//! What is true of a database, as it says so itself or as it was measured. For `surefoot doctor`, and for whoever would
//! rather know than believe.
//!
//! Each part is asked for by itself: what one user may not see another may, and what cannot be seen is an error of its own.

mod measure;
mod rows;
mod server;
mod vacuum;

use std::time::Duration;

use surefoot::StoreError;

pub use server::{Settings, Standby};
pub use vacuum::{Holder, HolderKind, TableFacts, Usage};

use crate::connect::{KNOWN_SCHEMA, PostgresOptions, Session, sql};

/// What is true of a database.
#[derive(Debug)]
pub struct PostgresFacts {
    /// The server's settings, in a session like the store's.
    pub settings: Settings,
    /// The servers that follow it.
    pub standbys: Result<Vec<Standby>, StoreError>,
    /// True when a pooler stands between, which may give each transaction to another session of the server.
    pub pooled: bool,
    /// From NOTIFY in one session to another's hearing of it; `None` when it heard nothing.
    pub notify: Result<Option<Duration>, StoreError>,
    /// The median of an empty statement.
    pub round_trip: Result<Duration, StoreError>,
    /// The median of a commit that has to be on the server's disk.
    pub commit: Result<Duration, StoreError>,
    /// How far the database's clock is ahead of this host's, in microseconds, and how uncertain that is.
    pub clock: Result<(i64, Duration), StoreError>,
    /// What keeps vacuum from removing dead rows.
    pub holders: Result<Vec<Holder>, StoreError>,
    /// The store's tables.
    pub tables: Result<Vec<TableFacts>, StoreError>,
    /// Connections and age.
    pub usage: Result<Usage, StoreError>,
    /// The data's folder, when the server runs on this host and says where it is.
    pub folder: Option<std::path::PathBuf>,
    /// The version of the store's schema, and of the one that this build knows; 0 when there is none.
    pub schema: Result<(i32, i32), StoreError>,
}

impl PostgresOptions {
    /// Looks at the database, and changes nothing in it.
    ///
    /// # Errors
    /// When it cannot be reached, or does not tell its settings.
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

/// The text protocol, which needs no prepared statement.
async fn ask(session: &Session, statement: &str) -> Result<Vec<rows::Row>, StoreError> {
    rows::read(session, statement).await
}

/// The last migration that was run, and the last that this build knows.
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
