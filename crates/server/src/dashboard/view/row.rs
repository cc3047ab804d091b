//! A run as one row of a list: what it is called, how it stands, on what step.

use serde::Serialize;
use surefoot::{Run, RunId, StepStatus, Timestamp};

use crate::dashboard::text::{Moment, Took, first_line};
use crate::dashboard::visitor::Visitor;

/// How a status looks: a class with a hue, an icon and a word, so that none of them stands alone.
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
    took: Option<Took>,
    /// How long its worker has held it, where that is shown.
    held: Option<Took>,
}

/// Name of the run for people: its key, or what is unique about it, or the beginning of its id.
pub(in crate::dashboard) fn name_of(run: &Run) -> String {
    run.key
        .clone()
        .or_else(|| run.unique.clone())
        .unwrap_or_else(|| short_id(&run.id.to_string()).to_owned())
}

/// As much of an id as tells it from others of its day.
pub(in crate::dashboard) fn short_id(id: &str) -> &str {
    id.get(..18).unwrap_or(id)
}

/// Whether the run stands still until a person answers.
pub(in crate::dashboard) fn asks(run: &Run) -> bool {
    run.asks().is_some()
}

/// How the run's status looks.
pub(in crate::dashboard) fn tone(visitor: &Visitor, run: &Run) -> Tone {
    if asks(run) {
        return Tone {
            tone: "asking",
            icon: "ask",
            word: visitor.t("status.asking", &[]),
        };
    }
    let word = run.head.status.as_str();
    Tone {
        tone: word,
        icon: word,
        word: visitor.t(&format!("status.{word}"), &[]),
    }
}

impl RunRow {
    pub(in crate::dashboard) fn new(visitor: &Visitor, run: &Run) -> Self {
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
            tone: tone(visitor, run),
            progress: run.head.progress,
            step: at.map(|at| step_title(run, at)),
            say: message,
            error: run.head.error.as_deref().map(|text| first_line(text, 160)),
            unreadable: run
                .unreadable
                .as_deref()
                .map(|reason| first_line(reason, 160)),
            created: visitor.moment(run.created_at),
            took: Took::between(run.head.started_at, run.head.completed_at, visitor.now),
            held: None,
        }
    }

    /// One that a worker holds since then.
    pub(in crate::dashboard) fn held(
        visitor: &Visitor,
        run: &Run,
        since: Option<Timestamp>,
    ) -> Self {
        Self {
            held: Took::between(since, None, visitor.now),
            ..Self::new(visitor, run)
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

/// For addresses and forms.
pub(in crate::dashboard) fn parse_ids(texts: &[String]) -> Vec<RunId> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}
