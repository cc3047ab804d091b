//! The worker's own chance: what spreads its waits, so that many workers do not ask the store in the same moment.
//!
//! It is drawn from one number: a simulation that gives the same one plays the same waits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// SplitMix64 (Steele, Lea and Flood, 2014): good enough to spread waits with, and no dependency.
#[derive(Debug)]
pub(crate) struct Chance(AtomicU64);

impl Chance {
    /// Drawn from `seed`, or from the random bits of a fresh UUID.
    pub(crate) fn new(seed: Option<u64>) -> Self {
        Self(AtomicU64::new(
            seed.unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().1),
        ))
    }

    /// Between 0 and 1.
    pub(crate) fn unit(&self) -> f64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let state = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        f64::from(((mixed ^ (mixed >> 31)) >> 32) as u32) / f64::from(u32::MAX)
    }

    /// From three to five quarters of `time`.
    pub(crate) fn spread(&self, time: Duration) -> Duration {
        time.mul_f64(0.75 + self.unit() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_spread_and_played_again_from_the_same_seed() {
        let waits = |seed| {
            let chance = Chance::new(seed);
            (0..1_000)
                .map(|_| chance.spread(Duration::from_secs(1)))
                .collect::<Vec<_>>()
        };
        let seeded = waits(Some(7));
        assert_eq!(seeded, waits(Some(7)));
        assert_ne!(seeded, waits(Some(8)));
        assert_ne!(waits(None), waits(None));
        let (least, most) = (seeded.iter().min(), seeded.iter().max());
        let within = |time: Option<&Duration>, from: u64, to: u64| {
            time.is_some_and(|time| (from..=to).contains(&(time.as_millis() as u64)))
        };
        assert!(
            within(least, 750, 760) && within(most, 1_240, 1_250),
            "{least:?} {most:?}"
        );
    }
}
