//! Removal of a scratch store.

use surefoot::StoreError;

use super::{PostgresOptions, sql, store_error};

impl PostgresOptions {
    /// Drops the schema with everything in it: for drills and tests, which create their own.
    ///
    /// # Errors
    /// If the database cannot be reached or does not allow it.
    pub async fn drop_schema(self) -> Result<(), StoreError> {
        let connector = self.connector()?;
        let session = connector.connect().await?;
        let drop = sql("DROP SCHEMA IF EXISTS {schema} CASCADE", connector.schema());
        let statements = format!("{}; {drop}; COMMIT", session.begin());
        session
            .batch_execute(&statements)
            .await
            .map_err(|error| store_error(&error))
    }
}
