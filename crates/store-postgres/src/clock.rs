//! The store's time: the database's clock, extrapolated from its last answer by the time elapsed
//! since.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use surefoot::{Clock, Timestamp};

/// Returns the database's time without a query. This machine's clock only measures elapsed time.
#[derive(Debug)]
pub(crate) struct DatabaseClock {
    /// A test's clock that replaces the database's.
    test: Option<Arc<dyn Clock>>,
    last: Mutex<Sample>,
    /// Last returned time, in microseconds.
    last_returned: AtomicI64,
}

/// A sample of the database's clock.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// Midpoint between question and answer.
    at: Instant,
    shown: Timestamp,
    /// Round-trip time; the sample may be wrong by half of this.
    took: Duration,
}

impl Sample {
    /// Returns whether the clock has stepped since: the new sample differs by more than the
    /// uncertainty of both.
    fn is_contradicted_by(self, at: Instant, shown: Timestamp, took: Duration) -> bool {
        let expected = self.shown + at.saturating_duration_since(self.at);
        let off = expected.since(shown).max(shown.since(expected));
        off > AHEAD + self.took.saturating_add(took) / 2
    }
}

/// A better sample may show that the previous one was some milliseconds ahead. Time then stands
/// still until the clock has caught up, because ids sort by time and nothing may end before it
/// began. A clock that was set back by more is followed.
const AHEAD: Duration = Duration::from_secs(1);

/// A slow sample is replaced by any that is newer than this.
const STALE: Duration = Duration::from_secs(20);

impl DatabaseClock {
    pub(crate) fn new(test: Option<Arc<dyn Clock>>) -> Self {
        let sample = Sample {
            at: Instant::now(),
            shown: Timestamp::from_micros(0),
            took: Duration::MAX,
        };
        Self {
            test,
            last: Mutex::new(sample),
            last_returned: AtomicI64::new(0),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        if let Some(test) = &self.test {
            return test.now();
        }
        self.at(Instant::now())
    }

    fn at(&self, instant: Instant) -> Timestamp {
        let sample = self.sample();
        let now = sample.shown + instant.saturating_duration_since(sample.at);
        let previous = Timestamp::from_micros(
            self.last_returned
                .fetch_max(now.as_micros(), Ordering::Relaxed),
        );
        if previous <= now {
            return now;
        }
        if previous.since(now) < AHEAD {
            return previous;
        }
        self.last_returned.store(now.as_micros(), Ordering::Relaxed);
        now
    }

    /// The time parameter of a statement: null to use the database's own clock.
    pub(crate) fn time_parameter(&self) -> Option<i64> {
        self.test.as_ref().map(|test| test.now().as_micros())
    }

    /// Records the database's clock from the answer to a question sent at `asked`.
    pub(crate) fn record(&self, asked: Instant, shown: Timestamp) {
        self.note(asked, Instant::now(), shown);
    }

    fn note(&self, asked: Instant, answered: Instant, shown: Timestamp) {
        let took = answered.saturating_duration_since(asked);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let good = took <= last.took.saturating_mul(2);
        let stale = answered.saturating_duration_since(last.at) > STALE;
        if good || stale || last.is_contradicted_by(asked + took / 2, shown, took) {
            *last = Sample {
                at: asked + took / 2,
                shown,
                took,
            };
        }
    }

    /// Returns whether a new sample is due.
    pub(crate) fn is_stale(&self) -> bool {
        self.test.is_none() && self.sample().at.elapsed() > STALE
    }

    fn sample(&self) -> Sample {
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
            // An answer that was slower than the previous one, as is common on a busy machine.
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
