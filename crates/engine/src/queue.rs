//! Queues: where runs wait, and the limits that hold over all workers.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use crate::{AllowLists, format_duration, parse_duration};

/// No more than `max` runs start in any window of length `per`: `5/1s` as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Starts in a window.
    pub max: u32,
    /// The length of the window.
    pub per: Duration,
}

/// Limits on the runs of a queue. The default limits nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueLimits {
    /// Runs that may be running at once.
    pub concurrency: Option<u32>,
    /// Runs with the same concurrency key that may be running at once.
    pub concurrency_per_key: Option<u32>,
    /// First starts in any window. A run that is taken up again does not count a second time.
    pub rate: Option<Rate>,
    /// Retention of the details of ended runs.
    pub retention: Retention,
    /// The workflows and actions that it permits. A submission of others is refused; runs that were
    /// there before are not.
    pub allow: AllowLists,
}

/// Retention of a run's details (events, logs, snapshots) after its end, by outcome.
/// The run, its steps and its records stay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// For completed runs.
    pub completed: RetentionLimit,
    /// For failed runs.
    pub failed: RetentionLimit,
    /// For cancelled runs.
    pub cancelled: RetentionLimit,
}

/// Details go when they are older than `age`, or when `count` newer runs of that outcome have
/// theirs. The default keeps all. As text `30d`, `1000`, `30d,1000` or `none`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetentionLimit {
    /// Counted from the end of the run.
    pub age: Option<Duration>,
    /// Newest runs that keep their details.
    pub count: Option<u64>,
}

/// A text that is not a limit of a queue.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueLimitError {
    /// Not a [`Rate`].
    #[error("`{0}` is not a rate such as 5/1s")]
    Rate(String),
    /// Not a [`RetentionLimit`].
    #[error("`{0}` is not an age such as 30d, a number such as 1000, both as 30d,1000, or none")]
    Retention(String),
}

impl FromStr for Rate {
    type Err = QueueLimitError;

    fn from_str(text: &str) -> Result<Self, QueueLimitError> {
        let wrong = || QueueLimitError::Rate(text.to_owned());
        let (max, per) = text.split_once('/').ok_or_else(wrong)?;
        let max: NonZeroU32 = max.trim().parse().map_err(|_| wrong())?;
        let per = parse_duration(per.trim()).map_err(|_| wrong())?;
        if per.is_zero() {
            return Err(wrong());
        }
        Ok(Self {
            max: max.get(),
            per,
        })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.max, format_duration(self.per))
    }
}

impl RetentionLimit {
    /// The limit, or `None` if it keeps everything.
    pub fn limited(self) -> Option<Self> {
        (self != Self::default()).then_some(self)
    }
}

impl FromStr for RetentionLimit {
    type Err = QueueLimitError;

    fn from_str(text: &str) -> Result<Self, QueueLimitError> {
        let wrong = || QueueLimitError::Retention(text.to_owned());
        let mut limit = Self::default();
        if text.trim() == "none" {
            return Ok(limit);
        }
        for part in text.split(',').map(str::trim) {
            match part.parse::<u64>() {
                Ok(count) if limit.count.is_none() => limit.count = Some(count),
                Err(_) if limit.age.is_none() => {
                    limit.age = Some(parse_duration(part).map_err(|_| wrong())?);
                }
                _ => return Err(wrong()),
            }
        }
        Ok(limit)
    }
}

impl fmt::Display for RetentionLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.age.map(format_age), self.count) {
            (None, None) => f.write_str("none"),
            (Some(age), None) => f.write_str(&age),
            (None, Some(count)) => write!(f, "{count}"),
            (Some(age), Some(count)) => write!(f, "{age},{count}"),
        }
    }
}

/// Formats an age in days if it has no hours beside them; [`format_duration`] has no days.
fn format_age(age: Duration) -> String {
    const DAY: u64 = 24 * 3600;
    let days = age.as_secs() / DAY;
    if days > 0 && age == Duration::from_secs(days * DAY) {
        format!("{days}d")
    } else {
        format_duration(age)
    }
}

/// A queue as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueInfo {
    /// The queue's name.
    pub name: String,
    /// Its limits.
    pub limits: QueueLimits,
    /// True if a person paused it: no run starts or resumes; running ones continue.
    pub paused: bool,
    /// Runs waiting for a worker.
    pub queued: u64,
    /// Runs waiting for a time, a retry or an answer.
    pub waiting: u64,
    /// Runs that a worker holds.
    pub running: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_written_as_they_are_read() {
        let rate = Rate {
            max: 5,
            per: Duration::from_secs(1),
        };
        assert_eq!("5/1s".parse(), Ok(rate));
        assert_eq!(" 5 / 1s ".parse(), Ok(rate));
        assert_eq!(rate.to_string(), "5/1s");
        let check = |text: &str, age: Option<u64>, count: Option<u64>| {
            let age = age.map(|hours| Duration::from_secs(hours * 3600));
            let limit = RetentionLimit { age, count };
            assert_eq!(text.parse(), Ok(limit), "{text}");
            assert_eq!(limit.to_string(), text);
            assert_eq!(limit.limited().is_none(), text == "none", "{text}");
        };
        check("none", None, None);
        check("30d", Some(720), None);
        check("25h", Some(25), None);
        check("0s", Some(0), None);
        check("1000", None, Some(1000));
        check("30d,1000", Some(720), Some(1000));
    }

    #[test]
    fn a_text_that_is_no_limit_is_refused() {
        for text in ["", "x", "1,2", "1h,2h", "1h,2,3", "none,1", "-1"] {
            let error = QueueLimitError::Retention(text.to_owned());
            assert_eq!(text.parse::<RetentionLimit>(), Err(error));
        }
        for text in ["", "5", "0/1s", "5/0s", "5/x", "x/1s", "none"] {
            let error = QueueLimitError::Rate(text.to_owned());
            assert_eq!(text.parse::<Rate>(), Err(error));
        }
    }
}
