//! Resources: what a run requires of the worker that takes it, beside the actions of its steps.
//!
//! A local forge or an encryption key is on some hosts and not on others. A worker offers what it
//! has, a run names what it requires, and a claim gives a run only to a worker that offers all of
//! it. Any other run waits, and [`crate::Waiting::MissingResources`] says for what.

use std::collections::BTreeSet;

use crate::state::RuleError;

/// The most resources that one run may require.
pub const MAX_REQUIRED: usize = 16;

/// The most resources that one worker may offer.
const MAX_OFFERED: usize = 256;

/// The longest name of a resource, in bytes.
const LONGEST: usize = 200;

/// Refuses a set of resources that no store keeps.
///
/// # Errors
/// When there are too many, or one has no proper name.
pub(crate) fn check_required(resources: &BTreeSet<String>) -> Result<(), RuleError> {
    check("a run requires", resources, MAX_REQUIRED)
}

/// The same for what a worker offers.
pub(crate) fn check_offered(resources: &BTreeSet<String>) -> Result<(), RuleError> {
    check("a worker offers", resources, MAX_OFFERED)
}

fn check(what: &str, resources: &BTreeSet<String>, most: usize) -> Result<(), RuleError> {
    if resources.len() > most {
        return Err(RuleError(format!(
            "{what} {most} resources at most, not {}",
            resources.len()
        )));
    }
    match resources.iter().find(|name| !is_name(name)) {
        None => Ok(()),
        Some(name) => Err(RuleError(format!(
            "{name:?} is not the name of a resource: use 1 to {LONGEST} bytes without spaces, as in `forge:local`"
        ))),
    }
}

/// Names are joined by spaces on their way to the database.
fn is_name(name: &str) -> bool {
    let is_odd = |letter: char| letter.is_whitespace() || letter.is_control();
    !name.is_empty() && name.len() <= LONGEST && !name.contains(is_odd)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn names_are_short_and_have_no_spaces() {
        assert_eq!(
            check_required(&of(&["forge:local", "key:1f", "größe"])),
            Ok(())
        );
        for odd in ["", "a b", "a\n", "\0", &"x".repeat(LONGEST + 1)] {
            let error = check_required(&of(&[odd])).unwrap_err().to_string();
            assert!(error.contains("is not the name of a resource"), "{error}");
        }
        let many = (0..=MAX_REQUIRED)
            .map(|number| format!("r{number}"))
            .collect();
        assert_eq!(
            check_required(&many).unwrap_err().to_string(),
            "a run requires 16 resources at most, not 17"
        );
        assert_eq!(check_offered(&many), Ok(()));
    }
}
