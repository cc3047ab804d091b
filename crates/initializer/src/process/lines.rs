//! Splits a stream of bytes into lines of text.

use surefoot::CUT;

/// A longer line loses its tail.
const LONGEST: usize = 16 * 1024;

/// Collects bytes and returns whole lines. Invalid UTF-8 is replaced, and lines over 16 KiB are
/// cut.
#[derive(Debug, Default)]
pub struct Lines {
    line: Vec<u8>,
    cut: bool,
}

impl Lines {
    /// Adds a piece, and passes on each line that it completes.
    pub fn push(&mut self, piece: &[u8], mut on_line: impl FnMut(String)) {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            match part.strip_suffix(b"\n") {
                Some(part) => {
                    self.extend(part);
                    on_line(self.take());
                }
                None => self.extend(part),
            }
        }
    }

    /// The last line, if the stream did not end with a line break.
    pub fn finish(&mut self) -> Option<String> {
        (!self.line.is_empty()).then(|| self.take())
    }

    fn extend(&mut self, part: &[u8]) {
        let room = LONGEST - self.line.len();
        self.line.extend_from_slice(&part[..part.len().min(room)]);
        self.cut |= part.len() > room;
    }

    fn take(&mut self) -> String {
        let mut text = String::from_utf8_lossy(&self.line).into_owned();
        if self.cut {
            text.push_str(CUT);
        } else if text.ends_with('\r') {
            text.pop();
        }
        self.line.clear();
        self.cut = false;
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        for piece in pieces {
            lines.push(piece, |line| seen.push(line));
        }
        seen.extend(lines.finish());
        seen
    }

    #[test]
    fn lines_are_whole_however_they_arrive() {
        let check =
            |pieces: &[&[u8]], expect: &[&str]| assert_eq!(lines(pieces), expect, "{pieces:?}");
        check(&[b"a\nb", b"c\n\n", b"d"], &["a", "bc", "", "d"]);
        check(&[b"windows\r\n"], &["windows"]);
        check(&[b"caf\xc3", b"\xa9 \xff\n"], &["caf\u{e9} \u{fffd}"]);
        check(&[], &[]);
    }

    #[test]
    fn a_long_line_is_cut_and_the_next_is_whole() {
        let long = vec![b'x'; LONGEST + 1];
        let seen = lines(&[&long, &long, b"\nnext\n"]);
        assert_eq!(seen[0].len(), LONGEST + CUT.len());
        assert_eq!(seen[1], "next");
        assert!(!lines(&[&vec![b'x'; LONGEST], b"\n"])[0].ends_with(CUT));
    }
}
