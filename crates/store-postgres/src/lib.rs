//! The store of Surefoot for many workers: one PostgreSQL database.
//!
//! Any number of processes work on it concurrently. Most writes are made in batches, each batch one
//! statement (`writer`); a write that must read first is a transaction of its own (`tx`). The
//! database's clock is the only one (`clock`). The statements are in `sql/`, the schema is in
//! `migrations/`.
//!
//! Statements name their schema, and nothing essential except LISTEN outlives a transaction, so the
//! store works through PgBouncer in transaction mode. Without a pooler, sessions prepare the
//! statements that they repeat (`connect/prepared.rs`). No setting of the server, the database or
//! the role changes the effect of a statement (`connect/settings.rs`).

mod args;
mod clock;
mod connect;
mod documents;
mod facts;
mod failure;
mod limited_queues;
mod notifier;
mod op;
mod pipeline;
mod plans;
mod pool;
mod publish;
mod read;
mod row;
mod shared;
mod sql;
mod statistics;
mod tx;
mod writer;

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
use tokio::task::JoinSet;

pub use connect::PostgresOptions;
pub use facts::{Holder, HolderKind, PostgresFacts, Settings, Standby, TableFacts, Usage};

use crate::clock::DatabaseClock;
use crate::connect::Connector;
use crate::notifier::Notifier;
use crate::op::{Commit, SubmitBatchers};
use crate::plans::Plans;
use crate::row::Written;
use crate::shared::{COMMITS, KEYED, Shared};
use crate::writer::Batcher;

/// Runs in one PostgreSQL database, shared by many processes. Drop closes its sessions.
#[derive(Debug)]
pub struct PostgresStore {
    shared: Arc<Shared>,
    commits: Batcher<Commit>,
    submits: SubmitBatchers,
    warnings: Vec<String>,
    _tasks: JoinSet<()>,
}

impl PostgresStore {
    /// Options for opening a store.
    pub fn options(url: &str) -> PostgresOptions {
        PostgresOptions::of(url)
    }

    /// Settings of the server, the database or the role that weaken a promise and that the store
    /// cannot override, each a sentence for people.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Starts the store on a schema that is ready for this build.
    pub(crate) async fn start(
        connector: Connector,
        clock: Option<Arc<dyn Clock>>,
        timeout: Duration,
        notify: bool,
        plans: Plans,
        warnings: Vec<String>,
    ) -> Result<Self, StoreError> {
        let channel = notify.then(|| connector.schema().to_owned());
        let listens = channel.clone().map(|channel| (connector.clone(), channel));
        let shared = Arc::new(Shared::new(
            connector,
            DatabaseClock::new(clock),
            timeout,
            plans,
            Notifier::default(),
        ));
        shared.within(shared.sample_clock()).await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(notifier::run(shared.clone(), channel));
        if let Some((connector, channel)) = listens {
            let notifier = shared.notifier.clone();
            tasks.spawn(connect::listen(
                connector,
                channel,
                move |payload| match payload {
                    Some(payload) => notifier.receive(payload),
                    None => notifier.signal(true),
                },
            ));
        }
        let submits = SubmitBatchers {
            plain: Batcher::start(&shared, 1),
            keyed: Batcher::start(&shared, KEYED),
        };
        Ok(Self {
            commits: Batcher::start(&shared, COMMITS),
            submits,
            shared,
            warnings,
            _tasks: tasks,
        })
    }
}

#[async_trait]
impl Store for PostgresStore {
    fn now(&self) -> Timestamp {
        self.shared.now()
    }

    fn hints(&self) -> Hints {
        Hints {
            work: self.shared.notifier.work(),
            any: self.shared.notifier.any(),
        }
    }

    fn metrics(&self) -> Option<Arc<StoreMetrics>> {
        Some(self.shared.metrics.clone())
    }

    async fn register_worker(&self, worker: NewWorker) -> Result<(), StoreError> {
        worker.check()?;
        self.shared
            .within(op::register(&self.shared, &worker))
            .await
    }

    async fn heartbeat(&self, worker: WorkerId) -> Result<Heartbeat, StoreError> {
        self.shared
            .within(op::heartbeat(&self.shared, worker))
            .await
    }

    async fn deregister_worker(&self, worker: WorkerId) -> Result<(), StoreError> {
        self.shared
            .retried(|| op::deregister(&self.shared, worker))
            .await
    }

    async fn reclaim_worker(&self, worker: WorkerId) -> Result<(), StoreError> {
        self.shared
            .retried(|| op::reclaim_worker(&self.shared, worker))
            .await
    }

