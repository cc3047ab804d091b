//! Trace of a simulation for people, with the first violation of a promise.
//!
//! Lines are only made when the trace is wanted: a seed that fails is played once more with it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) struct History {
    began: Instant,
    lines: Option<Mutex<Vec<String>>>,
    violation: Mutex<Option<String>>,
    over: CancellationToken,
}

/// Locks, whatever another thread's panic left: there is only one thread.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl History {
    pub(crate) fn new(traced: bool) -> Self {
        let lines = traced.then(Mutex::default);
        Self {
            began: Instant::now(),
            lines,
            violation: Mutex::default(),
            over: CancellationToken::new(),
        }
    }

    pub(crate) fn say(&self, who: &str, what: impl FnOnce() -> String) {
        if let Some(lines) = &self.lines
            && !self.over.is_cancelled()
        {
            let at = self.began.elapsed().as_secs_f64();
            lock(lines).push(format!("{at:9.3}  {who:<8} {}", what()));
        }
    }

    /// A promise is broken. The world ends here.
    pub(crate) fn violated(&self, what: impl FnOnce() -> String) {
        if !self.over.is_cancelled() {
            let what = what();
            self.say("BROKEN", || what.clone());
            *lock(&self.violation) = Some(what);
            self.over.cancel();
        }
    }

    pub(crate) fn expect(&self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.violated(what);
        }
    }

    /// Nothing that happens from now on counts.
    pub(crate) fn close(&self) {
        self.over.cancel();
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    pub(crate) async fn until_over(&self) {
        self.over.cancelled().await;
    }

    pub(crate) fn violation(&self) -> Option<String> {
        lock(&self.violation).clone()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines
            .as_ref()
            .map(|lines| lock(lines).clone())
            .unwrap_or_default()
    }
}
