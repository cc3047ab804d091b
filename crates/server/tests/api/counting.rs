//! A store wrapper that counts reads of runs, and can hang, panic or be unavailable.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use async_trait::async_trait;
use surefoot::document::{Document, DocumentFilter, Expect, NewDocument};
use surefoot::state::{Answer, CancelMode, Lease, Transition};
use surefoot::statistics::{Span, Tally};
use surefoot::store::{
    ClaimRequest, Claimed, Committed, Heartbeat, Heartbeats, Hints, LastHeartbeat, NewWorker,
    RecordFilter, RunFilter, Submission, Submitted, WorkerInfo,
};
use surefoot::{
    Digest, Event, QueueInfo, QueueLimits, Record, Run, RunId, RunStatus, Store, StoreError,
    Timestamp, WorkerId,
};
use tokio::sync::watch;

#[derive(Debug)]
pub(crate) struct CountingStore {
    inner: Arc<dyn Store>,
    /// The latest time returned.
    latest: AtomicI64,
    /// Number of reads of a run or its events.
    pub(crate) reads: AtomicU64,
    /// Claims panic, which ends the claim loop.
    pub(crate) claims_die: AtomicBool,
    /// Claims hang while this is true.
    pub(crate) claims_hang: watch::Sender<bool>,
    /// Listings of runs hang while this is true.
    pub(crate) listings_hang: watch::Sender<bool>,
    /// Reads of records panic.
    pub(crate) records_break: AtomicBool,
    /// Every operation fails.
    pub(crate) away: AtomicBool,
}

impl CountingStore {
    pub(crate) fn new(inner: Arc<dyn Store>) -> Self {
        Self {
            inner,
            latest: AtomicI64::new(0),
            reads: AtomicU64::new(0),
            claims_die: AtomicBool::new(false),
            claims_hang: watch::Sender::new(false),
            listings_hang: watch::Sender::new(false),
            records_break: AtomicBool::new(false),
            away: AtomicBool::new(false),
        }
    }

    fn there(&self) -> Result<(), StoreError> {
        if self.away.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("the test took it away".to_owned()));
        }
        Ok(())
    }
}

/// Waits until the value is false.
async fn pass(hangs: &watch::Sender<bool>) {
    // The channel lives as long as the store.
    let _ = hangs.subscribe().wait_for(|hangs| !hangs).await;
}

type Done<T> = Result<T, StoreError>;

#[async_trait]
impl Store for CountingStore {
    /// PostgreSQL's clock is estimated, and a better estimate can move it back by a few
    /// milliseconds. The tests need later submissions to have later times.
    fn now(&self) -> Timestamp {
        let now = self.inner.now().as_micros();
        Timestamp::from_micros(now.max(self.latest.fetch_max(now, Ordering::SeqCst)))
    }
    fn hints(&self) -> Hints {
        self.inner.hints()
    }
    fn metrics(&self) -> Option<Arc<surefoot::metrics::StoreMetrics>> {
        self.inner.metrics()
    }
    async fn register_worker(&self, worker: NewWorker) -> Done<()> {
        self.inner.register_worker(worker).await
    }
    async fn heartbeat(&self, worker: WorkerId) -> Done<Heartbeat> {
        self.inner.heartbeat(worker).await
    }
    async fn deregister_worker(&self, worker: WorkerId) -> Done<()> {
        self.inner.deregister_worker(worker).await
    }
    async fn reclaim_worker(&self, worker: WorkerId) -> Done<()> {
        self.inner.reclaim_worker(worker).await
    }
    async fn heartbeats(&self) -> Done<Heartbeats> {
        self.inner.heartbeats().await
    }
    async fn reclaim(&self, silent: Vec<LastHeartbeat>) -> Done<Vec<Run>> {
        self.inner.reclaim(silent).await
    }
    async fn workers(&self) -> Done<Vec<WorkerInfo>> {
        self.there()?;
        self.inner.workers().await
    }
    async fn submit(&self, submission: Submission) -> Done<Submitted> {
        self.there()?;
        self.inner.submit(submission).await
    }
    async fn claim(&self, request: ClaimRequest) -> Done<Claimed> {
        assert!(
            !self.claims_die.load(Ordering::SeqCst),
            "the test wants the claim loop dead"
        );
        pass(&self.claims_hang).await;
        self.inner.claim(request).await
    }
    async fn commit(&self, lease: Lease, transition: Transition) -> Done<Committed> {
        self.inner.commit(lease, transition).await
    }
    async fn cancel(&self, run: RunId, mode: CancelMode, by: &str) -> Done<Run> {
        self.inner.cancel(run, mode, by).await
    }
    async fn retry(&self, run: RunId, from: Option<&str>, by: &str) -> Done<Run> {
        self.inner.retry(run, from, by).await
    }
    async fn answer(
        &self,
        run: RunId,
        step: &str,
        answer: Answer,
        by: &str,
        note: Option<&str>,
    ) -> Done<Run> {
        self.inner.answer(run, step, answer, by, note).await
    }
    async fn set_queue(&self, name: &str, limits: QueueLimits, only_if_new: bool) -> Done<()> {
        self.inner.set_queue(name, limits, only_if_new).await
    }
    async fn pause_queue(&self, name: &str, paused: bool) -> Done<()> {
        self.inner.pause_queue(name, paused).await
    }
    async fn queues(&self) -> Done<Vec<QueueInfo>> {
        self.there()?;
        self.inner.queues().await
    }
    async fn run(&self, id: RunId) -> Done<Option<Run>> {
        self.there()?;
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.inner.run(id).await
    }
    async fn runs(&self, filter: RunFilter) -> Done<Vec<Run>> {
        pass(&self.listings_hang).await;
        self.there()?;
        self.inner.runs(filter).await
    }
    async fn events(&self, run: RunId, after: u64, limit: usize) -> Done<Vec<Event>> {
        self.there()?;
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.inner.events(run, after, limit).await
    }
    async fn records(&self, filter: RecordFilter) -> Done<Vec<Record>> {
        assert!(
            !self.records_break.load(Ordering::SeqCst),
            "the test wants reads of records to panic"
        );
        self.there()?;
        self.inner.records(filter).await
    }
    async fn tallies(&self, span: Span, since: Timestamp) -> Done<Vec<Tally>> {
        self.there()?;
        self.inner.tallies(span, since).await
    }
    async fn count_runs(&self, status: RunStatus, limit: u64) -> Done<u64> {
        self.inner.count_runs(status, limit).await
    }
    async fn put_blobs(&self, lease: Lease, blobs: Arc<Vec<(Digest, Vec<u8>)>>) -> Done<()> {
        self.inner.put_blobs(lease, blobs).await
    }
    async fn blob_part(&self, digest: Digest, offset: u64) -> Done<Option<Vec<u8>>> {
        self.inner.blob_part(digest, offset).await
    }
    async fn put_document(&self, document: NewDocument, expect: Expect) -> Done<Option<u64>> {
        self.there()?;
        self.inner.put_document(document, expect).await
    }
    async fn document(&self, kind: &str, id: &str) -> Done<Option<Document>> {
        self.there()?;
        self.inner.document(kind, id).await
    }
    async fn documents(&self, filter: DocumentFilter) -> Done<Vec<Document>> {
        self.there()?;
        self.inner.documents(filter).await
    }
    async fn delete_document(&self, kind: &str, id: &str) -> Done<bool> {
        self.inner.delete_document(kind, id).await
    }
    async fn prune(&self, limit: usize) -> Done<usize> {
        self.inner.prune(limit).await
    }
}
