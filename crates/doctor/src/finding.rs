//! A finding: the observation, its meaning for a crash, and the advice.

use serde::Serialize;

/// Severity of a finding, in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Good to know, or a check that could not be made.
    Note,
    /// A promise holds with little margin, or runs will fail or wait.
    Warn,
    /// A promise does not hold here, or cannot be verified.
    Broken,
}

impl Level {
    /// The word printed for people and scripts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warn => "warn",
            Self::Broken => "broken",
        }
    }
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Severity.
    pub level: Level,
    /// Subject of the check in a word or two: `file system`.
    pub subject: String,
    /// The observation.
    pub found: String,
    /// Its meaning when something crashes.
    pub means: String,
    /// Advice, if there is something to do.
    pub advice: Option<String>,
}

impl Finding {
    /// A finding without fault.
    pub fn ok(subject: &str, found: impl Into<String>, means: impl Into<String>) -> Self {
        Self::new(Level::Ok, subject, found, means)
    }

    /// A finding that is good to know.
    pub fn note(subject: &str, found: impl Into<String>, means: impl Into<String>) -> Self {
        Self::new(Level::Note, subject, found, means)
    }

    /// A finding with little margin.
    pub fn warn(subject: &str, found: impl Into<String>, means: impl Into<String>) -> Self {
        Self::new(Level::Warn, subject, found, means)
    }

    /// A finding of a broken promise.
    pub fn broken(subject: &str, found: impl Into<String>, means: impl Into<String>) -> Self {
        Self::new(Level::Broken, subject, found, means)
    }

    /// A finding without advice.
    pub fn new(
        level: Level,
        subject: &str,
        found: impl Into<String>,
        means: impl Into<String>,
    ) -> Self {
        Self {
            level,
            subject: subject.to_owned(),
            found: found.into(),
            means: means.into(),
            advice: None,
        }
    }

    /// Adds advice.
    #[must_use]
    pub fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// A check that could not be made, and the reason.
    pub fn unknown(subject: &str, why: impl std::fmt::Display) -> Self {
        Self::note(
            subject,
            format!("not known: {why}"),
            "nothing is said about it here",
        )
    }
}
