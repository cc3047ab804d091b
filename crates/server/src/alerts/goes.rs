//! Since when a run goes: since its first start, or since a person last retried it. How long it lay failed in between says
//! nothing of how long it takes. The run's row knows only its first start; its history knows the rest.

use std::collections::BTreeMap;

use surefoot::{Run, RunId, RunStatus, Store, StoreError, Timestamp};

use super::rules::Rules;

/// Events read at a time.
const PAGE: usize = 1000;

/// What is known of the runs that may be long, so that each event of theirs is read once.
#[derive(Debug, Default)]
pub(super) struct Goes(BTreeMap<RunId, Known>);

#[derive(Debug, Default)]
struct Known {
    /// The last event that was read.
    seq: u64,
    retried_at: Option<Timestamp>,
    /// Since [`Goes::forget_unasked`].
    asked: bool,
}

impl Goes {
    /// Since when the run goes. Its history is read only when its first start alone would make it a long one.
    pub(super) async fn began(
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
        let goes = matches!(run.head.status, RunStatus::Running | RunStatus::Waiting);
        // A run that was retried has had two leases at least.
        if !long || !goes || run.head.epoch < 2 {
            return Ok(Some(started));
        }
        let known = self.0.entry(run.id).or_default();
        known.asked = true;
        known.read_on(store, run.id).await?;
        Ok(known.retried_at.or(Some(started)))
    }

    /// Lets go of runs that were not asked for since the last time: they have ended.
    pub(super) fn forget_unasked(&mut self) {
        self.0.retain(|_, known| std::mem::take(&mut known.asked));
    }
}

impl Known {
    async fn read_on(&mut self, store: &dyn Store, run: RunId) -> Result<(), StoreError> {
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
