//! Formats times, durations and numbers. The format is the same in every language; times are in the
//! reader's zone.

use std::time::Duration;

use serde::Serialize;
use surefoot::Timestamp;

/// The reader's offset from UTC in minutes. A script stores it in a cookie, since requests do not
/// contain it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Zone(pub(crate) i32);

/// A point in time on a page.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Moment {
    /// Machine-readable: `2026-05-04T09:30:00.000000Z`.
    pub(crate) iso: String,
    /// Short text: the time if it is today, else day and time.
    pub(crate) text: String,
    /// Complete text.
    pub(crate) full: String,
}

/// The duration of something, so far if it is still going on.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Elapsed {
    pub(crate) text: String,
    /// The start in milliseconds since the epoch, if it is still going on. The script counts from
    /// there.
    pub(crate) since: Option<i64>,
}

impl Zone {
    /// `UTC`, `UTC+08:00`.
    pub(crate) fn name(self) -> String {
        let sign = if self.0 < 0 { '-' } else { '+' };
        let minutes = self.0.abs();
        if self.0 == 0 {
            "UTC".to_owned()
        } else {
            format!("UTC{sign}{:02}:{:02}", minutes / 60, minutes % 60)
        }
    }

    /// Parses the cookie's value.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        text.parse()
            .ok()
            .filter(|minutes| (-14 * 60..=14 * 60).contains(minutes))
            .map(Self)
    }

    fn write(self, at: Timestamp, format: &str) -> String {
        let shifted = at
            .as_micros()
            .saturating_add(i64::from(self.0) * 60_000_000);
        jiff::Timestamp::from_microsecond(shifted)
            .map(|time| time.strftime(format).to_string())
            .unwrap_or_default()
    }

    /// The start of the day of `at`.
    pub(crate) fn midnight(self, at: Timestamp) -> Timestamp {
        const DAY: i64 = 86_400_000_000;
        let shift = i64::from(self.0) * 60_000_000;
        Timestamp::from_micros((at.as_micros() + shift).div_euclid(DAY) * DAY - shift)
    }

    /// `14:05`.
    pub(crate) fn minute(self, at: Timestamp) -> String {
        self.write(at, "%H:%M")
    }

    /// `14:05:09`.
    pub(crate) fn second(self, at: Timestamp) -> String {
        self.write(at, "%H:%M:%S")
    }

    /// `05-04 14:00`.
    pub(crate) fn day(self, at: Timestamp) -> String {
        self.write(at, "%m-%d %H:%M")
    }

    /// A point in time as displayed at `now`.
    pub(crate) fn moment(self, at: Timestamp, now: Timestamp) -> Moment {
        let same = |format| self.write(at, format) == self.write(now, format);
        let text = if same("%Y-%m-%d") {
            self.second(at)
        } else if same("%Y") {
            self.day(at)
        } else {
            self.write(at, "%Y-%m-%d %H:%M")
        };
        Moment {
            iso: at.to_string(),
            text,
            full: format!(
                "{} {}",
                self.write(at, "%Y-%m-%d %H:%M:%S.%3f"),
                self.name()
            ),
        }
    }
}

impl Elapsed {
    /// The duration from `from` to `to`, or until now.
    pub(crate) fn between(
        from: Option<Timestamp>,
        to: Option<Timestamp>,
        now: Timestamp,
    ) -> Option<Self> {
        let from = from?;
        let since = to.is_none().then(|| from.as_micros() / 1000);
        Some(Self {
            text: duration(to.unwrap_or(now).since(from)),
            since,
        })
    }
}

/// `312 ms`, `3.2 s`, `45 s`, `1 m 12 s`, `3 h 05 m`, `2 d 3 h`. The script formats durations of a
/// second or more identically.
pub(crate) fn duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{millis} ms"),
        1..10 => format!("{seconds}.{} s", millis % 1000 / 100),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} m {:02} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {:02} m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// `1,234,567`.
pub(crate) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The first line, shortened to at most `max` characters.
pub(crate) fn first_line(text: &str, max: usize) -> String {
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(max) {
        Some((end, _)) => format!("{}\u{2026}", &line[..end]),
        None if line.len() < text.trim_end().len() => format!("{line} \u{2026}"),
        None => line.to_owned(),
    }
}

/// Percent-encodes a text for a URL.
pub(crate) fn url(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn durations_are_readable_at_every_size() {
        let check =
            |millis: u64, expect: &str| assert_eq!(duration(Duration::from_millis(millis)), expect);
        check(0, "0 ms");
        check(999, "999 ms");
        check(3_249, "3.2 s");
        check(45_900, "45 s");
        check(72_000, "1 m 12 s");
        check(3 * 3_600_000 + 5 * 60_000, "3 h 05 m");
        check(51 * 3_600_000, "2 d 3 h");
    }

    #[test]
    fn times_are_in_the_readers_zone() {
        let zone = Zone(480);
        let now = at("2026-05-04T20:00:00Z");
        assert_eq!(
            zone.moment(at("2026-05-04T16:30:00Z"), now).text,
            "00:30:00"
        );
        assert_eq!(
            zone.moment(at("2026-05-04T15:30:00Z"), now).text,
            "05-04 23:30"
        );
        assert_eq!(
            zone.moment(at("2025-05-04T15:30:00Z"), now).text,
            "2025-05-04 23:30"
        );
        assert_eq!(
            zone.moment(at("2026-05-04T15:30:00.25Z"), now).full,
            "2026-05-04 23:30:00.250 UTC+08:00"
        );
        assert_eq!(zone.midnight(now), at("2026-05-04T16:00:00Z"));
        assert_eq!(Zone(-210).name(), "UTC-03:30");
        assert_eq!(
            (Zone::parse("480"), Zone::parse("9999"), Zone::parse("x")),
            (Some(Zone(480)), None, None)
        );
    }

    #[test]
    fn numbers_and_lines() {
        assert_eq!(
            (number(0), number(999), number(1_234_567)),
            ("0".into(), "999".into(), "1,234,567".into())
        );
        assert_eq!(first_line("one\ntwo", 10), "one \u{2026}");
        assert_eq!(first_line("abcdef", 3), "abc\u{2026}");
        assert_eq!(url("a b/\u{4e2d}"), "a%20b%2F%E4%B8%AD");
    }
}
