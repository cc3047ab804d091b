//! Statistics of how runs ended: counted as they end, by the minute and by the hour, so that a
//! chart costs the same however many runs there have been.
//!
//! Durations are counted in slots, each a quarter of a power of two wide: a percentile is right to
//! within 10 %.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::{RunStatus, Timestamp};

/// Subject of a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// A run was completed.
    Completed,
    /// A run failed.
    Failed,
    /// A run was cancelled.
    Cancelled,
    /// A run was taken from a worker that died.
    Recovered,
}

/// Over what is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Span {
    /// Since the store was made.
    All,
    /// A minute. Kept for a day and an hour.
    Minute,
    /// An hour. Kept for eight days.
    Hour,
}

/// Number of occurrences in a span.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tally {
    /// When the span begins; zero for [`Span::All`].
    pub at: Timestamp,
    /// In which queue.
    pub queue: String,
    /// Subject of the count.
    pub outcome: Outcome,
    /// Duration of the runs from first start to end: see [`slot_of`].
    pub slot: u16,
    /// Number of occurrences.
    pub count: u64,
}

impl Span {
    /// Every span that a store counts in.
    pub const EVERY: [Self; 3] = [Self::All, Self::Minute, Self::Hour];

    /// Its length in seconds, which also names it in a store; 0 for [`Span::All`].
    pub const fn seconds(self) -> i64 {
        match self {
            Self::All => 0,
            Self::Minute => 60,
            Self::Hour => 3600,
        }
    }

    /// The beginning of the span that `at` is in.
    pub fn beginning(self, at: Timestamp) -> Timestamp {
        let length = self.seconds() * 1_000_000;
        Timestamp::from_micros(if length == 0 {
            0
        } else {
            at.as_micros() - at.as_micros().rem_euclid(length)
        })
    }

    /// Retention of the counts.
    pub const fn kept(self) -> Option<Duration> {
        match self {
            Self::All => None,
            Self::Minute => Some(Duration::from_secs(25 * 3600)),
            Self::Hour => Some(Duration::from_secs(8 * 24 * 3600)),
        }
    }
}

impl Outcome {
    /// Returns the subject under which the end of a run with this status is counted.
    pub const fn of(status: RunStatus) -> Option<Self> {
        match status {
            RunStatus::Completed => Some(Self::Completed),
            RunStatus::Failed => Some(Self::Failed),
            RunStatus::Cancelled => Some(Self::Cancelled),
            RunStatus::Queued | RunStatus::Running | RunStatus::Waiting => None,
        }
    }

    /// The word that stores and pages use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Recovered => "recovered",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Outcome {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let every = [
            Self::Completed,
            Self::Failed,
            Self::Cancelled,
            Self::Recovered,
        ];
        every
            .into_iter()
            .find(|outcome| outcome.as_str() == word)
            .ok_or_else(|| format!("`{word}` is no outcome"))
    }
}

/// The slot in which a duration is counted. Slot 0 is up to a millisecond.
pub fn slot_of(duration: Duration) -> u16 {
    let millis = duration.as_secs_f64() * 1000.0;
    if millis <= 1.0 {
        return 0;
    }
    // At most 4 * log2 of what a Duration holds, some 300.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and 300"
    )]
    let slot = (millis.log2() * 4.0).ceil() as u16;
    slot
}

/// A duration that stands for those of a slot: its middle.
pub fn duration_of(slot: u16) -> Duration {
    Duration::from_secs_f64(((f64::from(slot) - 0.5) / 4.0).exp2() / 1000.0)
}

/// The duration which the fraction `at` (0.95, say) of all that were counted did not exceed; `None`
/// when none was.
pub fn percentile<'a>(tallies: impl IntoIterator<Item = &'a Tally>, at: f64) -> Option<Duration> {
    let mut slots = std::collections::BTreeMap::<u16, u64>::new();
    for tally in tallies {
        *slots.entry(tally.slot).or_default() += tally.count;
    }
    let all: u64 = slots.values().sum();
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts"
    )]
    let wanted = ((all as f64 * at).ceil() as u64).max(1);
    let mut seen = 0;
    slots.into_iter().find_map(|(slot, count)| {
        seen += count;
        (seen >= wanted).then(|| duration_of(slot))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(millis: u64, count: u64) -> Tally {
        let slot = slot_of(Duration::from_millis(millis));
        Tally {
            at: Timestamp::from_micros(0),
            queue: "q".to_owned(),
            outcome: Outcome::Completed,
            slot,
            count,
        }
    }

    #[test]
    fn a_slot_stands_for_a_duration_to_within_a_tenth() {
        for millis in [2_u64, 3, 7, 99, 1000, 12_345, 600_000, 86_400_000] {
            let exact = Duration::from_millis(millis);
            let ratio = duration_of(slot_of(exact)).as_secs_f64() / exact.as_secs_f64();
            assert!((0.9..1.1).contains(&ratio), "{millis} ms: {ratio}");
        }
        assert_eq!(slot_of(Duration::ZERO), 0);
        assert!(slot_of(Duration::MAX) < 300);
    }

    #[test]
    fn a_percentile_is_the_duration_that_so_many_did_not_exceed() {
        let tallies = [tally(100, 94), tally(5000, 6)];
        let near = |found: Option<Duration>, millis: f64| {
            let found = found.expect("something was counted").as_secs_f64() * 1000.0;
            assert!(
                (found / millis - 1.0).abs() < 0.1,
                "{found} is not near {millis}"
            );
        };
        near(percentile(&tallies, 0.5), 100.0);
        near(percentile(&tallies, 0.94), 100.0);
        near(percentile(&tallies, 0.95), 5000.0);
        near(percentile(&tallies, 1.0), 5000.0);
        assert_eq!(percentile(&[], 0.5), None);
    }

    #[test]
    fn a_span_begins_where_its_length_divides_the_time() {
        let at = Timestamp::from_micros(7_261_000_001);
        assert_eq!(Span::Minute.beginning(at).as_micros(), 7_260_000_000);
        assert_eq!(Span::Hour.beginning(at).as_micros(), 7_200_000_000);
        assert_eq!(Span::All.beginning(at).as_micros(), 0);
    }
}
