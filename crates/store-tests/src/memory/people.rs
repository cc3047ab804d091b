//! Actions of people on a run: cancel, retry, answer.

use surefoot::state::{Answer, CancelMode};
use surefoot::{Run, RunId, StoreError, Timestamp};

use super::state::State;

impl State {
    pub(super) fn cancel(
        &mut self,
        id: RunId,
        mode: CancelMode,
        by: &str,
        now: Timestamp,
    ) -> Result<Run, StoreError> {
        self.edit(id, now, |edit| edit.request_cancel(mode, by))
    }

    pub(super) fn retry(
        &mut self,
        id: RunId,
        from: Option<&str>,
        by: &str,
        now: Timestamp,
    ) -> Result<Run, StoreError> {
        self.edit(id, now, |edit| edit.retry(from, by))
    }

    pub(super) fn answer(
        &mut self,
        id: RunId,
        step: &str,
        answer: Answer,
        by: &str,
        note: Option<&str>,
        now: Timestamp,
    ) -> Result<Run, StoreError> {
        self.edit(id, now, |edit| edit.answer(step, answer, by, note))
    }
}
