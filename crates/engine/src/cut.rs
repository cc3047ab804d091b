//! Cuts what is too long to be kept, in the one way that the masker of secrets knows.

/// The end of a text that was cut.
///
/// A secret may have been cut with it: what stands before this mark is masked even if it is only
/// the beginning of one.
pub const CUT: &str = " [cut]";

/// The first `longest` characters of a text, marked with [`CUT`] when there are more.
pub fn cut(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{}{CUT}", &text[..end]),
        None => text.to_owned(),
    }
}
