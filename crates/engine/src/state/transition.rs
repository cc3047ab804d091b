//! A transition: everything that one change of a run writes, in one commit.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{CancelMode, Head, Run, RunStatus, StepState};
use crate::{NewEvent, RecordChange, RunId, Snapshot, Timestamp, WorkerId};

/// A worker's right to write to a run. It ends when the store gives the run to another, with a higher epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The run.
    pub run: RunId,
    /// Who holds it.
    pub worker: WorkerId,
    /// Which holding this is; see [`Head::epoch`].
    pub epoch: u64,
}

/// What one change of a run writes. Rows are whole: a store never has to know what changed in them, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// The run's row as it is from now on. A store leaves [`Head::cancel`] as it stands in the database unless the
    /// transition ends the run or comes from a person: a worker never takes back what a person asked. And when a worker
    /// gives back a run whose cancel was asked for meanwhile, the store makes it available at once.
    pub head: Head,
    /// Whether it ends the run and leaves what an undo would take back. When a person asked for the undo meanwhile and a worker
    /// writes this, the store makes [`Head::yield_to_undo`] of the end: what was asked in time is done.
    pub yields_to_undo: bool,
    /// The rows of the steps that changed, by position.
    pub steps: Vec<(usize, StepState)>,
    /// What is added to the history, in order.
    pub events: Vec<NewEvent>,
    /// What happens to the records.
    pub records: Vec<RecordChange>,
    /// The workspace that a completed step left. Shared, for a commit that is sent again need not copy its contents.
    pub snapshot: Option<Arc<Snapshot>>,
    /// [`Run::requires`] from now on, when it changes.
    pub requires: Option<BTreeSet<String>>,
}

impl Head {
    /// The end that a worker wrote which did not know of the undo that a person had asked for: the run is queued for it.
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
