//! Queue limits as people write them: `3`, `5/1s`, `30d,1000`, `none`.

use std::fmt::Display;
use std::num::NonZeroU32;

use surefoot::{QueueLimits, Rate, RetentionLimit};

use crate::args::{Limits, Permit, Word};
use crate::errors::Failure;

/// Changes those of `limits` that are named.
pub(crate) fn apply(change: &Limits, limits: &mut QueueLimits) -> Result<(), Failure> {
    set(
        &mut limits.concurrency,
        "concurrency",
        change.concurrency.as_ref(),
        number,
    )?;
    set(
        &mut limits.concurrency_per_key,
        "concurrency-per-key",
        change.concurrency_per_key.as_ref(),
        number,
    )?;
    set(
        &mut limits.rate,
        "rate",
        change.rate.as_ref(),
        str::parse::<Rate>,
    )?;
    if let Some(Permit(list)) = &change.workflows {
        limits.allow.workflows = list.clone();
    }
    if let Some(Permit(list)) = &change.actions {
        limits.allow.actions = list.clone();
    }
    let retention = &mut limits.retention;
    keep(
        &mut retention.completed,
        "keep-completed",
        change.keep_completed.as_ref(),
    )?;
    keep(
        &mut retention.failed,
        "keep-failed",
        change.keep_failed.as_ref(),
    )?;
    keep(
        &mut retention.cancelled,
        "keep-cancelled",
        change.keep_cancelled.as_ref(),
    )
}

impl Limits {
    /// Returns true if no limit is given.
    pub(crate) fn is_empty(&self) -> bool {
        let named = [
            &self.concurrency,
            &self.concurrency_per_key,
            &self.rate,
            &self.keep_completed,
            &self.keep_failed,
            &self.keep_cancelled,
        ];
        let lists = [&self.workflows, &self.actions];
        named.iter().all(|word| word.is_none()) && lists.iter().all(|list| list.is_none())
    }
}

fn set<T, E: Display>(
    limit: &mut Option<T>,
    name: &str,
    word: Option<&Word>,
    read: impl Fn(&str) -> Result<T, E>,
) -> Result<(), Failure> {
    let Some(Word(text)) = word else {
        return Ok(());
    };
    *limit = match text.as_str() {
        "none" => None,
        text => {
            let wrong = |error: E| Failure::usage(format!("{name} {error}, or none"));
            Some(read(text).map_err(wrong)?)
        }
    };
    Ok(())
}

fn keep(limit: &mut RetentionLimit, name: &str, word: Option<&Word>) -> Result<(), Failure> {
    if let Some(Word(text)) = word {
        *limit = text
            .parse::<RetentionLimit>()
            .map_err(|error| Failure::usage(format!("{name} {error}")))?;
    }
    Ok(())
}

fn number(text: &str) -> Result<u32, String> {
    text.parse::<NonZeroU32>()
        .map(NonZeroU32::get)
        .map_err(|_| format!("`{text}` is not a number of at least 1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_changes() {
        let mut limits = QueueLimits {
            concurrency: Some(3),
            rate: "5/1s".parse().ok(),
            ..QueueLimits::default()
        };
        let change = Limits {
            rate: Some("none".into()),
            keep_failed: Some("30d".into()),
            ..Limits::default()
        };
        apply(&change, &mut limits).unwrap();
        assert_eq!((limits.concurrency, limits.rate), (Some(3), None));
        assert_eq!(limits.retention.failed.to_string(), "30d");
    }
}
