//! The alert rules and their defaults.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The alert rules. `None` and `false` turn a rule off.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// A run has not ended this long after its first start or its last retry, and waits for no
    /// answer.
    pub long_run: Option<Duration>,
    /// Too many runs fail.
    pub failures: Option<FailureRate>,
    /// A claimable run has waited this long for a worker.
    pub waiting: Option<Duration>,
    /// Work that no live worker can execute has waited this long. A restart takes less.
    pub no_worker: Option<Duration>,
    /// A step was interrupted more often than allowed.
    pub interruptions: bool,
    /// A run waits for an answer.
    pub answer: bool,
    /// A run cannot be read by this server.
    pub unreadable: bool,
    /// A commit takes longer than this.
    pub slow_store: Option<Duration>,
}

/// A limit of failures.
#[derive(Clone, Debug, PartialEq)]
pub struct FailureRate {
    /// Maximum share of failures among the runs that ended, in percent.
    pub percent: f64,
    /// The period considered, at most a day.
    pub over: Duration,
    /// Minimum number of ended runs for the rule to apply.
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

/// The name of a rule.
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
    /// Not a rule: a message of `surefoot alerts test`.
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

    /// The word used in the configuration and in alert ids.
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

    /// Time that a fact must be absent before its alert is resolved. A fact that each server
    /// measures for itself is not gone because another server does not observe it.
    pub(super) const fn resolve_delay(self) -> Duration {
        match self {
            Self::SlowStore => Duration::from_secs(60),
            _ => Duration::ZERO,
        }
    }
}

/// A word that names no alert rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an alert rule")]
pub struct UnknownRule(pub String);

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Rule {
    type Err = UnknownRule;

    fn from_str(word: &str) -> Result<Self, UnknownRule> {
        Self::ALL
            .into_iter()
            .find(|rule| rule.as_str() == word)
            .ok_or_else(|| UnknownRule(word.to_owned()))
    }
}
