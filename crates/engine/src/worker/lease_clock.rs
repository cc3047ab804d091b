//! Time of the last renewal of the worker's lease. The lease certainly holds for one lease period
//! from it.
//!
//! A frozen process loses its lease without noticing, so every handler call and every search for
//! dead workers checks here first. Two clocks measure the age: the monotonic clock of this process,
//! which cannot be set, and the store's clock, which can be set and which goes on while the machine
//! sleeps.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::{Store, Timestamp};

#[derive(Debug)]
pub(crate) struct LeaseClock {
    /// Send time of the heartbeat that renewed the lease, which is before the store's own time for
    /// it. `None` once the lease is known to be lost.
    sent: Mutex<Option<SentAt>>,
    /// Not a `watch`, which wakes its receivers in random order: a simulation must replay
    /// identically.
    changed: Notify,
    /// Requests a heartbeat at once.
    requested: Notify,
}

/// A time on both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SentAt {
    local: Instant,
    store: Timestamp,
}

impl SentAt {
    pub(super) fn now(store: &dyn Store) -> Self {
        Self {
            local: Instant::now(),
            store: store.now(),
        }
    }

    fn is_within(self, time: Duration, now: Timestamp) -> bool {
        self.local.elapsed() < time && now.since(self.store) < time
    }
}

impl LeaseClock {
    pub(crate) fn new(store_time: Timestamp) -> Self {
        let sent = SentAt {
            local: Instant::now(),
            store: store_time,
        };
        Self {
            sent: Mutex::new(Some(sent)),
            changed: Notify::new(),
            requested: Notify::new(),
        }
    }

    /// Notes that a heartbeat sent at `sent` renewed the lease.
    pub(crate) fn renewed(&self, sent: SentAt) {
        *self.sent.lock().unwrap_or_else(PoisonError::into_inner) = Some(sent);
        self.changed.notify_waiters();
    }

    /// Notes that the lease is lost, until the worker has registered again.
    pub(crate) fn expire(&self) {
        *self.sent.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Requests a heartbeat at once.
    pub(crate) fn request_heartbeat(&self) {
        self.requested.notify_one();
    }

    /// Waits for a request for a heartbeat.
    pub(super) async fn heartbeat_requested(&self) {
        self.requested.notified().await;
    }

    /// Returns as soon as the last renewal is at most `time` ago.
    pub(super) async fn wait_until_renewed_within(&self, store: &dyn Store, time: Duration) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let sent = *self.sent.lock().unwrap_or_else(PoisonError::into_inner);
            if sent.is_some_and(|sent| sent.is_within(time, store.now())) {
                return;
            }
            self.request_heartbeat();
            changed.await;
        }
    }
}
