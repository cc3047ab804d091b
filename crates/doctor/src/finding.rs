//! A finding: what was seen, what it means for a crash, what to do.

use serde::Serialize;

/// How a finding is to be taken. In order: the worst is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Good to know, or something that could not be looked at.
    Note,
    /// A promise holds, but not comfortably; or runs will fail or wait.
    Warn,
    /// A promise does not hold here, or nobody can vouch for it.
    Broken,
}

impl Level {
    /// The word that people and scripts read.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warn => "warn",
            Self::Broken => "broken",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How it is to be taken.
    pub level: Level,
    /// What was looked at, in a word or two: `file system`.
    pub subject: String,
    /// What was found.
    pub found: String,
    /// What that means when something crashes.
    pub means: String,
    /// What to do about it, if anything.
    pub advice: Option<String>,
}

impl Finding {
    /// As it should be.
    pub fn ok(subject: &str, found: impl Into<String>, means: impl Into<String>) -> Self {
        Self::new(Level::Ok, subject, found, means)
    }

    /// Good to know.
    pub fn note(subject: &str, found: impl Into<String>, means: impl Into<String>) -> Self {
        Self::new(Level::Note, subject, found, means)
    }

    /// Not comfortable.
    pub fn warn(subject: &str, found: impl Into<String>, means: impl Into<String>) -> Self {
        Self::new(Level::Warn, subject, found, means)
    }

    /// A promise does not hold.
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

    /// Says what to do.
    #[must_use]
    pub fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// What could not be looked at, and why.
    pub fn unknown(subject: &str, why: impl std::fmt::Display) -> Self {
        Self::note(
            subject,
            format!("not known: {why}"),
            "nothing is said about it here",
        )
    }
}
