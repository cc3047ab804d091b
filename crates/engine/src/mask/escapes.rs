//! Undoes the escapes that tools write by themselves - percent, JSON, HTML and shell - and
//! remembers where each byte stood.

use std::ops::Range;

/// A kind of escape. Each is undone by itself: `%` and `\` are ordinary letters to all but one of
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `%2F`, as in addresses.
    Percent,
    /// `\"` and `\u0022`, as in JSON, in programs and in shells.
    Backslash,
    /// `&amp;`, as in HTML.
    Entity,
    /// `'\''`, as a shell writes a quote within quotes.
    Quote,
}

/// Every kind.
pub(super) const KINDS: [Kind; 4] = [Kind::Percent, Kind::Backslash, Kind::Entity, Kind::Quote];

/// A text without its escapes of one kind.
#[derive(Debug, Default)]
pub(super) struct Unescaped {
    pub(super) bytes: Vec<u8>,
    /// Begin and end of each byte in the original text.
    spans: Vec<(u32, u32)>,
}

/// The longest name or number of an HTML entity that is looked for, `&` and `;` included.
const LONGEST_ENTITY: usize = 10;

impl Unescaped {
    /// The text with its escapes of this kind undone; `None` when it has none.
    pub(super) fn of(kind: Kind, text: &[u8]) -> Option<Self> {
        let mark = match kind {
            Kind::Percent => b'%',
            Kind::Backslash => b'\\',
            Kind::Entity => b'&',
            Kind::Quote => b'\'',
        };
        if !text.contains(&mark) {
            return None;
        }
        let mut unescaped = Self::default();
        let mut at = 0;
        while at < text.len() {
            let rest = &text[at..];
            let (character, length) = escape(kind, rest).unwrap_or((Escaped::Byte(rest[0]), 1));
            unescaped.push(character, at, at + length);
            at += length;
        }
        (unescaped.bytes.len() < text.len()).then_some(unescaped)
    }

    /// Escapes within escapes, as when a text of JSON is put into JSON.
    pub(super) fn again(&self, kind: Kind) -> Option<Self> {
        let mut inner = Self::of(kind, &self.bytes)?;
        for (start, end) in &mut inner.spans {
            *start = self.spans[*start as usize].0;
            *end = self.spans[*end as usize - 1].1;
        }
        Some(inner)
    }

    fn push(&mut self, character: Escaped, start: usize, end: usize) {
        match character {
            Escaped::Byte(byte) => self.bytes.push(byte),
            Escaped::Char(letter) => self
                .bytes
                .extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
        }
        let span = (
            u32::try_from(start).unwrap_or(u32::MAX),
            u32::try_from(end).unwrap_or(u32::MAX),
        );
        self.spans.resize(self.bytes.len(), span);
    }

    pub(super) fn span(&self, first: usize, last: usize) -> Range<usize> {
        self.spans[first].0 as usize..self.spans[last].1 as usize
    }
}

#[derive(Clone, Copy)]
enum Escaped {
    Byte(u8),
    Char(char),
}

/// The escape that a text begins with, and its length.
fn escape(kind: Kind, text: &[u8]) -> Option<(Escaped, usize)> {
    match (kind, text) {
        (Kind::Percent, [b'%', high, low, ..]) => Some((Escaped::Byte(hex_byte(*high, *low)?), 3)),
        (Kind::Backslash, _) => backslash(text),
        (Kind::Entity, [b'&', ..]) => entity(text),
        (Kind::Quote, [b'\'', b'\\', b'\'', b'\'', ..]) => Some((Escaped::Byte(b'\''), 4)),
        _ => None,
    }
}

fn backslash(text: &[u8]) -> Option<(Escaped, usize)> {
    let byte = match text {
        [b'\\', b'u', rest @ ..] => return unicode(rest),
        [b'\\', b'x', high, low, ..] => return Some((Escaped::Byte(hex_byte(*high, *low)?), 4)),
        [b'\\', b'n', ..] => b'\n',
        [b'\\', b'r', ..] => b'\r',
        [b'\\', b't', ..] => b'\t',
        [b'\\', b'b', ..] => 8,
        [b'\\', b'f', ..] => 12,
        [b'\\', other, ..] if other.is_ascii_punctuation() || *other == b' ' => *other,
        _ => return None,
    };
    Some((Escaped::Byte(byte), 2))
}

/// `\uXXXX`, or two of them for one character, after the `\u`.
fn unicode(text: &[u8]) -> Option<(Escaped, usize)> {
    let first = hex_unit(text)?;
    if let [_, _, _, _, b'\\', b'u', rest @ ..] = text
        && let Some(second) = hex_unit(rest)
        && let Some(Ok(letter)) = char::decode_utf16([first, second]).next()
        && letter.len_utf16() == 2
    {
        return Some((Escaped::Char(letter), 12));
    }
    Some((Escaped::Char(char::from_u32(u32::from(first))?), 6))
}

fn hex_unit(text: &[u8]) -> Option<u16> {
    let [a, b, c, d, ..] = text else { return None };
    Some(u16::from_be_bytes([hex_byte(*a, *b)?, hex_byte(*c, *d)?]))
}

fn hex_byte(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

fn entity(text: &[u8]) -> Option<(Escaped, usize)> {
    let end = text
        .iter()
        .take(LONGEST_ENTITY)
        .position(|byte| *byte == b';')?;
    let name = std::str::from_utf8(&text[1..end]).ok()?;
    let letter = match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => {
            let number = name.strip_prefix('#')?;
            let hexadecimal = number
                .strip_prefix(['x', 'X'])
                .map(|digits| u32::from_str_radix(digits, 16));
            char::from_u32(hexadecimal.unwrap_or_else(|| number.parse()).ok()?)?
        }
    };
    Some((Escaped::Char(letter), end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_of_each_kind_are_undone() {
        let check = |kind: Kind, text: &str, expect: &str| {
            let unescaped = Unescaped::of(kind, text.as_bytes()).unwrap();
            assert_eq!(
                String::from_utf8(unescaped.bytes).unwrap(),
                expect,
                "{text}"
            );
        };
        check(Kind::Percent, "a%2fb%2Fc 100% of \\n", "a/b/c 100% of \\n");
        check(
            Kind::Backslash,
            r#"\"a\\b\/\n\u003c\ud83d\ude00\u00e9%41\q"#,
            "\"a\\b/\n<\u{1f600}\u{e9}%41\\q",
        );
        check(Kind::Backslash, r"it\'s \$5\ each \x41", "it's $5 each A");
        check(Kind::Quote, r"it'\''s \n '", r"it's \n '");
        check(
            Kind::Entity,
            "&lt;&amp;&#39;&#x27;&quot;&apos; & &unknown;",
            "<&''\"' & &unknown;",
        );
        assert!(
            Unescaped::of(Kind::Percent, b"100%").is_none(),
            "nothing to undo"
        );
        assert!(Unescaped::of(Kind::Backslash, b"plain").is_none());
    }

    #[test]
    fn an_escape_within_an_escape_stands_where_the_outer_one_does() {
        let text = br"x \\u0022 y";
        let twice = Unescaped::of(Kind::Backslash, text)
            .unwrap()
            .again(Kind::Backslash)
            .unwrap();
        assert_eq!(twice.bytes, br#"x " y"#);
        assert_eq!(twice.span(2, 2), 2..9);
    }
}
