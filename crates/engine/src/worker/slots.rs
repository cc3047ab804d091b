//! Slots of a worker: one for each run that it holds, and some reserved for runs that must not wait
//! behind others.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::isolation::{HeldSlots, Isolation};
use crate::Workflow;

/// Slots beside [`super::WorkerOptions::concurrency`] for runs that use only the given actions.
///
/// Notifications use them: an alert that a worker is full must not wait until it no longer is.
#[derive(Clone, Debug, Default)]
pub struct ReservedSlots {
    /// Number of such runs that a worker holds at once.
    pub count: usize,
    /// The actions.
    pub actions: BTreeSet<String>,
}

#[derive(Debug)]
pub(crate) struct Slots {
    all: Arc<Semaphore>,
    reserved: Arc<Semaphore>,
    /// Size of each semaphore.
    counts: [u32; 2],
    /// Actions that the worker knows, and those among them with reserved slots.
    actions: Arc<BTreeSet<String>>,
    reserved_for: Arc<BTreeSet<String>>,
}

/// Runs that the worker can take now.
pub(super) struct Capacity {
    /// Number of runs.
    pub(super) count: usize,
    /// Actions that they may use.
    pub(super) actions: Arc<BTreeSet<String>>,
    /// Set when only reserved slots are free.
    pub(super) is_reserved: bool,
}

impl Slots {
    pub(super) fn new(count: usize, kept: &ReservedSlots, actions: Arc<BTreeSet<String>>) -> Self {
        let reserved_for: BTreeSet<String> = match kept.count {
            // Without reserved slots these runs use the common ones.
            0 => BTreeSet::new(),
            _ => kept.actions.intersection(&actions).cloned().collect(),
        };
        let reserved_count = if reserved_for.is_empty() {
            0
        } else {
            kept.count
        };
        Self {
            all: Arc::new(Semaphore::new(count)),
            reserved: Arc::new(Semaphore::new(reserved_count)),
            counts: [count, reserved_count].map(|count| u32::try_from(count).unwrap_or(u32::MAX)),
            reserved_for: Arc::new(reserved_for),
            actions,
        }
    }

    /// Semaphore from which a run with this plan takes its slot.
    pub(crate) fn of(&self, plan: &Workflow) -> Arc<Semaphore> {
        if plan.is_known_by(&self.reserved_for) {
            self.reserved.clone()
        } else {
            self.all.clone()
        }
    }

    /// Acquires a run's slot and enough others that at most `limit` runs are active together.
    ///
    /// With a limit of one the reserved slots are acquired too.
    pub(super) async fn isolated(&self, limit: u32) -> Option<HeldSlots> {
        let [all, kept] = self.counts;
        let share = all.div_ceil(limit.max(1)).max(1);
        let mut own = self.all.clone().acquire_many_owned(share).await.ok()?;
        let mut others = Vec::from_iter(own.split(share as usize - 1));
        if limit <= 1 && kept > 0 {
            others.push(self.reserved.clone().acquire_many_owned(kept).await.ok()?);
        }
        Some(HeldSlots {
            own: Some(own),
            isolation: Isolation::of(others),
        })
    }

    /// Free capacity for the next claim.
    pub(super) fn capacity(&self) -> Capacity {
        match self.all.available_permits() {
            0 => Capacity {
                count: self.reserved.available_permits(),
                actions: self.reserved_for.clone(),
                is_reserved: true,
            },
            count => Capacity {
                count,
                actions: self.actions.clone(),
                is_reserved: false,
            },
        }
    }
}
