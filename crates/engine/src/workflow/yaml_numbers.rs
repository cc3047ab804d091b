//! Numbers in a workflow file that would not be kept as they are written.
//!
//! YAML reads `007` as 7, `1.10` as 1.1 and a number of many digits as the nearest one that a
//! computer has. Where a value goes to a step, that is refused: the author knows whether a text or
//! a number is meant.

use serde_saphyr::granit_parser::{Event, Marker, Parser, ScalarStyle};

use super::WorkflowError;

/// Refuses the first number that would change on its way to a step, a default or the run's output.
pub(super) fn check(text: &str) -> Result<(), WorkflowError> {
    let mut open: Vec<Node> = Vec::new();
    for next in Parser::new_from_str(text) {
        // The reader of the document says what is wrong with it, and knows better how to.
        let Ok((event, span)) = next else {
            return Ok(());
        };
        match event {
            Event::MappingStart(..) => open_node(&mut open, true),
            Event::SequenceStart(..) => open_node(&mut open, false),
            Event::MappingEnd | Event::SequenceEnd => {
                open.pop();
                passed(&mut open, None);
            }
            Event::Scalar(value, style, _, tag) => {
                let is_number = style == ScalarStyle::Plain && tag.is_none();
                if is_number
                    && is_kept(&open)
                    && let Some(read) = changed(&value)
                {
                    return Err(refusal(&value, &read, span.start));
                }
                passed(&mut open, Some(&value));
            }
            Event::Alias(_) => passed(&mut open, None),
            _ => {}
        }
    }
    Ok(())
}

/// A list or a map that is being read.
struct Node {
    is_map: bool,
    /// The key whose value comes next, in a map.
    key: Option<String>,
    /// True if its content is kept.
    is_kept: bool,
}

/// Fields whose values are kept as they are written.
const KEPT: [&str; 6] = ["with", "output", "default", "const", "enum", "examples"];

fn open_node(open: &mut Vec<Node>, is_map: bool) {
    let is_kept = is_kept(open);
    open.push(Node {
        is_map,
        key: None,
        is_kept,
    });
}

/// Returns whether the node that comes next is a value that is kept.
fn is_kept(open: &[Node]) -> bool {
    let Some(node) = open.last() else {
        return false;
    };
    let is_field = node.is_map && node.key.as_deref().is_some_and(|key| KEPT.contains(&key));
    let is_key = node.is_map && node.key.is_none();
    (node.is_kept || is_field) && !is_key
}

/// Notes that a node has been read: a key, or the value behind it.
fn passed(open: &mut [Node], scalar: Option<&str>) {
    let Some(node) = open.last_mut().filter(|node| node.is_map) else {
        return;
    };
    node.key = match node.key {
        Some(_) => None,
        None => Some(scalar.unwrap_or_default().to_owned()),
    };
}

/// The number that a scalar is read as, when it is written otherwise.
fn changed(scalar: &str) -> Option<String> {
    if !scalar.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '+' | '-' | '.'))
    {
        return None;
    }
    let options = serde_saphyr::options! { with_snippet: false, strict_booleans: true };
    let value: serde_json::Value = serde_saphyr::from_str_with_options(scalar, options).ok()?;
    let is_number = value.is_number() || value.is_null();
    let read = value.to_string();
    (is_number && read != scalar).then_some(read)
}

fn refusal(scalar: &str, read: &str, at: Marker) -> WorkflowError {
    let message = format!(
        "`{scalar}` would be read as the number {read}: put it in quotes to keep it as it is written"
    );
    WorkflowError::Syntax {
        line: at.line() as u64,
        column: at.col() as u64 + 1,
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workflow(value: &str) -> String {
        format!("workflow: w\nsteps:\n  - id: a\n    action: x\n    with: {{ at: [ {value} ] }}\n")
    }

    #[test]
    fn a_number_that_would_change_is_refused_with_its_place() {
        for value in [
            "007",
            "0755",
            "012345678901",
            "1e10",
            "1.10",
            "12345678901234567890123",
        ] {
            let error = check(&workflow(value)).expect_err(value).to_string();
            assert!(
                error.contains(&format!("`{value}` would be read as the number")),
                "{value}: {error}"
            );
            assert!(error.starts_with("line 5, column 19: "), "{error}");
        }
    }

    #[test]
    fn a_number_in_any_other_notation_is_refused_or_read_as_the_text_that_it_is() {
        for value in [
            "0x1F", "0o17", "+5", ".5", "1.", "-0", ".inf", "-.inf", "1_000", "1E5", "-01",
        ] {
            let options = serde_saphyr::options! { with_snippet: false, strict_booleans: true };
            let read = serde_saphyr::from_str_with_options::<serde_json::Value>(value, options);
            // A number that JSON does not have is refused by the reader of the document.
            let is_text = read.as_ref().is_ok_and(|read| read == value);
            assert_eq!(
                check(&workflow(value)).is_ok(),
                is_text || read.is_err(),
                "{value}"
            );
            assert_eq!(
                crate::Workflow::from_yaml(&workflow(value)).is_ok(),
                is_text,
                "{value}"
            );
        }
    }

    #[test]
    fn a_number_that_stays_and_a_text_are_taken() {
        for value in [
            "7",
            "-7",
            "0",
            "1.1",
            "1.0",
            "-0.5",
            "18446744073709551615",
            "'007'",
            "\"1e10\"",
            "!!str 007",
            "1.2.3",
            "v1.10",
            "2026-11-29",
            "10m",
            "abc",
            "null",
            "true",
            "-",
        ] {
            assert!(check(&workflow(value)).is_ok(), "{value}");
        }
        let elsewhere = "workflow: w\nsteps:\n  - { id: a, action: x, retry: { backoff: { jitter: 0.20 } }, with: { 007: a } }\n";
        assert!(check(elsewhere).is_ok());
        let default = "parameters: { properties: { zip: { default: 007 } } }\n";
        assert!(check(default).is_err());
    }
}
