//! The model: a store that keeps everything in maps under one lock.
//!
//! It defines the behaviour of a store, so it is written to be obviously right: every query
//! examines all runs. The operations are in the neighbouring files; this one has the lock, the
//! clock and the hints.

mod documents;
mod maintenance;
mod people;
mod queues;
mod reading;
mod runs;
mod state;
mod workers;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use surefoot::document::{Document, DocumentFilter, Expect, NewDocument};
use surefoot::metrics::StoreMetrics;
use surefoot::state::{Answer, CancelMode, Lease, Transition};
use surefoot::statistics::{Span, Tally};
use surefoot::store::{
    ClaimRequest, Claimed, Committed, Heartbeat, Heartbeats, Hints, LastHeartbeat, NewWorker,
    RecordFilter, RunFilter, Submission, Submitted, WorkerInfo, check_blobs, refuse_nul,
};
use surefoot::unreadable::Faults;
use surefoot::workflow::UnreadablePlan;
use surefoot::{
    CHUNK, Clock, Digest, Event, QueueInfo, QueueLimits, Record, Run, RunId, RunStatus, Store,
    StoreError, Timestamp, WorkerId, Workflow,
};
use tokio::sync::watch;

use self::state::State;

/// A store in memory, for tests. Its content is lost when it is dropped.
#[derive(Debug)]
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    one_worker: bool,
    /// The newest format of plans that is read.
    plan_format: u32,
    state: Arc<Mutex<State>>,
    metrics: Arc<StoreMetrics>,
    work: watch::Sender<()>,
    any: watch::Sender<()>,
}

