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

impl Sight {
    /// Returns whether the clock has stepped since: what it shows is further off than two uncertain looks can be.
    fn is_contradicted_by(self, at: Instant, shown: Timestamp, took: Duration) -> bool {
        let expected = self.shown + at.saturating_duration_since(self.at);
        let off = expected.since(shown).max(shown.since(expected));
        off > AHEAD + self.took.saturating_add(took) / 2
    }
}

/// A better look may show that the one before was some milliseconds ahead. That much is waited out: ids sort by time, and
/// nothing ends before it began. A clock that was set back by more is followed.
const AHEAD: Duration = Duration::from_secs(1);

/// A look that took long gives way to any that is newer than this.
const STALE: Duration = Duration::from_secs(20);

impl DatabaseClock {
    pub(crate) fn new(test: Option<Arc<dyn Clock>>) -> Self {
        let sight = Sight {
            at: Instant::now(),
            shown: Timestamp::from_micros(0),
            took: Duration::MAX,
        };
        Self {
            test,
            last: Mutex::new(sight),
            told: AtomicI64::new(0),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        if let Some(test) = &self.test {
            return test.now();
        }
        self.at(Instant::now())
    }

    fn at(&self, instant: Instant) -> Timestamp {
        let sight = self.sight();
        let now = sight.shown + instant.saturating_duration_since(sight.at);
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
        self.note(asked, Instant::now(), shown);
    }

    fn note(&self, asked: Instant, answered: Instant, shown: Timestamp) {
        let took = answered.saturating_duration_since(asked);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let good = took <= last.took.saturating_mul(2);
        let stale = answered.saturating_duration_since(last.at) > STALE;
        if good || stale || last.is_contradicted_by(asked + took / 2, shown, took) {
            *last = Sight {
                at: asked + took / 2,
                shown,
                took,
            };
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

    const MILLISECOND: Duration = Duration::from_millis(1);

    fn micros(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    #[test]
    fn time_advances_from_the_last_database_time() {
        let clock = DatabaseClock::new(None);
        let start = Instant::now();
        clock.note(start, start + 2 * MILLISECOND, micros(5_000_000));
        assert_eq!(clock.at(start + 11 * MILLISECOND), micros(5_010_000));
    }

    #[test]
    fn a_better_sample_never_sets_time_back_but_a_set_clock_does() {
        let clock = DatabaseClock::new(None);
        let start = Instant::now();
        let later = start + 200 * MILLISECOND;
        clock.note(start, later, micros(50_000_000));
        assert_eq!(clock.at(later), micros(50_100_000));
        clock.note(later, later, micros(49_950_000));
        assert_eq!(clock.at(later), micros(50_100_000), "waited out");
        assert_eq!(
            clock.at(later + 151 * MILLISECOND),
            micros(50_101_000),
            "and goes on from there"
        );
        clock.note(later, later, micros(20_000_000));
        assert_eq!(clock.at(later), micros(20_000_000), "set back");
    }

    #[test]
    fn a_slow_answer_does_not_replace_a_good_sample() {
        let clock = DatabaseClock::new(None);
        let start = Instant::now();
        clock.note(start, start + MILLISECOND, micros(5_000_000));
        let late = start + 3000 * MILLISECOND;
        clock.note(start, late, micros(8_000_000));
        assert_eq!(clock.at(late), micros(7_999_500));
    }

    #[test]
    fn a_step_of_the_clock_is_followed_at_once() {
        for step in [3_600_000_000, -3_600_000_000] {
            let clock = DatabaseClock::new(None);
            let start = Instant::now();
            clock.note(start, start + MILLISECOND, micros(5_000_000_000));
            // An answer that took longer than the one before, as most do on a busy machine.
            let asked = start + 100 * MILLISECOND;
            let answered = start + 110 * MILLISECOND;
            clock.note(asked, answered, micros(5_000_000_000 + step));
            assert_eq!(clock.at(answered), micros(5_000_005_000 + step));
        }
    }

    #[test]
    fn an_old_sample_is_replaced_by_any() {
        let clock = DatabaseClock::new(None);
        let start = Instant::now();
        clock.note(start, start, micros(5_000_000));
        let asked = start + STALE;
        clock.note(asked, asked + 1000 * MILLISECOND, micros(90_000_000));
        assert_eq!(clock.at(asked + 1000 * MILLISECOND), micros(90_500_000));
    }
}
