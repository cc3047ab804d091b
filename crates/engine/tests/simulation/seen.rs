//! History of the store, write by write: the last state of each run, every lease, every start.

use std::collections::BTreeMap;
use std::time::Duration;

use surefoot::state::Lease;
use surefoot::{QueueLimits, Run, RunId, RunStatus, Timestamp, WorkerId};

use crate::story::Story;

#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) runs: BTreeMap<RunId, SeenRun>,
    pub(crate) workers: BTreeMap<WorkerId, SeenWorker>,
    pub(crate) queues: BTreeMap<String, SeenQueue>,
    /// When each lease ended, and when its holder heard of it.
    pub(crate) leases: BTreeMap<(RunId, u64), SeenLease>,
    /// Number of writes that changed something.
    pub(crate) writes: u64,
}

#[derive(Debug)]
pub(crate) struct SeenRun {
    /// `r1`, `r2`: ids are drawn by the machine.
    pub(crate) name: String,
    pub(crate) row: Run,
    pub(crate) story: Story,
}

#[derive(Debug)]
pub(crate) struct SeenWorker {
    pub(crate) name: String,
    pub(crate) lease: Duration,
    /// Time on a clock that is never set.
    pub(crate) expires_at: Timestamp,
    /// When the store said that it is dead, or let it go.
    pub(crate) gone: bool,
}

#[derive(Debug, Default)]
pub(crate) struct SeenQueue {
    pub(crate) limits: QueueLimits,
    pub(crate) paused: bool,
    /// First starts.
    pub(crate) starts: Vec<Timestamp>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct SeenLease {
    pub(crate) worker: WorkerId,
    pub(crate) ended_at: Option<Timestamp>,
    pub(crate) heard_at: Option<Timestamp>,
}

impl Seen {
    pub(crate) fn name(&self, run: RunId) -> String {
        self.runs
            .get(&run)
            .map_or_else(|| "r?".to_owned(), |run| run.name.clone())
    }

    pub(crate) fn worker_name(&self, worker: WorkerId) -> &str {
        self.workers
            .get(&worker)
            .map_or("w?", |worker| worker.name.as_str())
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = &Run> {
        self.runs.values().map(|run| &run.row)
    }

    pub(crate) fn row(&self, run: RunId) -> Option<&Run> {
        self.runs.get(&run).map(|run| &run.row)
    }

    /// Returns true if this is the run's current lease.
    pub(crate) fn holds(&self, lease: Lease) -> bool {
        self.row(lease.run)
            .is_some_and(|run| run.lease() == Some(lease))
    }

    /// Returns true if the commit with this number under this lease took place.
    pub(crate) fn has_taken(&self, lease: Lease, number: u64) -> bool {
        self.row(lease.run)
            .is_some_and(|run| (run.head.epoch, run.head.commits) == (lease.epoch, number))
    }

    pub(crate) fn running(&self, queue: &str) -> impl Iterator<Item = &Run> {
        self.rows()
            .filter(move |run| run.queue() == queue && run.head.status == RunStatus::Running)
    }

    pub(crate) fn held_by(&self, worker: WorkerId) -> Vec<RunId> {
        self.rows()
            .filter(|run| run.head.worker == Some(worker))
            .map(|run| run.id)
            .collect()
    }

    /// The holder of a lease has heard that it is over.
    pub(crate) fn heard(&mut self, run: RunId, epoch: u64, at: Timestamp) {
        if let Some(lease) = self.leases.get_mut(&(run, epoch)) {
            lease.heard_at.get_or_insert(at);
        }
    }

    /// A worker has heard that it is taken for dead.
    pub(crate) fn heard_of_death(&mut self, worker: WorkerId, at: Timestamp) {
        for lease in self
            .leases
            .values_mut()
            .filter(|lease| lease.worker == worker)
        {
            lease.heard_at.get_or_insert(at);
        }
    }
}
