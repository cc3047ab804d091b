//! Room for runs: places for all of them, and some that are kept for what must go on also when all others are taken.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::isolation::{Isolation, Slots};
use crate::Workflow;

/// Places beside [`super::WorkerOptions::concurrency`], for runs of which every action is one of these: word of a worker that
/// is full must not wait until it no longer is.
#[derive(Clone, Debug, Default)]
pub struct KeptPlaces {
    /// How many of those runs a worker holds at once.
    pub count: usize,
    /// The actions.
    pub actions: BTreeSet<String>,
}

#[derive(Debug)]
pub(crate) struct Places {
    all: Arc<Semaphore>,
    kept: Arc<Semaphore>,
    /// Number of each.
    counts: [u32; 2],
    /// What the worker can run, and what of it has places of its own.
    actions: Arc<BTreeSet<String>>,
    kept_for: Arc<BTreeSet<String>>,
}

/// What there is room for.
pub(super) struct Room {
    /// How many runs.
    pub(super) count: usize,
    /// Of which actions.
    pub(super) actions: Arc<BTreeSet<String>>,
    /// Only kept places are left.
    pub(super) is_kept: bool,
}

impl Places {
    pub(super) fn new(count: usize, kept: &KeptPlaces, actions: Arc<BTreeSet<String>>) -> Self {
        let kept_for: BTreeSet<String> = match kept.count {
            // Then those runs are like all others.
            0 => BTreeSet::new(),
            _ => kept.actions.intersection(&actions).cloned().collect(),
        };
        let kept_count = if kept_for.is_empty() { 0 } else { kept.count };
        Self {
            all: Arc::new(Semaphore::new(count)),
            kept: Arc::new(Semaphore::new(kept_count)),
            counts: [count, kept_count].map(|count| u32::try_from(count).unwrap_or(u32::MAX)),
            kept_for: Arc::new(kept_for),
            actions,
        }
    }

    /// Those that a run of this plan takes one of.
    pub(crate) fn of(&self, plan: &Workflow) -> Arc<Semaphore> {
        if plan.is_known_by(&self.kept_for) {
            self.kept.clone()
        } else {
            self.all.clone()
        }
    }

    /// The slots of a run beside which few enough others fit that `limit` run in all. Alone means beside the kept ones neither.
    pub(super) async fn isolated(&self, limit: u32) -> Option<Slots> {
        let [all, kept] = self.counts;
        let share = all.div_ceil(limit.max(1)).max(1);
        let mut own = self.all.clone().acquire_many_owned(share).await.ok()?;
        let mut others = Vec::from_iter(own.split(share as usize - 1));
        if limit <= 1 && kept > 0 {
            others.push(self.kept.clone().acquire_many_owned(kept).await.ok()?);
        }
        Some(Slots {
            own: Some(own),
            isolation: Isolation::of(others),
        })
    }

    /// What may be claimed now.
    pub(super) fn room(&self) -> Room {
        match self.all.available_permits() {
            0 => Room {
                count: self.kept.available_permits(),
                actions: self.kept_for.clone(),
                is_kept: true,
            },
            count => Room {
                count,
                actions: self.actions.clone(),
                is_kept: false,
            },
        }
    }
}
