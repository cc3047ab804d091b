//! The rule for keys, wherever they come in: the library, the command line, HTTP, SQL.
//!
//! An empty key is a variable that was not set: its second use would find the first run and do
//! nothing. A long one does not fit the index of every store.

use crate::state::RuleError;

/// The most characters of a key, a concurrency key, or the value of a workflow's `unique`.
pub const LONGEST_KEY: usize = 255;

/// Refuses a key that is empty, too long, or not a single line; `what` names the key.
///
/// # Errors
/// Says what is wrong with it.
pub fn check_key(what: &str, key: &str) -> Result<(), RuleError> {
    if key.is_empty() {
        let message =
            format!("the {what} is empty: give 1 to {LONGEST_KEY} characters, or leave it out");
        return Err(RuleError(message));
    }
    check_length(what, key)?;
    if key.contains(char::is_control) {
        return Err(RuleError(format!(
            "the {what} {key:?} holds a control character: give a single line of text"
        )));
    }
    Ok(())
}

/// Refuses a value of `unique` that is too long. It may be empty, and have several lines: it comes
/// of parameters.
pub(crate) fn check_unique(value: &str) -> Result<(), RuleError> {
    check_length("value of `unique`", value)
}

fn check_length(what: &str, text: &str) -> Result<(), RuleError> {
    let length = text.chars().count();
    if length > LONGEST_KEY {
        return Err(RuleError(format!(
            "the {what} has {length} characters: {LONGEST_KEY} are allowed"
        )));
    }
    Ok(())
}
