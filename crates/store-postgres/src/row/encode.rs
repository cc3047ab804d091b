//! Values that a transition writes, prepared by the caller's task, and the columns in which many
//! transitions are sent.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use surefoot::state::{Head, Lease, StepState, Transition};
use surefoot::statistics::slot_of;
use surefoot::{NewEvent, RecordChange, RunId, Snapshot, StoreError, Timestamp};
use uuid::Uuid;

use crate::args::Args;
use crate::failure::fault;

/// A transition as text.
#[derive(Debug, PartialEq)]
pub(crate) struct Written {
    pub(crate) head: Head,
    /// See [`Transition::yields_to_undo`].
    pub(crate) yields_to_undo: bool,
    pub(crate) steps: Vec<StepRow>,
    pub(crate) events: EventRows,
    pub(crate) records: Vec<RecordRow>,
    pub(crate) snapshot: Option<Arc<Snapshot>>,
    /// New value of the column `requires`, if it changes.
    pub(crate) requires: Option<Vec<String>>,
}

/// Row of a step.
#[derive(Debug, PartialEq)]
pub(crate) struct StepRow {
    position: i16,
    state: StepState,
    output: Option<String>,
    checkpoint: Option<String>,
    answer: Option<String>,
    decision: Option<String>,
}

/// Events of one commit, which share a row.
#[derive(Debug, PartialEq)]
pub(crate) struct EventRows {
    pub(crate) count: i32,
    pub(crate) body: String,
}

/// A change of a record.
#[derive(Debug, PartialEq)]
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
            mut head,
            yields_to_undo,
            steps,
            events,
            records,
            snapshot,
            requires,
        } = transition;
        head.error = head.error.map(clean);
        let steps = steps
            .into_iter()
            .map(|(position, state)| StepRow::of(position, state))
            .collect::<Result<_, _>>()?;
        let records = records
            .into_iter()
            .map(RecordRow::of)
            .collect::<Result<_, _>>()?;
        let requires = requires.map(|requires| requires.into_iter().collect());
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

    /// Returns whether it has more than rows of its run: then it is written in its own transaction,
    /// not in a batch.
    pub(crate) fn is_heavy(&self) -> bool {
        !self.records.is_empty() || self.snapshot.is_some() || self.requires.is_some()
    }
}

impl StepRow {
    /// Position of the step in the plan, from 0.
    pub(crate) fn position(&self) -> i16 {
        self.position
    }

    /// State of the step, without the fields sent as JSON.
    pub(crate) fn state(&self) -> &StepState {
        &self.state
    }

    fn of(position: usize, mut state: StepState) -> Result<Self, StoreError> {
        let text = |value: Option<Value>| value.as_ref().map(json).transpose();
        state.message = state.message.map(clean);
        state.error = state.error.map(clean);
        state.undo_note = state.undo_note.map(clean);
        Ok(Self {
            position: i16::try_from(position).map_err(fault)?,
            output: text(state.output.take())?,
            checkpoint: text(state.checkpoint.take())?,
            answer: text(state.answer.take())?,
            decision: text(state.decision.take())?,
            state,
        })
    }
}

impl EventRows {
    fn of(events: Vec<NewEvent>) -> Result<Self, StoreError> {
        let count = i32::try_from(events.len()).map_err(fault)?;
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
    /// Kind and name of the record.
    pub(crate) fn place(&self) -> (&str, &str) {
        match self {
            Self::Put { kind, name, .. } | Self::Remove { kind, name } => (kind, name),
        }
    }

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

/// Columns of `write_runs.sql` with one element for each run.
#[derive(Debug, Default)]
pub(crate) struct Heads<'a> {
    run: Vec<Uuid>,
    lease_worker: Vec<Option<Uuid>>,
    lease_epoch: Vec<Option<i64>>,
    commits: Vec<i64>,
    events: Vec<i32>,
    body: Vec<&'a str>,
    status: Vec<&'static str>,
    progress: Vec<i16>,
    error: Vec<Option<&'a str>>,
    started_at: Vec<Option<i64>>,
    completed_at: Vec<Option<i64>>,
    available_at: Vec<Option<i64>>,
    worker: Vec<Option<Uuid>>,
    epoch: Vec<i64>,
    cancel: Vec<Option<&'static str>>,
    rate_at: Vec<Option<i64>>,
    slot: Vec<i16>,
    yields: Vec<bool>,
}

impl<'a> Heads<'a> {
    /// Adds the changes of a run, made under a lease or on a locked row.
    pub(crate) fn add(
        &mut self,
        run: RunId,
        lease: Option<Lease>,
        written: &'a Written,
        rate_at: Option<Timestamp>,
    ) {
        let head = &written.head;
        self.run.push(uuid(run.as_bytes()));
        self.lease_worker
            .push(lease.map(|lease| uuid(lease.worker.as_bytes())));
        self.lease_epoch
            .push(lease.map(|lease| signed(lease.epoch)));
        self.commits.push(signed(head.commits));
        self.events.push(written.events.count);
        self.body.push(&written.events.body);
        self.status.push(head.status.as_str());
        self.progress.push(i16::from(head.progress));
        self.error.push(head.error.as_deref());
        self.started_at.push(micros(head.started_at));
        self.completed_at.push(micros(head.completed_at));
        self.available_at.push(micros(head.available_at));
        self.worker
            .push(head.worker.as_ref().map(|worker| uuid(worker.as_bytes())));
        self.epoch.push(signed(head.epoch));
        self.cancel
            .push(head.cancel.map(surefoot::state::CancelMode::as_str));
        self.rate_at.push(micros(rate_at));
        let took = head
            .started_at
            .zip(head.completed_at)
            .map(|(from, to)| to.since(from));
        self.slot
            .push(i16::try_from(slot_of(took.unwrap_or_default())).unwrap_or(i16::MAX));
        self.yields.push(lease.is_some() && written.yields_to_undo);
    }

