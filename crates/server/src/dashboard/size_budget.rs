//! The size budget of a page for texts of any length. A page that people keep open must stay small,
//! whatever the runs put into it. Each part takes what it needs up to a share, in order of
//! importance.

/// The remaining bytes of a page.
#[derive(Debug)]
pub(super) struct SizeBudget {
    left: usize,
    /// True if something did not fit.
    pub(super) cut: bool,
}

impl SizeBudget {
    pub(super) const fn new(bytes: usize) -> Self {
        Self {
            left: bytes,
            cut: false,
        }
    }

    pub(super) const fn left(&self) -> usize {
        self.left
    }

    /// Reserves a budget for a part of the page. [`Self::give_back`] returns what the part leaves.
    pub(super) fn part(&mut self, max: usize) -> Self {
        let bytes = max.min(self.left);
        self.left -= bytes;
        Self::new(bytes)
    }

    pub(super) fn give_back(&mut self, part: &Self) {
        self.left += part.left;
    }

    /// Takes about `bytes` bytes if they are available.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        let fits = bytes <= self.left;
        self.left -= if fits { bytes } else { 0 };
        self.cut |= !fits;
        fits
    }

    /// The beginning of a text, limited to `bytes` bytes.
    pub(super) fn fit_in(&mut self, bytes: usize, text: String, max: usize) -> String {
        let mut part = self.part(bytes);
        let text = part.fit(text, max);
        self.give_back(&part);
        self.cut |= part.cut;
        text
    }

    /// The beginning of a text: as many characters as fit, and at most `max`.
    pub(super) fn fit(&mut self, mut text: String, max: usize) -> String {
        let mut used = 0;
        let beyond = text
            .char_indices()
            .enumerate()
            .find(|(count, (_, letter))| {
                used += html_size(*letter);
                *count >= max || used > self.left
            });
        match beyond.map(|(_, (at, letter))| (at, html_size(letter))) {
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

/// The size of a text in HTML.
pub(super) fn size(text: &str) -> usize {
    text.chars().map(html_size).sum()
}

/// The size of a character in HTML. Escaped ones take up to six bytes.
fn html_size(letter: char) -> usize {
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
    fn a_text_is_cut_where_the_budget_ends() {
        let mut budget = SizeBudget::new(20);
        assert_eq!(
            (budget.fit("abc".into(), 10), budget.left, budget.cut),
            ("abc".to_owned(), 17, false)
        );
        assert_eq!(
            (budget.fit("abcdef".into(), 4), budget.left, budget.cut),
            ("abcd\u{2026}".to_owned(), 13, true)
        );
        assert_eq!(
            (budget.fit("<a>b".into(), 10), budget.left),
            ("<a>\u{2026}".to_owned(), 0)
        );
        assert_eq!(budget.fit("x".into(), 10), "\u{2026}");
        assert!(!budget.take(1));
    }

    #[test]
    fn the_rest_of_a_part_is_given_back() {
        let mut budget = SizeBudget::new(100);
        let mut part = budget.part(30);
        assert!(part.take(10) && !part.take(21));
        budget.give_back(&part);
        assert_eq!((budget.left, budget.part(500).left), (90, 90));
    }
}
