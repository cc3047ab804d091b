//! `surefoot show RUN`: a run and its steps.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use surefoot::state::Undo;
use surefoot::{Run, StepPlan, StepState, Timestamp, Waiting};

use crate::app::App;
use crate::args::RunArg;
use crate::errors::{Exit, Failure};
use crate::progress::clean;
use crate::table::table;
use crate::view::RunView;
use crate::{out, questions, refer, summary};

/// Shows a run.
pub(crate) async fn show(app: &App, args: &RunArg) -> Result<Exit, Failure> {
    let client = app.client().await?;
    let run = refer::find(client.store().as_ref(), &args.run).await?;
    let waiting = client.waiting(&run).await?;
    if app.json {
        summary::json(&RunView::from(&run).waiting(waiting.as_ref()))?;
    } else {
        out::print(&text(&run, waiting.as_ref()))?;
    }
    Ok(Exit::Done)
}

/// To the second: people compare the microseconds with --json.
pub(super) fn time(at: Timestamp) -> String {
    let text = at.to_string();
    text.split('.').next().unwrap_or_default().replace('T', " ")
}

fn text(run: &Run, waiting: Option<&Waiting>) -> String {
    let head = &run.head;
    let mut text = String::new();
    let mut line = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name:<10} {value}");
        }
    };
    line("run", Some(run.id.to_string()));
    line("workflow", Some(run.plan.name().to_owned()));
    line("key", run.key.clone());
    line("queue", Some(run.queue().to_owned()));
    line(
        "status",
        Some(format!("{}, {}%", head.status, head.progress)),
    );
    line("waits", waiting.map(|waiting| clean(&waiting.to_string())));
    for lacking in waiting.map(Waiting::lacking).unwrap_or_default() {
        let text = format!("{}: {}", lacking.worker, lacking.resources.join(", "));
        line("lacking", Some(clean(&text)));
    }
    line("requires", list(&run.requires));
    line("created", Some(time(run.created_at)));
    line("started", head.started_at.map(time));
    line("completed", head.completed_at.map(time));
    line("took", summary::duration(run));
    line("error", head.error.as_deref().map(clean));
    line("unreadable", run.unreadable.as_deref().map(clean));
    text.push('\n');
    let rows = run
        .plan
        .steps()
        .iter()
        .zip(&run.steps)
        .map(row)
        .collect::<Vec<_>>();
    text.push_str(&table(
        &["STEP", "STATUS", "TRY", "STARTED", "TOOK", "SAYS"],
        &rows,
    ));
    for question in questions::open(run) {
        let _ = writeln!(text, "\nanswer with: {}", question.how);
    }
    text
}

/// Names in one line; `None` when there are none.
fn list(names: &BTreeSet<String>) -> Option<String> {
    let names = names.iter().map(String::as_str).collect::<Vec<_>>();
    (!names.is_empty()).then(|| clean(&names.join(", ")))
}

fn row((plan, step): (&StepPlan, &StepState)) -> Vec<String> {
    let took = step
        .started_at
        .zip(step.completed_at)
        .map(|(start, end)| summary::short(end.since(start)));
    let says = undone(step)
        .or(step.error.clone())
        .or(step.message.clone())
        .map(|text| clean(&text));
    let has_begun = step.attempt > 0;
    vec![
        plan.id.clone(),
        step.status.to_string(),
        if has_begun {
            step.attempt.to_string()
        } else {
            String::new()
        },
        if has_begun {
            step.started_at.map(time).unwrap_or_default()
        } else {
            String::new()
        },
        if has_begun {
            took.unwrap_or_default()
        } else {
            String::new()
        },
        says.unwrap_or_default(),
    ]
}

/// Result of the step's undo, as it is shown.
fn undone(step: &StepState) -> Option<String> {
    let note = step.undo_note.as_deref().unwrap_or("nothing");
    match step.undo? {
        Undo::Done => Some(format!("undone: removed {note}")),
        Undo::Kept => Some(format!("kept: {note}")),
        Undo::Running | Undo::Interrupted | Undo::Failed => None,
    }
}
