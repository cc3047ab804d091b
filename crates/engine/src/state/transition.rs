//! A transition: everything that one change of a run writes, in one commit.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{CancelMode, Head, Run, RunStatus, StepState};
use crate::{NewEvent, RecordChange, RunId, Snapshot, Timestamp, WorkerId};

/// A worker's right to write to a run. It ends when the store gives the run to another, with a
/// higher epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The run.
    pub run: RunId,
    /// Worker that holds it.
    pub worker: WorkerId,
    /// Which holding this is; see [`Head::epoch`].
    pub epoch: u64,
}

/// The rows that one change of a run writes. Rows are whole, so a store need not know what changed
/// in them, or why.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// The run's new row.
    ///
    /// A store leaves [`Head::cancel`] as it is in the database unless the transition ends the run
    /// or comes from a person: a worker never revokes a person's request. When a worker hands back
    /// a run whose cancel was requested meanwhile, the store makes it available at once.
    pub head: Head,
    /// True if it ends the run without an undo that could still be requested.
    ///
    /// If a person requested the undo before a worker writes this end, the store applies
    /// [`Head::yield_to_undo`]: a request made in time is carried out.
    pub yields_to_undo: bool,
    /// The rows of the steps that changed, by position.
    pub steps: Vec<(usize, StepState)>,
    /// Events appended to the history, in order.
    pub events: Vec<NewEvent>,
    /// Changes of the records.
    pub records: Vec<RecordChange>,
    /// The workspace that a completed step left. Shared, so that a retried commit copies no
    /// contents.
    pub snapshot: Option<Arc<Snapshot>>,
    /// [`Run::requires`] from now on, when it changes.
    pub requires: Option<BTreeSet<String>>,
}

impl Head {
    /// The end that a worker wrote which did not know of the undo that a person had asked for: the
    /// run is queued for it.
    pub fn yield_to_undo(&mut self, now: Timestamp) {
        self.status = RunStatus::Queued;
        self.progress = self.progress.min(99);
        self.completed_at = None;
        self.available_at = Some(now);
        self.cancel = Some(CancelMode::Undo);
    }
}

impl Run {
    /// Makes the change to the run in memory that a store makes in the database.
    pub fn apply(&mut self, transition: &Transition) {
        self.head = transition.head.clone();
        for (position, step) in &transition.steps {
            self.steps[*position] = step.clone();
        }
        if let Some(requires) = &transition.requires {
            self.requires.clone_from(requires);
        }
    }
}
