//! Runs that this build cannot read: of a plan that a newer build wrote, or with a damaged row.
//!
//! A store gives a stand-in for such a run, with all of it that can be read and with
//! [`Run::unreadable`] set. It is listed and cancelled like any run; it is never claimed, retried,
//! answered or driven, and it affects no other run.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{Event, Run, RunId, RunStatus, StoreError, Timestamp, Workflow};

impl Run {
    /// Refuses what needs the whole run when only a part of it can be read.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`].
    pub fn check_readable(&self) -> Result<(), StoreError> {
        match &self.unreadable {
            None => Ok(()),
            Some(reason) => Err(StoreError::Unreadable {
                run: self.id,
                reason: reason.clone(),
            }),
        }
    }
}

/// Faults found in a run's rows.
#[derive(Debug, Default)]
pub struct Faults {
    first: Option<String>,
}

impl Faults {
    /// Notes a fault. The first one is reported.
    pub fn note(&mut self, reason: impl std::fmt::Display) {
        self.first.get_or_insert_with(|| reason.to_string());
    }

    /// Reads JSON; null when it is damaged.
    pub fn read(&mut self, json: &str) -> Value {
        // What was submitted from within a database was not read before.
        crate::from_json(json).unwrap_or_else(|error| {
            self.note(format_args!("its data is damaged: {error}"));
            Value::Null
        })
    }

    /// The plan, or a stand-in that has the names of the steps.
    pub fn plan<E: std::fmt::Display>(
        &mut self,
        plan: Result<Arc<Workflow>, E>,
        workflow: &str,
        queue: &str,
        steps: Vec<String>,
    ) -> Arc<Workflow> {
        match plan {
            Ok(plan) if plan.steps().len() == steps.len() => return plan,
            Ok(plan) => self.note(format_args!(
                "it has {} steps and its plan {}",
                steps.len(),
                plan.steps().len()
            )),
            Err(error) => self.note(error),
        }
        Arc::new(Workflow::stand_in(workflow, queue, steps))
    }

    /// The run as a store gives it. With a fault it is unreadable, and says nothing that its
    /// parameters' schema might have masked.
    pub fn finish(self, mut run: Run) -> Run {
        run.unreadable = self.first;
        if run.unreadable.is_some() {
            for step in &mut run.steps {
                step.output = None;
                step.message = None;
                step.error = None;
            }
            if run.head.status != RunStatus::Cancelled {
                run.head.error = None;
            }
        }
        run
    }
}

/// The events of one row of a history, which are numbered up to `last`. Each is an array: kind,
/// step, data. A row that cannot be read gives one event that says so.
pub fn parse_events(last: u64, at: Timestamp, body: &str) -> Vec<Event> {
    let parsed = serde_json::from_str::<Vec<(String, Option<String>, Value)>>(body)
        .map_err(|error| error.to_string());
    let events = parsed.and_then(|events| match (last + 1).checked_sub(events.len() as u64) {
        Some(first) => Ok((first, events)),
        None => Err("more events than were counted".to_owned()),
    });
    let event = |(seq, (kind, step, data))| Event {
        seq,
        at,
        kind,
        step,
        data,
    };
    match events {
        Ok((first, events)) => (first..).zip(events).map(event).collect(),
        Err(error) => vec![event((
            last,
            (
                "event.unreadable".to_owned(),
                None,
                unreadable_content(error),
            ),
        ))],
    }
}

/// The content of a record or a document. Damaged content says so, and is no reason to give none of
/// the others.
pub fn parse_content(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(unreadable_content)
}

/// The content of a damaged row that belongs to no run's own state: an event, a record, a document.
fn unreadable_content(reason: impl std::fmt::Display) -> Value {
    json!({ "unreadable": reason.to_string() })
}

/// Runs kept in [`UnreadableRuns`] at most.
const MAX_NOTED: usize = 10_000;

/// Time after which a run is looked at again: a person may have repaired its rows.
const NOTED_FOR: Duration = Duration::from_secs(30);

/// The runs that a store of this process found unreadable lately, so that claims pass over them
/// without reading them again.
#[derive(Debug, Default)]
pub struct UnreadableRuns(Mutex<HashMap<RunId, Instant>>);

impl UnreadableRuns {
    fn noted(&self) -> MutexGuard<'_, HashMap<RunId, Instant>> {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.retain(|_, at| at.elapsed() < NOTED_FOR);
        noted
    }

    /// Notes a run that was found unreadable, and reports it once in a while.
    pub fn note(&self, run: RunId, reason: &str) {
        let mut noted = self.noted();
        if noted.len() >= MAX_NOTED {
            noted.clear();
        }
        if noted.insert(run, Instant::now()).is_none() {
            tracing::warn!(%run, reason, "run is unreadable; skipping it");
        }
    }

    /// Forgets a run that was cancelled or could be read.
    pub fn forget(&self, run: RunId) {
        self.noted().remove(&run);
    }

    /// Returns whether a run was found unreadable lately.
    pub fn has(&self, run: RunId) -> bool {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        !noted.is_empty() && noted.get(&run).is_some_and(|at| at.elapsed() < NOTED_FOR)
    }

    /// The runs that were found unreadable lately.
    pub fn ids(&self) -> Vec<RunId> {
        self.noted().keys().copied().collect()
    }
}
