//! Rate limits of servers: waits that use no attempt.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use surefoot::{Clock, SystemClock, Timestamp};

use super::retry_after;

/// Shortest wait: without it, a server that asks for none would get a hundred requests in a moment.
const SHORTEST: Duration = Duration::from_secs(1);

/// A reset time below this is a number of seconds; one above it is a time since the epoch.
const EARLIEST_EPOCH: f64 = 1_000_000_000.0;

/// The requested wait, if a response is a rate limit.
pub(super) fn delay(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    asked_delay(status, headers).map(|delay| delay.max(SHORTEST))
}

/// The wait requested by the server, relative to the server's clock if it sends that: the two
/// clocks may differ.
fn asked_delay(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let now = text(DATE.as_str())
        .and_then(retry_after::date)
        .unwrap_or_else(|| SystemClock.now());
    let retry_after = || retry_after::parse(text(RETRY_AFTER.as_str())?, now);
    let remaining = ["x-ratelimit-remaining", "ratelimit-remaining"]
        .into_iter()
        .find_map(text);
    let reset = || {
        reset_delay(
            ["x-ratelimit-reset", "ratelimit-reset"]
                .into_iter()
                .find_map(text)?,
            now,
        )
    };
    let is_used_up = remaining.is_some_and(|remaining| remaining.trim() == "0");
    match status.as_u16() {
        503 => retry_after(),
        403 | 429 if is_used_up => retry_after().or_else(reset),
        403 | 429 => retry_after(),
        _ => None,
    }
}

/// Time until a limit is reset: `1732873500` is a time since the epoch, `30` a number of seconds.
fn reset_delay(text: &str, now: Timestamp) -> Option<Duration> {
    let reset = text
        .trim()
        .parse::<f64>()
        .ok()
        .filter(|reset| reset.is_finite() && *reset >= 0.0)?;
    let seconds = if reset < EARLIEST_EPOCH {
        reset
    } else {
        (reset - seconds(now)).max(0.0)
    };
    Some(retry_after::at_most(seconds))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a fraction of a microsecond does not count"
)]
fn seconds(time: Timestamp) -> f64 {
    time.as_micros() as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn every_form_of_a_rate_limit_is_a_wait() {
        let check = |status: u16, lines: &[&str], expect: Option<f64>| {
            let mut headers = HeaderMap::new();
            for line in ["date: Sun, 06 Nov 1994 08:49:37 GMT"].iter().chain(lines) {
                let (name, value) = line.split_once(": ").unwrap();
                headers.insert(
                    HeaderName::from_bytes(name.as_bytes()).unwrap(),
                    HeaderValue::from_str(value).unwrap(),
                );
            }
            let delay = asked_delay(StatusCode::from_u16(status).unwrap(), &headers);
            assert_eq!(
                delay.map(|delay| delay.as_secs_f64()),
                expect,
                "{status} {lines:?}"
            );
        };
        for status in [403, 429, 503] {
            check(status, &["retry-after: 2"], Some(2.0));
            check(status, &["retry-after: 1.5"], Some(1.5));
            check(
                status,
                &["retry-after: Sun, 06 Nov 1994 08:49:40 GMT"],
                Some(3.0),
            );
            check(status, &["retry-after: soon"], None);
            check(status, &[], None);
        }
        for status in [403, 429] {
            check(
                status,
                &["x-ratelimit-remaining: 0", "x-ratelimit-reset: 30"],
                Some(30.0),
            );
            check(
                status,
                &["ratelimit-remaining: 0", "ratelimit-reset: 7"],
                Some(7.0),
            );
            check(
                status,
                &["x-ratelimit-remaining: 5", "x-ratelimit-reset: 30"],
                None,
            );
            check(status, &["x-ratelimit-remaining: 0"], None);
        }
        check(
            503,
            &["x-ratelimit-remaining: 0", "x-ratelimit-reset: 30"],
            None,
        );
        check(500, &["retry-after: 2"], None);
        check(401, &["retry-after: 2"], None);
    }

    #[test]
    fn a_reset_is_seconds_or_a_time() {
        let now = Timestamp::from_micros(1_700_000_000_500_000);
        let check = |text: &str, expect: Option<f64>| {
            assert_eq!(
                reset_delay(text, now).map(|delay| delay.as_secs_f64()),
                expect,
                "{text}"
            );
        };
        check("1700000010", Some(9.5));
        check("1700000010.5", Some(10.0));
        check("1699999999", Some(0.0));
        check("60", Some(60.0));
        check("-1", None);
        check("NaN", None);
        check("later", None);
    }
}
