//! The embedded store of Surefoot: one SQLite file.
//!
//! A single thread writes, in batches (`writer`); readers have separate connections.
//! Operating-system locks (`lock`, `database_file`) allow one worker process at a time on a file,
//! by whatever path; any number of processes can submit and read. The statements are in `sql/`, the
//! schema is in `migrations/`.

#![cfg_attr(
    test,
    expect(clippy::disallowed_methods, reason = "tests make and look at files")
)]

mod database_file;
mod documents;
mod error;
mod facts;
mod lock;
mod migrate;
mod op;
mod open;
mod options;
mod plans;
mod read;
mod readers;
mod row;
mod sql;
#[cfg(test)]
mod sql_tests;
mod statistics;
mod writer;

use std::path::Path;
use std::sync::Arc;
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
use surefoot::{
    Clock, Digest, Event, QueueInfo, QueueLimits, Record, Run, RunId, RunStatus, Store, StoreError,
    Timestamp, WorkerId,
};
use tokio::sync::{Mutex, Semaphore};

pub use facts::{Integrity, LockHolder, SqliteFacts};
pub use options::SqliteOptions;

use crate::error::fault;
use crate::lock::WorkerLock;
use crate::op::Insert;
use crate::plans::Plans;
use crate::readers::Readers;
use crate::row::{Written, json};
use crate::writer::{Notifier, OpenDatabase, Writer};

/// Uploads of a chunk each at once. More would not be faster, and would delay the commits that they
/// share a transaction with.
const UPLOADS: usize = 2;

/// Runs in one SQLite file. Drop completes pending writes and closes the file.
#[derive(Debug)]
pub struct SqliteStore {
    clock: Arc<dyn Clock>,
    plans: Arc<Plans>,
    notifier: Notifier,
    /// Held while a worker registers or deregisters, so that the lock and the table of workers
    /// agree.
    lock: Mutex<WorkerLock>,
    readers: Readers,
    /// Uploads under way: a group of commits waits for no more of them than this lets through.
    uploads: Semaphore,
    writer: Writer,
}

impl SqliteStore {
    /// Opens the store at `path`, and creates the file if absent. Its directory must exist.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] if the file is not a store, or was created by a newer build;
    /// [`StoreError::Unavailable`] if it cannot be read or written.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_with(path, SqliteOptions::default())
    }

    /// Options for opening a store.
    pub fn options() -> SqliteOptions {
        SqliteOptions::default()
    }

    fn open_with(path: &Path, options: SqliteOptions) -> Result<Self, StoreError> {
        let (conn, file, presence) = open::writer(path, &options)?;
        let file = Arc::new(file);
        let presence = Arc::new(presence);
        let plans = Arc::new(Plans::new(options.plan_format));
        let notifier = Notifier::default();
        let writer = Writer::start(
            OpenDatabase {
                conn,
                presence: presence.clone(),
                _file: file.clone(),
            },
            options.clock.clone(),
            plans.clone(),
            notifier.clone(),
        )?;
        let readers = Readers::of(file.clone(), presence, options.busy_timeout);
        let lock = Mutex::new(WorkerLock::of(file));
        Ok(Self {
            clock: options.clock,
            plans,
            notifier,
            lock,
            readers,
            uploads: Semaphore::new(UPLOADS),
            writer,
        })
    }
}

