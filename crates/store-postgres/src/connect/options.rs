//! How a store is opened.

use std::sync::Arc;
use std::time::Duration;

use surefoot::{Clock, Secret, StoreError};

use super::address::Address;
use super::migrate;
use super::session::Connector;
use super::verify::verify;
use crate::PostgresStore;

/// How to open a store in PostgreSQL.
#[derive(Clone, Debug)]
#[must_use]
pub struct PostgresOptions {
    address: Result<Address, StoreError>,
    schema: String,
    notify: bool,
    migrates: bool,
    connect_timeout: Duration,
    operation_timeout: Duration,
    clock: Option<Arc<dyn Clock>>,
}

impl PostgresOptions {
    pub(crate) fn of(url: &str) -> Self {
        Self {
            address: Address::parse(url),
            schema: "surefoot".to_owned(),
            notify: true,
            migrates: true,
            connect_timeout: Duration::from_secs(5),
            operation_timeout: Duration::from_secs(10),
            clock: None,
        }
    }

    /// The password, when the URL has none: it need not be part of a text that is stored or shown.
    pub fn password(mut self, password: &str) -> Self {
        if let Ok(address) = &mut self.address
            && address.config.get_password().is_none()
        {
            address.config.password(password);
        }
        self
    }

    /// The schema that the store lives in; `surefoot` by default. Lower-case letters, digits and `_`, at most 48 of them.
    pub fn schema(mut self, schema: &str) -> Self {
        schema.clone_into(&mut self.schema);
        self
    }

    /// Whether processes tell each other of work by NOTIFY; yes by default. Without, they find it by polling.
    pub fn notify(mut self, notify: bool) -> Self {
        self.notify = notify;
        self
    }

    /// Whether a schema that is missing or older is brought to this build's; yes by default. Without, it is refused.
    pub fn migrate(mut self, migrates: bool) -> Self {
        self.migrates = migrates;
        self
    }

    /// How long connecting may take; 5 s by default.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long one operation may take before the database counts as away; 10 s by default.
    pub fn operation_timeout(mut self, timeout: Duration) -> Self {
        self.operation_timeout = timeout;
        self
    }

    /// A clock instead of the database's, for tests.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// The password, to be kept out of whatever is written.
    pub fn secret(&self) -> Option<Secret> {
        let password = self.address.as_ref().ok()?.config.get_password()?;
        std::str::from_utf8(password).ok().map(Secret::new)
    }

    /// Where the database is, without its password, as people may read it.
    pub fn shown(&self) -> String {
        self.address
            .as_ref()
            .map_or_else(|_| "postgres://?".to_owned(), ToString::to_string)
    }

    /// Whether the address and the schema's name can be understood. Nothing is connected to.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] says what is wrong.
    pub fn check(&self) -> Result<(), StoreError> {
        check_schema(&self.schema)?;
        self.address.as_ref().map(|_| ()).map_err(Clone::clone)
    }

    /// Opens the store, and makes or upgrades its schema if it may.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot be reached for now; [`StoreError::Unusable`] when the URL is
    /// wrong, the database does not let us in, or its schema is one that this build cannot work on.
    pub async fn open(self) -> Result<PostgresStore, StoreError> {
        let connector = self.connector()?;
        let session = connector.connect().await?;
        let surveyed = migrate::survey(&session, connector.schema(), self.migrates);
        if bounded(self.operation_timeout, surveyed).await?.is_none() {
            bounded(
                self.operation_timeout * 6,
                migrate::run_missing(&session, connector.schema()),
            )
            .await?;
        }
        let warnings = bounded(self.operation_timeout, verify(&session)).await?;
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        drop(session);
        PostgresStore::start(
            connector,
            self.clock,
            self.operation_timeout,
            self.notify,
            warnings,
        )
        .await
    }

    /// Makes or upgrades the schema, and does nothing else. What it did, for people.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn upgrade(self) -> Result<String, StoreError> {
        let connector = self.connector()?;
        let session = connector.connect().await?;
        let surveyed = migrate::survey(&session, connector.schema(), true);
        match bounded(self.operation_timeout, surveyed).await? {
            Some(already) => Ok(already),
            None => {
                bounded(
                    self.operation_timeout * 60,
                    migrate::run_missing(&session, connector.schema()),
                )
                .await
            }
        }
    }

    pub(crate) fn connector(&self) -> Result<Connector, StoreError> {
        self.check()?;
        Connector::new(self.address.clone()?, &self.schema, self.connect_timeout)
    }
}

async fn bounded<T>(
    time: Duration,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let late = |_| StoreError::Unavailable(format!("the database did not answer within {time:?}"));
    tokio::time::timeout(time, work).await.map_err(late)?
}

/// The name goes into statements as it is.
fn check_schema(name: &str) -> Result<(), StoreError> {
    let letters =
        |letter: char| letter.is_ascii_lowercase() || letter == '_' || letter.is_ascii_digit();
    let fits = name.len() <= 48
        && name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_');
    if fits && name.chars().all(letters) && !name.starts_with("pg_") {
        return Ok(());
    }
    let message = format!(
        "`{name}` cannot be the store's schema: use lower-case letters, digits and _, at most 48, and begin with a letter"
    );
    Err(StoreError::Unusable(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_name_is_plain() {
        for name in ["surefoot", "_x9", "a"] {
            assert!(check_schema(name).is_ok(), "{name}");
        }
        for name in [
            "",
            "Surefoot",
            "a b",
            "a\"; DROP",
            "9a",
            "pg_x",
            "größe",
            &"a".repeat(49),
        ] {
            assert!(check_schema(name).is_err(), "{name}");
        }
    }
}