impl MemoryStore {
    /// An empty store on `clock`. Several workers can be alive on it at once, as on PostgreSQL.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let work = watch::Sender::new(());
        let any = watch::Sender::new(());
        Self {
            clock,
            one_worker: false,
            plan_format: Workflow::FORMAT,
            state: Arc::default(),
            metrics: Arc::default(),
            work,
            any,
        }
    }

    /// Lets only one worker be alive, as on SQLite: a new one ends the leases of all previous ones.
    #[must_use]
    pub fn one_worker(self) -> Self {
        Self {
            one_worker: true,
            ..self
        }
    }

    /// The same store as another build has it, which reads plans up to `plan_format`. A run of a
    /// newer one is unreadable there: it is listed and cancelled, and never claimed.
    #[must_use]
    pub fn build(&self, plan_format: u32) -> Self {
        Self {
            clock: self.clock.clone(),
            one_worker: self.one_worker,
            plan_format,
            state: self.state.clone(),
            metrics: self.metrics.clone(),
            work: self.work.clone(),
            any: self.any.clone(),
        }
    }

    /// The run as this build reads it.
    fn as_read(&self, run: Run) -> Run {
        let format = run.plan.format();
        if format <= self.plan_format {
            return run;
        }
        let newest = self.plan_format;
        let mut faults = Faults::default();
        let steps = run.plan.steps().iter().map(|step| step.id.clone());
        let plan = faults.plan(
            Err::<Arc<Workflow>, _>(UnreadablePlan::Newer { format, newest }),
            run.plan.name(),
            run.queue(),
            steps.collect(),
        );
        faults.finish(Run { plan, ..run })
    }

    /// Refuses what needs the whole run when this build cannot read it.
    fn check_readable(&self, run: RunId) -> Result<(), StoreError> {
        let run = self.read(|state| state.run(run));
        run.map_or(Ok(()), |run| self.as_read(run).check_readable())
    }

    fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.lock())
    }

    /// Applies a change that makes no run claimable.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut State, Timestamp) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut state = self.lock();
        // Under the lock, so that a later write reads a later time.
        let done = change(&mut state, self.clock.now())?;
        drop(state);
        self.metrics.committed(1, Duration::ZERO);
        self.any.send_replace(());
        Ok(done)
    }

    /// Applies a change that may make runs claimable.
    fn free<T>(
        &self,
        change: impl FnOnce(&mut State, Timestamp) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let done = self.change(change)?;
        self.work.send_replace(());
        Ok(done)
    }

    /// Every change checks first and writes afterwards, so a panic in between leaves nothing half
    /// done.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn hints(&self) -> Hints {
        Hints {
            work: self.work.subscribe(),
            any: self.any.subscribe(),
        }
    }

    fn metrics(&self) -> Option<Arc<StoreMetrics>> {
        Some(self.metrics.clone())
    }

    async fn register_worker(&self, worker: NewWorker) -> Result<(), StoreError> {
        worker.check()?;
        self.free(|state, now| state.register(worker, self.plan_format, self.one_worker, now))
    }

    async fn heartbeat(&self, worker: WorkerId) -> Result<Heartbeat, StoreError> {
        let mut state = self.lock();
        let now = self.clock.now();
        state.heartbeat(worker, now)
    }

    async fn deregister_worker(&self, worker: WorkerId) -> Result<(), StoreError> {
        self.free(|state, now| state.deregister(worker, now))
    }

    async fn reclaim_worker(&self, worker: WorkerId) -> Result<(), StoreError> {
        self.free(|state, now| state.reclaim_worker(worker, now))
    }

    async fn heartbeats(&self) -> Result<Heartbeats, StoreError> {
        Ok(self.read(State::heartbeats))
    }

    async fn reclaim(&self, silent: Vec<LastHeartbeat>) -> Result<Vec<Run>, StoreError> {
        if self.read(|state| state.still_silent(&silent)).is_empty() {
            return Ok(Vec::new());
        }
        self.free(|state, now| state.reclaim(&silent, now))
    }

    async fn workers(&self) -> Result<Vec<WorkerInfo>, StoreError> {
        Ok(self.read(|state| state.workers(self.clock.now())))
    }

    async fn submit(&self, submission: Submission) -> Result<Submitted, StoreError> {
        submission.check()?;
        let submitted = self.free(|state, now| state.submit(submission, now))?;
        Ok(match submitted {
            Submitted::SameKey(run) => Submitted::SameKey(Box::new(self.as_read(*run))),
            Submitted::SameUnique(run) => Submitted::SameUnique(Box::new(self.as_read(*run))),
            other => other,
        })
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Claimed, StoreError> {
        let mut state = self.lock();
        let claimed = state.claim(&request, self.plan_format, self.clock.now())?;
        drop(state);
        if !claimed.runs.is_empty() {
            self.any.send_replace(());
        }
        Ok(claimed)
    }

    async fn commit(&self, lease: Lease, transition: Transition) -> Result<Committed, StoreError> {
        transition.check()?;
        if transition.head.worker.is_some() {
            self.change(|state, now| state.commit(lease, transition, now))
        } else {
            self.free(|state, now| state.commit(lease, transition, now))
        }
    }

    async fn cancel(&self, run: RunId, mode: CancelMode, by: &str) -> Result<Run, StoreError> {
        self.free(|state, now| state.cancel(run, mode, by, now))
    }

    async fn retry(&self, run: RunId, from: Option<&str>, by: &str) -> Result<Run, StoreError> {
        self.check_readable(run)?;
        self.free(|state, now| state.retry(run, from, by, now))
    }

    async fn answer(
        &self,
        run: RunId,
        step: &str,
        answer: Answer,
        by: &str,
        note: Option<&str>,
    ) -> Result<Run, StoreError> {
        self.check_readable(run)?;
        self.free(|state, now| state.answer(run, step, answer, by, note, now))
    }

    async fn set_queue(
        &self,
        name: &str,
        limits: QueueLimits,
        only_if_new: bool,
    ) -> Result<(), StoreError> {
        refuse_nul("the queue's name", name)?;
        self.free(|state, _| state.set_queue(name, limits, only_if_new))
    }

    async fn pause_queue(&self, name: &str, paused: bool) -> Result<(), StoreError> {
        refuse_nul("the queue's name", name)?;
        self.free(|state, _| state.pause_queue(name, paused))
    }

    async fn queues(&self) -> Result<Vec<QueueInfo>, StoreError> {
        Ok(self.read(State::queues))
    }

    async fn run(&self, id: RunId) -> Result<Option<Run>, StoreError> {
        Ok(self
            .read(|state| state.run(id))
            .map(|run| self.as_read(run)))
    }

    async fn runs(&self, filter: RunFilter) -> Result<Vec<Run>, StoreError> {
        let runs = self.read(|state| state.list(&filter));
        Ok(runs.into_iter().map(|run| self.as_read(run)).collect())
    }

    async fn events(&self, run: RunId, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        Ok(self.read(|state| state.events(run, after, limit)))
    }

    async fn records(&self, filter: RecordFilter) -> Result<Vec<Record>, StoreError> {
        Ok(self.read(|state| state.records(&filter)))
    }

    async fn tallies(&self, span: Span, since: Timestamp) -> Result<Vec<Tally>, StoreError> {
        Ok(self.read(|state| state.tallies(span, since)))
    }

    async fn count_runs(&self, status: RunStatus, limit: u64) -> Result<u64, StoreError> {
        Ok(self.read(|state| state.count(status, limit)))
    }

    async fn put_document(
        &self,
        document: NewDocument,
        expect: Expect,
    ) -> Result<Option<u64>, StoreError> {
        document.check()?;
        self.change(|state, now| Ok(state.put_document(document, expect, now)))
    }

    async fn document(&self, kind: &str, id: &str) -> Result<Option<Document>, StoreError> {
        Ok(self.read(|state| state.document(kind, id, self.clock.now())))
    }

    async fn documents(&self, filter: DocumentFilter) -> Result<Vec<Document>, StoreError> {
        Ok(self.read(|state| state.documents(&filter, self.clock.now())))
    }

    async fn delete_document(&self, kind: &str, id: &str) -> Result<bool, StoreError> {
        self.change(|state, now| Ok(state.delete_document(kind, id, now)))
    }

    async fn put_blobs(
        &self,
        lease: Lease,
        blobs: Arc<Vec<(Digest, Vec<u8>)>>,
    ) -> Result<(), StoreError> {
        check_blobs(&blobs)?;
        self.lock().put_blobs(lease, &blobs)?;
        self.metrics.committed(1, Duration::ZERO);
        Ok(())
    }

    async fn blob_part(&self, digest: Digest, offset: u64) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.read(|state| {
            let content = state.blobs.get(&digest)?;
            let rest = content.get(offset as usize..).unwrap_or_default();
            Some(rest[..rest.len().min(CHUNK)].to_vec())
        }))
    }

    async fn prune(&self, limit: usize) -> Result<usize, StoreError> {
        let now = self.clock.now();
        Ok(self.lock().prune(limit, now))
    }
}
