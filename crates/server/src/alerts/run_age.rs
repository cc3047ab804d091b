//! The age of a run: the time since its first start, or since a person last retried it. The time
//! that it lay failed in between does not count. A run's row holds only the first start; retries
//! are in its history.

use std::collections::BTreeMap;

use surefoot::{Run, RunId, RunStatus, Store, StoreError, Timestamp};

use super::rules::Rules;

/// Events read at a time.
const PAGE: usize = 1000;

/// The ages of runs that may be long, so that each of their events is read once.
#[derive(Debug, Default)]
pub(super) struct RunAges(BTreeMap<RunId, RunHistory>);

#[derive(Debug, Default)]
struct RunHistory {
    /// The last event that was read.
    seq: u64,
    retried_at: Option<Timestamp>,
    /// True if it was used since [`RunAges::forget_unused`].
    used: bool,
}

impl RunAges {
    /// When the run was started or last retried. Reads its history only if the first start alone
    /// would make it a long run.
    pub(super) async fn began_at(
        &mut self,
        store: &dyn Store,
        rules: &Rules,
        run: &Run,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        let Some(started) = run.head.started_at else {
            return Ok(None);
        };
        let long = rules
            .long_run
            .is_some_and(|limit| now.since(started) > limit);
        let in_progress = matches!(run.head.status, RunStatus::Running | RunStatus::Waiting);
        // Each retry adds a lease, so a run with one lease was never retried.
        if !long || !in_progress || run.head.epoch < 2 {
            return Ok(Some(started));
        }
        let history = self.0.entry(run.id).or_default();
        history.used = true;
        history.read_new_events(store, run.id).await?;
        Ok(history.retried_at.or(Some(started)))
    }

    /// Forgets runs that were not used since the last call; they have ended.
    pub(super) fn forget_unused(&mut self) {
        self.0
            .retain(|_, history| std::mem::take(&mut history.used));
    }
}

impl RunHistory {
    async fn read_new_events(&mut self, store: &dyn Store, run: RunId) -> Result<(), StoreError> {
        loop {
            let events = store.events(run, self.seq, PAGE).await?;
            let Some(last) = events.last() else {
                return Ok(());
            };
            self.seq = last.seq;
            let retried = events.iter().rfind(|event| event.kind == "run.retried");
            self.retried_at = retried.map(|event| event.at).or(self.retried_at);
            if events.len() < PAGE {
                return Ok(());
            }
        }
    }
}
