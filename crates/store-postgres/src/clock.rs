//! The store's time: the database's clock, known from its last answer and the time that went by since.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use surefoot::{Clock, Timestamp};

/// Tells the database's time without asking it. This machine's own clock is asked only how much time went by.
#[derive(Debug)]
pub(crate) struct DatabaseClock {
    /// A test's clock, instead of the database's.
    test: Option<Arc<dyn Clock>>,
    last: Mutex<Sight>,
    /// What was told last, in microseconds.
    told: AtomicI64,
}

/// A look at the database's clock.
#[derive(Clone, Copy, Debug)]
struct Sight {
    /// The middle of the time between question and answer.
    at: Instant,
    shown: Timestamp,
    /// The answer may be wrong by half of this.
    took: Duration,
}

/// A better look may show that the one before was some milliseconds ahead. That much is waited out: ids sort by time, and
/// nothing ends before it began. A clock that was set back by more is followed.
const AHEAD: Duration = Duration::from_secs(1);

/// A look that took long gives way to any that is newer than this.
const STALE: Duration = Duration::from_secs(20);

impl DatabaseClock {
    pub(crate) fn new(test: Option<Arc<dyn Clock>>) -> Self {
        let sight = Sight { at: Instant::now(), shown: Timestamp::from_micros(0), took: Duration::MAX };
        Self { test, last: Mutex::new(sight), told: AtomicI64::new(0) }
    }

    pub(crate) fn now(&self) -> Timestamp {
        if let Some(test) = &self.test {
            return test.now();
        }
        let sight = self.sight();
        let now = sight.shown + sight.at.elapsed();
        let told = Timestamp::from_micros(self.told.fetch_max(now.as_micros(), Ordering::Relaxed));
        if told <= now {
            return now;
        }
        if told.since(now) < AHEAD {
            return told;
        }
        self.told.store(now.as_micros(), Ordering::Relaxed);
        now
    }

    /// What a statement that tells time takes: null for the database's own.
    pub(crate) fn told(&self) -> Option<i64> {
        self.test.as_ref().map(|test| test.now().as_micros())
    }

    /// Notes what the database's clock showed in an answer to a question of `asked`.
    pub(crate) fn saw(&self, asked: Instant, shown: Timestamp) {
        let took = asked.elapsed();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if took <= last.took.saturating_mul(2) || last.at.elapsed() > STALE {
            *last = Sight { at: asked + took / 2, shown, took };
        }
    }

    /// Whether it is time for another look.
    pub(crate) fn is_stale(&self) -> bool {
        self.test.is_none() && self.sight().at.elapsed() > STALE
    }

    fn sight(&self) -> Sight {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_from_what_the_database_showed() {
        let clock = DatabaseClock::new(None);
        clock.saw(Instant::now(), Timestamp::from_micros(5_000_000));
        let now = clock.now().as_micros();
        assert!((5_000_000..6_000_000).contains(&now), "{now}");
    }

    #[test]
    fn time_does_not_go_back_by_a_better_look_and_follows_a_clock_that_was_set() {
        let clock = DatabaseClock::new(None);
        let asked = Instant::now().checked_sub(Duration::from_millis(200)).expect("the machine runs for longer");
        clock.saw(asked, Timestamp::from_micros(50_000_000));
        let before = clock.now();
        clock.saw(Instant::now(), Timestamp::from_micros(49_950_000));
        assert_eq!(clock.now(), before, "waited out");
        clock.saw(Instant::now(), Timestamp::from_micros(20_000_000));
        assert!(clock.now().as_micros() < 21_000_000, "{:?}", clock.now());
    }

    #[test]
    fn an_answer_that_took_long_does_not_spoil_a_good_one() {
        let clock = DatabaseClock::new(None);
        clock.saw(Instant::now(), Timestamp::from_micros(5_000_000));
        let long_ago = Instant::now().checked_sub(Duration::from_secs(3)).expect("the machine runs for longer");
        clock.saw(long_ago, Timestamp::from_micros(90_000_000));
        assert!(clock.now().as_micros() < 6_000_000);
    }
}
