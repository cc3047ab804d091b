//! The steps of a run that wait for a person, and how to answer them.

use surefoot::state::Wait;
use surefoot::{Run, StepPlan, StepState, StepStatus};

/// A step that waits for a person.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    /// The step.
    pub(crate) step: &'a str,
    /// What it says.
    pub(crate) says: Option<&'a str>,
    /// The command that answers it.
    pub(crate) how: String,
}

/// Those that wait for an answer now.
pub(crate) fn open(run: &Run) -> Vec<Question<'_>> {
    let mut open = Vec::new();
    for (plan, step) in run.plan.steps().iter().zip(&run.steps) {
        if let Some(words) = words(step) {
            open.push(question(run, plan, step, words));
        }
    }
    open
}

fn question<'a>(run: &Run, plan: &'a StepPlan, step: &'a StepState, words: &str) -> Question<'a> {
    let how = format!("surefoot answer {} {} {words}", run.id, plan.id);
    Question { step: &plan.id, says: step.message.as_deref(), how }
}

fn words(step: &StepState) -> Option<&'static str> {
    match (step.status, step.wait) {
        (StepStatus::Waiting, Some(Wait::Approval)) => Some("approve|reject"),
        (StepStatus::Waiting, Some(Wait::Interrupted)) => Some("rerun|skip|fail"),
        _ => None,
    }
}
