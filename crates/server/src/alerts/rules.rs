//! The rules: what is worth a person's attention. The defaults hold unless the configuration says otherwise.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// What is worth a person's attention. `None` and `false` turn a rule off.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// A run that has not ended this long after its first start, or after a person retried it, and waits for nobody's answer.
    pub long_run: Option<Duration>,
    /// More failures than there should be.
    pub failures: Option<FailureRate>,
    /// A run that could have gone on this long ago, and waits for a worker.
    pub waiting: Option<Duration>,
    /// Work that no live worker can do, for this long: a restart takes less.
    pub no_worker: Option<Duration>,
    /// A step that was interrupted more often than it may be.
    pub interruptions: bool,
    /// A run that waits for an answer.
    pub answer: bool,
    /// A run that this server cannot read.
    pub unreadable: bool,
    /// A store whose commits take longer than this.
    pub slow_store: Option<Duration>,
}

/// More failures than there should be.
#[derive(Clone, Debug, PartialEq)]
pub struct FailureRate {
    /// More than this share of the runs that ended, in percent.
    pub percent: f64,
    /// Over this time; at most a day.
    pub over: Duration,
    /// Of at least so many runs.
    pub at_least: u64,
}

impl Default for FailureRate {
    fn default() -> Self {
        Self {
            percent: 10.0,
            over: Duration::from_secs(3600),
            at_least: 10,
        }
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            long_run: Some(Duration::from_secs(600)),
            failures: Some(FailureRate::default()),
            waiting: Some(Duration::from_secs(300)),
            no_worker: Some(Duration::from_secs(30)),
            interruptions: true,
            answer: true,
            unreadable: true,
            slow_store: Some(Duration::from_secs(1)),
        }
    }
}

/// One of the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// [`Rules::long_run`].
    LongRun,
    /// [`Rules::failures`].
    Failures,
    /// [`Rules::waiting`].
    Waiting,
    /// [`Rules::no_worker`].
    NoWorker,
    /// [`Rules::interruptions`].
    Interruptions,
    /// [`Rules::answer`].
    Answer,
    /// [`Rules::unreadable`].
    Unreadable,
    /// [`Rules::slow_store`].
    SlowStore,
    /// No rule: `surefoot alerts test`.
    Test,
}

impl Rule {
    /// Every rule.
    pub const ALL: [Self; 9] = [
        Self::LongRun,
        Self::Failures,
        Self::Waiting,
        Self::NoWorker,
        Self::Interruptions,
        Self::Answer,
        Self::Unreadable,
        Self::SlowStore,
        Self::Test,
    ];

    /// The word for it, in the configuration and in an alert's id.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LongRun => "long_run",
            Self::Failures => "failures",
            Self::Waiting => "waiting",
            Self::NoWorker => "no_worker",
            Self::Interruptions => "interruptions",
            Self::Answer => "answer",
            Self::Unreadable => "unreadable",
            Self::SlowStore => "slow_store",
            Self::Test => "test",
        }
    }

    /// How long what a rule speaks of must be gone before its alert is resolved. What each server measures for itself is
    /// not gone because another server does not see it.
    pub(super) const fn lingers(self) -> Duration {
        match self {
            Self::SlowStore => Duration::from_secs(60),
            _ => Duration::ZERO,
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|rule| rule.as_str() == word)
            .ok_or_else(|| format!("`{word}` is no rule"))
    }
}
