//! An Aho-Corasick automaton: finds any number of patterns in one pass, in time linear in the text.

use std::collections::VecDeque;

/// A byte string to look for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    pub(super) bytes: Vec<u8>,
    /// True when it stands for a whole secret, and not only for a line of one.
    pub(super) whole: bool,
}

/// A state of the automaton: what has been read so far that may still become a match.
pub(super) type State = u32;

/// The state in which nothing has been read.
pub(super) const START: State = 0;

/// Marks the end of a list of children.
const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Node {
    /// The byte that leads here from the parent.
    byte: u8,
    /// True when a pattern of a whole secret ends here.
    whole: bool,
    /// Number of bytes that lead here from the start.
    depth: u32,
    /// The length of the longest pattern that ends here; 0 for none.
    longest: u32,
    /// The longest proper suffix of what leads here that is a state too.
    fallback: State,
    first_child: u32,
    next_sibling: u32,
}

/// The automaton. Its size is that of its patterns.
#[derive(Debug)]
pub(super) struct Automaton {
    nodes: Vec<Node>,
    /// The children of the start: most bytes of a text are looked up there.
    first: Box<[State; 256]>,
    /// The length of the longest pattern.
    deepest: usize,
}

impl Automaton {
    pub(super) fn new(patterns: &[Pattern]) -> Self {
        let mut automaton = Self {
            nodes: vec![Node::new(0, 0)],
            first: Box::new([START; 256]),
            deepest: 0,
        };
        for pattern in patterns {
            automaton.insert(pattern);
        }
        automaton.link();
        automaton
    }

    fn insert(&mut self, pattern: &Pattern) {
        self.deepest = self.deepest.max(pattern.bytes.len());
        let mut state = START;
        for &byte in &pattern.bytes {
            state = self
                .child(state, byte)
                .unwrap_or_else(|| self.add_child(state, byte));
        }
        let node = &mut self.nodes[state as usize];
        node.longest = node.depth;
        node.whole |= pattern.whole;
    }

    fn add_child(&mut self, parent: State, byte: u8) -> State {
        let child = u32::try_from(self.nodes.len()).unwrap_or(NONE);
        let parent_node = &mut self.nodes[parent as usize];
        let mut node = Node::new(byte, parent_node.depth + 1);
        node.next_sibling = std::mem::replace(&mut parent_node.first_child, child);
        self.nodes.push(node);
        if parent == START {
            self.first[usize::from(byte)] = child;
        }
        child
    }

    /// Sets every fallback, level by level, and passes on what ends at it.
    fn link(&mut self) {
        let mut level: VecDeque<State> = self
            .first
            .iter()
            .copied()
            .filter(|state| *state != START)
            .collect();
        while let Some(state) = level.pop_front() {
            let mut child = self.nodes[state as usize].first_child;
            while child != NONE {
                let byte = self.nodes[child as usize].byte;
                let fallback = self.next(self.nodes[state as usize].fallback, byte);
                let (longest, whole) = self.ends(fallback);
                let node = &mut self.nodes[child as usize];
                node.fallback = fallback;
                node.longest = node.longest.max(longest);
                node.whole |= whole;
                level.push_back(child);
                child = node.next_sibling;
            }
        }
    }

    fn ends(&self, state: State) -> (u32, bool) {
        let node = &self.nodes[state as usize];
        (node.longest, node.whole)
    }

    fn child(&self, state: State, byte: u8) -> Option<State> {
        if state == START {
            let first = self.first[usize::from(byte)];
            return Some(first).filter(|state| *state != START);
        }
        let mut child = self.nodes[state as usize].first_child;
        while child != NONE {
            let node = &self.nodes[child as usize];
            if node.byte == byte {
                return Some(child);
            }
            child = node.next_sibling;
        }
        None
    }

    /// The state after one more byte.
    pub(super) fn next(&self, mut state: State, byte: u8) -> State {
        loop {
            if let Some(child) = self.child(state, byte) {
                return child;
            }
            if state == START {
                return START;
            }
            state = self.nodes[state as usize].fallback;
        }
    }

    /// The length of the longest pattern that ends in this state; 0 when none does.
    pub(super) fn longest(&self, state: State) -> usize {
        self.nodes[state as usize].longest as usize
    }

    /// The length of the longest pattern.
    pub(super) fn deepest(&self) -> usize {
        self.deepest
    }

    /// Number of the last bytes that are the beginning of a pattern.
    pub(super) fn depth(&self, state: State) -> usize {
        self.nodes[state as usize].depth as usize
    }

    /// Returns whether the pattern of a whole secret ends in this state.
    pub(super) fn ends_whole(&self, state: State) -> bool {
        self.nodes[state as usize].whole
    }
}

impl Node {
    const fn new(byte: u8, depth: u32) -> Self {
        Self {
            byte,
            whole: false,
            depth,
            longest: 0,
            fallback: START,
            first_child: NONE,
            next_sibling: NONE,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn automaton(patterns: &[&[u8]]) -> Automaton {
        let pattern = |bytes: &&[u8]| Pattern {
            bytes: bytes.to_vec(),
            whole: false,
        };
        Automaton::new(&patterns.iter().map(pattern).collect::<Vec<_>>())
    }

    proptest! {
        #[test]
        fn the_longest_pattern_that_ends_at_each_byte_is_known(
            patterns in prop::collection::vec("[ab]{1,5}", 1..6),
            text in "[abc]{0,40}",
        ) {
            let bytes: Vec<&[u8]> = patterns.iter().map(|pattern| pattern.as_bytes()).collect();
            let automaton = automaton(&bytes);
            let mut state = START;
            for end in 1..=text.len() {
                state = automaton.next(state, text.as_bytes()[end - 1]);
                let read = &text[..end];
                let longest = patterns.iter().filter(|pattern| read.ends_with(*pattern)).map(String::len).max();
                prop_assert_eq!(automaton.longest(state), longest.unwrap_or(0));
                let begun = (0..=end).find(|from| patterns.iter().any(|pattern| pattern.starts_with(&read[*from..])));
                prop_assert_eq!(automaton.depth(state), end - begun.unwrap_or(end));
            }
        }
    }
}
