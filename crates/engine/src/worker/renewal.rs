//! When the worker's lease was last renewed: until a lease later it holds for sure, by the worker's own account.
//!
//! A process that is frozen loses its lease without noticing. Whoever is about to call a handler, or to look for the dead, asks
//! here first. The time is told by two clocks: this process's own, which nobody sets, and the store's, by which leases end and
//! which may be set, or go on while the machine is asleep.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::{Store, Timestamp};

#[derive(Debug)]
pub(crate) struct Renewal {
    /// When the heartbeat was sent that renewed it: the store's own time for it is later. None once it is known to be over.
    sent: Mutex<Option<Sent>>,
    /// Not a `watch`, which wakes those who wait in an order of its own: a simulation has to be played again.
    news: Notify,
    /// Asks the pulse for a heartbeat at once.
    asked: Notify,
}

/// A moment, by both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    here: Instant,
    there: Timestamp,
}

impl Sent {
    pub(super) fn now(store: &dyn Store) -> Self {
        Self {
            here: Instant::now(),
            there: store.now(),
        }
    }

    fn is_within(self, time: Duration, now: Timestamp) -> bool {
        self.here.elapsed() < time && now.since(self.there) < time
    }
}

impl Renewal {
    pub(crate) fn new(there: Timestamp) -> Self {
        let sent = Sent {
            here: Instant::now(),
            there,
        };
        Self {
            sent: Mutex::new(Some(sent)),
            news: Notify::new(),
            asked: Notify::new(),
        }
    }

    /// A heartbeat that was sent then renewed the lease.
    pub(crate) fn renewed(&self, sent: Sent) {
        *self.sent.lock().unwrap_or_else(PoisonError::into_inner) = Some(sent);
        self.news.notify_waiters();
    }

    /// The lease is over: it does not hold until it is renewed, for another life of the worker.
    pub(crate) fn lapsed(&self) {
        *self.sent.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Asks for a heartbeat at once.
    pub(crate) fn ask(&self) {
        self.asked.notify_one();
    }

    /// Somebody asks for a heartbeat.
    pub(super) async fn is_asked(&self) {
        self.asked.notified().await;
    }

    /// Returns as soon as the lease was renewed no longer than `time` ago.
    pub(super) async fn holds(&self, store: &dyn Store, time: Duration) {
        loop {
            let news = self.news.notified();
            tokio::pin!(news);
            news.as_mut().enable();
            let sent = *self.sent.lock().unwrap_or_else(PoisonError::into_inner);
            if sent.is_some_and(|sent| sent.is_within(time, store.now())) {
                return;
            }
            self.ask();
            news.await;
        }
    }
}