/// Takes the worker lock. A diagnostic check holds it for a moment, so a single refusal is not
/// final.
async fn take(lock: &mut WorkerLock) -> Result<bool, StoreError> {
    match lock.take() {
        Err(StoreError::InUse(_)) => {
            tokio::time::sleep(Duration::from_millis(5)).await;
            lock.take()
        }
        other => other,
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn hints(&self) -> Hints {
        Hints {
            work: self.notifier.work.subscribe(),
            any: self.notifier.any.subscribe(),
        }
    }

    fn metrics(&self) -> Option<Arc<StoreMetrics>> {
        Some(self.notifier.metrics.clone())
    }

    async fn register_worker(&self, worker: NewWorker) -> Result<(), StoreError> {
        worker.check()?;
        let mut lock = self.lock.lock().await;
        let taken = take(&mut lock).await?;
        let registered = self
            .writer
            .run(move |tx| op::register(tx, &worker, taken))
            .await;
        if taken && registered.is_err() {
            lock.release();
        }
        registered
    }

    async fn heartbeat(&self, worker: WorkerId) -> Result<Heartbeat, StoreError> {
        self.writer.run(move |tx| op::heartbeat(tx, worker)).await
    }

    async fn deregister_worker(&self, worker: WorkerId) -> Result<(), StoreError> {
        let mut lock = self.lock.lock().await;
        let others = self
            .writer
            .run(move |tx| op::deregister(tx, worker))
            .await?;
        if !others {
            lock.release();
        }
        Ok(())
    }

    async fn reclaim_worker(&self, worker: WorkerId) -> Result<(), StoreError> {
        self.writer
            .run(move |tx| op::reclaim_worker(tx, worker))
            .await
    }

    async fn heartbeats(&self) -> Result<Heartbeats, StoreError> {
        self.readers.read(read::heartbeats).await
    }

    async fn reclaim(&self, silent: Vec<LastHeartbeat>) -> Result<Vec<Run>, StoreError> {
        self.writer.run(move |tx| op::reclaim(tx, &silent)).await
    }

    async fn workers(&self) -> Result<Vec<WorkerInfo>, StoreError> {
        let now = self.clock.now();
        self.readers
            .read(move |conn| read::workers(conn, now))
            .await
    }

    async fn submit(&self, submission: Submission) -> Result<Submitted, StoreError> {
        submission.check()?;
        let Submission { queued, started } = submission;
        let queued = Insert::of(queued.0, queued.1)?;
        let started = started
            .map(|(run, transition)| Insert::of(run, transition))
            .transpose()?;
        self.writer
            .run(move |tx| op::submit(tx, &queued, started.as_ref()))
            .await
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Claimed, StoreError> {
        self.writer.run(move |tx| op::claim(tx, &request)).await
    }

    async fn commit(&self, lease: Lease, transition: Transition) -> Result<Committed, StoreError> {
        transition.check()?;
        let written = Written::of(transition)?;
        self.writer
            .run(move |tx| op::commit(tx, lease, &written))
            .await
    }

    async fn cancel(&self, run: RunId, mode: CancelMode, by: &str) -> Result<Run, StoreError> {
        let by = by.to_owned();
        self.writer
            .run(move |tx| op::cancel(tx, run, mode, &by))
            .await
    }

    async fn retry(&self, run: RunId, from: Option<&str>, by: &str) -> Result<Run, StoreError> {
        let from = from.map(str::to_owned);
        let by = by.to_owned();
        self.writer
            .run(move |tx| op::edit(tx, run, |edit| edit.retry(from.as_deref(), &by)))
            .await
    }

    async fn answer(
        &self,
        run: RunId,
        step: &str,
        answer: Answer,
        by: &str,
        note: Option<&str>,
    ) -> Result<Run, StoreError> {
        let step = step.to_owned();
        let by = by.to_owned();
        let note = note.map(str::to_owned);
        self.writer
            .run(move |tx| {
                op::edit(tx, run, |edit| {
                    edit.answer(&step, answer, &by, note.as_deref())
                })
            })
            .await
    }

    async fn set_queue(
        &self,
        name: &str,
        limits: QueueLimits,
        only_if_new: bool,
    ) -> Result<(), StoreError> {
        refuse_nul("the queue's name", name)?;
        let name = name.to_owned();
        self.writer
            .run(move |tx| op::set_queue(tx, &name, &limits, only_if_new))
            .await
    }

    async fn pause_queue(&self, name: &str, paused: bool) -> Result<(), StoreError> {
        refuse_nul("the queue's name", name)?;
        let name = name.to_owned();
        self.writer
            .run(move |tx| op::pause_queue(tx, &name, paused))
            .await
    }

    async fn queues(&self) -> Result<Vec<QueueInfo>, StoreError> {
        self.readers.read(read::queues).await
    }

    async fn run(&self, id: RunId) -> Result<Option<Run>, StoreError> {
        let plans = self.plans.clone();
        self.readers
            .read(move |conn| read::run(conn, &plans, id))
            .await
    }

    async fn runs(&self, filter: RunFilter) -> Result<Vec<Run>, StoreError> {
        let plans = self.plans.clone();
        self.readers
            .read(move |conn| read::runs(conn, &plans, &filter))
            .await
    }

    async fn events(&self, run: RunId, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        self.readers
            .read(move |conn| read::events(conn, run, after, limit))
            .await
    }

    async fn records(&self, filter: RecordFilter) -> Result<Vec<Record>, StoreError> {
        self.readers
            .read(move |conn| read::records(conn, &filter))
            .await
    }

    async fn tallies(&self, span: Span, since: Timestamp) -> Result<Vec<Tally>, StoreError> {
        self.readers
            .read(move |conn| statistics::tallies(conn, span, since))
            .await
    }

    async fn count_runs(&self, status: RunStatus, limit: u64) -> Result<u64, StoreError> {
        self.readers
            .read(move |conn| statistics::count_runs(conn, status, limit))
            .await
    }

    async fn put_document(
        &self,
        document: NewDocument,
        expect: Expect,
    ) -> Result<Option<u64>, StoreError> {
        document.check()?;
        let data = json(&document.data)?;
        self.writer
            .run(move |tx| op::put_document(tx, &document, &data, expect))
            .await
    }

    async fn document(&self, kind: &str, id: &str) -> Result<Option<Document>, StoreError> {
        let kind = kind.to_owned();
        let id = id.to_owned();
        let now = self.clock.now();
        self.readers
            .read(move |conn| documents::get(conn, &kind, &id, now))
            .await
    }

    async fn documents(&self, filter: DocumentFilter) -> Result<Vec<Document>, StoreError> {
        let now = self.clock.now();
        self.readers
            .read(move |conn| documents::list(conn, &filter, now))
            .await
    }

    async fn delete_document(&self, kind: &str, id: &str) -> Result<bool, StoreError> {
        let kind = kind.to_owned();
        let id = id.to_owned();
        self.writer
            .run(move |tx| op::delete_document(tx, &kind, &id))
            .await
    }

    async fn put_blobs(
        &self,
        lease: Lease,
        blobs: Arc<Vec<(Digest, Vec<u8>)>>,
    ) -> Result<(), StoreError> {
        check_blobs(&blobs)?;
        let _turn = self.uploads.acquire().await.map_err(fault)?;
        self.writer
            .run(move |tx| op::put_blobs(tx, lease, &blobs))
            .await
    }

    async fn blob_part(&self, digest: Digest, offset: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.readers
            .read(move |conn| read::blob_part(conn, digest, offset))
            .await
    }

    async fn prune(&self, limit: usize) -> Result<usize, StoreError> {
        self.writer.run(move |tx| op::prune(tx, limit)).await
    }
}
