//! Mutation of texts that are near to what is right.

use crate::Random;

/// Letters that mean something to a parser, or that many programs get wrong.
const ODD: &[&str] = &[
    "\0",
    "\u{1}",
    "\t",
    "\r\n",
    "\n",
    "\u{85}",
    "\u{2028}",
    "\u{feff}",
    "\u{202e}",
    "ß",
    "İ",
    "ﬁ",
    "😀",
    "e\u{301}",
    "\u{10ffff}",
    "'",
    "\"",
    "`",
    "\\",
    "${{",
    "}}",
    "${%",
    "%}",
    "$<#",
    "#>$",
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    ":",
    ",",
    "-",
    "&",
    "*",
    "!",
    "|",
    ">",
    "%",
    "#",
    "=",
    "~",
    "<<",
    "---",
    "...",
    "&a",
    "*a",
    "!!str ",
    "!!binary ",
    "\\u0000",
    "\\ud800",
    "0x",
    "1e309",
    "-0",
    "18446744073709551616",
    "-9223372036854775809",
    "99999999999999999999999999",
    "0.1000000000000000000001",
    "null",
    "true",
    ".inf",
];

/// Changes a text in a few places. `words` are put into it beside letters that parsers stumble on.
pub fn mutate(random: &mut Random, text: &[u8], words: &[&str]) -> Vec<u8> {
    let mut bytes = text.to_vec();
    for _ in 0..=random.length(12) {
        change(random, &mut bytes, words);
    }
    bytes
}

/// The same for a text that stays UTF-8.
pub fn mutate_text(random: &mut Random, text: &str, words: &[&str]) -> String {
    String::from_utf8_lossy(&mutate(random, text.as_bytes(), words)).into_owned()
}

fn change(random: &mut Random, bytes: &mut Vec<u8>, words: &[&str]) {
    let at = random.below(bytes.len() + 1);
    let end = (at + random.length(64)).min(bytes.len());
    match random.below(9) {
        0 => drop(bytes.drain(at..end)),
        1 => {
            let copied = bytes[at..end].to_vec();
            let times = 1 + random.length(300);
            insert(bytes, at, &copied.repeat(times));
        }
        2 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        3 => bytes.truncate(at),
        4 | 5 if !words.is_empty() => insert(bytes, at, random.pick(words).as_bytes()),
        6 => {
            let times = 1 + random.length(400);
            let repeated = random.pick(ODD).repeat(times);
            insert(bytes, at, repeated.as_bytes());
        }
        7 => {
            let taken = bytes[at..end].to_vec();
            let to = random.below(bytes.len() + 1);
            insert(bytes, to, &taken);
        }
        _ => insert(bytes, at, random.pick(ODD).as_bytes()),
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, more: &[u8]) {
    bytes.splice(at..at, more.iter().copied());
}
