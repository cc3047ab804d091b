//! Reads: runs, events, records.

use std::collections::BTreeMap;

use surefoot::statistics::{Outcome, Span, Tally};
use surefoot::store::{RecordFilter, RunFilter};
use surefoot::{Event, Record, Run, RunId, RunStatus, Timestamp};

use super::state::State;

impl State {
    /// Every run, oldest first.
    pub(super) fn all(&self) -> impl DoubleEndedIterator<Item = &Run> {
        self.runs.values().map(|entry| &entry.run)
    }

    pub(super) fn run(&self, id: RunId) -> Option<Run> {
        self.runs.get(&id).map(|entry| entry.run.clone())
    }

    pub(super) fn list(&self, filter: &RunFilter) -> Vec<Run> {
        let wanted = |run: &&Run| {
            filter.status.is_none_or(|status| run.head.status == status)
                && filter
                    .workflow
                    .as_deref()
                    .is_none_or(|name| run.plan.name() == name)
                && filter
                    .queue
                    .as_deref()
                    .is_none_or(|name| run.queue() == name)
                && filter
                    .key
                    .as_deref()
                    .is_none_or(|key| run.key.as_deref() == Some(key))
                && filter
                    .worker
                    .is_none_or(|worker| run.head.worker == Some(worker))
                && filter
                    .since
                    .is_none_or(|since| run.id >= RunId::first_at(since))
                && filter
                    .until
                    .is_none_or(|until| run.id < RunId::first_at(until))
                && filter
                    .failed_since
                    .is_none_or(|since| failed_since(run, since))
                && filter.text.as_deref().is_none_or(|text| matches(run, text))
                && filter.before.is_none_or(|id| {
                    if filter.oldest_first {
                        run.id > id
                    } else {
                        run.id < id
                    }
                })
        };
        let found = self.all().filter(wanted);
        if filter.oldest_first {
            found.take(filter.limit).cloned().collect()
        } else {
            found.rev().take(filter.limit).cloned().collect()
        }
    }

    pub(super) fn count(&self, status: RunStatus, limit: u64) -> u64 {
        (self.all().filter(|run| run.head.status == status).count() as u64).min(limit)
    }

    pub(super) fn tallies(&self, span: Span, since: Timestamp) -> Vec<Tally> {
        let mut tallies = BTreeMap::<(Timestamp, &str, Outcome, u16), u64>::new();
        for (at, queue, outcome, slot) in &self.outcomes {
            *tallies
                .entry((span.beginning(*at), queue, *outcome, *slot))
                .or_default() += 1;
        }
        let tallies = tallies.into_iter().filter(|((at, ..), _)| *at >= since);
        let tally = |((at, queue, outcome, slot), count)| Tally {
            at,
            queue: String::from(queue),
            outcome,
            slot,
            count,
        };
        tallies.map(tally).collect()
    }

    pub(super) fn events(&self, run: RunId, after: u64, limit: usize) -> Vec<Event> {
        let events = self
            .runs
            .get(&run)
            .map(|entry| entry.events.as_slice())
            .unwrap_or_default();
        events
            .iter()
            .filter(|event| event.seq > after)
            .take(limit)
            .cloned()
            .collect()
    }

    pub(super) fn records(&self, filter: &RecordFilter) -> Vec<Record> {
        let wanted = |record: &&Record| {
            filter
                .kind
                .as_deref()
                .is_none_or(|kind| record.kind == kind)
                && filter
                    .name
                    .as_deref()
                    .is_none_or(|name| record.name == name)
                && filter.run.is_none_or(|run| record.run == run)
                && filter
                    .after
                    .as_deref()
                    .is_none_or(|after| record.name.as_str() > after)
                && filter
                    .prefix
                    .as_deref()
                    .is_none_or(|prefix| record.name.starts_with(prefix))
        };
        self.records
            .values()
            .filter(wanted)
            .take(filter.limit.unwrap_or(usize::MAX))
            .cloned()
            .collect()
    }
}

fn failed_since(run: &Run, since: Timestamp) -> bool {
    run.head.status == RunStatus::Failed && run.head.completed_at.is_some_and(|at| at >= since)
}

/// See [`RunFilter::text`].
fn matches(run: &Run, text: &str) -> bool {
    let begins = |value: &Option<String>| {
        value
            .as_deref()
            .is_some_and(|value| value.starts_with(text))
    };
    begins(&run.key) || begins(&run.unique) || text.parse() == Ok(run.id)
}
