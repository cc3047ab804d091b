//! Metrics of a worker and of a store. Counts start at zero with the process.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::{Run, Timestamp};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn add_one(&self) {
        self.add(1);
    }

    /// Adds `count`.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Number of observed values up to each of its bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// Upper bounds, the least first.
    bounds: &'static [f64],
    /// Values in each bound and above the one before; the last is for those above all bounds.
    counts: Vec<u64>,
    sum: f64,
}

/// Bounds for how long something took, in seconds: from a commit to a long step.
pub const SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    300.0, 600.0, 3600.0,
];

/// Bounds for how many.
pub const COUNTS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

impl Histogram {
    /// Without a value so far.
    pub fn new(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            counts: vec![0; bounds.len() + 1],
            sum: 0.0,
        }
    }

    /// Adds a value.
    pub fn add(&mut self, value: f64) {
        self.counts[self.bounds.partition_point(|bound| *bound < value)] += 1;
        self.sum += value;
    }

    /// Returns each bound with the number of values up to it; larger values are in [`Self::count`]
    /// only.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let mut seen = 0;
        self.bounds
            .iter()
            .zip(&self.counts)
            .map(move |(bound, count)| {
                seen += count;
                (*bound, seen)
            })
    }

    /// Returns the number of values.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Returns the sum of the values.
    pub fn sum(&self) -> f64 {
        self.sum
    }
}

/// Metrics of a store's commits.
#[derive(Debug)]
pub struct StoreMetrics {
    group: Mutex<Histogram>,
    commit: Mutex<Histogram>,
    /// Groups that were rolled back, to be done one by one.
    pub rolled_back: Counter,
}

impl Default for StoreMetrics {
    fn default() -> Self {
        let group = Histogram::new(COUNTS);
        let commit = Histogram::new(SECONDS);
        Self {
            group: Mutex::new(group),
            commit: Mutex::new(commit),
            rolled_back: Counter::default(),
        }
    }
}

impl StoreMetrics {
    /// Notes a commit of `operations` that took `took` until it was durable.
    pub fn committed(&self, operations: usize, took: Duration) {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a group has some hundred operations at most"
        )]
        locked(&self.group).add(operations as f64);
        locked(&self.commit).add(took.as_secs_f64());
    }

    /// Returns the operations per commit.
    pub fn group(&self) -> Histogram {
        locked(&self.group).clone()
    }

    /// Returns the durations of commits in seconds.
    pub fn commit(&self) -> Histogram {
        locked(&self.commit).clone()
    }
}

/// End of an attempt, as its worker saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AttemptOutcome {
    /// The handler gave its output.
    Completed,
    /// The handler failed, panicked or ran out of time; another attempt may follow.
    Failed,
    /// The handler sleeps or asks a person; the attempt goes on later.
    Suspended,
    /// A person cancelled.
    Cancelled,
    /// The worker stopped.
    Interrupted,
    /// The lease was lost.
    Lost,
}

impl AttemptOutcome {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Suspended => "suspended",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
            Self::Lost => "lost",
        }
    }
}

/// An attempt of a step that has ended.
#[derive(Clone, Debug)]
pub struct AttemptReport<'a> {
    /// The run, as it was before the attempt's end was written.
    pub run: &'a Run,
    /// The step's place in the plan.
    pub position: usize,
    /// When this worker began it.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// End of the attempt.
    pub outcome: AttemptOutcome,
    /// Why it failed, without secrets.
    pub error: Option<String>,
}

/// Observer of the attempts and runs of a worker. The driver of the run calls it, so it must not
/// block.
pub trait Observer: Send + Sync + std::fmt::Debug {
    /// An attempt ended.
    fn attempt(&self, attempt: &AttemptReport<'_>);

    /// A run ended, and that is written.
    fn run_ended(&self, run: &Run);
}

/// Metrics of a worker.
#[derive(Debug)]
pub struct WorkerMetrics {
    /// Runs that it took from the store.
    pub claimed: Counter,
    /// Runs that were submitted straight to it.
    pub started_here: Counter,
    /// Attempts that failed and are followed by another.
    pub retried: Counter,
    /// Attempts that were deferred because something that they need was unavailable.
    pub deferred: Counter,
    /// Runs that it took from workers that had died.
    pub recovered: Counter,
    /// Leases that it lost while it worked.
    pub leases_lost: Counter,
    attempts: Mutex<BTreeMap<(String, AttemptOutcome), Histogram>>,
    claims: Beat,
}

impl Default for WorkerMetrics {
    fn default() -> Self {
        Self {
            claimed: Counter::default(),
            started_here: Counter::default(),
            retried: Counter::default(),
            deferred: Counter::default(),
            recovered: Counter::default(),
            leases_lost: Counter::default(),
            attempts: Mutex::default(),
            claims: Beat::new(),
        }
    }
}

impl WorkerMetrics {
    pub(crate) fn attempt(&self, report: &AttemptReport<'_>) {
        let action = report.run.plan.steps()[report.position].action.clone();
        let took = report.ended_at.since(report.started_at).as_secs_f64();
        let mut attempts = locked(&self.attempts);
        attempts
            .entry((action, report.outcome))
            .or_insert_with(|| Histogram::new(SECONDS))
            .add(took);
    }

    /// Returns the durations of attempts in seconds, by action and outcome.
    pub fn attempts(&self) -> BTreeMap<(String, AttemptOutcome), Histogram> {
        locked(&self.attempts).clone()
    }

    /// The time since the claim loop last went around; `None` when it has ended.
    pub fn claim_loop(&self) -> Option<Duration> {
        self.claims.age()
    }

    pub(crate) fn claims(&self) -> &Beat {
        &self.claims
    }
}

/// The sign of life of a loop.
#[derive(Debug)]
pub(crate) struct Beat {
    since: Instant,
    last: AtomicU64,
    ended: AtomicBool,
}

impl Beat {
    fn new() -> Self {
        Self {
            since: Instant::now(),
            last: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        }
    }

    /// The loop goes around.
    pub(crate) fn beat(&self) {
        let micros = u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.last.store(micros, Ordering::Relaxed);
    }

    /// Says that the loop has ended when what this gives is dropped: by return, panic or abort.
    pub(crate) fn until_dropped(&self) -> impl Drop + '_ {
        struct Guard<'a>(&'a Beat);

        impl Drop for Guard<'_> {
            fn drop(&mut self) {
                self.0.ended.store(true, Ordering::SeqCst);
            }
        }

        Guard(self)
    }

    fn age(&self) -> Option<Duration> {
        let last = Duration::from_micros(self.last.load(Ordering::Relaxed));
        (!self.ended.load(Ordering::SeqCst)).then(|| self.since.elapsed().saturating_sub(last))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_each_value_in_every_bound_that_holds_it() {
        let mut histogram = Histogram::new(COUNTS);
        for value in [1.0, 2.0, 3.0, 1000.0] {
            histogram.add(value);
        }
        let counts: Vec<_> = histogram.cumulative().map(|(_, count)| count).collect();
        assert_eq!(counts[..4], [1, 2, 3, 3]);
        assert_eq!((counts[9], histogram.count()), (3, 4));
        assert!((histogram.sum() - 1006.0).abs() < f64::EPSILON);
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_has_ended_has_no_age() {
        let beat = Beat::new();
        let guard = beat.until_dropped();
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(beat.age(), Some(Duration::from_secs(3)));
        beat.beat();
        assert_eq!(beat.age(), Some(Duration::ZERO));
        drop(guard);
        assert_eq!(beat.age(), None);
    }
}
