//! Which queues were found to hold back starts lately. A submission to one of them is not tried in a group first.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// After this it is found out anew.
const KEPT: Duration = Duration::from_secs(2);

/// A guess that costs a round trip when it is wrong, and nothing else.
#[derive(Debug, Default)]
pub(crate) struct Limited(Mutex<HashMap<String, Instant>>);

impl Limited {
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
