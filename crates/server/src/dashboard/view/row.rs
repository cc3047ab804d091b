//! A run as a row of a list: name, status, current step.

use serde::Serialize;
use surefoot::{Run, RunId, StepStatus, Timestamp};

use crate::dashboard::page_context::PageContext;
use crate::dashboard::text::{Elapsed, Moment, first_line};

/// The appearance of a status: a class for the colour, an icon and a word, so that none has to
/// stand alone.
#[derive(Clone, Debug, Serialize)]
pub(in crate::dashboard) struct Tone {
    pub(in crate::dashboard) tone: &'static str,
    pub(in crate::dashboard) icon: &'static str,
    pub(in crate::dashboard) word: String,
}

/// A run in a list.
#[derive(Debug, Serialize)]
pub(in crate::dashboard) struct RunRow {
    pub(in crate::dashboard) id: String,
    pub(in crate::dashboard) name: String,
    workflow: String,
    #[serde(flatten)]
    tone: Tone,
    progress: u8,
    pub(in crate::dashboard) step: Option<String>,
    say: Option<String>,
    error: Option<String>,
    /// The part of it that this server cannot read.
    unreadable: Option<String>,
    created: Moment,
    took: Option<Elapsed>,
    /// The time that its worker has held it, where shown.
    held: Option<Elapsed>,
}

/// Name of the run for people: its key, or its unique value, or the beginning of its id.
pub(in crate::dashboard) fn name_of(run: &Run) -> String {
    run.key
        .clone()
        .or_else(|| run.unique.clone())
        .unwrap_or_else(|| short_id(&run.id.to_string()).to_owned())
}

/// The beginning of an id, long enough to be unique within a day.
pub(in crate::dashboard) fn short_id(id: &str) -> &str {
    id.get(..18).unwrap_or(id)
}

/// Returns true if the run waits for a person's answer.
pub(in crate::dashboard) fn asks(run: &Run) -> bool {
    run.asks().is_some()
}

/// The appearance of the run's status.
pub(in crate::dashboard) fn tone(context: &PageContext, run: &Run) -> Tone {
    if asks(run) {
        return Tone {
            tone: "asking",
            icon: "ask",
            word: context.t("status.asking", &[]),
        };
    }
    let word = run.head.status.as_str();
    Tone {
        tone: word,
        icon: word,
        word: context.t(&format!("status.{word}"), &[]),
    }
}

impl RunRow {
    pub(in crate::dashboard) fn new(context: &PageContext, run: &Run) -> Self {
        let at = (!run.head.status.is_ended())
            .then(|| run.next_step())
            .flatten();
        let message = at
            .and_then(|at| run.steps[at].message.as_deref())
            .map(|text| first_line(text, 120));
        Self {
            id: run.id.to_string(),
            name: name_of(run),
            workflow: run.plan.title().to_owned(),
            tone: tone(context, run),
            progress: run.head.progress,
            step: at.map(|at| step_title(run, at)),
            say: message,
            error: run.head.error.as_deref().map(|text| first_line(text, 160)),
            unreadable: run
                .unreadable
                .as_deref()
                .map(|reason| first_line(reason, 160)),
            created: context.moment(run.created_at),
            took: Elapsed::between(run.head.started_at, run.head.completed_at, context.now),
            held: None,
        }
    }

    /// A row for a run held since the given time.
    pub(in crate::dashboard) fn held(
        context: &PageContext,
        run: &Run,
        since: Option<Timestamp>,
    ) -> Self {
        Self {
            held: Elapsed::between(since, None, context.now),
            ..Self::new(context, run)
        }
    }
}

fn step_title(run: &Run, at: usize) -> String {
    let begun = run.steps[at].status != StepStatus::Pending || run.head.started_at.is_some();
    if begun {
        run.plan.steps()[at].title.clone()
    } else {
        String::new()
    }
}

/// Parses the run ids of a form; invalid ones are skipped.
pub(in crate::dashboard) fn parse_ids(texts: &[String]) -> Vec<RunId> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}
