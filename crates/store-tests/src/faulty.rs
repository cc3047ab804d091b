//! A store whose n-th write goes wrong: it fails, or the process "dies" there, before or after the
//! write took place.
//!
//! A test runs a workflow over it with n = 1, 2, 3 and so on until nothing goes wrong any more, and
//! so has met a fault at every write. Counted writes are those that may change a run: submit,
//! claim, commit, upload, cancel, retry, answer, register, deregister, reclaim. Claims and reclaims
//! that find nothing, heartbeats, prunes and operations on queues do not count, because their
//! number depends on timing.
//!
//! It can also be unavailable or unusable: then nothing takes place, and every call returns that
//! error. It can delay reads and prunes, holds uploads and counts their bytes, damages
//! contents, and records the times of its calls.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use surefoot::document::{Document, DocumentFilter, Expect, NewDocument};
use surefoot::metrics::StoreMetrics;
use surefoot::state::{Answer, CancelMode, Lease, Transition};
use surefoot::statistics::{Span, Tally};
use surefoot::store::{
    ClaimRequest, Claimed, Committed, Heartbeat, Heartbeats, Hints, LastHeartbeat, NewWorker,
    RecordFilter, RunFilter, Submission, Submitted, WorkerInfo,
};
use surefoot::{
    CHUNK, Digest, Event, QueueInfo, QueueLimits, Record, Run, RunId, RunStatus, Store, StoreError,
    Timestamp, WorkerId,
};
use tokio::sync::watch;
use tokio::time::Instant;

/// Fault of one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The write does not take place and returns [`StoreError::Unavailable`].
    Refused,
    /// The write takes place, but its answer is lost: it also returns [`StoreError::Unavailable`].
    AnswerLost,
    /// The process dies before the write: this call and every later one never return.
    CrashBefore,
    /// The process dies after the write: this call and every later one never return.
    CrashAfter,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Self; 4] = [
        Self::Refused,
        Self::AnswerLost,
        Self::CrashBefore,
        Self::CrashAfter,
    ];

    const fn is_crash(self) -> bool {
        matches!(self, Self::CrashBefore | Self::CrashAfter)
    }

    const fn takes_place(self) -> bool {
        matches!(self, Self::AnswerLost | Self::CrashAfter)
    }
}

/// A store around another, with a fault at one write. To restart after a crash, wrap the inner
/// store again.
#[derive(Debug)]
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    fault: Fault,
    at: u64,
    writes: AtomicU64,
    met: watch::Sender<bool>,
    away: AtomicBool,
    unusable: AtomicBool,
    /// Writes of documents fail.
    full: AtomicBool,
    /// Delay of every read, in milliseconds.
    slow: AtomicU64,
    /// Delay of every prune, in milliseconds.
    slow_prune: AtomicU64,
    calls: Mutex<Vec<(&'static str, Instant)>>,
    /// True while uploads wait.
    holds_uploads: watch::Sender<bool>,
    /// Bytes of workspaces that were sent here and not yet answered: now, and the most so far.
    under_way: Mutex<(usize, usize)>,
    /// Contents that the store is to have changed, or lost.
    damaged: Mutex<HashMap<Digest, Option<Vec<u8>>>>,
}

impl FaultyStore {
    /// Injects `fault` at write number `at`, counted from 1.
    pub fn new(inner: Arc<dyn Store>, at: u64, fault: Fault) -> Self {
        Self {
            inner,
            fault,
            at,
            writes: AtomicU64::new(0),
            met: watch::Sender::new(false),
            away: AtomicBool::new(false),
            unusable: AtomicBool::new(false),
            full: AtomicBool::new(false),
            slow: AtomicU64::new(0),
            slow_prune: AtomicU64::new(0),
            calls: Mutex::default(),
            holds_uploads: watch::Sender::new(false),
            under_way: Mutex::default(),
            damaged: Mutex::default(),
        }
    }

    /// A store without faults that counts the writes.
    pub fn sound(inner: Arc<dyn Store>) -> Self {
        Self::new(inner, 0, Fault::Refused)
    }

