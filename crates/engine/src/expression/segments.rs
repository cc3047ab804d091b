//! Splits a text into its literal parts and its expressions.

/// A part of a text.
#[derive(Debug, PartialEq)]
pub enum Segment<'a> {
    /// Text that stays as it is.
    Literal(&'a str),
    /// The inside of `${{ }}`.
    Expression(&'a str),
}

/// The parts of `text`, in order. `None` when an expression has no end.
pub fn split(text: &str) -> Option<Vec<Segment<'_>>> {
    let mut segments = Vec::new();
    let mut rest = text;
    while let Some((literal, behind)) = rest.split_once("${{") {
        if !literal.is_empty() {
            segments.push(Segment::Literal(literal));
        }
        let end = end_of_expression(behind)?;
        segments.push(Segment::Expression(behind[..end].trim()));
        rest = &behind[end + 2..];
    }
    if !rest.is_empty() {
        segments.push(Segment::Literal(rest));
    }
    Some(segments)
}

/// The place of the `}}` that ends an expression: outside of strings, and of the braces of objects.
fn end_of_expression(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut depth = 0_usize;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\'' | b'"' => at += string_length(&text[at..])?,
            b'{' | b'(' | b'[' => (depth, at) = (depth + 1, at + 1),
            b'}' if depth == 0 && bytes.get(at + 1) == Some(&b'}') => return Some(at),
            b'}' | b')' | b']' => (depth, at) = (depth.saturating_sub(1), at + 1),
            _ => at += 1,
        }
    }
    None
}

/// The length of the string that `text` begins with, quotes included; `None` when it has no end.
///
/// A backslash escapes the character behind it, and `''` in a single-quoted string is a quote.
pub(super) fn string_length(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let quote = *bytes.first()?;
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            found if found == quote && quote == b'\'' && bytes.get(at + 1) == Some(&quote) => {
                at += 2
            }
            found if found == quote => return Some(at + 1),
            _ => at += 1,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_ends_outside_of_strings_and_objects() {
        let check =
            |text: &str, expect: &[Segment<'_>]| assert_eq!(split(text).unwrap(), expect, "{text}");
        check("a", &[Segment::Literal("a")]);
        check("${{ a }}", &[Segment::Expression("a")]);
        check(
            "x ${{ a }}-${{ b }}\n",
            &[
                Segment::Literal("x "),
                Segment::Expression("a"),
                Segment::Literal("-"),
                Segment::Expression("b"),
                Segment::Literal("\n"),
            ],
        );
        check(
            "${{ {'a': {'b': 1}} }}",
            &[Segment::Expression("{'a': {'b': 1}}")],
        );
        check(
            "${{{'a': {'b': 1}}}}",
            &[Segment::Expression("{'a': {'b': 1}}")],
        );
        check("${{ '}}' }}", &[Segment::Expression("'}}'")]);
        check(
            "${{ \"}}\\\"}}\" }}",
            &[Segment::Expression("\"}}\\\"}}\"")],
        );
        check("${{ 'it''s }}' }}", &[Segment::Expression("'it''s }}'")]);
        assert_eq!(split("${{ a"), None);
        assert_eq!(split("${{ 'a }}"), None);
    }
}
