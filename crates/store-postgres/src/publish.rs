//! Workflows that can be submitted from within the database, by `submit` in the store's schema; see
//! `migrations/0002_submit.sql`.

use std::sync::Arc;

use surefoot::{StoreError, Workflow};

use crate::PostgresStore;
use crate::args::Args;
use crate::failure::{Failure, fault};

impl PostgresStore {
    /// Publishes `workflow`, so that it can be submitted by name from within the database; see
    /// `docs/postgresql.md`. If two processes publish different versions, the later one prevails;
    /// existing runs keep their version.
    ///
    /// # Errors
    /// If the database cannot be reached.
    pub async fn publish(&self, workflow: &Arc<Workflow>) -> Result<(), StoreError> {
        let rules = serde_json::to_string(workflow.parameters()).map_err(fault)?;
        self.shared
            .retried(|| async {
                let plan = self.shared.plans.put(&self.shared, workflow).await?;
                let args = Args::none()
                    .with(workflow.name())
                    .with(plan)
                    .with(rules.as_str())
                    .with(workflow.unique());
                let args = args.with_all(workflow.requires().to_vec());
                self.shared.query((&self.shared.sql.publish, args)).await?;
                Ok::<(), Failure>(())
            })
            .await
    }
}
