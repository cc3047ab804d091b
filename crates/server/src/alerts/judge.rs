//! What the rules say of one run. Pure: the same run and time give the same answer.

use std::time::Duration;

use surefoot::state::Wait;
use surefoot::store::WorkerInfo;
use surefoot::{Run, RunStatus, StepStatus, Timestamp, Waiting, format_duration};

use super::alert::Finding;
use super::rules::{Rule, Rules};

/// Runs of this queue carry the notifications themselves: alerts about them would have to be sent by what does not work.
pub(super) const OWN_QUEUE: &str = "alerts";

/// Everything that the rules about single runs find in one, which goes since `began`.
pub(super) fn run(
    run: &Run,
    rules: &Rules,
    now: Timestamp,
    began: Option<Timestamp>,
) -> Vec<Finding> {
    if run.queue() == OWN_QUEUE {
        return Vec::new();
    }
    let found = [
        rules
            .long_run
            .zip(began)
            .and_then(|(limit, began)| long(run, limit, now.since(began))),
        rules.answer.then(|| asks(run)).flatten(),
        rules.interruptions.then(|| interrupted(run)).flatten(),
        rules.unreadable.then(|| unreadable(run)).flatten(),
    ];
    found.into_iter().flatten().collect()
}

fn unreadable(run: &Run) -> Option<Finding> {
    let reason = run
        .unreadable
        .as_ref()
        .filter(|_| !run.head.status.is_ended())?;
    let text =
        format!("this surefoot cannot read it ({reason}): upgrade the servers, or cancel the run");
    Some(finding(Rule::Unreadable, run, "cannot be read", text))
}

fn finding(rule: Rule, run: &Run, title: &str, text: String) -> Finding {
    Finding {
        rule,
        subject: run.id.to_string(),
        title: format!("{} {title}", name(run)),
        text,
        run: Some(run.id),
        queue: Some(run.queue().to_owned()),
    }
}

/// What people call a run: the key that was given, or its id.
pub(super) fn name(run: &Run) -> String {
    let named = |key: &String| format!("run {key}");
    run.key
        .as_ref()
        .or(run.unique.as_ref())
        .map_or_else(|| format!("run {}", run.id), named)
}

/// The step that a run is at.
fn at_step(run: &Run) -> String {
    run.next_step().map_or_else(String::new, |position| {
        format!(", in step {}", run.plan.steps()[position].id)
    })
}

fn long(run: &Run, limit: Duration, took: Duration) -> Option<Finding> {
    if !matches!(run.head.status, RunStatus::Running | RunStatus::Waiting) || asked(run).is_some() {
        return None;
    }
    (took > limit).then(|| {
        let (limit, took, step) = (people(limit), people(took), at_step(run));
        let text = format!(
            "{} runs for {took}{step}; more than {limit} is not usual",
            run.plan.title()
        );
        finding(Rule::LongRun, run, "takes long", text)
    })
}

/// Whole seconds, or milliseconds below one: nobody wants to read microseconds.
pub(super) fn people(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    format_duration(Duration::from_millis(if millis < 1000 {
        millis
    } else {
        millis - millis % 1000
    }))
}

/// The step whose answer a run waits for.
fn asked(run: &Run) -> Option<usize> {
    run.asks().map(|(position, _)| position)
}

fn asks(run: &Run) -> Option<Finding> {
    let position = asked(run)?;
    let (plan, step) = (&run.plan.steps()[position], &run.steps[position]);
    let question = match (&step.message, step.wait) {
        (Some(question), Some(Wait::Approval)) => question.clone(),
        _ => "it was interrupted: run it again, skip it, or fail".to_owned(),
    };
    Some(finding(
        Rule::Answer,
        run,
        "waits for an answer",
        format!("step {} asks: {question}", plan.id),
    ))
}

fn interrupted(run: &Run) -> Option<Finding> {
    if run.head.status != RunStatus::Failed {
        return None;
    }
    let mut steps = run.plan.steps().iter().zip(&run.steps);
    let (plan, step) = steps.find(|(plan, step)| {
        step.status == StepStatus::Failed && step.crashes > plan.max_interruptions
    })?;
    let text = format!(
        "step {} was interrupted {} times, and {} are allowed",
        plan.id, step.crashes, plan.max_interruptions
    );
    Some(finding(
        Rule::Interruptions,
        run,
        "failed: its workers were lost again and again",
        text,
    ))
}

/// For how long a run could have gone on, had a worker taken it.
pub(super) fn overdue(run: &Run, now: Timestamp) -> Duration {
    let waits = matches!(run.head.status, RunStatus::Queued | RunStatus::Waiting);
    run.head
        .available_at
        .filter(|_| waits)
        .map_or(Duration::ZERO, |at| now.since(at))
}

/// Why no live worker can take a run; `None` when one can.
pub(super) fn nobody(run: &Run, workers: &[WorkerInfo]) -> Option<String> {
    Some(match Waiting::without_worker(run, workers)? {
        Waiting::NoWorker => "no worker is alive".to_owned(),
        Waiting::NotPermitted { workflow } => format!("no live worker permits {workflow}"),
        Waiting::UnknownActions { actions } if actions.is_empty() => {
            "no live worker knows and permits all of its actions".to_owned()
        }
        Waiting::UnknownActions { actions } => {
            format!("no live worker knows and permits {}", actions.join(", "))
        }
        _ => return None,
    })
}
