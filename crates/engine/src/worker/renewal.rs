//! When the worker's lease was last renewed: until a lease later it holds for sure, by the worker's own account.
//!
//! A process that is frozen loses its lease without noticing. Whoever is about to call a handler asks here first.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

#[derive(Debug)]
pub(crate) struct Renewal {
    /// When the heartbeat was sent that renewed it: the store's own time for it is later.
    sent: Mutex<Instant>,
    /// Not a `watch`, which wakes those who wait in an order of its own: a simulation has to be played again.
    news: Notify,
    /// Asks the pulse for a heartbeat at once.
    asked: Notify,
}

impl Default for Renewal {
    fn default() -> Self {
        Self { sent: Mutex::new(Instant::now()), news: Notify::new(), asked: Notify::new() }
    }
}

impl Renewal {
    /// A heartbeat that was sent then renewed the lease.
    pub(crate) fn renewed(&self, sent: Instant) {
        *self.sent.lock().unwrap_or_else(PoisonError::into_inner) = sent;
        self.news.notify_waiters();
    }

    /// Asks for a heartbeat at once.
    pub(crate) fn ask(&self) {
        self.asked.notify_one();
    }

    /// Somebody asks for a heartbeat.
    pub(super) async fn is_asked(&self) {
        self.asked.notified().await;
    }

    /// Returns as soon as the lease holds for sure.
    pub(super) async fn holds(&self, lease: Duration) {
        loop {
            let news = self.news.notified();
            tokio::pin!(news);
            news.as_mut().enable();
            if self.sent.lock().unwrap_or_else(PoisonError::into_inner).elapsed() < lease {
                return;
            }
            self.ask();
            news.await;
        }
    }
}
