//! Queues: where runs wait, and the limits that hold over all workers.

use std::time::Duration;

use crate::AllowLists;

/// No more than `max` runs start in any window of length `per`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Starts in a window.
    pub max: u32,
    /// The length of the window.
    pub per: Duration,
}

/// Limits on the runs of a queue. The default limits nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueLimits {
    /// Runs that may be running at once.
    pub concurrency: Option<u32>,
    /// Runs with the same concurrency key that may be running at once.
    pub concurrency_per_key: Option<u32>,
    /// First starts in any window. A run that is taken up again does not count a second time.
    pub rate: Option<Rate>,
    /// Retention of the details of ended runs.
    pub retention: Retention,
    /// The workflows and actions that it permits. A submission of others is refused; runs that were
    /// there before are not.
    pub allow: AllowLists,
}

/// Retention of a run's details (events, logs, snapshots) after its end, by outcome.
/// The run, its steps and its records stay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// For completed runs.
    pub completed: RetentionLimit,
    /// For failed runs.
    pub failed: RetentionLimit,
    /// For cancelled runs.
    pub cancelled: RetentionLimit,
}

/// Details go when they are older than `age`, or when `count` newer runs of that outcome have
/// theirs. The default keeps all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetentionLimit {
    /// Counted from the end of the run.
    pub age: Option<Duration>,
    /// Newest runs that keep their details.
    pub count: Option<u64>,
}

/// A queue as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueInfo {
    /// The queue's name.
    pub name: String,
    /// Its limits.
    pub limits: QueueLimits,
    /// True if a person paused it: no run starts or resumes; running ones continue.
    pub paused: bool,
    /// Runs waiting for a worker.
    pub queued: u64,
    /// Runs waiting for a time, a retry or an answer.
    pub waiting: u64,
    /// Runs that a worker holds.
    pub running: u64,
}
