//! Tells dead workers from living ones by their heartbeats, as one observer sees them.
//!
//! A worker is dead when its heartbeat stays the same during one of its leases of uninterrupted observation. Time is this
//! process's own, which nobody sets: the store's clock may step, and a standby that takes over may have another. When looks
//! at the store fail or are far apart, nobody may have been able to renew: the observation starts over, and every living
//! worker has one lease to renew in.

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

/// A heartbeat, and when a look showed it first.
#[derive(Clone, Copy, Debug)]
struct Seen {
    heartbeat: Timestamp,
    since: Instant,
}

impl Observation {
    /// Notes a look that was answered at `now`. The workers that are dead by it.
    pub(super) fn note(
        &mut self,
        now: Instant,
        heartbeats: &[LastHeartbeat],
    ) -> Vec<LastHeartbeat> {
        let since_last = self.last_look.replace(now).map(|last| now - last);
        // A worker renews three times in a lease and gives up on a silent store after a quarter of one. So 2/5 of a lease in
        // which the store may have been away leave it time to renew before the rest of the lease has passed.
        let is_whole =
            |seen: &LastHeartbeat| since_last.is_some_and(|gap| gap <= seen.lease * 2 / 5);
        let before = std::mem::take(&mut self.workers);
        let mut dead = Vec::new();
        for one in heartbeats {
            let known = before
                .get(&one.worker)
                .filter(|seen| seen.heartbeat == one.at && is_whole(one));
            let since = known.map_or(now, |seen| seen.since);
            self.workers.insert(
                one.worker,
                Seen {
                    heartbeat: one.at,
                    since,
                },
            );
            if now - since >= one.lease {
                dead.push(*one);
            }
        }
        dead
    }

    /// A look failed: what was seen before it counts no more.
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
    struct Scene {
        observation: Observation,
        worker: WorkerId,
        now: Instant,
        heartbeat: i64,
    }

    impl Scene {
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

        /// Looks until the worker is dead, for a minute at most. How long it took.
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
        let mut scene = Scene::new();
        let took = scene.until_dead().unwrap();
        assert!(took >= LEASE && took < LEASE + STEP, "{took:?}");
    }

    #[test]
    fn heartbeats_are_told_apart_whatever_clock_wrote_them() {
        let mut scene = Scene::new();
        // An hour ahead, an hour behind, and no faster than a microsecond each.
        for heartbeat in [0, 3_600_000_000, -3_600_000_000, -3_599_999_999] {
            scene.heartbeat = heartbeat;
            for _ in 0..16 {
                assert!(!scene.look(), "it renewed less than a lease ago");
                scene.now += STEP;
            }
        }
        assert!(scene.until_dead().unwrap() <= LEASE);
    }

    #[test]
    fn after_an_outage_a_worker_has_a_lease_to_renew() {
        for outage in [
            Duration::from_millis(2_100),
            Duration::from_secs(10),
            Duration::from_secs(3_600),
        ] {
            let mut scene = Scene::new();
            for _ in 0..16 {
                assert!(!scene.look());
                scene.now += STEP;
            }
            scene.now += outage;
            let took = scene.until_dead().unwrap();
            assert!(took >= LEASE && took < LEASE + STEP, "{outage:?}: {took:?}");
        }
    }

    #[test]
    fn looks_that_fail_keep_no_one_dead() {
        let mut scene = Scene::new();
        for _ in 0..16 {
            assert!(!scene.look());
            scene.now += STEP;
        }
        scene.observation.start_over();
        assert!(scene.until_dead().unwrap() >= LEASE);
    }
}
