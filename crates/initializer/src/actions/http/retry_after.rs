//! The `Retry-After` header of HTTP (RFC 9110, section 10.2.3): seconds, or a date in any of the
//! three forms.

use std::time::Duration;

use surefoot::Timestamp;

/// Longest wait. It is beyond every limit, and keeps the sum in range.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Obsolete date forms, which older servers write.
const OLD_DATES: [&str; 2] = ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];

/// The wait from `now`; `None` if the header cannot be parsed. A past date is no wait.
pub(super) fn parse(header: &str, now: Timestamp) -> Option<Duration> {
    let header = header.trim();
    // The standard has no fractions, but some servers write them.
    let is_number = header.starts_with(|letter: char| letter.is_ascii_digit())
        && header
            .chars()
            .all(|letter| letter.is_ascii_digit() || letter == '.');
    match is_number {
        true => header.parse().ok().map(at_most),
        false => Some(date(header)?.since(now).min(LONGEST)),
    }
}

/// A number of seconds, capped. `seconds` is not negative.
pub(super) fn at_most(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds)
        .unwrap_or(LONGEST)
        .min(LONGEST)
}

/// Parses a date of HTTP: `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(super) fn date(text: &str) -> Option<Timestamp> {
    let usual = || {
        jiff::fmt::rfc2822::DateTimeParser::new()
            .parse_timestamp(text)
            .ok()
    };
    let old = || {
        OLD_DATES
            .iter()
            .find_map(|form| jiff::civil::DateTime::strptime(form, text).ok())
    };
    let time = usual().or_else(|| jiff::tz::TimeZone::UTC.to_timestamp(old()?).ok())?;
    Some(Timestamp::from_micros(time.as_microsecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_seconds_and_dates() {
        let now = date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        assert_eq!(now.to_string(), "1994-11-06T08:49:37.000000Z");
        let check = |header: &str, expect: Option<u64>| {
            assert_eq!(
                parse(header, now),
                expect.map(Duration::from_secs),
                "{header}"
            );
        };
        check("120", Some(120));
        check(" 0 ", Some(0));
        check("Sun, 06 Nov 1994 08:50:37 GMT", Some(60));
        check("Sun, 06 Nov 1994 08:40:00 GMT", Some(0));
        check("Sunday, 06-Nov-94 08:50:37 GMT", Some(60));
        check("Sun Nov  6 08:50:37 1994", Some(60));
        check("99999999999", Some(2_592_000));
        check("999999999999999999999999999999", Some(2_592_000));
        check("Sat, 06 Nov 2094 08:50:37 GMT", Some(2_592_000));
        check("soon", None);
        check("-5", None);
        check("1.2.3", None);
        check("inf", None);
        check("", None);
        assert_eq!(parse("1.5", now), Some(Duration::from_millis(1500)));
    }
}
