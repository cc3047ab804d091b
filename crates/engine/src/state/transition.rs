//! A transition: everything that one change of a run writes, in one commit.

use super::{Head, Run, StepState};
use crate::{NewEvent, RecordChange, RunId, Snapshot, WorkerId};

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
    /// The rows of the steps that changed, by position.
    pub steps: Vec<(usize, StepState)>,
    /// What is added to the history, in order.
    pub events: Vec<NewEvent>,
    /// What happens to the records.
    pub records: Vec<RecordChange>,
    /// The workspace that a completed step left.
    pub snapshot: Option<Snapshot>,
}

impl Run {
    /// Makes the change to the run in memory that a store makes in the database.
    pub fn apply(&mut self, transition: &Transition) {
        self.head = transition.head.clone();
        for (position, step) in &transition.steps {
            self.steps[*position] = step.clone();
        }
    }
}
