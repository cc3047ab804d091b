//! Reading: runs, events, records.

use surefoot::store::{RecordFilter, RunFilter};
use surefoot::{Event, Record, Run, RunId};

use super::state::State;

impl State {
    /// Every run, the oldest first.
    pub(super) fn all(&self) -> impl DoubleEndedIterator<Item = &Run> {
        self.runs.values().map(|entry| &entry.run)
    }

    pub(super) fn run(&self, id: RunId) -> Option<Run> {
        self.runs.get(&id).map(|entry| entry.run.clone())
    }

    pub(super) fn list(&self, filter: &RunFilter) -> Vec<Run> {
        let wanted = |run: &&Run| {
            filter.status.is_none_or(|status| run.head.status == status)
                && filter.workflow.as_deref().is_none_or(|name| run.plan.name() == name)
                && filter.queue.as_deref().is_none_or(|name| run.queue() == name)
                && filter.key.as_deref().is_none_or(|key| run.key.as_deref() == Some(key))
                && filter.before.is_none_or(|before| run.id < before)
        };
        self.all().rev().filter(wanted).take(filter.limit).cloned().collect()
    }

    pub(super) fn events(&self, run: RunId, after: u64, limit: usize) -> Vec<Event> {
        let events = self.runs.get(&run).map(|entry| entry.events.as_slice()).unwrap_or_default();
        events.iter().filter(|event| event.seq > after).take(limit).cloned().collect()
    }

    pub(super) fn records(&self, filter: &RecordFilter) -> Vec<Record> {
        let wanted = |record: &&Record| {
            filter.kind.as_deref().is_none_or(|kind| record.kind == kind)
                && filter.name.as_deref().is_none_or(|name| record.name == name)
                && filter.run.is_none_or(|run| record.run == run)
        };
        self.records.values().filter(wanted).cloned().collect()
    }
}
