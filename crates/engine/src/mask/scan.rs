//! Looks for secrets in a text, and in a log line by line.

use std::ops::Range;
use std::sync::Arc;

use super::automaton::{Automaton, START, State};
use super::escapes::{KINDS, Unescaped};
use super::userinfo;
use super::{MASKED, Mask, SHORTEST_MASKED, SHORTEST_PART, is_line_break};
use crate::CUT;

/// Treatment of the beginning of a secret at the very end of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Partial {
    /// It does not: the text is a value that is used.
    No,
    /// It does from a certain length on: the text is for people, and may go on elsewhere or be cut.
    Message,
}

/// Readings of a text: as it is, without its escapes of each kind, and without those that are then
/// left.
const READINGS: usize = 1 + KINDS.len() * (1 + KINDS.len());

/// State of the automaton in each reading. The first of a part is that of a text, the rest those of
/// the text without escapes.
#[derive(Clone, Copy, Default)]
struct States([State; READINGS]);

/// The parts of a text that are secrets: in order, apart from each other.
pub(super) fn find(automaton: &Automaton, text: &str, partial: Partial) -> Vec<Range<usize>> {
    find_from(automaton, text, partial, &mut States::default())
}

fn find_from(
    automaton: &Automaton,
    text: &str,
    partial: Partial,
    states: &mut States,
) -> Vec<Range<usize>> {
    let (body, least) = match (partial, text.strip_suffix(CUT)) {
        (Partial::No, _) => (text, usize::MAX),
        (Partial::Message, None) => (text, SHORTEST_PART),
        (Partial::Message, Some(body)) => (body, SHORTEST_MASKED),
    };
    let mut search = Search {
        automaton,
        least,
        found: Vec::new(),
    };
    search.read_all(body.as_bytes(), states);
    merge(&mut search.found);
    search.found
}

struct Search<'a> {
    automaton: &'a Automaton,
    /// The shortest beginning of a secret that counts at the end.
    least: usize,
    found: Vec<Range<usize>>,
}

impl Search<'_> {
    fn read_all(&mut self, text: &[u8], states: &mut States) {
        let Some((plain, rest)) = states.0.split_first_mut() else {
            return;
        };
        let whole = |first, last| first..last + 1;
        let before = *plain;
        self.read(text, plain, whole);
        for (kind, states) in KINDS.into_iter().zip(rest.chunks_mut(1 + KINDS.len())) {
            match (Unescaped::of(kind, text), states) {
                (Some(unescaped), [once, twice @ ..]) => {
                    self.read_unescaped(&unescaped, once, twice)
                }
                (_, states) => self.read_same(text, before, *plain, states, whole),
            }
        }
    }

    fn read_unescaped(&mut self, text: &Unescaped, once: &mut State, twice: &mut [State]) {
        let before = *once;
        self.read(&text.bytes, once, |first, last| text.span(first, last));
        for (kind, state) in KINDS.into_iter().zip(twice) {
            match text.again(kind) {
                Some(inner) => {
                    self.read(&inner.bytes, state, |first, last| inner.span(first, last))
                }
                None => self.read_same(
                    &text.bytes,
                    before,
                    *once,
                    std::slice::from_mut(state),
                    |first, last| text.span(first, last),
                ),
            }
        }
    }

    /// Readings of a text that has been read already, from `before` to `after`: only one that
    /// begins elsewhere differs.
    fn read_same(
        &mut self,
        text: &[u8],
        before: State,
        after: State,
        states: &mut [State],
        span: impl Fn(usize, usize) -> Range<usize>,
    ) {
        for state in states {
            if *state == before {
                *state = after;
            } else {
                self.read(text, state, &span);
            }
        }
    }

    /// Reads a text from `state` on; `span` gives where its bytes, the first and the last of a
    /// match, stand in what was given.
    fn read(
        &mut self,
        bytes: &[u8],
        state: &mut State,
        span: impl Fn(usize, usize) -> Range<usize>,
    ) {
        let mut read = Vec::with_capacity(bytes.len());
        let mut since_line_break = 0;
        for (index, byte) in bytes.iter().enumerate() {
            if is_line_break(*byte) {
                since_line_break = 0;
                continue;
            }
            *state = self.automaton.next(*state, *byte);
            read.push(index);
            since_line_break += 1;
            let length = self.automaton.longest(*state);
            // A short one over a line break is found by chance.
            if length > 0 && (length <= since_line_break || length >= SHORTEST_PART) {
                let first = read[read.len().saturating_sub(length)];
                self.found.push(span(first, index));
            }
        }
        let begun = self.automaton.depth(*state);
        if let Some(last) = read.last()
            && begun >= self.least
        {
            self.found
                .push(span(read[read.len().saturating_sub(begun)], *last));
        }
    }
}

