//! The forms in which a secret is looked for.
//!
//! Escapes (percent, JSON, HTML, shell) are undone in the text instead, and line breaks are passed
//! over there: patterns hold none.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::automaton::Pattern;
use super::{SHORTEST_MASKED, SHORTEST_PART};

/// A shorter piece of base64 is found by chance.
const SHORTEST_BASE64: usize = 6;

/// Everything to look for because of this secret: nothing when it is too short.
pub(super) fn patterns(secret: &str) -> Vec<Pattern> {
    let whole = secret.trim();
    if whole.len() < SHORTEST_MASKED {
        return Vec::new();
    }
    let mut patterns = forms(whole, whole.len() >= SHORTEST_PART);
    if whole.contains('\n') {
        let lines = whole
            .lines()
            .map(str::trim)
            .filter(|line| line.len() >= SHORTEST_PART);
        patterns.extend(lines.flat_map(|line| forms(line, false)));
    }
    patterns
}

/// A text as it is, in base64 at each of the three offsets, and in hexadecimal.
fn forms(text: &str, whole: bool) -> Vec<Pattern> {
    let mut forms = vec![without_line_breaks(text)];
    if text.contains(' ') {
        forms.push(without_line_breaks(&text.replace(' ', "+")));
    }
    for offset in 0..3 {
        forms.extend(base64(text, offset));
    }
    forms.push(hexadecimal(text, b"0123456789abcdef"));
    forms.push(hexadecimal(text, b"0123456789ABCDEF"));
    forms.sort();
    forms.dedup();
    forms
        .into_iter()
        .filter(|bytes| !bytes.is_empty())
        .map(|bytes| Pattern { bytes, whole })
        .collect()
}

fn without_line_breaks(text: &str) -> Vec<u8> {
    text.bytes()
        .filter(|byte| !super::is_line_break(*byte))
        .collect()
}

/// The part that is the same in the base64 of every text that has this one after `offset` bytes
/// (modulo 3), in both alphabets.
fn base64(text: &str, offset: usize) -> Vec<Vec<u8>> {
    let bytes = [&[0; 2][..offset], text.as_bytes()].concat();
    let from = [0, 2, 3][offset];
    // The last digit depends on what follows, unless nothing does; then it is whole from the first
    // byte on.
    let to = bytes.len() * 8 / 6;
    let ends = if offset == 0 {
        vec![to, (bytes.len() * 8).div_ceil(6)]
    } else {
        vec![to]
    };
    let mut forms = Vec::new();
    for encoded in [
        STANDARD_NO_PAD.encode(&bytes),
        URL_SAFE_NO_PAD.encode(&bytes),
    ] {
        for end in &ends {
            let form = encoded.as_bytes().get(from..*end).unwrap_or_default();
            if form.len() >= SHORTEST_BASE64 {
                forms.push(form.to_vec());
            }
        }
    }
    forms
}

fn hexadecimal(text: &str, digits: &[u8; 16]) -> Vec<u8> {
    text.bytes()
        .flat_map(|byte| {
            [
                digits[usize::from(byte >> 4)],
                digits[usize::from(byte & 15)],
            ]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_known_at_every_offset_of_base64() {
        for secret in ["hunter2", "abcd", "s3cr3t-token", "\u{fb}\u{ff}\u{fe}?>"] {
            for before in 0..9 {
                for after in 0..4 {
                    let text = format!("{}{secret}{}", "x".repeat(before), "y".repeat(after));
                    let found = |encoded: &str| {
                        patterns(secret).iter().any(|pattern| {
                            encoded
                                .as_bytes()
                                .windows(pattern.bytes.len())
                                .any(|part| part == pattern.bytes)
                        })
                    };
                    // Four bytes at the wrong offset give five digits or fewer: too short to look
                    // for.
                    let findable = secret.len() > 4 || (before % 3 == 0 && after == 0);
                    assert!(!findable || found(&STANDARD_NO_PAD.encode(&text)), "{text}");
                    assert!(!findable || found(&URL_SAFE_NO_PAD.encode(&text)), "{text}");
                }
            }
        }
    }

    #[test]
    fn a_short_value_and_a_short_line_are_not_looked_for() {
        assert_eq!(patterns(" abc\n"), []);
        let lines = patterns("first line\nshort\nlast line!");
        assert!(!lines.iter().any(|pattern| pattern.bytes == b"short"));
        let whole = |bytes: &[u8]| {
            lines
                .iter()
                .find(|pattern| pattern.bytes == bytes)
                .map(|pattern| pattern.whole)
        };
        assert_eq!(whole(b"first line"), Some(false));
        assert_eq!(whole(b"first lineshortlast line!"), Some(true));
    }
}
