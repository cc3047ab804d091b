//! How much of a page is left for texts of any length. A page that people look at all day is to stay small, whatever runs
//! put into it: each part takes what it needs, up to a share, and what comes first takes first.

/// Bytes of a page that are left.
#[derive(Debug)]
pub(super) struct Room {
    left: usize,
    /// Whether something did not fit.
    pub(super) cut: bool,
}

impl Room {
    pub(super) const fn new(bytes: usize) -> Self {
        Self {
            left: bytes,
            cut: false,
        }
    }

    pub(super) const fn left(&self) -> usize {
        self.left
    }

    /// Room for a part of the page. What it leaves is given back by [`Self::give`].
    pub(super) fn part(&mut self, most: usize) -> Self {
        let bytes = most.min(self.left);
        self.left -= bytes;
        Self::new(bytes)
    }

    pub(super) fn give(&mut self, part: &Self) {
        self.left += part.left;
    }

    /// Takes room for something of about this size, if there is so much.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        let fits = bytes <= self.left;
        self.left -= if fits { bytes } else { 0 };
        self.cut |= !fits;
        fits
    }

    /// The beginning of a text, in this many bytes at most.
    pub(super) fn fit_in(&mut self, bytes: usize, text: String, most: usize) -> String {
        let mut part = self.part(bytes);
        let text = part.fit(text, most);
        self.give(&part);
        self.cut |= part.cut;
        text
    }

    /// The beginning of a text: as many letters as fit, and not more than `most`.
    pub(super) fn fit(&mut self, mut text: String, most: usize) -> String {
        let mut used = 0;
        let beyond = text
            .char_indices()
            .enumerate()
            .find(|(count, (_, letter))| {
                used += written(*letter);
                *count >= most || used > self.left
            });
        match beyond.map(|(_, (at, letter))| (at, written(letter))) {
            None => self.left -= used,
            Some((at, last)) => {
                self.left -= (used - last).min(self.left);
                self.cut = true;
                text.truncate(at);
                text.push('\u{2026}');
            }
        }
        text
    }
}

/// Bytes that a text takes in HTML.
pub(super) fn size(text: &str) -> usize {
    text.chars().map(written).sum()
}

/// What templates escape takes up to six bytes.
fn written(letter: char) -> usize {
    if matches!(letter, '<' | '>' | '&' | '"' | '\'' | '/') {
        6
    } else {
        letter.len_utf8()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_cut_where_it_stops_to_fit() {
        let mut room = Room::new(20);
        assert_eq!(
            (room.fit("abc".into(), 10), room.left, room.cut),
            ("abc".to_owned(), 17, false)
        );
        assert_eq!(
            (room.fit("abcdef".into(), 4), room.left, room.cut),
            ("abcd\u{2026}".to_owned(), 13, true)
        );
        assert_eq!(
            (room.fit("<a>b".into(), 10), room.left),
            ("<a>\u{2026}".to_owned(), 0)
        );
        assert_eq!(room.fit("x".into(), 10), "\u{2026}");
        assert!(!room.take(1));
    }

    #[test]
    fn what_a_part_leaves_is_given_back() {
        let mut room = Room::new(100);
        let mut part = room.part(30);
        assert!(part.take(10) && !part.take(21));
        room.give(&part);
        assert_eq!((room.left, room.part(500).left), (90, 90));
    }
}
