//! Operations of workers and submitters on runs: submit, claim, commit.

use std::cmp::Reverse;

use surefoot::state::{CancelMode, Lease, Transition};
use surefoot::store::{ClaimRequest, Claimed, Committed, Submission, Submitted};
use surefoot::{Digest, ListOwner, Run, RunId, RunStatus, StoreError, Timestamp};

use super::state::State;

impl State {
    pub(super) fn submit(
        &mut self,
        submission: Submission,
        now: Timestamp,
    ) -> Result<Submitted, StoreError> {
        let Submission { queued, started } = submission;
        if let Some(existing) = self.existing_run(&queued.0, |run| run.key.as_deref()) {
            return Ok(Submitted::SameKey(Box::new(existing)));
        }
        if let Some(existing) = self.existing_run(&queued.0, |run| run.unique.as_deref()) {
            return Ok(Submitted::SameUnique(Box::new(existing)));
        }
        if let Some(queue) = self.queues.get(queued.0.queue()) {
            let owner = ListOwner::Queue(queued.0.queue().to_owned());
            queue.limits.allow.check(&queued.0.plan, &owner)?;
        }
        match started.filter(|(run, _)| self.may_start(&queued.0, run, now)) {
            Some((run, transition)) => self
                .insert(run, transition, now)
                .map(|()| Submitted::Started),
            None => self
                .insert(queued.0, queued.1, now)
                .map(|()| Submitted::Queued),
        }
    }

    /// The newest run of the same workflow with the same value that is not cancelled.
    fn existing_run(&self, run: &Run, value: impl Fn(&Run) -> Option<&str>) -> Option<Run> {
        let wanted = value(run)?;
        let same =
            |other: &&Run| other.plan.name() == run.plan.name() && value(other) == Some(wanted);
        self.all()
            .filter(same)
            .rfind(|other| other.head.status != RunStatus::Cancelled)
            .cloned()
    }

    /// Returns whether a new run may start at once on a live worker: no earlier run waits.
    fn may_start(&self, queued: &Run, started: &Run, now: Timestamp) -> bool {
        let lives = started
            .head
            .worker
            .is_some_and(|worker| self.workers.contains_key(&worker));
        let waits = |other: &Run| {
            other.queue() == queued.queue()
                && other.priority >= queued.priority
                && other.head.available_at.is_some_and(|at| at <= now)
        };
        lives
            && !self.all().any(waits)
            && self.claimable_at(queued, now).is_some_and(|at| at <= now)
    }

    pub(super) fn claim(
        &mut self,
        request: &ClaimRequest,
        plan_format: u32,
        now: Timestamp,
    ) -> Result<Claimed, StoreError> {
        if !self.workers.contains_key(&request.worker) {
            return Err(StoreError::LeaseLost);
        }
        let mut claimed = Claimed::default();
        for id in self.candidates(request, plan_format) {
            let ready = self
                .claimable_at(&self.runs[&id].run, now)
                .is_some_and(|at| at <= now);
            if ready && claimed.runs.len() < request.limit {
                claimed
                    .runs
                    .push(self.edit(id, now, |edit| edit.claim(request.worker))?);
            }
        }
        let left = self.candidates(request, plan_format);
        let times = left
            .iter()
            .filter_map(|id| self.claimable_at(&self.runs[id].run, now));
        claimed.next_at = times.filter(|at| *at > now).min();
        claimed.held_back = left.iter().any(|id| {
            self.runs[id]
                .run
                .head
                .available_at
                .is_some_and(|at| at <= now)
        });
        Ok(claimed)
    }

    /// Waiting runs that this worker can claim, because it has their actions and requirements, in
    /// order: first those with a cancel that a person waits for.
    fn candidates(&self, request: &ClaimRequest, plan_format: u32) -> Vec<RunId> {
        let known = |run: &&Run| {
            let offered = run
                .requires
                .iter()
                .all(|name| request.resources.contains(name));
            offered && run.plan.format() <= plan_format && request.fits(&run.plan)
        };
        let mut runs: Vec<&Run> = self
            .all()
            .filter(|run| run.head.available_at.is_some())
            .filter(known)
            .collect();
        runs.sort_by_key(|run| (run.head.cancel.is_none(), Reverse(run.priority), run.id));
        runs.iter().map(|run| run.id).collect()
    }

    pub(super) fn commit(
        &mut self,
        lease: Lease,
        mut transition: Transition,
        now: Timestamp,
    ) -> Result<Committed, StoreError> {
        let run = self
            .runs
            .get(&lease.run)
            .map(|entry| &entry.run)
            .ok_or(StoreError::LeaseLost)?;
        let number = transition.head.commits;
        if run.head.epoch == lease.epoch && run.head.commits == number {
            // It was written, and its answer was lost.
            return Ok(Committed {
                cancel: run.head.cancel,
            });
        }
        let follows = run.head.commits + 1 == number;
        if run.head.status != RunStatus::Running || run.lease() != Some(lease) || !follows {
            return Err(StoreError::LeaseLost);
        }
        let head = &mut transition.head;
        if transition.yields_to_undo && run.head.cancel == Some(CancelMode::Undo) {
            head.yield_to_undo(now);
        }
        if !head.status.is_ended() {
            head.cancel = run.head.cancel;
        }
        if head.cancel.is_some() && matches!(head.status, RunStatus::Queued | RunStatus::Waiting) {
            head.available_at = Some(now);
        }
        let cancel = head.cancel;
        self.write(lease.run, transition, now)?;
        Ok(Committed { cancel })
    }

    pub(super) fn put_blobs(
        &mut self,
        lease: Lease,
        blobs: &[(Digest, Vec<u8>)],
    ) -> Result<(), StoreError> {
        let entry = self.runs.get_mut(&lease.run);
        let entry = entry.ok_or(StoreError::LeaseLost)?;
        if entry.run.head.status != RunStatus::Running || entry.run.lease() != Some(lease) {
            return Err(StoreError::LeaseLost);
        }
        for (digest, content) in blobs {
            if !entry.needs.contains(digest) {
                entry.uploaded.insert(*digest);
            }
            self.blobs.insert(*digest, content.clone());
        }
        Ok(())
    }
}
