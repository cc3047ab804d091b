//! Durations as people write them: `500ms`, `2m`, `1h 30m`, `30d`.

use std::time::Duration;

use jiff::{SignedDuration, Span, SpanRelativeTo};

/// A text that is not a duration, or is a negative one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a duration such as 500ms, 2m, 1h 30m or 30d")]
pub struct DurationError {
    /// The text.
    pub text: String,
}

/// Reads a duration such as `500ms`, `2m`, `1h 30m` or `30d` (a day is 24 hours).
///
/// # Errors
/// The text is not a duration, or is a negative one.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let bad = || DurationError {
        text: text.to_owned(),
    };
    let span: Span = text.parse().map_err(|_| bad())?;
    let signed = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|_| bad())?;
    Duration::try_from(signed).map_err(|_| bad())
}

/// Writes a duration so that [`parse_duration`] reads it back.
pub fn format_duration(duration: Duration) -> String {
    match SignedDuration::try_from(duration) {
        Ok(signed) if !signed.is_zero() => format!("{signed:#}"),
        _ => "0s".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        let check =
            |text: &str, expect: Duration| assert_eq!(parse_duration(text), Ok(expect), "{text}");
        check("500ms", Duration::from_millis(500));
        check("2m", Duration::from_secs(120));
        check("1h 30m", Duration::from_secs(5400));
        check("30d", Duration::from_secs(30 * 86_400));
        check("0s", Duration::ZERO);
    }

    #[test]
    fn refuses_what_is_no_duration() {
        for text in ["", "5", "-1s", "soon", "1 fortnight"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn writes_what_it_reads() {
        for text in ["500ms", "2m", "1h 30m", "0s", "90d"] {
            let duration = parse_duration(text).unwrap();
            assert_eq!(
                parse_duration(&format_duration(duration)),
                Ok(duration),
                "{text}"
            );
        }
    }
}
