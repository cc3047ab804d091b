//! Finds expressions in files that are not UTF-8: rendering would have to leave them unchanged,
//! which would go unnoticed.

use super::{Entry, TemplateError};

/// Length limit of an expression to find. A longer run of printable bytes is rare in files that are
/// not text.
const LONGEST: usize = 200;

/// Variables of a template's expressions.
const NAMES: [&str; 7] = [
    "name",
    "description",
    "owner",
    "environments",
    "environment",
    "gitops",
    "values",
];

/// Refuses a file that is not UTF-8 and has an expression. In a template without a manifest, where
/// expressions of other languages are copied, only Surefoot's own count.
///
/// # Errors
/// Names the file and the expression.
pub(super) fn check(entry: &Entry, bytes: &[u8], only_own: bool) -> Result<(), TemplateError> {
    let found = expression(bytes, only_own).or_else(|| {
        // UTF-16 and UTF-32 have zeros between the letters.
        let narrow = bytes
            .iter()
            .copied()
            .filter(|byte| *byte != 0)
            .collect::<Vec<_>>();
        expression(&narrow, only_own)
    });
    match found {
        None => Ok(()),
        Some(found) => Err(TemplateError::at(
            &entry.path,
            format!(
                "is not UTF-8 text, so its expression `{found}` cannot be rendered: save it as UTF-8, or name it under `raw` in {} \
                 to have it copied as it is",
                super::manifest::FILE
            ),
        )),
    }
}

/// The first `${{ ... }}` or `${% ... %}` of printable ASCII.
fn expression(bytes: &[u8], only_own: bool) -> Option<String> {
    let starts = bytes
        .windows(3)
        .enumerate()
        .filter(|(_, start)| *start == b"${{" || *start == b"${%");
    starts
        .map(|(at, start)| (&bytes[at..], start[2]))
        .find_map(|(rest, bracket)| {
            let close: &[u8] = if bracket == b'{' { b"}}" } else { b"%}" };
            let end = rest.windows(2).take(LONGEST).position(|end| end == close)?;
            let text = std::str::from_utf8(&rest[..end + 2]).ok()?;
            let is_text = text
                .chars()
                .all(|letter| !letter.is_control() || letter.is_ascii_whitespace());
            (is_text && (!only_own || reads_own_name(text))).then(|| text.to_owned())
        })
}

fn reads_own_name(expression: &str) -> bool {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '.';
    let words = expression.split(|letter| !is_part(letter));
    words
        .filter_map(|word| word.split('.').next())
        .any(|word| NAMES.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::super::testing::file;
    use super::*;

    fn found(bytes: &[u8], only_own: bool) -> bool {
        check(&file("a.txt", ""), bytes, only_own)
            .is_err_and(|error| error.0.contains("template file a.txt: "))
    }

    #[test]
    fn an_expression_in_any_encoding_is_found() {
        let utf16 = |text: &str| {
            text.encode_utf16()
                .flat_map(u16::to_le_bytes)
                .collect::<Vec<_>>()
        };
        let latin1 = b"title=Gr\xfc\xdfe ${{ name }}\n";
        let shift_jis = b"\x83\x5c${{values.x|upper}}";
        for bytes in [
            latin1.as_slice(),
            shift_jis,
            &utf16("\u{feff}a ${{ name }}"),
            b"\0\x01${% if gitops %}",
        ] {
            assert!(found(bytes, false) && found(bytes, true), "{bytes:?}");
        }
    }

    #[test]
    fn other_bytes_are_not_mistaken_for_expressions() {
        let long = [b"\xff${{".as_slice(), &b"x".repeat(LONGEST), b"}}"].concat();
        for bytes in [
            b"\xff\xfe".as_slice(),
            b"\0PNG ${{",
            b"\xff${{\x01}}",
            b"\xff${{\xe9}}",
            &long,
        ] {
            assert!(!found(bytes, false), "{bytes:?}");
        }
        assert!(found(b"\xff${{ github.ref }}", false) && !found(b"\xff${{ github.name }}", true));
    }
}
