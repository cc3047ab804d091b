//! A cache of recently used plans: most runs share a few.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension as _, params};
use surefoot::unreadable::UnreadableRuns;
use surefoot::workflow::UnreadablePlan;
use surefoot::{Digest, StoreError, Workflow};

use crate::error::{Failure, store_error};
use crate::sql;

/// Plans by their number in the database. Shared by the writer and the readers.
#[derive(Debug)]
pub(crate) struct Plans {
    /// The newest format that is read.
    pub(crate) format: u32,
    known: Mutex<Known>,
    /// Runs whose plans or rows could not be read.
    pub(crate) unreadable: UnreadableRuns,
}

#[derive(Debug, Default)]
struct Known {
    by_id: HashMap<i64, Arc<Workflow>>,
    by_digest: HashMap<Digest, i64>,
}

/// Capacity. When it is full, all plans are dropped, which costs a few reads.
const KEPT: usize = 1024;

impl Plans {
    pub(crate) fn new(format: u32) -> Self {
        Self {
            format,
            known: Mutex::default(),
            unreadable: UnreadableRuns::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, id: i64, plan: &Arc<Workflow>) {
        let mut known = self.known();
        if known.by_id.len() >= KEPT {
            *known = Known::default();
        }
        known.by_id.insert(id, plan.clone());
        known.by_digest.insert(plan.digest(), id);
    }

    /// Drops all plans: those added by a rolled-back transaction are not in the database.
    pub(crate) fn forget(&self) {
        *self.known() = Known::default();
    }

    /// Returns the plan with this number, or the reason why this build cannot read it.
    pub(crate) fn get(
        &self,
        conn: &Connection,
        id: i64,
    ) -> Result<Result<Arc<Workflow>, UnreadablePlan>, StoreError> {
        if let Some(plan) = self.known().by_id.get(&id) {
            return Ok(Ok(plan.clone()));
        }
        let (format, json): (u32, String) = conn
            .prepare_cached(sql::PLAN)
            .and_then(|mut statement| {
                statement.query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
            })
            .map_err(|error| store_error(&error))?;
        Ok(
            Workflow::from_stored(format, self.format, &json).map(|plan| {
                let plan = Arc::new(plan);
                self.keep(id, &plan);
                plan
            }),
        )
    }

    /// Returns the number of a plan, which is written if it is new.
    pub(crate) fn put(&self, conn: &Connection, plan: &Arc<Workflow>) -> Result<i64, Failure> {
        let digest = plan.digest();
        if let Some(id) = self.known().by_digest.get(&digest) {
            return Ok(*id);
        }
        let found: Option<(i64, u32)> = conn
            .prepare_cached(sql::PLAN_ID)?
            .query_row([digest.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let id = match found {
            Some((id, format)) => {
                if format > plan.format() {
                    conn.prepare_cached(sql::LOWER_PLAN_FORMAT)?
                        .execute(params![id, plan.format()])?;
                }
                id
            }
            None => conn.prepare_cached(sql::INSERT_PLAN)?.query_row(
                params![
                    digest.as_bytes(),
                    plan.name(),
                    plan.queue(),
                    plan.json(),
                    plan.format()
                ],
                |row| row.get(0),
            )?,
        };
        self.keep(id, plan);
        Ok(id)
    }
}
