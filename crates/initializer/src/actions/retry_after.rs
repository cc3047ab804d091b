//! The `Retry-After` header of HTTP (RFC 9110, section 10.2.3): seconds, or a date.

use std::time::Duration;

use surefoot::Timestamp;

/// No server's word makes a step wait longer.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// How long to wait from `now`; `None` when the header says nothing that can be read. A date that is past is no wait.
pub(super) fn parse(header: &str, now: Timestamp) -> Option<Duration> {
    let header = header.trim();
    let delay = match header.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => date(header)?.since(now),
    };
    Some(delay.min(LONGEST))
}

/// Reads a date of HTTP: `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(super) fn date(text: &str) -> Option<Timestamp> {
    let time = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
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
            assert_eq!(parse(header, now), expect.map(Duration::from_secs), "{header}");
        };
        check("120", Some(120));
        check(" 0 ", Some(0));
        check("Sun, 06 Nov 1994 08:50:37 GMT", Some(60));
        check("Sun, 06 Nov 1994 08:40:00 GMT", Some(0));
        check("99999999999", Some(86_400));
        check("soon", None);
        check("-5", None);
    }
}
