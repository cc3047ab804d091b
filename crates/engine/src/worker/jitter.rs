//! Jitter for the worker's intervals, so that many workers do not query the store in the same
//! moment.
//!
//! All values derive from one seed: a simulation that sets it replays the same waits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// SplitMix64 (Steele, Lea and Flood, 2014): sufficient for jitter, and no dependency.
#[derive(Debug)]
pub(crate) struct Jitter(AtomicU64);

impl Jitter {
    /// Starts from `seed`, or from the random bits of a new UUID.
    pub(crate) fn new(seed: Option<u64>) -> Self {
        Self(AtomicU64::new(
            seed.unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().1),
        ))
    }

    /// Returns the next value between 0 and 1.
    pub(crate) fn unit(&self) -> f64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let state = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        f64::from(((mixed ^ (mixed >> 31)) >> 32) as u32) / f64::from(u32::MAX)
    }

    /// Returns a random duration between 75 % and 125 % of `time`.
    pub(crate) fn apply(&self, time: Duration) -> Duration {
        time.mul_f64(0.75 + self.unit() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_a_quarter_and_replays_from_its_seed() {
        let waits = |seed| {
            let jitter = Jitter::new(seed);
            (0..1_000)
                .map(|_| jitter.apply(Duration::from_secs(1)))
                .collect::<Vec<_>>()
        };
        let seeded = waits(Some(7));
        assert_eq!(seeded, waits(Some(7)));
        assert_ne!(seeded, waits(Some(8)));
        assert_ne!(waits(None), waits(None));
        let shortest = seeded.iter().min().unwrap().as_millis();
        let longest = seeded.iter().max().unwrap().as_millis();
        assert!((750..=760).contains(&shortest), "{shortest}");
        assert!((1_240..=1_250).contains(&longest), "{longest}");
    }
}
