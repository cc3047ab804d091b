//! Queues recently seen with limits. A submission to one of them skips the attempt in a batch.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Lifetime of an entry.
const KEPT: Duration = Duration::from_secs(2);

/// A guess: a wrong one costs a round trip, and nothing else.
#[derive(Debug, Default)]
pub(crate) struct LimitedQueues(Mutex<HashMap<String, Instant>>);

impl LimitedQueues {
    pub(crate) fn note(&self, queue: &str) {
        let mut known = self.known();
        known.retain(|_, at| at.elapsed() < KEPT);
        known.insert(queue.to_owned(), Instant::now());
    }

    pub(crate) fn has(&self, queue: &str) -> bool {
        self.known()
            .get(queue)
            .is_some_and(|at| at.elapsed() < KEPT)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