/// Joins parts that overlap or touch.
fn merge(parts: &mut Vec<Range<usize>>) {
    parts.sort_by_key(|part| (part.start, part.end));
    parts.dedup_by(|later, earlier| {
        let joins = later.start <= earlier.end;
        if joins {
            earlier.end = earlier.end.max(later.end);
        }
        joins
    });
}

/// The text with these parts replaced.
pub(super) fn replace(text: String, mut parts: Vec<Range<usize>>) -> String {
    if parts.is_empty() {
        return text;
    }
    merge(&mut parts);
    let mut masked = Vec::with_capacity(text.len());
    let mut at = 0;
    for part in parts {
        masked.extend_from_slice(&text.as_bytes()[at..part.start]);
        masked.extend_from_slice(MASKED.as_bytes());
        at = part.end;
    }
    masked.extend_from_slice(&text.as_bytes()[at..]);
    // Parts begin and end between characters, for patterns are whole characters.
    String::from_utf8(masked)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Returns whether these bytes hold the whole of a secret.
pub(super) fn holds_whole(automaton: &Automaton, bytes: &[u8]) -> bool {
    let holds = |bytes: &[u8]| {
        let mut state = START;
        let mut text = bytes.iter().filter(|byte| !is_line_break(**byte));
        text.any(|byte| {
            state = automaton.next(state, *byte);
            automaton.ends_whole(state)
        })
    };
    // Escapes are a matter of text.
    let holds_escaped = |kind| {
        let once = Unescaped::of(kind, bytes);
        once.is_some_and(|once| {
            holds(&once.bytes)
                || KINDS
                    .iter()
                    .any(|kind| once.again(*kind).is_some_and(|twice| holds(&twice.bytes)))
        })
    };
    holds(bytes) || (std::str::from_utf8(bytes).is_ok() && KINDS.into_iter().any(holds_escaped))
}

/// Bytes of a file that are searched at once.
const PIECE: usize = 64 << 10;

/// Bytes by which tools may write one byte of a secret: `&amp;#x41;` has ten.
const LONGEST_ESCAPE: usize = 12;

/// Looks for whole secrets in a file that comes in parts, however large it is.
///
/// Each piece is searched together with the end of the one before, which is as long as a secret can
/// be with its escapes.
pub(crate) struct FileSearch {
    automata: Vec<Arc<Automaton>>,
    /// The end of what was searched before, and then the next piece.
    window: Vec<u8>,
    /// Bytes of a file that a secret can take up.
    reach: usize,
}

impl FileSearch {
    pub(super) fn new(automata: impl Iterator<Item = Arc<Automaton>>) -> Self {
        let automata: Vec<_> = automata.collect();
        let longest = automata.iter().map(|automaton| automaton.deepest()).max();
        Self {
            automata,
            window: Vec::new(),
            reach: longest.unwrap_or(0) * LONGEST_ESCAPE,
        }
    }

    /// Returns whether a secret ends in the next part of the file.
    pub(crate) fn finds_in(&mut self, part: &[u8]) -> bool {
        if self.automata.is_empty() {
            return false;
        }
        for piece in part.chunks(PIECE.max(self.reach)) {
            let surplus = self.window.len().saturating_sub(self.reach);
            self.window.drain(..surplus);
            self.window.extend_from_slice(piece);
            let text = whole_characters(&self.window);
            if self
                .automata
                .iter()
                .any(|automaton| holds_whole(automaton, text))
            {
                return true;
            }
        }
        false
    }
}

/// A piece of a text without the parts of characters at its two ends. No secret begins or ends with
/// such a part.
fn whole_characters(piece: &[u8]) -> &[u8] {
    let is_rest = |byte: &&u8| **byte & 0b1100_0000 == 0b1000_0000;
    let begun = piece.iter().take(3).take_while(is_rest).count();
    let piece = &piece[begun..];
    match std::str::from_utf8(piece) {
        Err(error) if error.error_len().is_none() => &piece[..error.valid_up_to()],
        _ => piece,
    }
}

/// Masks a log line by line: a secret that goes on in the next line is found there too.
#[derive(Clone)]
pub(crate) struct Lines {
    mask: Mask,
    readers: Vec<(Arc<Automaton>, States)>,
}

impl Lines {
    pub(crate) fn new(mask: Mask) -> Self {
        Self {
            mask,
            readers: Vec::new(),
        }
    }

    /// The next line.
    pub(crate) fn mask(&mut self, line: String) -> String {
        let automata: Vec<_> = self.mask.automata().collect();
        let mut found = userinfo::find(&line);
        let mut readers = Vec::with_capacity(automata.len());
        for automaton in automata {
            let before = self
                .readers
                .iter()
                .find(|(known, _)| Arc::ptr_eq(known, &automaton));
            let mut states = before.map_or_else(States::default, |(_, states)| *states);
            found.extend(find_from(&automaton, &line, Partial::Message, &mut states));
            readers.push((automaton, states));
        }
        self.readers = readers;
        replace(line, found)
    }
}
