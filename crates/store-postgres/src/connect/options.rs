//! Options for opening a store.

use std::sync::Arc;
use std::time::Duration;

use surefoot::{Clock, Secret, StoreError, Workflow};

use super::address::Address;
use super::migrate;
use super::session::Connector;
use super::verify::verify;
use crate::PostgresStore;
use crate::plans::Plans;

/// Options for opening a store in PostgreSQL.
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
    plan_format: u32,
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
            plan_format: Workflow::FORMAT,
        }
    }

    /// Sets the password, if the URL has none, so that it need not be part of a stored or shown
    /// text.
    pub fn password(mut self, password: &str) -> Self {
        if let Ok(address) = &mut self.address
            && address.config.get_password().is_none()
        {
            address.config.password(password);
        }
        self
    }

    /// Sets the schema of the store, by default `surefoot`: lower-case letters, digits and `_`, at
    /// most 48 characters.
    pub fn schema(mut self, schema: &str) -> Self {
        schema.clone_into(&mut self.schema);
        self
    }

    /// Sets whether processes announce work by NOTIFY; on by default. Without it they poll.
    pub fn notify(mut self, notify: bool) -> Self {
        self.notify = notify;
        self
    }

    /// Sets whether a missing or older schema is migrated; on by default. Otherwise it is refused.
    pub fn migrate(mut self, migrates: bool) -> Self {
        self.migrates = migrates;
        self
    }

    /// Sets the time limit for connecting to each host of the URL, up to its first answer; 5 s by
    /// default.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets the time limit of one operation before the database counts as away; 10 s by default.
    pub fn operation_timeout(mut self, timeout: Duration) -> Self {
        self.operation_timeout = timeout;
        self
    }

    /// Replaces the database's clock, for tests.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// The newest format of plans that the store reads, for tests that run two builds at once.
    #[doc(hidden)]
    pub fn plan_format(mut self, format: u32) -> Self {
        self.plan_format = format;
        self
    }

    /// The password, to be masked in all output.
    pub fn secret(&self) -> Option<Secret> {
        let password = self.address.as_ref().ok()?.config.get_password()?;
        std::str::from_utf8(password).ok().map(Secret::new)
    }

    /// Location of the database without its password, for display.
    pub fn shown(&self) -> String {
        self.address
            .as_ref()
            .map_or_else(|_| "postgres://?".to_owned(), ToString::to_string)
    }

    /// Checks that the address and the schema's name are valid, without connecting.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] with the reason.
    pub fn check(&self) -> Result<(), StoreError> {
        check_schema(&self.schema)?;
        self.address.as_ref().map(|_| ()).map_err(Clone::clone)
    }

    /// Opens the store, and creates or migrates its schema if it may.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the database cannot be reached at the moment;
    /// [`StoreError::Unusable`] if the URL is invalid, the database rejects the role, or this build
    /// cannot work on its schema.
    pub async fn open(self) -> Result<PostgresStore, StoreError> {
        let connector = self.connector()?;
        let session = connector.connect().await?;
        let surveyed = migrate::inspect(&session, connector.schema(), self.migrates);
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
            Plans::new(self.plan_format),
            warnings,
        )
        .await
    }

    /// Creates or migrates the schema, and does nothing else. Returns a summary for people.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn upgrade(self) -> Result<String, StoreError> {
        let connector = self.connector()?;
        let session = connector.connect().await?;
        let surveyed = migrate::inspect(&session, connector.schema(), true);
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

/// The name is inserted into statements unquoted.
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
