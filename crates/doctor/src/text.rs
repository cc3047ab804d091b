//! Sizes, times and counts for people.

use std::time::Duration;

/// `3.2 GiB`.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    let mut size = bytes as f64;
    let mut unit = "bytes";
    for next in UNITS {
        if size < 1024.0 {
            break;
        }
        size /= 1024.0;
        unit = next;
    }
    format!("{size:.1} {unit}")
}

/// `35 us`, `1.2 ms`, `3.5 s`, `12 min`, `2 h 5 min`, `3 d 4 h`.
pub fn time(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 if time.as_micros() < 1000 => format!("{} us", time.as_micros()),
        0 => format!("{:.1} ms", time.as_secs_f64() * 1000.0),
        1..60 => format!("{:.1} s", time.as_secs_f64()),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// `1 run`, `3 runs`.
pub fn count(number: u64, thing: &str) -> String {
    if number == 1 {
        format!("1 {thing}")
    } else {
        format!("{number} {thing}s")
    }
}

/// `1 run is`, `3 runs are`.
pub fn are(number: u64, thing: &str) -> String {
    format!(
        "{} {}",
        count(number, thing),
        if number == 1 { "is" } else { "are" }
    )
}

/// `a, b, c and 4 more`.
pub fn some(names: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown = names
        .iter()
        .take(SHOWN)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_read_well() {
        let check = |size, expect: &str| assert_eq!(bytes(size), expect);
        check(0, "0 bytes");
        check(1023, "1023 bytes");
        check(1536, "1.5 KiB");
        check(5 << 30, "5.0 GiB");
        let check = |micros, expect: &str| assert_eq!(time(Duration::from_micros(micros)), expect);
        check(7, "7 us");
        check(1_250, "1.2 ms");
        check(59_000_000, "59.0 s");
        check(61_000_000, "1 min");
        check(7_500_000_000, "2 h 5 min");
        check(100_000_000_000, "1 d 3 h");
    }

    #[test]
    fn lists_are_cut_short_and_verbs_agree() {
        assert_eq!(
            (are(1, "run"), are(2, "run")),
            ("1 run is".to_owned(), "2 runs are".to_owned())
        );
        let names = ["a", "b", "c", "d", "e"].map(str::to_owned);
        assert_eq!(some(&names[..3]), "a, b, c");
        assert_eq!(some(&names), "a, b, c and 2 more");
        assert_eq!(
            (count(1, "run"), count(0, "run")),
            ("1 run".to_owned(), "0 runs".to_owned())
        );
    }
}
