//! Taking a scratch store down again.

use surefoot::StoreError;

use super::{PostgresOptions, sql, store_error};

impl PostgresOptions {
    /// Removes the schema with everything in it: for drills and tests, which make one for themselves.
    ///
    /// # Errors
    /// When the database cannot be reached or does not allow it.
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
