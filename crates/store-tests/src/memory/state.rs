//! State of the model, and the one function that writes a transition.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use surefoot::document::Document;
use surefoot::state::{Edit, RuleError, Transition};
use surefoot::statistics::{Outcome, slot_of};
use surefoot::store::WorkerInfo;
use surefoot::{
    Digest, Event, QueueLimits, Record, RecordChange, Run, RunId, Snapshot, StoreError, Timestamp,
    WorkerId,
};

/// The whole state.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) runs: BTreeMap<RunId, Entry>,
    pub(super) records: BTreeMap<(String, String), Record>,
    /// Queues that were given limits or paused.
    pub(super) queues: BTreeMap<String, Queue>,
    pub(super) workers: BTreeMap<WorkerId, Worker>,
    pub(super) blobs: BTreeMap<Digest, Vec<u8>>,
    /// Ends of runs: time, queue, outcome, and the bucket of the duration.
    pub(super) outcomes: Vec<(Timestamp, String, Outcome, u16)>,
    pub(super) documents: BTreeMap<(String, String), Document>,
}

/// A run and its details.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) run: Run,
    /// Sequence of its last event. It stays when the events are pruned.
    pub(super) seq: u64,
    pub(super) events: Vec<Event>,
    /// Contents needed by its snapshots.
    pub(super) needs: BTreeSet<Digest>,
    /// Contents that were uploaded and that no snapshot needs yet.
    pub(super) uploaded: BTreeSet<Digest>,
    /// Time at which its first start was written. It is later than
    /// [`surefoot::state::Head::started_at`] if a submission that starts at once was delayed; a
    /// queue's rate counts actual starts.
    pub(super) first_start: Option<Timestamp>,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) limits: QueueLimits,
    pub(super) paused: bool,
}

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) info: WorkerInfo,
    pub(super) lease: std::time::Duration,
}

impl State {
    /// Adds a run that does not exist yet.
    pub(super) fn insert(
        &mut self,
        run: Run,
        transition: Transition,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if self.runs.contains_key(&run.id) {
            return Err(StoreError::Fault(format!("run {} exists already", run.id)));
        }
        let id = run.id;
        self.runs.insert(
            id,
            Entry {
                run,
                seq: 0,
                events: Vec::new(),
                needs: BTreeSet::new(),
                uploaded: BTreeSet::new(),
                first_start: None,
            },
        );
        self.write(id, transition, now)
    }

    /// Applies one rule to a run and writes the transition. Returns the new run.
    pub(super) fn edit(
        &mut self,
        id: RunId,
        now: Timestamp,
        rule: impl FnOnce(&mut Edit) -> Result<(), RuleError>,
    ) -> Result<Run, StoreError> {
        let run = self.run(id).ok_or(StoreError::NoRun(id))?;
        let mut edit = Edit::new(run, now);
        rule(&mut edit)?;
        let (run, transition) = edit.finish();
        self.write(id, transition, now)?;
        Ok(run)
    }

    /// Writes a transition: all of it, or nothing if another run owns a record.
    pub(super) fn write(
        &mut self,
        id: RunId,
        transition: Transition,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.check_records(id, &transition.records)?;
        if let Some(snapshot) = &transition.snapshot {
            self.check_snapshot(snapshot)?;
        }
        let entry = self.runs.get_mut(&id).ok_or(StoreError::NoRun(id))?;
        entry.run.apply(&transition);
        if entry.run.head.started_at.is_some() {
            entry.first_start.get_or_insert(now);
        }
        for event in transition.events {
            entry.seq += 1;
            entry.events.push(event.at(entry.seq, now));
        }
        if let Some(snapshot) = transition.snapshot {
            entry.needs.extend(&snapshot.needs);
            let uploaded = std::mem::take(&mut entry.uploaded);
            entry.uploaded = &uploaded - &entry.needs;
            self.blobs.extend(snapshot.contents.iter().cloned());
        }
        let head = &entry.run.head;
        if let (Some(outcome), Some(end)) = (Outcome::of(head.status), head.completed_at) {
            let slot = slot_of(
                head.started_at
                    .map_or(Duration::ZERO, |start| end.since(start)),
            );
            self.outcomes
                .push((now, entry.run.queue().to_owned(), outcome, slot));
        }
        for change in transition.records {
            self.change_record(id, change, now);
        }
        Ok(())
    }

    /// Refuses a snapshot whose contents are not all here.
    fn check_snapshot(&self, snapshot: &Snapshot) -> Result<(), StoreError> {
        let is_brought = |digest: &Digest| {
            snapshot
                .contents
                .iter()
                .any(|(brought, _)| brought == digest)
        };
        let mut missing = snapshot.needs.iter();
        match missing.find(|digest| !is_brought(digest) && !self.blobs.contains_key(digest)) {
            Some(digest) => Err(StoreError::Fault(format!(
                "a snapshot needs {digest}, which the store does not have"
            ))),
            None => Ok(()),
        }
    }

    fn check_records(&self, run: RunId, changes: &[RecordChange]) -> Result<(), StoreError> {
        for change in changes {
            let RecordChange::Put { kind, name, .. } = change else {
                continue;
            };
            if let Some(owner) = self.owner(kind, name).filter(|owner| *owner != run) {
                return Err(StoreError::RecordTaken {
                    kind: kind.clone(),
                    name: name.clone(),
                    owner,
                });
            }
        }
        Ok(())
    }

    fn change_record(&mut self, run: RunId, change: RecordChange, now: Timestamp) {
        match change {
            RecordChange::Put { kind, name, data } => {
                let known = self.records.get(&(kind.clone(), name.clone()));
                let created_at = known.map_or(now, |record| record.created_at);
                let record = Record {
                    kind: kind.clone(),
                    name: name.clone(),
                    run,
                    data,
                    created_at,
                    updated_at: now,
                };
                self.records.insert((kind, name), record);
            }
            RecordChange::Remove { kind, name } => {
                if self.owner(&kind, &name) == Some(run) {
                    self.records.remove(&(kind, name));
                }
            }
        }
    }

    fn owner(&self, kind: &str, name: &str) -> Option<RunId> {
        self.records
            .get(&(kind.to_owned(), name.to_owned()))
            .map(|record| record.run)
    }
}
