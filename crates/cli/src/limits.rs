//! Queue limits as people write them: `3`, `5/1s`, `30d,1000`, `none`.

use surefoot::{QueueLimits, Rate, RetentionLimit, format_duration, parse_duration};

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
    set(&mut limits.rate, "rate", change.rate.as_ref(), rate)?;
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

/// `5/1s`.
pub(crate) fn rate_text(rate: Rate) -> String {
    format!("{}/{}", rate.max, format_duration(rate.per))
}

/// `30d,1000`; `None` when everything is kept.
pub(crate) fn keep_text(keep: RetentionLimit) -> Option<String> {
    let parts = [
        keep.age.map(format_duration),
        keep.count.map(|count| count.to_string()),
    ];
    let parts = parts.into_iter().flatten().collect::<Vec<_>>();
    (!parts.is_empty()).then(|| parts.join(","))
}

fn set<T>(
    place: &mut Option<T>,
    name: &str,
    word: Option<&Word>,
    read: impl Fn(&str) -> Option<T>,
) -> Result<(), Failure> {
    let Some(Word(text)) = word else {
        return Ok(());
    };
    *place = match text.as_str() {
        "none" => None,
        text => Some(read(text).ok_or_else(|| wrong(name, text))?),
    };
    Ok(())
}

fn keep(place: &mut RetentionLimit, name: &str, word: Option<&Word>) -> Result<(), Failure> {
    let mut kept = Some(*place);
    set(&mut kept, name, word, read_keep)?;
    *place = kept.unwrap_or_default();
    Ok(())
}

fn wrong(name: &str, text: &str) -> Failure {
    let example = match name {
        "rate" => "a rate such as 5/1s",
        "concurrency" | "concurrency-per-key" => "a number of at least 1",
        _ => "an age such as 30d, a number of runs such as 1000, or both as 30d,1000",
    };
    Failure::usage(format!("{name} `{text}` is not {example}, or none"))
}

fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number| *number > 0)
}

fn rate(text: &str) -> Option<Rate> {
    let (max, per) = text.split_once('/')?;
    let per = parse_duration(per).ok().filter(|per| !per.is_zero())?;
    Some(Rate {
        max: number(max)?,
        per,
    })
}

fn read_keep(text: &str) -> Option<RetentionLimit> {
    let mut keep = RetentionLimit::default();
    for part in text.split(',').map(str::trim) {
        match part.parse() {
            Ok(count) if keep.count.is_none() => keep.count = Some(count),
            Err(_) if keep.age.is_none() => keep.age = Some(parse_duration(part).ok()?),
            _ => return None,
        }
    }
    Some(keep)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_they_are_written() {
        let check = |text: &str| {
            assert_eq!(
                keep_text(read_keep(text).unwrap()).as_deref(),
                Some(text),
                "{text}"
            )
        };
        check("720h");
        check("1000");
        check("720h,1000");
        assert_eq!(rate("5/1s").map(rate_text).as_deref(), Some("5/1s"));
    }

    #[test]
    fn what_is_no_limit_is_refused() {
        for text in ["", "x", "1,2", "1h,2h", "-1"] {
            assert!(read_keep(text).is_none(), "{text}");
        }
        for text in ["5", "0/1s", "5/0s", "5/x", "x/1s"] {
            assert!(rate(text).is_none(), "{text}");
        }
    }

    #[test]
    fn fuzzed_limits_are_written_as_they_are_read() {
        surefoot_fuzz::fuzz("limits", 3000, |random| {
            let mut grammar = surefoot_fuzz::Grammar { random };
            let text = match grammar.random.below(3) {
                0 => format!("{}/{}", grammar.random.bits(), grammar.duration()),
                1 => format!("{},{}", grammar.duration(), grammar.random.bits()),
                _ => format!("{}/{}", grammar.random.below(9), grammar.duration()),
            };
            let text = surefoot_fuzz::mutate_text(random, &text, &["/", ",", "s", "none"]);
            if let Some(read) = rate(&text) {
                assert_eq!(rate(&rate_text(read)), Some(read), "{text}");
            }
            if let Some(read) = read_keep(&text) {
                let written = keep_text(read).expect("a limit was read");
                assert_eq!(read_keep(&written), Some(read), "{text}");
            }
        });
    }

    #[test]
    fn only_what_is_named_changes() {
        let mut limits = QueueLimits {
            concurrency: Some(3),
            rate: rate("5/1s"),
            ..QueueLimits::default()
        };
        let change = Limits {
            rate: Some("none".into()),
            keep_failed: Some("30d".into()),
            ..Limits::default()
        };
        apply(&change, &mut limits).unwrap();
        assert_eq!((limits.concurrency, limits.rate), (Some(3), None));
        assert_eq!(limits.retention.failed, read_keep("30d").unwrap());
    }
}
