//! Numbers in JSON from outside keep their digits: one that no number of this program holds is read
//! as the text that it is written as.
//!
//! Whole numbers are kept up to 64 bits, all others as double-precision numbers. An account number
//! of 20 digits or an amount of 25 would be rounded without a word. `serde_json` can keep every
//! digit (`arbitrary_precision`), but a feature of a library changes it for every crate of a user's
//! program, numbers are then equal only when they are written alike, and the template engine reads
//! them as objects. As a text the value reaches commands, requests and pages with its digits, and
//! a schema that wants a number refuses it.

use std::borrow::Cow;

use serde_json::Value;

/// Most significant digits that a double-precision number can have.
const MAX_DOUBLE_DIGITS: usize = 767;

/// Reads JSON that comes from outside: an answer, an output, a parameter.
///
/// A number that would be rounded is read as its text: a whole number beyond 64 bits, or one with
/// a fraction or an exponent whose digits are not those of the nearest double-precision number.
///
/// # Errors
/// When the text is not JSON.
pub fn from_json(text: &str) -> serde_json::Result<Value> {
    serde_json::from_str(&keep_digits(text))
}

/// The same JSON with quotes around each number that would be rounded; see [`from_json`].
///
/// A text that is not JSON is not made JSON by it.
pub fn keep_digits(json: &str) -> Cow<'_, str> {
    let bytes = json.as_bytes();
    let mut kept = String::new();
    let mut copied = 0;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = end_of_string(bytes, at),
            b'-' | b'0'..=b'9' => {
                let end = end_of_number(bytes, at);
                let number = &json[at..end];
                // A number in the place of a name is an error, and stays one.
                let is_name = || json[end..].trim_start().starts_with(':');
                if is_rounded(number) && !is_name() {
                    kept.push_str(&json[copied..at]);
                    kept.push('"');
                    kept.push_str(number);
                    kept.push('"');
                    copied = end;
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    kept.push_str(&json[copied..]);
    Cow::Owned(kept)
}

/// The place behind the string that begins at `start`.
fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn end_of_number(bytes: &[u8], start: usize) -> usize {
    let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
    let length = bytes[start..]
        .iter()
        .take_while(|byte| is_part(byte))
        .count();
    start + length
}

/// Returns whether a number of JSON would lose digits. A text that is none does not.
fn is_rounded(number: &str) -> bool {
    // So many digits are kept by every number of that length.
    if number.len() <= 15 && !number.contains(['e', 'E']) {
        return false;
    }
    let Some(written) = Written::parse(number) else {
        return false;
    };
    if written.is_whole {
        return number.parse::<i64>().is_err() && number.parse::<u64>().is_err();
    }
    if written.digits.is_empty() {
        return false;
    }
    let Ok(double) = number.parse::<f64>() else {
        return true;
    };
    !double.is_finite()
        || double == 0.0
        || written.digits.len() > MAX_DOUBLE_DIGITS
        || written.shows(double) != Some(true)
}

/// A number as it is written.
struct Written {
    /// It has neither a fraction nor an exponent.
    is_whole: bool,
    /// The significant digits: none of zero.
    digits: String,
    /// The power of ten of the first digit.
    exponent: i64,
}

impl Written {
    /// Reads a number by the grammar of JSON.
    fn parse(number: &str) -> Option<Self> {
        let unsigned = number.strip_prefix('-').unwrap_or(number);
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, Some(exponent)),
            None => (unsigned, None),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (mantissa, None),
        };
        let is_grammatical = is_digits(whole)
            && (whole == "0" || !whole.starts_with('0'))
            && fraction.is_none_or(is_digits)
            && exponent.is_none_or(|text| is_digits(text.strip_prefix(['+', '-']).unwrap_or(text)));
        if !is_grammatical {
            return None;
        }
        let all = format!("{whole}{}", fraction.unwrap_or_default());
        let significant = all.trim_start_matches('0');
        let zeros = i64::try_from(all.len() - significant.len()).ok()?;
        let places = i64::try_from(whole.len()).ok()?;
        let shift = match exponent.map(str::parse::<i64>) {
            None => 0,
            Some(Ok(shift)) => shift,
            // Far beyond what a double holds, either way.
            Some(Err(_)) => i64::MAX / 2,
        };
        Some(Self {
            is_whole: fraction.is_none() && exponent.is_none(),
            digits: significant.trim_end_matches('0').to_owned(),
            exponent: shift.saturating_add(places - 1 - zeros),
        })
    }

    /// Returns whether `double` has these digits when it is written with as many.
    fn shows(&self, double: f64) -> Option<bool> {
        let shown = format!("{:.*e}", self.digits.len() - 1, double.abs());
        let (mantissa, exponent) = shown.split_once('e')?;
        let exponent: i64 = exponent.parse().ok()?;
        Some(mantissa.replace('.', "") == self.digits && exponent == self.exponent)
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_number_that_would_be_rounded_is_its_text() {
        for number in [
            "18446744073709551616",
            "-9223372036854775809",
            "100000000000000000000",
            "12345678901234567890123456789",
            "3.141592653589793238",
            "12345678901234.567",
            "0.1000000000000000000001",
            "1234567890123456789.5",
            "1.2345678901234567891e5",
            "1e400",
            "-1e400",
            "1e-400",
            "1e99999999999999999999",
            &format!("1.{}1", "0".repeat(1000)),
        ] {
            assert_eq!(from_json(number).unwrap(), json!(number), "{number}");
            let inside = format!("[{{\"a\": {number}}}, {number} ]");
            assert_eq!(
                from_json(&inside).unwrap(),
                json!([{ "a": number }, number]),
                "{number}"
            );
        }
    }

    #[test]
    fn all_other_numbers_stay_numbers() {
        for number in [
            "0",
            "-0",
            "0.0",
            "1",
            "18446744073709551615",
            "-9223372036854775808",
            "9007199254740993",
            "1.10",
            "1e2",
            "1E+2",
            "0.1",
            // The same double in 17 digits, and in more.
            "0.10000000000000001",
            "0.1000000000000000055511151231257827",
            "0.30000000000000004",
            "2.2250738585072014e-300",
            "123456789012345.6",
            "100000000000000000000.0",
            "1e20",
        ] {
            let read = from_json(number).unwrap();
            assert!(read.is_number(), "{number}: {read}");
            let expect: f64 = number.parse().unwrap();
            assert_eq!(read.as_f64(), Some(expect), "{number}");
        }
    }

    #[test]
    fn what_is_no_number_stays_as_it_is() {
        let long = "12345678901234567890123";
        for text in [
            format!("\"{long}\""),
            format!("\"\\\"{long}\""),
            format!("\"\\\\\", {long}x"),
            format!("{{{long}: 1}}"),
            format!("{{{long} : 1}}"),
            format!("0{long}"),
            format!("{long}."),
            format!("-{long}e"),
            format!("--{long}"),
            format!("\"{long}"),
            "\"\\".to_owned(),
            "-".to_owned(),
        ] {
            let kept = keep_digits(&text);
            let read = serde_json::from_str::<Value>(&text);
            if read.is_ok() {
                assert_eq!(kept, text);
            } else {
                assert!(serde_json::from_str::<Value>(&kept).is_err(), "{kept}");
            }
        }
    }
}
