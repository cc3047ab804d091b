//! The rules about single runs. Pure: the same run and time give the same result.

use std::time::Duration;

use surefoot::state::Wait;
use surefoot::store::WorkerInfo;
use surefoot::{Run, RunStatus, StepStatus, Timestamp, Waiting, format_duration};

use super::alert::Finding;
use super::rules::{Rule, Rules};

/// The queue of the notifications themselves. It is exempt: alerts about failing notifications
/// could not be delivered either.
pub(super) const OWN_QUEUE: &str = "alerts";

/// All findings about one run that was started or last retried at `began`.
pub(super) fn findings(
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
            .and_then(|(limit, began)| takes_long(run, limit, now.since(began))),
        rules.answer.then(|| awaits_answer(run)).flatten(),
        rules.interruptions.then(|| interrupted(run)).flatten(),
        rules.unreadable.then(|| unreadable(run)).flatten(),
    ];
    found.into_iter().flatten().collect()
}

fn unreadable(run: &Run) -> Option<Finding> {
    if run.head.status.is_ended() {
        return None;
    }
    let reason = run.unreadable.as_ref()?;
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

/// The name of a run for people: its key, or else its id.
pub(super) fn name(run: &Run) -> String {
    let named = |key: &String| format!("run {key}");
    run.key
        .as_ref()
        .or(run.unique.as_ref())
        .map_or_else(|| format!("run {}", run.id), named)
}

/// The current step of a run.
fn at_step(run: &Run) -> String {
    run.next_step().map_or_else(String::new, |position| {
        format!(", in step {}", run.plan.steps()[position].id)
    })
}

fn takes_long(run: &Run, limit: Duration, took: Duration) -> Option<Finding> {
    if !matches!(run.head.status, RunStatus::Running | RunStatus::Waiting)
        || question(run).is_some()
    {
        return None;
    }
    (took > limit).then(|| {
        let limit = format_rounded(limit);
        let took = format_rounded(took);
        let step = at_step(run);
        let text = format!(
            "{} runs for {took}{step}; the limit is {limit}",
            run.plan.title()
        );
        finding(Rule::LongRun, run, "takes long", text)
    })
}

/// Formats a duration in whole seconds, or in milliseconds if it is shorter than a second.
pub(super) fn format_rounded(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    format_duration(Duration::from_millis(if millis < 1000 {
        millis
    } else {
        millis - millis % 1000
    }))
}

/// The step whose answer the run waits for.
fn question(run: &Run) -> Option<usize> {
    run.asks().map(|(position, _)| position)
}

fn awaits_answer(run: &Run) -> Option<Finding> {
    let position = question(run)?;
    let plan = &run.plan.steps()[position];
    let step = &run.steps[position];
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
        "failed: its workers were lost repeatedly",
        text,
    ))
}

/// The time that a run has been claimable without being claimed.
pub(super) fn overdue(run: &Run, now: Timestamp) -> Duration {
    match (run.head.status, run.head.available_at) {
        (RunStatus::Queued | RunStatus::Waiting, Some(at)) => now.since(at),
        _ => Duration::ZERO,
    }
}

/// Why no live worker can claim a run; `None` if one can.
pub(super) fn why_no_worker(run: &Run, workers: &[WorkerInfo]) -> Option<String> {
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
