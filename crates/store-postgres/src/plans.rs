//! A cache of recently used plans: most runs share a few.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use surefoot::unreadable::UnreadableRuns;
use surefoot::workflow::UnreadablePlan;
use surefoot::{Digest, StoreError, Workflow};

use crate::args::Args;
use crate::failure::{Failure, fault};
use crate::row::get;
use crate::shared::Shared;
use crate::tx::Tx;

/// Plans by their number in the database. A written plan is never removed, and only its format
/// changes.
#[derive(Debug)]
pub(crate) struct Plans {
    /// The newest format that is read.
    format: u32,
    known: Mutex<Known>,
    /// Runs whose plans or rows could not be read.
    pub(crate) unreadable: UnreadableRuns,
}

/// A plan, or the reason why this build cannot read it.
pub(crate) type Plan = Result<Arc<Workflow>, Arc<UnreadablePlan>>;

#[derive(Debug, Default)]
struct Known {
    by_id: HashMap<i32, Arc<Workflow>>,
    by_digest: HashMap<Digest, i32>,
    /// Plans of which a run was added, which stays true.
    used: HashSet<i32>,
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

    /// The newest format that is read, as a column keeps it.
    pub(crate) fn stored_format(&self) -> i32 {
        column(self.format)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, id: i32, plan: &Arc<Workflow>) {
        let mut known = self.known();
        if known.by_id.len() >= KEPT {
            *known = Known::default();
        }
        known.by_id.insert(id, plan.clone());
        known.by_digest.insert(plan.digest(), id);
    }

    /// Records that a run of the plan was added.
    pub(crate) fn note_used(&self, id: i32) {
        self.known().used.insert(id);
    }

    /// Returns whether a run of the plan is known to have been added.
    pub(crate) fn is_used(&self, id: i32) -> bool {
        self.known().used.contains(&id)
    }

    /// Returns the plans with these numbers.
    pub(crate) async fn get(
        &self,
        tx: &mut Tx<'_>,
        ids: impl IntoIterator<Item = i32>,
    ) -> Result<HashMap<i32, Plan>, Failure> {
        let ids: BTreeSet<i32> = ids.into_iter().collect();
        let (mut found, missing) = self.find(&ids);
        if !missing.is_empty() {
            let rows = tx
                .query((&tx.sql().plan, Args::none().with_all(missing)))
                .await?;
            for row in &rows {
                let (id, plan) = self.read(row)?;
                if let Ok(plan) = &plan {
                    self.keep(id, plan);
                }
                found.insert(id, plan);
            }
        }
        match ids.iter().find(|id| !found.contains_key(id)) {
            Some(id) => Err(fault(format_args!("plan {id} is gone")).into()),
            None => Ok(found),
        }
    }

    fn find(&self, ids: &BTreeSet<i32>) -> (HashMap<i32, Plan>, Vec<i32>) {
        let known = self.known();
        let found: HashMap<_, _> = ids
            .iter()
            .filter_map(|id| Some((*id, Ok(known.by_id.get(id)?.clone()))))
            .collect();
        let missing = ids
            .iter()
            .copied()
            .filter(|id| !found.contains_key(id))
            .collect();
        (found, missing)
    }

    /// Returns the number of a plan, which is written if it is new.
    pub(crate) async fn put(&self, shared: &Shared, plan: &Arc<Workflow>) -> Result<i32, Failure> {
        let digest = plan.digest();
        if let Some(id) = self.known().by_digest.get(&digest) {
            return Ok(*id);
        }
        let known = Args::none().with(digest.as_bytes().as_slice());
        let mut rows = shared.query((&shared.sql.plan_id, known)).await?;
        if rows.is_empty() {
            let steps: Vec<&str> = plan.steps().iter().map(|step| step.id.as_str()).collect();
            let added = Args::none()
                .with(digest.as_bytes().as_slice())
                .with(plan.name())
                .with(plan.queue())
                .with_all(steps)
                .with(plan.json())
                .with(column(plan.format()));
            shared.query((&shared.sql.put_plan, added)).await?;
            rows = shared
                .query((
                    &shared.sql.plan_id,
                    Args::none().with(digest.as_bytes().as_slice()),
                ))
                .await?;
        }
        let row = rows
            .first()
            .ok_or_else(|| fault("a plan that was just written is not there"))?;
        let id: i32 = get(row, 0)?;
        let format = column(plan.format());
        if get::<i32>(row, 1)? > format {
            let lower = Args::none().with(id).with(format);
            shared.query((&shared.sql.lower_plan_format, lower)).await?;
        }
        self.keep(id, plan);
        Ok(id)
    }

    fn read(&self, row: &tokio_postgres::Row) -> Result<(i32, Plan), StoreError> {
        let format = u32::try_from(get::<i32>(row, 1)?).unwrap_or_default();
        let plan = Workflow::from_stored(format, self.format, get(row, 2)?);
        Ok((get(row, 0)?, plan.map(Arc::new).map_err(Arc::new)))
    }
}

/// A format as a column keeps it.
fn column(format: u32) -> i32 {
    i32::try_from(format).unwrap_or(i32::MAX)
}