    /// Makes the store unavailable, or available again.
    pub fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }

    /// Makes the store unusable, as after a renamed schema or a revoked right, or usable again.
    pub fn set_unusable(&self, unusable: bool) {
        self.unusable.store(unusable, Ordering::SeqCst);
    }

    /// Refuses writes of documents, as on a full disk, or accepts them again; reads keep working.
    pub fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::SeqCst);
    }

    /// Delays every read from now on.
    pub fn set_slow(&self, time: Duration) {
        self.slow.store(time.as_millis() as u64, Ordering::SeqCst);
    }

    /// Delays every prune from now on.
    pub fn set_slow_prune(&self, time: Duration) {
        self.slow_prune
            .store(time.as_millis() as u64, Ordering::SeqCst);
    }

    /// From now on uploads wait, or go on.
    pub fn hold_uploads(&self, hold: bool) {
        self.holds_uploads.send_replace(hold);
    }

    /// Bytes of workspaces that are on their way to this store, and the most that ever were.
    pub fn bytes_under_way(&self) -> (usize, usize) {
        *self.under_way.lock().unwrap()
    }

    /// From now on the store has another content under this digest, or none.
    pub fn damage_blob(&self, digest: Digest, content: Option<Vec<u8>>) {
        self.damaged.lock().unwrap().insert(digest, content);
    }

    /// Counts bytes of a workspace, until what this gives is dropped.
    fn carries<'a>(&'a self, blobs: &[(Digest, Vec<u8>)]) -> impl Drop + use<'a> {
        struct Carried<'a>(&'a FaultyStore, usize);

        impl Drop for Carried<'_> {
            fn drop(&mut self) {
                self.0.under_way.lock().unwrap().0 -= self.1;
            }
        }

        let bytes = blobs.iter().map(|(_, content)| content.len()).sum();
        let mut under_way = self.under_way.lock().unwrap();
        under_way.0 += bytes;
        under_way.1 = under_way.1.max(under_way.0);
        drop(under_way);
        Carried(self, bytes)
    }

    /// Times of all `heartbeat`, `heartbeats`, `claim`, `put_blobs` or `prune` calls so far.
    pub fn times_of(&self, call: &str) -> Vec<Instant> {
        let calls = self.calls.lock().unwrap();
        calls
            .iter()
            .filter(|(name, _)| *name == call)
            .map(|(_, at)| *at)
            .collect()
    }

    fn note(&self, call: &'static str) {
        self.calls.lock().unwrap().push((call, Instant::now()));
    }

    /// Writes so far, including the faulty one.
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::SeqCst)
    }

    /// Returns whether the fault has happened.
    pub fn met(&self) -> bool {
        *self.met.borrow()
    }

    /// Returns once the fault has happened. After a crash fault, drop everything that uses this
    /// store then.
    pub async fn until_met(&self) {
        // This store holds the sender, so the wait cannot fail.
        let _ = self.met.subscribe().wait_for(|met| *met).await;
    }

    async fn write<T>(
        &self,
        write: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        self.alive().await;
        self.reachable()?;
        if self.writes.fetch_add(1, Ordering::SeqCst) + 1 != self.at {
            let done = write.await;
            // The process may have died meanwhile, at the write of another task.
            self.alive().await;
            return done;
        }
        if self.fault.takes_place() {
            // The inner store may refuse it; that answer is lost as well.
            let _ = write.await;
        }
        self.met.send_replace(true);
        self.alive().await;
        Err(StoreError::Unavailable(format!(
            "{:?} at write {}, as the test wants it",
            self.fault, self.at
        )))
    }

    async fn read<T>(
        &self,
        read: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        self.alive().await;
        self.reachable()?;
        let slow = Duration::from_millis(self.slow.load(Ordering::SeqCst));
        if !slow.is_zero() {
            tokio::time::sleep(slow).await;
        }
        let read = read.await;
        self.alive().await;
        read
    }

    fn reachable(&self) -> Result<(), StoreError> {
        if self.unusable.load(Ordering::SeqCst) {
            return Err(StoreError::Unusable(
                "not a store, as the test wants it".to_owned(),
            ));
        }
        let away = self.away.load(Ordering::SeqCst);
        if away {
            Err(StoreError::Unavailable(
                "away, as the test wants it".to_owned(),
            ))
        } else {
            Ok(())
        }
    }

    /// Never returns once the process is dead.
    async fn alive(&self) {
        if self.fault.is_crash() && self.met() {
            std::future::pending::<()>().await;
        }
    }

    /// Returns whether a claim could find anything.
    async fn has_work(&self) -> Result<bool, StoreError> {
        let now = self.inner.now();
        for status in [RunStatus::Queued, RunStatus::Waiting] {
            let filter = RunFilter {
                status: Some(status),
                limit: usize::MAX >> 1,
                ..RunFilter::default()
            };
            if self
                .inner
                .runs(filter)
                .await?
                .iter()
                .any(|run| run.head.available_at.is_some_and(|at| at <= now))
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns whether a reclaim could find anything: one of these workers has sent no heartbeat
    /// since, and holds a run.
    async fn has_dead(&self, silent: &[LastHeartbeat]) -> Result<bool, StoreError> {
        let filter = RunFilter {
            status: Some(RunStatus::Running),
            limit: usize::MAX >> 1,
            ..RunFilter::default()
        };
        let known = self.inner.heartbeats().await?.workers;
        let is_dead = |run: &Run| {
            let mut dead = silent.iter().filter(|last| known.contains(last));
            dead.any(|last| Some(last.worker) == run.head.worker)
        };
        Ok(self.inner.runs(filter).await?.iter().any(is_dead))
    }
}

#[async_trait]
impl Store for FaultyStore {
    fn now(&self) -> Timestamp {
        self.inner.now()
    }

    fn hints(&self) -> Hints {
        self.inner.hints()
    }

    fn metrics(&self) -> Option<Arc<StoreMetrics>> {
        self.inner.metrics()
    }

    async fn register_worker(&self, worker: NewWorker) -> Result<(), StoreError> {
        self.write(self.inner.register_worker(worker)).await
    }

    async fn heartbeat(&self, worker: WorkerId) -> Result<Heartbeat, StoreError> {
        self.note("heartbeat");
        self.read(self.inner.heartbeat(worker)).await
    }

    async fn deregister_worker(&self, worker: WorkerId) -> Result<(), StoreError> {
        self.write(self.inner.deregister_worker(worker)).await
    }

    async fn reclaim_worker(&self, worker: WorkerId) -> Result<(), StoreError> {
        self.write(self.inner.reclaim_worker(worker)).await
    }

    async fn heartbeats(&self) -> Result<Heartbeats, StoreError> {
        self.note("heartbeats");
        self.read(self.inner.heartbeats()).await
    }

    async fn reclaim(&self, silent: Vec<LastHeartbeat>) -> Result<Vec<Run>, StoreError> {
        if self.read(self.has_dead(&silent)).await? {
            self.write(self.inner.reclaim(silent)).await
        } else {
            self.read(self.inner.reclaim(silent)).await
        }
    }

    async fn workers(&self) -> Result<Vec<WorkerInfo>, StoreError> {
        self.read(self.inner.workers()).await
    }

    async fn submit(&self, submission: Submission) -> Result<Submitted, StoreError> {
        self.write(self.inner.submit(submission)).await
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Claimed, StoreError> {
        self.note("claim");
        if self.read(self.has_work()).await? {
            self.write(self.inner.claim(request)).await
        } else {
            self.read(self.inner.claim(request)).await
        }
    }

    async fn commit(&self, lease: Lease, transition: Transition) -> Result<Committed, StoreError> {
        let snapshot = transition.snapshot.clone();
        let _carried = snapshot
            .as_ref()
            .map(|snapshot| self.carries(&snapshot.contents));
        self.write(self.inner.commit(lease, transition)).await
    }

    async fn cancel(&self, run: RunId, mode: CancelMode, by: &str) -> Result<Run, StoreError> {
        self.write(self.inner.cancel(run, mode, by)).await
    }

    async fn retry(&self, run: RunId, from: Option<&str>, by: &str) -> Result<Run, StoreError> {
        self.write(self.inner.retry(run, from, by)).await
    }

    async fn answer(
        &self,
        run: RunId,
        step: &str,
        answer: Answer,
        by: &str,
        note: Option<&str>,
    ) -> Result<Run, StoreError> {
        self.write(self.inner.answer(run, step, answer, by, note))
            .await
    }

    async fn set_queue(
        &self,
        name: &str,
        limits: QueueLimits,
        only_if_new: bool,
    ) -> Result<(), StoreError> {
        self.read(self.inner.set_queue(name, limits, only_if_new))
            .await
    }

    async fn pause_queue(&self, name: &str, paused: bool) -> Result<(), StoreError> {
        self.read(self.inner.pause_queue(name, paused)).await
    }

    async fn queues(&self) -> Result<Vec<QueueInfo>, StoreError> {
        self.read(self.inner.queues()).await
    }

    async fn run(&self, id: RunId) -> Result<Option<Run>, StoreError> {
        self.read(self.inner.run(id)).await
    }

    async fn runs(&self, filter: RunFilter) -> Result<Vec<Run>, StoreError> {
        self.read(self.inner.runs(filter)).await
    }

    async fn events(&self, run: RunId, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        self.read(self.inner.events(run, after, limit)).await
    }

    async fn records(&self, filter: RecordFilter) -> Result<Vec<Record>, StoreError> {
        self.read(self.inner.records(filter)).await
    }

    async fn tallies(&self, span: Span, since: Timestamp) -> Result<Vec<Tally>, StoreError> {
        self.read(self.inner.tallies(span, since)).await
    }

    async fn count_runs(&self, status: RunStatus, limit: u64) -> Result<u64, StoreError> {
        self.read(self.inner.count_runs(status, limit)).await
    }

    async fn put_document(
        &self,
        document: NewDocument,
        expect: Expect,
    ) -> Result<Option<u64>, StoreError> {
        if self.full.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable(
                "full, as the test wants it".to_owned(),
            ));
        }
        self.read(self.inner.put_document(document, expect)).await
    }

    async fn document(&self, kind: &str, id: &str) -> Result<Option<Document>, StoreError> {
        self.read(self.inner.document(kind, id)).await
    }

    async fn documents(&self, filter: DocumentFilter) -> Result<Vec<Document>, StoreError> {
        self.read(self.inner.documents(filter)).await
    }

    async fn delete_document(&self, kind: &str, id: &str) -> Result<bool, StoreError> {
        self.read(self.inner.delete_document(kind, id)).await
    }

    async fn put_blobs(
        &self,
        lease: Lease,
        blobs: Arc<Vec<(Digest, Vec<u8>)>>,
    ) -> Result<(), StoreError> {
        self.note("put_blobs");
        let _carried = self.carries(&blobs);
        // This store holds the sender: the wait cannot fail.
        let _ = self.holds_uploads.subscribe().wait_for(|hold| !hold).await;
        self.write(self.inner.put_blobs(lease, blobs)).await
    }

    async fn blob_part(&self, digest: Digest, offset: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let damaged = self.damaged.lock().unwrap().get(&digest).cloned();
        if let Some(content) = damaged {
            return Ok(content.map(|content| {
                let rest = content.get(offset as usize..).unwrap_or_default();
                rest[..rest.len().min(CHUNK)].to_vec()
            }));
        }
        self.read(self.inner.blob_part(digest, offset)).await
    }

    async fn prune(&self, limit: usize) -> Result<usize, StoreError> {
        self.note("prune");
        tokio::time::sleep(Duration::from_millis(
            self.slow_prune.load(Ordering::SeqCst),
        ))
        .await;
        self.read(self.inner.prune(limit)).await
    }
}
