//! Faults between a worker and the store, with their rates: each seed draws its own, and some kinds
//! of fault not at all (a storm of everything hides what a few faults show).

use std::sync::Mutex;
use std::time::Duration;

use surefoot::Timestamp;

use crate::history::lock;
use crate::rng::Rng;

/// Faults in a thousand calls.
#[derive(Debug)]
pub(crate) struct Weather {
    /// From here on nothing goes wrong any more.
    pub(crate) calm_from: Timestamp,
    refused: u64,
    lost: u64,
    slow: u64,
    hanging: u64,
    /// While the store is away it says that it cannot be used.
    pub(crate) unusable: bool,
    /// The usual way there and back takes so many milliseconds at most.
    usual: u64,
    away: Mutex<bool>,
    /// Fate of the next call with this name, regardless of the rates.
    planned: Mutex<Vec<(&'static str, Fate)>>,
}

/// Fate of a call.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fate {
    /// Latency to the store, and of the answer.
    pub(crate) there: Duration,
    pub(crate) back: Duration,
    /// It does not take place.
    pub(crate) refused: bool,
    /// It takes place, and its answer is lost.
    pub(crate) lost: bool,
    /// Should the caller die meanwhile, it does not take place.
    pub(crate) dies_with_caller: bool,
}

impl Fate {
    /// Returns whether a heartbeat with this fate may not renew its lease in time.
    pub(crate) fn is_trouble(&self) -> bool {
        self.refused || self.lost || self.there + self.back > Duration::from_millis(100)
    }
}

impl Weather {
    pub(crate) fn draw(rng: &mut Rng, calm_from: Timestamp) -> Self {
        let mut some = |most| {
            if rng.chance(60) {
                rng.between(1, most)
            } else {
                0
            }
        };
        let refused = some(60);
        let lost = some(60);
        let slow = some(60);
        let hanging = some(15);
        Self {
            calm_from,
            refused,
            lost,
            slow,
            hanging,
            usual: rng.between(0, 6),
            unusable: rng.chance(30),
            away: Mutex::default(),
            planned: Mutex::default(),
        }
    }

    /// Nothing goes wrong but what is planned.
    pub(crate) fn fair(calm_from: Timestamp) -> Self {
        let refused = 0;
        let lost = 0;
        let slow = 0;
        let hanging = 0;
        let usual = 0;
        let unusable = false;
        Self {
            calm_from,
            refused,
            lost,
            slow,
            hanging,
            usual,
            unusable,
            away: Mutex::default(),
            planned: Mutex::default(),
        }
    }

    pub(crate) fn plan(&self, call: &'static str, fate: Fate) {
        lock(&self.planned).push((call, fate));
    }

    fn planned(&self, call: &str) -> Option<Fate> {
        let mut planned = lock(&self.planned);
        let next = planned.iter().position(|(name, _)| *name == call)?;
        Some(planned.remove(next).1)
    }

    pub(crate) fn set_away(&self, away: bool) {
        *lock(&self.away) = away;
    }

    pub(crate) fn is_away(&self, now: Timestamp) -> bool {
        now < self.calm_from && *lock(&self.away)
    }

    pub(crate) fn fate(&self, call: &str, rng: &mut Rng, now: Timestamp) -> Fate {
        if let Some(planned) = self.planned(call) {
            return planned;
        }
        let there = rng.millis(0, self.usual);
        let back = rng.millis(0, self.usual);
        if now >= self.calm_from {
            return Fate {
                there,
                back,
                ..Fate::default()
            };
        }
        let mut one_of = |permille| rng.between(0, 999) < permille;
        let (refused, lost, slow, hangs) = (
            one_of(self.refused),
            one_of(self.lost),
            one_of(self.slow),
            one_of(self.hanging),
        );
        let extra = match (hangs, slow) {
            (true, _) => rng.millis(1_000, 9_000),
            (_, true) => rng.millis(10, 800),
            _ => Duration::ZERO,
        };
        // A hanging call arrives when the faults stop.
        let extra = extra.min(self.calm_from.since(now));
        let (more_there, more_back) = if rng.chance(50) {
            (extra, Duration::ZERO)
        } else {
            (Duration::ZERO, extra)
        };
        let dies_with_caller = rng.chance(50);
        Fate {
            there: there + more_there,
            back: back + more_back,
            refused,
            lost,
            dies_with_caller,
        }
    }
}