    pub(crate) fn put(self, args: Args<'a>) -> Args<'a> {
        args.with_all(self.run)
            .with_all(self.lease_worker)
            .with_all(self.lease_epoch)
            .with_all(self.commits)
            .with_all(self.events)
            .with_all(self.body)
            .with_all(self.status)
            .with_all(self.progress)
            .with_all(self.error)
            .with_all(self.started_at)
            .with_all(self.completed_at)
            .with_all(self.available_at)
            .with_all(self.worker)
            .with_all(self.epoch)
            .with_all(self.cancel)
            .with_all(self.rate_at)
            .with_all(self.slot)
            .with_all(self.yields)
    }
}

/// Columns of steps, as in `write_runs.sql` and `submit_runs.sql`.
#[derive(Debug, Default)]
pub(crate) struct Steps<'a> {
    run: Vec<Uuid>,
    position: Vec<i16>,
    status: Vec<&'static str>,
    progress: Vec<i16>,
    message: Vec<Option<&'a str>>,
    attempt: Vec<i64>,
    interruptions: Vec<i64>,
    started_at: Vec<Option<i64>>,
    completed_at: Vec<Option<i64>>,
    error: Vec<Option<&'a str>>,
    output: Vec<Option<&'a str>>,
    wait: Vec<Option<&'static str>>,
    checkpoint: Vec<Option<&'a str>>,
    answer: Vec<Option<&'a str>>,
    snapshot: Vec<Option<&'a [u8]>>,
    undo: Vec<Option<&'static str>>,
    deferrals: Vec<i64>,
    decision: Vec<Option<&'a str>>,
    undo_note: Vec<Option<&'a str>>,
    isolation: Vec<Option<i64>>,
    crashes: Vec<i64>,
}

impl<'a> Steps<'a> {
    pub(crate) fn add(&mut self, run: RunId, rows: &'a [StepRow]) {
        for row in rows {
            let state = &row.state;
            self.run.push(uuid(run.as_bytes()));
            self.position.push(row.position);
            self.status.push(state.status.as_str());
            self.progress.push(i16::from(state.progress));
            self.message.push(state.message.as_deref());
            self.attempt.push(i64::from(state.attempt));
            self.interruptions.push(i64::from(state.interruptions));
            self.started_at.push(micros(state.started_at));
            self.completed_at.push(micros(state.completed_at));
            self.error.push(state.error.as_deref());
            self.output.push(row.output.as_deref());
            self.wait.push(state.wait.map(|wait| wait.as_str()));
            self.checkpoint.push(row.checkpoint.as_deref());
            self.answer.push(row.answer.as_deref());
            self.snapshot.push(
                state
                    .snapshot
                    .as_ref()
                    .map(|digest| digest.as_bytes().as_slice()),
            );
            self.undo.push(state.undo.map(|undo| undo.as_str()));
            self.deferrals.push(i64::from(state.deferrals));
            self.decision.push(row.decision.as_deref());
            self.undo_note.push(state.undo_note.as_deref());
            self.isolation.push(state.isolation.map(i64::from));
            self.crashes.push(i64::from(state.crashes));
        }
    }

    pub(crate) fn put(self, args: Args<'a>) -> Args<'a> {
        args.with_all(self.run)
            .with_all(self.position)
            .with_all(self.status)
            .with_all(self.progress)
            .with_all(self.message)
            .with_all(self.attempt)
            .with_all(self.interruptions)
            .with_all(self.started_at)
            .with_all(self.completed_at)
            .with_all(self.error)
            .with_all(self.output)
            .with_all(self.wait)
            .with_all(self.checkpoint)
            .with_all(self.answer)
            .with_all(self.snapshot)
            .with_all(self.undo)
            .with_all(self.deferrals)
            .with_all(self.decision)
            .with_all(self.undo_note)
            .with_all(self.isolation)
            .with_all(self.crashes)
    }
}

/// PostgreSQL stores no NUL in a text. In a handler's message it is no loss.
pub(crate) fn clean(text: String) -> String {
    if text.contains('\0') {
        text.replace('\0', "\u{fffd}")
    } else {
        text
    }
}

pub(crate) fn json(value: &Value) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(fault)
}

/// A time in the form of its column.
pub(crate) fn micros(time: Option<Timestamp>) -> Option<i64> {
    time.map(Timestamp::as_micros)
}

/// Durations are microseconds too, capped at about 290,000 years.
pub(crate) fn length(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Counters from 0 fit signed integers for longer than any run lives.
pub(crate) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// An identifier in the form of its column.
pub(crate) fn uuid(bytes: &[u8; 16]) -> Uuid {
    Uuid::from_bytes(*bytes)
}
