//! Plain lines: one for each thing that happens, for logs and pipes.

use std::time::Duration;

use surefoot::{Event, format_duration};

use super::{Picture, clean};

/// The line for an event, once it is drawn into the picture; `None` for what is not worth one.
pub(super) fn line(picture: &Picture, event: &Event) -> Option<String> {
    let text = match &event.step {
        Some(step) => format!("{step}: {}", of_step(picture, step, event)?),
        None => of_run(event)?,
    };
    Some(format!("[{:3}%] {text}", picture.percent()))
}

/// Returns true for an event that must be visible even beside bars, because the run waits for a
/// person.
pub(super) fn wants_a_person(event: &Event, picture: &Picture) -> bool {
    let asks = |step: &str| picture.step(step).is_some_and(|step| step.asks);
    event.kind == "step.asking"
        || event.kind == "step.interrupted" && event.step.as_deref().is_some_and(asks)
}

fn of_step(picture: &Picture, id: &str, event: &Event) -> Option<String> {
    let step = picture.step(id)?;
    let text = |field: &str| clean(event.data[field].as_str().unwrap_or_default());
    Some(match event.kind.as_str() {
        "step.started" if step.again => "carried on".to_owned(),
        "step.started" if step.attempt > 1 => format!("started, attempt {}", step.attempt),
        "step.started" => "started".to_owned(),
        "step.progress" => {
            let message = step
                .message
                .as_deref()
                .filter(|message| !message.is_empty());
            format!(
                "{}%{}",
                step.progress,
                message
                    .map(|message| format!(" {message}"))
                    .unwrap_or_default()
            )
        }
        "step.completed" => "completed".to_owned(),
        "step.skipped" => format!("skipped ({})", text("reason")),
        "step.failed" => format!("failed: {}", text("error")),
        "step.retrying" => {
            let delay = Duration::from_millis(event.data["delay_ms"].as_u64().unwrap_or(0));
            let attempt = event.data["attempt"].as_u64().unwrap_or(0);
            format!(
                "attempt {attempt} failed: {}; the next in {}",
                text("error"),
                format_duration(delay)
            )
        }
        "step.sleeping" => format!("sleeps until {}", text("until")),
        "step.deferred" => format!("waits for {} until {}", text("reason"), text("until")),
        "step.asking" => format!(
            "asks: {}\n{}",
            text("question"),
            how_to_answer(picture, id, "approve|reject")
        ),
        "step.interrupted" if step.asks => {
            format!(
                "interrupted: {}\n{}",
                text("reason"),
                how_to_answer(picture, id, "rerun|skip|fail")
            )
        }
        "step.interrupted" if event.data["isolation"] == 1 => {
            format!(
                "interrupted: {}; it will run again, alone in its worker",
                text("reason")
            )
        }
        "step.interrupted" => format!("interrupted: {}; it will run again", text("reason")),
        "step.undo_interrupted" => format!("undo interrupted: {}", text("reason")),
        "step.answered" => format!("{} answered: {}", text("by"), text("answer")),
        "step.undo_running" => "taking back what it made".to_owned(),
        "step.undo_done" if event.data["note"].is_string() => {
            format!("undone: removed {}", text("note"))
        }
        "step.undo_done" => "undone: nothing to remove".to_owned(),
        "step.undo_kept" => format!("kept: {}", text("note")),
        "step.undo_failed" => format!("could not be undone: {}", text("error")),
        _ => return None,
    })
}

fn of_run(event: &Event) -> Option<String> {
    let text = |field: &str| clean(event.data[field].as_str().unwrap_or_default());
    Some(match event.kind.as_str() {
        "run.released" => format!("given back: {}", text("reason")),
        "run.retried" => format!("retried by {}", text("by")),
        "run.cancel_requested" => format!("cancel requested by {}", text("by")),
        "run.completed" => "completed".to_owned(),
        "run.failed" => format!("failed: {}", text("error")),
        "run.cancelled" => "cancelled".to_owned(),
        _ => return None,
    })
}

fn how_to_answer(picture: &Picture, step: &str, words: &str) -> String {
    format!(
        "       answer with: surefoot answer {} {step} {words}",
        picture.run
    )
}
