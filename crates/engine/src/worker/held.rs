//! The runs that a worker holds, and the ways to reach their drivers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::state::CancelMode;
use crate::{Run, RunId};

/// One run that is held.
#[derive(Clone)]
pub(crate) struct Held {
    /// The lease is lost: stop at once and write nothing.
    pub(crate) lost: CancellationToken,
    /// A person asked for a cancel.
    pub(crate) cancel: watch::Sender<Option<CancelMode>>,
    /// The run as it ended; stays empty when the run was given back.
    pub(crate) ended: watch::Sender<Option<Arc<Run>>>,
}

/// All runs that are held, in an order that is the same each time: a simulation can be played again.
#[derive(Clone, Default)]
pub(crate) struct Registry(Arc<Mutex<Runs>>);

#[derive(Default)]
struct Runs {
    held: BTreeMap<RunId, Held>,
    /// Those that were forgotten since [`Registry::note_forgotten`].
    forgotten: Option<BTreeSet<RunId>>,
}

impl Registry {
    fn runs(&self) -> MutexGuard<'_, Runs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, run: RunId, cancel: Option<CancelMode>) -> Held {
        let held = Held {
            lost: CancellationToken::new(),
            cancel: watch::Sender::new(cancel),
            ended: watch::Sender::new(None),
        };
        self.runs().held.insert(run, held.clone());
        held
    }

    /// Forgets a run, unless it is held anew since: a retry may come between the end of a run and this.
    pub(crate) fn remove(&self, run: RunId, held: &Held) {
        let mut runs = self.runs();
        if runs
            .held
            .get(&run)
            .is_some_and(|now| now.ended.same_channel(&held.ended))
        {
            runs.held.remove(&run);
            runs.forgotten
                .iter_mut()
                .for_each(|forgotten| _ = forgotten.insert(run));
        }
    }

    pub(crate) fn has(&self, run: RunId) -> bool {
        self.runs().held.contains_key(&run)
    }

    pub(crate) fn len(&self) -> usize {
        self.runs().held.len()
    }

    /// From now on keeps in mind what is forgotten, until [`Self::held_meanwhile`].
    pub(crate) fn note_forgotten(&self) {
        self.runs().forgotten = Some(BTreeSet::new());
    }

    /// Whether each of `runs` is held, or was since [`Self::note_forgotten`].
    pub(crate) fn held_meanwhile(&self, runs: &[Run]) -> Vec<bool> {
        let mut known = self.runs();
        let forgotten = known.forgotten.take().unwrap_or_default();
        runs.iter()
            .map(|run| known.held.contains_key(&run.id) || forgotten.contains(&run.id))
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
            held.asked_to(Some(mode));
        }
    }

    pub(crate) fn lose_all(&self) {
        self.runs()
            .held
            .values()
            .for_each(|held| held.lost.cancel());
    }
}

impl Held {
    /// Notes what the store says of a person's cancel; wakes the driver only when that is new.
    pub(crate) fn asked_to(&self, cancel: Option<CancelMode>) {
        if cancel.is_some() {
            self.cancel
                .send_if_modified(|now| std::mem::replace(now, cancel) != cancel);
        }
    }
}
