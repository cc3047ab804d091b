//! Events: the append-only history of a run.
//!
//! The kinds, and what their data says, are listed in `docs/state-machine.md`.

use serde_json::Value;

use crate::Timestamp;

/// An event that is about to be written; the store gives it its sequence and time.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    /// Type of the event: `step.completed`, `run.failed`.
    pub kind: String,
    /// The id of the step that it happened to.
    pub step: Option<String>,
    /// Details: an object, or null.
    pub data: Value,
}

/// Entry of a run's history.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its place in the run's history: 1, 2, 3 and so on without a gap.
    pub seq: u64,
    /// When it was written.
    pub at: Timestamp,
    /// Type of the event: `step.completed`, `run.failed`.
    pub kind: String,
    /// The id of the step that it happened to.
    pub step: Option<String>,
    /// Details: an object, or null.
    pub data: Value,
}

impl NewEvent {
    pub(crate) fn run(kind: &str, data: Value) -> Self {
        Self {
            kind: kind.to_owned(),
            step: None,
            data,
        }
    }

    pub(crate) fn step(kind: &str, step: &str, data: Value) -> Self {
        Self {
            kind: kind.to_owned(),
            step: Some(step.to_owned()),
            data,
        }
    }

    /// The event as it stands in the history.
    pub fn at(self, seq: u64, at: Timestamp) -> Event {
        Event {
            seq,
            at,
            kind: self.kind,
            step: self.step,
            data: self.data,
        }
    }
}
