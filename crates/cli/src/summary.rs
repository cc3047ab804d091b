//! Summary of a followed run that has ended: its results or its error, and what to do next.

use std::time::Duration;

use surefoot::{Run, RunStatus, format_duration};

use crate::app::App;
use crate::errors::{Exit, Failure};
use crate::host::Outcome;
use crate::out;
use crate::plan::plain;
use crate::progress::clean;
use crate::shipped;
use crate::view::RunView;

/// Prints how a followed run came out, and gives the exit status for it.
pub(crate) fn print(app: &App, outcome: &Outcome) -> Result<Exit, Failure> {
    match outcome {
        Outcome::Stopped(exit) => Ok(*exit),
        Outcome::Ended(run) => {
            if app.json {
                json(&RunView::from(run.as_ref()))?;
            }
            // With --json the standard output is data and nothing else.
            match run.head.status {
                RunStatus::Completed if !app.json => out::print(&completed(run))?,
                RunStatus::Completed => {}
                _ => out::say(ended_badly(run).trim_end()),
            }
            Ok(Exit::of(run.head.status))
        }
    }
}

/// Prints a value as JSON.
pub(crate) fn json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::store(format!("cannot print this: {error}")))?;
    out::print(&format!("{text}\n"))?;
    Ok(())
}

fn completed(run: &Run) -> String {
    let name = run.key.clone().unwrap_or_else(|| run.id.to_string());
    let took = duration(run)
        .map(|took| format!(" in {took}"))
        .unwrap_or_default();
    let mut text = format!("\n{name}: {} completed{took}\n", run.plan.name());
    let output = run.output();
    if run.plan.name() == shipped::WORKFLOW {
        text.push_str(&shipped::summary(&output));
    } else {
        text.push_str(&fields(&output));
    }
    text.push_str(&format!("  surefoot show {}\n", run.id));
    text
}

fn fields(output: &serde_json::Value) -> String {
    let line = |(name, value): (&String, &serde_json::Value)| {
        format!("  {name}: {}\n", clean(&plain(value)))
    };
    output
        .as_object()
        .map(|fields| fields.iter().map(line).collect())
        .unwrap_or_default()
}

fn ended_badly(run: &Run) -> String {
    let error = clean(run.head.error.as_deref().unwrap_or("no reason was given"));
    let status = run.head.status;
    let id = run.id;
    let mut text = format!("\nerror: run {id} {status}: {error}\n");
    text.push_str(&format!("  surefoot logs {id}     what its steps said\n"));
    if status == RunStatus::Failed {
        text.push_str(&format!(
            "  surefoot retry {id}    go on from the step that failed\n"
        ));
    }
    text
}

/// From the first start to the end, as people read it.
pub(crate) fn duration(run: &Run) -> Option<String> {
    let took = run.head.completed_at?.since(run.head.started_at?);
    Some(short(took))
}

/// Formats a duration without insignificant digits.
pub(crate) fn short(duration: Duration) -> String {
    let step = if duration < Duration::from_secs(1) {
        1
    } else if duration < Duration::from_secs(60) {
        100
    } else {
        1000
    };
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    format_duration(Duration::from_millis(millis - millis % step))
}
