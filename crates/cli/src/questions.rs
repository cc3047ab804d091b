//! The steps of a run that wait for a person, and how to answer them.

use surefoot::Run;
use surefoot::state::Wait;

/// A step that waits for a person.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    /// The step.
    pub(crate) step: &'a str,
    /// Text of the question.
    pub(crate) says: Option<&'a str>,
    /// The command that answers it.
    pub(crate) how: String,
}

/// Questions that wait for an answer now.
pub(crate) fn open(run: &Run) -> Vec<Question<'_>> {
    run.asks()
        .map(|(position, wait)| question(run, position, wait))
        .into_iter()
        .collect()
}

fn question(run: &Run, position: usize, wait: Wait) -> Question<'_> {
    let plan = &run.plan.steps()[position];
    let step = &run.steps[position];
    let words = if wait == Wait::Approval {
        "approve|reject"
    } else {
        "rerun|skip|fail"
    };
    let how = format!("surefoot answer {} {} {words}", run.id, plan.id);
    Question {
        step: &plan.id,
        says: step.message.as_deref(),
        how,
    }
}
