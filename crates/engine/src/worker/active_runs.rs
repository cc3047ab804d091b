//! The runs that a worker holds, with the channels to their drivers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::state::CancelMode;
use crate::{Run, RunId};

/// A run that this worker holds.
#[derive(Clone)]
pub(crate) struct ActiveRun {
    /// Cancelled when the lease is lost: the driver stops at once and writes nothing.
    pub(crate) lost: CancellationToken,
    /// Cancel that a person requested.
    pub(crate) cancel: watch::Sender<Option<CancelMode>>,
    /// Final state of the run; stays `None` when the run was handed back.
    pub(crate) ended: watch::Sender<Option<Arc<Run>>>,
}

/// All runs that this worker holds, in a stable order so that a simulation replays identically.
#[derive(Clone, Default)]
pub(crate) struct ActiveRuns(Arc<Mutex<Runs>>);

#[derive(Default)]
struct Runs {
    held: BTreeMap<RunId, ActiveRun>,
    /// Runs removed since [`ActiveRuns::track_removed`].
    removed: Option<BTreeSet<RunId>>,
}

impl ActiveRuns {
    fn runs(&self) -> MutexGuard<'_, Runs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, run: RunId, cancel: Option<CancelMode>) -> ActiveRun {
        let held = ActiveRun {
            lost: CancellationToken::new(),
            cancel: watch::Sender::new(cancel),
            ended: watch::Sender::new(None),
        };
        self.runs().held.insert(run, held.clone());
        held
    }

    /// Removes a run, unless a retry leased it to this worker again since it ended.
    pub(crate) fn remove(&self, run: RunId, held: &ActiveRun) {
        let mut runs = self.runs();
        if runs
            .held
            .get(&run)
            .is_some_and(|now| now.ended.same_channel(&held.ended))
        {
            runs.held.remove(&run);
            if let Some(removed) = &mut runs.removed {
                removed.insert(run);
            }
        }
    }

    pub(crate) fn has(&self, run: RunId) -> bool {
        self.runs().held.contains_key(&run)
    }

    pub(crate) fn len(&self) -> usize {
        self.runs().held.len()
    }

    /// Records removed runs from now on, until [`Self::held_since_tracking`].
    pub(crate) fn track_removed(&self) {
        self.runs().removed = Some(BTreeSet::new());
    }

    /// Returns for each of `runs` whether it is held, or was since [`Self::track_removed`].
    pub(crate) fn held_since_tracking(&self, runs: &[Run]) -> Vec<bool> {
        let mut active = self.runs();
        let removed = active.removed.take().unwrap_or_default();
        runs.iter()
            .map(|run| active.held.contains_key(&run.id) || removed.contains(&run.id))
            .collect()
    }

    pub(crate) fn ended(&self, run: RunId) -> Option<watch::Receiver<Option<Arc<Run>>>> {
        self.runs()
            .held
            .get(&run)
            .map(|held| held.ended.subscribe())
    }

    pub(crate) fn cancel(&self, run: RunId, mode: CancelMode) {
        if let Some(held) = self.runs().held.get(&run) {
            held.note_cancel(Some(mode));
        }
    }

    pub(crate) fn lose_all(&self) {
        for held in self.runs().held.values() {
            held.lost.cancel();
        }
    }
}

impl ActiveRun {
    /// Notes the cancel that the store reports; wakes the driver only when it changed.
    pub(crate) fn note_cancel(&self, cancel: Option<CancelMode>) {
        if cancel.is_some() {
            self.cancel
                .send_if_modified(|now| std::mem::replace(now, cancel) != cancel);
        }
    }
}
