//! Values that a transition writes, prepared by the caller's task so that the writer's thread only
//! binds and steps.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{CachedStatement, params};
use serde_json::Value;
use surefoot::state::{Head, StepState, Transition};
use surefoot::{AllowList, NewEvent, RecordChange, RunId, Snapshot, StoreError, Timestamp};

use crate::error::fault;

/// A transition as text.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) head: Head,
    /// See [`Transition::yields_to_undo`].
    pub(crate) yields_to_undo: bool,
    pub(crate) steps: Vec<StepRow>,
    pub(crate) events: EventRows,
    pub(crate) records: Vec<RecordRow>,
    pub(crate) snapshot: Option<Arc<Snapshot>>,
    /// New value of the column `requires`, if it changes.
    pub(crate) requires: Option<Option<String>>,
}

/// Row of a step.
#[derive(Debug)]
pub(crate) struct StepRow {
    position: i64,
    state: StepState,
    output: Option<String>,
    checkpoint: Option<String>,
    answer: Option<String>,
    decision: Option<String>,
}

/// Events of one commit, which share a row.
#[derive(Debug)]
pub(crate) struct EventRows {
    pub(crate) count: u64,
    pub(crate) body: String,
}

/// A change of a record.
#[derive(Debug)]
pub(crate) enum RecordRow {
    Put {
        kind: String,
        name: String,
        data: String,
    },
    Remove {
        kind: String,
        name: String,
    },
}

impl Written {
    pub(crate) fn of(transition: Transition) -> Result<Self, StoreError> {
        let Transition {
            head,
            yields_to_undo,
            steps,
            events,
            records,
            snapshot,
            requires,
        } = transition;
        let steps = steps
            .into_iter()
            .map(|(position, state)| StepRow::of(position, state))
            .collect::<Result<_, _>>()?;
        let records = records
            .into_iter()
            .map(RecordRow::of)
            .collect::<Result<_, _>>()?;
        let requires = requires.as_ref().map(required).transpose()?;
        Ok(Self {
            head,
            yields_to_undo,
            steps,
            events: EventRows::of(events)?,
            records,
            snapshot,
            requires,
        })
    }
}

impl StepRow {
    fn of(position: usize, mut state: StepState) -> Result<Self, StoreError> {
        let text = |value: Option<Value>| value.as_ref().map(json).transpose();
        Ok(Self {
            position: i64::try_from(position).map_err(fault)?,
            output: text(state.output.take())?,
            checkpoint: text(state.checkpoint.take())?,
            answer: text(state.answer.take())?,
            decision: text(state.decision.take())?,
            state,
        })
    }

    /// Executes `sql/update_step.sql`. Returns the number of affected rows.
    pub(crate) fn update(
        &self,
        statement: &mut CachedStatement<'_>,
        run: RunId,
    ) -> rusqlite::Result<usize> {
        let state = &self.state;
        statement.execute(params![
            run.as_bytes(),
            self.position,
            state.status.as_str(),
            state.progress,
            state.message,
            state.attempt,
            state.interruptions,
            micros(state.started_at),
            micros(state.completed_at),
            state.error,
            self.output,
            state.wait.map(|wait| wait.as_str()),
            self.checkpoint,
            self.answer,
            state.snapshot.as_ref().map(|digest| digest.as_bytes()),
            state.undo.map(|undo| undo.as_str()),
            state.deferrals,
            self.decision,
            state.undo_note,
            state.isolation,
            state.crashes,
        ])
    }
}

impl EventRows {
    fn of(events: Vec<NewEvent>) -> Result<Self, StoreError> {
        let count = events.len() as u64;
        let arrays: Vec<_> = events
            .iter()
            .map(|event| (&event.kind, &event.step, &event.data))
            .collect();
        Ok(Self {
            count,
            body: serde_json::to_string(&arrays).map_err(fault)?,
        })
    }
}

impl RecordRow {
    fn of(change: RecordChange) -> Result<Self, StoreError> {
        Ok(match change {
            RecordChange::Put { kind, name, data } => Self::Put {
                kind,
                name,
                data: json(&data)?,
            },
            RecordChange::Remove { kind, name } => Self::Remove { kind, name },
        })
    }
}

pub(crate) fn json(value: &Value) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(fault)
}

/// An allow-list as a JSON array; null permits everything.
pub(crate) fn entries(list: &AllowList) -> Result<Option<String>, StoreError> {
    list.entries()
        .map(|entries| json(&serde_json::json!(entries)))
        .transpose()
}

/// A set of resources in the form of its column: a sorted array, so that equal sets are equal
/// texts; the empty set is null.
pub(crate) fn required(resources: &BTreeSet<String>) -> Result<Option<String>, StoreError> {
    if resources.is_empty() {
        return Ok(None);
    }
    serde_json::to_string(resources).map(Some).map_err(fault)
}

/// A time in the form of its column.
pub(crate) fn micros(time: Option<Timestamp>) -> Option<i64> {
    time.map(Timestamp::as_micros)
}

/// Durations are microseconds too, capped at about 290,000 years.
pub(crate) fn length(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
