//! Maintenance: deletes the details of ended runs according to their queue's retention, and the
//! contents of unfinished uploads whose run no worker holds.

use std::collections::BTreeSet;

use surefoot::{Digest, Retention, RetentionLimit, RunId, RunStatus, Timestamp};

use super::state::{Entry, State};

impl State {
    pub(super) fn prune(&mut self, limit: usize, now: Timestamp) -> usize {
        let mut due: Vec<RunId> = Vec::new();
        for (name, queue) in &self.queues {
            for status in [
                RunStatus::Completed,
                RunStatus::Failed,
                RunStatus::Cancelled,
            ] {
                due.extend(self.due(name, status, keep(&queue.limits.retention, status), now));
            }
        }
        due.sort_unstable();
        due.truncate(limit);
        for id in &due {
            let entry = self
                .runs
                .get_mut(id)
                .expect("a run that is due was found a moment ago");
            entry.events.clear();
            entry.needs.clear();
        }
        for entry in self.runs.values_mut() {
            if entry.run.head.status != RunStatus::Running {
                entry.uploaded.clear();
            }
        }
        self.drop_blobs();
        due.len()
    }

    /// Runs of one queue and outcome whose details are to be deleted.
    fn due(
        &self,
        queue: &str,
        status: RunStatus,
        keep: RetentionLimit,
        now: Timestamp,
    ) -> Vec<RunId> {
        let ended = |entry: &&Entry| entry.run.queue() == queue && entry.run.head.status == status;
        let mut ended: Vec<(Timestamp, RunId)> = self
            .runs
            .values()
            .filter(ended)
            .filter(|entry| !entry.events.is_empty() || !entry.needs.is_empty())
            .filter_map(|entry| Some((entry.run.head.completed_at?, entry.run.id)))
            .collect();
        ended.sort_unstable_by(|a, b| b.cmp(a));
        let goes = |newer: usize, end: Timestamp| {
            keep.age.is_some_and(|age| now.since(end) > age)
                || keep.count.is_some_and(|count| newer as u64 >= count)
        };
        ended
            .iter()
            .enumerate()
            .filter(|(newer, (end, _))| goes(*newer, *end))
            .map(|(_, (_, id))| *id)
            .collect()
    }

    /// Contents stay as long as one run needs them.
    fn drop_blobs(&mut self) {
        let needed: BTreeSet<Digest> = self
            .runs
            .values()
            .flat_map(|entry| entry.needs.union(&entry.uploaded))
            .copied()
            .collect();
        self.blobs.retain(|digest, _| needed.contains(digest));
    }
}

fn keep(retention: &Retention, status: RunStatus) -> RetentionLimit {
    match status {
        RunStatus::Completed => retention.completed,
        RunStatus::Failed => retention.failed,
        RunStatus::Cancelled => retention.cancelled,
        RunStatus::Queued | RunStatus::Running | RunStatus::Waiting => RetentionLimit::default(),
    }
}
