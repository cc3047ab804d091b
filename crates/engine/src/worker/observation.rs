//! Detection of dead workers by their heartbeats, as one observer sees them.
//!
//! A worker is dead when its heartbeat stays the same during one lease period of uninterrupted
//! observation. Time is measured on this process's monotonic clock: the store's clock may step, and
//! a standby that takes over may have another. When reads of the store fail or are far apart,
//! possibly no worker could renew. Then the observation starts over, and every living worker has
//! one lease period to renew in.

use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::store::LastHeartbeat;
use crate::{Timestamp, WorkerId};

/// Heartbeats of all workers as this process has observed them.
#[derive(Debug, Default)]
pub(super) struct Observation {
    workers: BTreeMap<WorkerId, Seen>,
    last_look: Option<Instant>,
}

/// A heartbeat, with the time at which it was first read.
#[derive(Clone, Copy, Debug)]
struct Seen {
    heartbeat: Timestamp,
    since: Instant,
}

impl Observation {
    /// Notes the heartbeats read at `now`. Returns the workers that are dead.
    pub(super) fn note(
        &mut self,
        now: Instant,
        heartbeats: &[LastHeartbeat],
    ) -> Vec<LastHeartbeat> {
        let since_last = self.last_look.replace(now).map(|last| now - last);
        // A worker renews three times in a lease and gives up on a silent store after a quarter of
        // one. So a gap of up to 2/5 of a lease leaves it time to renew within the rest.
        let is_whole =
            |seen: &LastHeartbeat| since_last.is_some_and(|gap| gap <= seen.lease * 2 / 5);
        let before = std::mem::take(&mut self.workers);
        let mut dead = Vec::new();
        for worker in heartbeats {
            let known = before
                .get(&worker.worker)
                .filter(|seen| seen.heartbeat == worker.at && is_whole(worker));
            let since = known.map_or(now, |seen| seen.since);
            self.workers.insert(
                worker.worker,
                Seen {
                    heartbeat: worker.at,
                    since,
                },
            );
            if now - since >= worker.lease {
                dead.push(*worker);
            }
        }
        dead
    }

    /// Discards all observations after a failed read.
    pub(super) fn start_over(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LEASE: Duration = Duration::from_secs(5);
    const STEP: Duration = Duration::from_millis(300);

    /// An observer that looks every [`STEP`] at one worker.
    struct Observer {
        observation: Observation,
        worker: WorkerId,
        now: Instant,
        heartbeat: i64,
    }

    impl Observer {
        fn new() -> Self {
            Self {
                observation: Observation::default(),
                worker: WorkerId::new(),
                now: Instant::now(),
                heartbeat: 0,
            }
        }

        fn look(&mut self) -> bool {
            let at = Timestamp::from_micros(self.heartbeat);
            let seen = LastHeartbeat {
                worker: self.worker,
                at,
                lease: LEASE,
            };
            !self.observation.note(self.now, &[seen]).is_empty()
        }

        /// Looks until the worker is dead, for a minute at most. Returns the time it took.
        fn until_dead(&mut self) -> Option<Duration> {
            let begin = self.now;
            while self.now - begin < Duration::from_secs(60) {
                if self.look() {
                    return Some(self.now - begin);
                }
                self.now += STEP;
            }
            None
        }
    }

    #[test]
    fn a_worker_is_dead_after_one_lease_of_silence_and_no_sooner() {
        let mut observer = Observer::new();
        let took = observer.until_dead().unwrap();
        assert!(took >= LEASE && took < LEASE + STEP, "{took:?}");
    }

    #[test]
    fn clock_steps_do_not_hide_a_heartbeat() {
        let mut observer = Observer::new();
        // An hour ahead, an hour behind, and no faster than a microsecond each.
        for heartbeat in [0, 3_600_000_000, -3_600_000_000, -3_599_999_999] {
            observer.heartbeat = heartbeat;
            for _ in 0..16 {
                assert!(!observer.look(), "it renewed less than a lease ago");
                observer.now += STEP;
            }
        }
        assert!(observer.until_dead().unwrap() <= LEASE);
    }

    #[test]
    fn after_an_outage_a_worker_has_a_lease_to_renew() {
        for outage in [
            Duration::from_millis(2_100),
            Duration::from_secs(10),
            Duration::from_secs(3_600),
        ] {
            let mut observer = Observer::new();
            for _ in 0..16 {
                assert!(!observer.look());
                observer.now += STEP;
            }
            observer.now += outage;
            let took = observer.until_dead().unwrap();
            assert!(took >= LEASE && took < LEASE + STEP, "{outage:?}: {took:?}");
        }
    }

    #[test]
    fn a_failed_look_starts_the_observation_over() {
        let mut observer = Observer::new();
        for _ in 0..16 {
            assert!(!observer.look());
            observer.now += STEP;
        }
        observer.observation.start_over();
        assert!(observer.until_dead().unwrap() >= LEASE);
    }
}
