//! The runs that a worker holds, and the ways to reach their drivers.

use std::collections::BTreeMap;
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
pub(crate) struct Registry(Arc<Mutex<BTreeMap<RunId, Held>>>);

impl Registry {
    fn map(&self) -> MutexGuard<'_, BTreeMap<RunId, Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, run: RunId, cancel: Option<CancelMode>) -> Held {
        let held = Held {
            lost: CancellationToken::new(),
            cancel: watch::Sender::new(cancel),
            ended: watch::Sender::new(None),
        };
        self.map().insert(run, held.clone());
        held
    }

    /// Forgets a run, unless it is held anew since: a retry may come between the end of a run and this.
    pub(crate) fn remove(&self, run: RunId, held: &Held) {
        let mut map = self.map();
        if map.get(&run).is_some_and(|now| now.ended.same_channel(&held.ended)) {
            map.remove(&run);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.map().len()
    }

    pub(crate) fn holds(&self, run: RunId) -> bool {
        self.map().contains_key(&run)
    }

    pub(crate) fn ended(&self, run: RunId) -> Option<watch::Receiver<Option<Arc<Run>>>> {
        self.map().get(&run).map(|held| held.ended.subscribe())
    }

    pub(crate) fn cancel(&self, run: RunId, mode: CancelMode) {
        if let Some(held) = self.map().get(&run) {
            held.asked_to(Some(mode));
        }
    }

    pub(crate) fn lose_all(&self) {
        self.map().values().for_each(|held| held.lost.cancel());
    }
}

impl Held {
    /// Notes what the store says of a person's cancel; wakes the driver only when that is new.
    pub(crate) fn asked_to(&self, cancel: Option<CancelMode>) {
        if cancel.is_some() {
            self.cancel.send_if_modified(|now| std::mem::replace(now, cancel) != cancel);
        }
    }
}