    async fn heartbeats(&self) -> Result<Heartbeats, StoreError> {
        self.shared.within(read::heartbeats(&self.shared)).await
    }

    async fn reclaim(&self, silent: Vec<LastHeartbeat>) -> Result<Vec<Run>, StoreError> {
        self.shared
            .retried(|| op::reclaim(&self.shared, &silent))
            .await
    }

    async fn workers(&self) -> Result<Vec<WorkerInfo>, StoreError> {
        self.shared.within(read::workers(&self.shared)).await
    }

    async fn submit(&self, submission: Submission) -> Result<Submitted, StoreError> {
        submission.check()?;
        op::submit(&self.shared, &self.submits, submission).await
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Claimed, StoreError> {
        self.shared
            .retried(|| op::claim(&self.shared, &request))
            .await
    }

    async fn commit(&self, lease: Lease, transition: Transition) -> Result<Committed, StoreError> {
        transition.check()?;
        op::commit(&self.shared, &self.commits, lease, Written::of(transition)?).await
    }

    async fn cancel(&self, run: RunId, mode: CancelMode, by: &str) -> Result<Run, StoreError> {
        self.shared
            .retried(|| op::cancel(&self.shared, run, mode, by))
            .await
    }

    async fn retry(&self, run: RunId, from: Option<&str>, by: &str) -> Result<Run, StoreError> {
        self.shared
            .retried(|| op::edit(&self.shared, run, |edit| edit.retry(from, by)))
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
        self.shared
            .retried(|| {
                op::edit(&self.shared, run, |edit| {
                    edit.answer(step, answer, by, note)
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
        self.shared
            .retried(|| op::set_queue(&self.shared, name, &limits, only_if_new))
            .await
    }

    async fn pause_queue(&self, name: &str, paused: bool) -> Result<(), StoreError> {
        refuse_nul("the queue's name", name)?;
        self.shared
            .within(op::pause_queue(&self.shared, name, paused))
            .await
    }

    async fn queues(&self) -> Result<Vec<QueueInfo>, StoreError> {
        self.shared.within(read::queues(&self.shared)).await
    }

    async fn run(&self, id: RunId) -> Result<Option<Run>, StoreError> {
        self.shared.within(read::run(&self.shared, id)).await
    }

    async fn runs(&self, filter: RunFilter) -> Result<Vec<Run>, StoreError> {
        self.shared.within(read::runs(&self.shared, &filter)).await
    }

    async fn events(&self, run: RunId, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        self.shared
            .within(read::events(&self.shared, run, after, limit))
            .await
    }

    async fn records(&self, filter: RecordFilter) -> Result<Vec<Record>, StoreError> {
        self.shared
            .within(read::records(&self.shared, &filter))
            .await
    }

    async fn tallies(&self, span: Span, since: Timestamp) -> Result<Vec<Tally>, StoreError> {
        self.shared
            .within(statistics::tallies(&self.shared, span, since))
            .await
    }

    async fn count_runs(&self, status: RunStatus, limit: u64) -> Result<u64, StoreError> {
        self.shared
            .within(statistics::count_runs(&self.shared, status, limit))
            .await
    }

    async fn put_blobs(
        &self,
        lease: Lease,
        blobs: Arc<Vec<(Digest, Vec<u8>)>>,
    ) -> Result<(), StoreError> {
        check_blobs(&blobs)?;
        let _turn = self.shared.transfer_turn().await?;
        self.shared
            .retried(|| op::put_blobs(&self.shared, lease, &blobs))
            .await
    }

    async fn blob_part(&self, digest: Digest, offset: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let _turn = self.shared.transfer_turn().await?;
        self.shared
            .within(read::blob_part(&self.shared, digest, offset))
            .await
    }

    async fn put_document(
        &self,
        document: NewDocument,
        expect: Expect,
    ) -> Result<Option<u64>, StoreError> {
        document.check()?;
        self.shared
            .retried(|| op::put_document(&self.shared, &document, expect))
            .await
    }

    async fn document(&self, kind: &str, id: &str) -> Result<Option<Document>, StoreError> {
        self.shared
            .within(documents::get_one(&self.shared, kind, id))
            .await
    }

    async fn documents(&self, filter: DocumentFilter) -> Result<Vec<Document>, StoreError> {
        self.shared
            .within(documents::list(&self.shared, &filter))
            .await
    }

    async fn delete_document(&self, kind: &str, id: &str) -> Result<bool, StoreError> {
        self.shared
            .within(op::delete_document(&self.shared, kind, id))
            .await
    }

    async fn prune(&self, limit: usize) -> Result<usize, StoreError> {
        self.shared.retried(|| op::prune(&self.shared, limit)).await
    }
}
