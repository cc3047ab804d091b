//! The store: one semantic trait, each method one atomic operation.
//!
//! A store keeps runs, steps, events, records, queues, workers and the contents of workspaces. It
//! decides nothing about a run's state: the worker that holds the lease applies the rules of
//! [`crate::state`] and hands over a [`Transition`]; what a person does to a run (cancel, retry,
//! answer) the store applies by the same rules, in its own transaction.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

pub use crate::validate::{check_blobs, refuse_nul};

use crate::document::{Document, DocumentFilter, Expect, NewDocument};
use crate::metrics::StoreMetrics;
use crate::state::{Answer, CancelMode, Lease, RuleError, Transition};
use crate::statistics::{Span, Tally};
use crate::{
    AllowList, Digest, Event, NotPermitted, QueueInfo, QueueLimits, Record, Run, RunId, RunStatus,
    Timestamp, WorkerId, Workflow,
};

/// Durable storage of runs.
///
/// Every method is atomic, and durable when it returns. A dropped call may or may not have taken
/// place.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug + 'static {
    /// The store's clock. Leases, starts and waits go by it.
    fn now(&self) -> Timestamp;

    /// Hints that something changed. Polling alone is always correct.
    fn hints(&self) -> Hints;

    /// Returns the metrics of its commits, if it has any.
    fn metrics(&self) -> Option<Arc<StoreMetrics>> {
        None
    }

    // Workers.

    /// Makes a worker known, with a lease that [`Self::heartbeat`] renews. An embedded store, which
    /// lets one worker process live at a time, ends the leases of all before it: they are dead.
    async fn register_worker(&self, worker: NewWorker) -> Result<(), StoreError>;

    /// Renews the worker's lease, in one row however many runs it holds.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when the worker lost its lease; it must drop its runs and register
    /// again.
    async fn heartbeat(&self, worker: WorkerId) -> Result<Heartbeat, StoreError>;

    /// Ends the life of a worker that stops. Runs that it still holds are handed back.
    async fn deregister_worker(&self, worker: WorkerId) -> Result<(), StoreError>;

    /// Ends the life of a worker whose process is known to be gone, before its lease runs out. Runs
    /// that it still holds are interrupted as by a crash.
    async fn reclaim_worker(&self, worker: WorkerId) -> Result<(), StoreError>;

    /// The last heartbeat of every worker that the store knows. Which of them are dead is for an
    /// observer to find out, by its own clock: the store's may step.
    async fn heartbeats(&self) -> Result<Heartbeats, StoreError>;

    /// Ends the workers of these heartbeats that have sent none since, and takes their runs, and
    /// those held by a worker that the store does not know; each is interrupted by the rules.
    /// Returns them as they are then.
    async fn reclaim(&self, silent: Vec<LastHeartbeat>) -> Result<Vec<Run>, StoreError>;

    /// The workers that are alive.
    async fn workers(&self) -> Result<Vec<WorkerInfo>, StoreError>;

    // Runs: what workers and submitters do.

    /// Adds a run with all its steps. With [`Submission::started`], and when the queue's limits and
    /// order allow, it is added already leased.
    ///
    /// # Errors
    /// [`StoreError::NotPermitted`] when the queue's allow-lists refuse it, and it is not there
    /// already.
    async fn submit(&self, submission: Submission) -> Result<Submitted, StoreError>;

    /// Leases runs to a worker, but none that this build cannot read: the highest priority first,
    /// then the oldest; only of workflows that it permits and whose every action is known to it,
    /// only runs whose every required resource it offers, and within the limits of their queues. A
    /// paused queue gives none. Runs whose cancel is to be carried out go before all others,
    /// whatever the limits.
    async fn claim(&self, request: ClaimRequest) -> Result<Claimed, StoreError>;

    /// Writes what the holder of a lease did: all of it or nothing. A holder writes one commit
    /// after the other, and sends the same one again until it knows what became of it:
    /// [`crate::state::Head::commits`] numbers them. One that took place already is not written
    /// again, and one that does not follow the last is refused.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when the lease has ended, or when the commit was overtaken by a
    /// later one; [`StoreError::RecordTaken`] when another run owns a record.
    async fn commit(&self, lease: Lease, transition: Transition) -> Result<Committed, StoreError>;

    /// Adds contents of a workspace ahead of the commit that completes its step:
    /// [`CHUNK`](crate::CHUNK) bytes at most in one call. The run needs them from now on, as if a
    /// snapshot did. Those that no commit came to need are removed by [`Self::prune`] once no
    /// worker holds the run. Contents that are there already are not written again.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when the lease has ended.
    async fn put_blobs(
        &self,
        lease: Lease,
        blobs: Arc<Vec<(Digest, Vec<u8>)>>,
    ) -> Result<(), StoreError>;

    // Runs: what a person does. Each returns the run as it is then. An unreadable run can only be
    // cancelled.

    /// [`crate::state::Edit::cancel_even_unreadable`].
    async fn cancel(&self, run: RunId, mode: CancelMode, by: &str) -> Result<Run, StoreError>;

    /// [`crate::state::Edit::retry`].
    async fn retry(&self, run: RunId, from: Option<&str>, by: &str) -> Result<Run, StoreError>;

    /// [`crate::state::Edit::answer`].
    async fn answer(
        &self,
        run: RunId,
        step: &str,
        answer: Answer,
        by: &str,
        note: Option<&str>,
    ) -> Result<Run, StoreError>;

    // Queues.

    /// Gives a queue these limits; `only_if_new` leaves a queue that exists as it is.
    async fn set_queue(
        &self,
        name: &str,
        limits: QueueLimits,
        only_if_new: bool,
    ) -> Result<(), StoreError>;

    /// Pauses or resumes a queue.
    async fn pause_queue(&self, name: &str, paused: bool) -> Result<(), StoreError>;

    /// Every queue that has limits, is paused or has had a run, by name.
    async fn queues(&self) -> Result<Vec<QueueInfo>, StoreError>;

    // Reading.

    /// A run with its steps. One that this build cannot read is given with [`Run::unreadable`],
    /// here as in every list.
    async fn run(&self, id: RunId) -> Result<Option<Run>, StoreError>;

    /// Runs, the newest first.
    async fn runs(&self, filter: RunFilter) -> Result<Vec<Run>, StoreError>;

    /// The history of a run after `after`, in order, `limit` entries at most.
    async fn events(&self, run: RunId, after: u64, limit: usize) -> Result<Vec<Event>, StoreError>;

    /// Records, by kind and name.
    async fn records(&self, filter: RecordFilter) -> Result<Vec<Record>, StoreError>;

    /// Counts the ends of runs over spans that begin at `since` or later.
    ///
    /// A run that a person retries counts each time it ends. The order is arbitrary; several
    /// entries with the same subject add up.
    async fn tallies(&self, span: Span, since: Timestamp) -> Result<Vec<Tally>, StoreError>;

    /// Counts the runs with a status. Counting stops at `limit`, which then means "at least".
    async fn count_runs(&self, status: RunStatus, limit: u64) -> Result<u64, StoreError>;

    /// A part of a workspace's content, from `offset` on: [`CHUNK`](crate::CHUNK) bytes, or fewer
    /// at its end. `None` when there is no such content.
    async fn blob_part(&self, digest: Digest, offset: u64) -> Result<Option<Vec<u8>>, StoreError>;

    // Documents.

    /// Writes a document, if what is there is as expected (an expired one is as none). Its new
    /// version; `None` when it was not.
    async fn put_document(
        &self,
        document: NewDocument,
        expect: Expect,
    ) -> Result<Option<u64>, StoreError>;

    /// A document that has not expired.
    async fn document(&self, kind: &str, id: &str) -> Result<Option<Document>, StoreError>;

    /// Documents of a kind that have not expired, by id (in the order of its bytes).
    async fn documents(&self, filter: DocumentFilter) -> Result<Vec<Document>, StoreError>;

    /// Removes a document. Returns whether there was one.
    async fn delete_document(&self, kind: &str, id: &str) -> Result<bool, StoreError>;

    // Upkeep.

    /// Removes the details (events, snapshots) of ended runs that their queue's retention lets go:
    /// `limit` runs at most. Returns how many it was. Removes expired documents, old tallies and
    /// what uploads left half-way ([`Self::put_blobs`]) on the way.
    async fn prune(&self, limit: usize) -> Result<usize, StoreError>;
}

/// Two hints. Each is marked as changed when something may have.
#[derive(Clone, Debug)]
pub struct Hints {
    /// A run may have become claimable, or a cancel was asked for.
    pub work: watch::Receiver<()>,
    /// Some run may have changed.
    pub any: watch::Receiver<()>,
}

/// A worker that makes itself known.
#[derive(Clone, Debug)]
pub struct NewWorker {
    /// Names this life of the worker.
    pub id: WorkerId,
    /// Name for people, such as host and process id. Need not be unique.
    pub name: String,
    /// Period for which its leases hold without a heartbeat.
    pub lease: Duration,
    /// The version of the program.
    pub version: String,
    /// The actions that it knows and permits.
    pub actions: Arc<BTreeSet<String>>,
    /// The workflows that it permits.
    pub workflows: AllowList,
    /// The resources that it offers.
    pub resources: Arc<BTreeSet<String>>,
}

/// A worker that is alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerInfo {
    /// Names this life of the worker.
    pub id: WorkerId,
    /// Name for people.
    pub name: String,
    /// When it made itself known.
    pub started_at: Timestamp,
    /// When it last renewed its lease.
    pub heartbeat_at: Timestamp,
    /// When its leases end unless it renews them.
    pub expires_at: Timestamp,
    /// Number of runs that it holds.
    pub running: u64,
    /// The version of its program.
    pub version: String,
    /// The actions that it knows and permits.
    pub actions: Arc<BTreeSet<String>>,
    /// The workflows that it permits.
    pub workflows: AllowList,
    /// The resources that it offers.
    pub resources: Arc<BTreeSet<String>>,
    /// The newest format of plans that its store reads: [`crate::Workflow::FORMAT`] of its build.
    pub plan_format: u32,
}

/// Heartbeats of all workers, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heartbeats {
    /// Last heartbeat of each worker that the store knows, in no order.
    pub workers: Vec<LastHeartbeat>,
    /// True when a run is held by a worker that the store does not know.
    pub has_orphans: bool,
}

/// A worker's last heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastHeartbeat {
    /// The worker.
    pub worker: WorkerId,
    /// The store's time when it came; that of the next differs, whatever the clock did.
    pub at: Timestamp,
    /// Time for which its leases hold without another.
    pub lease: Duration,
}

impl LastHeartbeat {
    /// The time of the heartbeat that follows one of `last`: not the same, when the clock shows the
    /// same or stepped a little.
    pub fn time_after(last: Timestamp, now: Timestamp) -> Timestamp {
        let next = last + Duration::from_micros(1);
        if now <= last && last.since(now) < Duration::from_secs(1) {
            next
        } else {
            now
        }
    }
}

/// Answer to a heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heartbeat {
    /// Runs of this worker whose cancel was asked for.
    pub cancels: Vec<(RunId, CancelMode)>,
    /// Every run that it holds, as the store has it. Not in any order.
    pub held: Vec<RunId>,
}

/// A run to add.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The run as it is when it has to wait for a worker, and its first events.
    pub queued: (Run, Transition),
    /// The run as it is when the submitting process's worker takes it at once, and its first
    /// events.
    pub started: Option<(Run, Transition)>,
}

/// Result of a submission.
#[derive(Clone, Debug, PartialEq)]
pub enum Submitted {
    /// It waits for a worker.
    Queued,
    /// It is leased to the submitting process's worker, which must run it.
    Started,
    /// The workflow has a run with this key already, which is not cancelled.
    SameKey(Box<Run>),
    /// The workflow has a run with this unique value already, which is not cancelled.
    SameUnique(Box<Run>),
}

/// Request of a worker for runs.
#[derive(Clone, Debug)]
pub struct ClaimRequest {
    /// The worker.
    pub worker: WorkerId,
    /// Runs at most.
    pub limit: usize,
    /// The actions that it knows and permits.
    pub actions: Arc<BTreeSet<String>>,
    /// The workflows that it permits.
    pub workflows: AllowList,
    /// The resources that it offers.
    pub resources: Arc<BTreeSet<String>>,
}

impl ClaimRequest {
    /// Returns whether the worker can take runs of this plan: it permits the workflow and knows
    /// every action.
    pub fn fits(&self, plan: &Workflow) -> bool {
        self.workflows.permits(plan.name()) && plan.is_known_by(&self.actions)
    }
}

/// Runs leased to a worker.
#[derive(Clone, Debug, Default)]
pub struct Claimed {
    /// The runs, leased to the worker.
    pub runs: Vec<Run>,
    /// When the next run that waits for a time, or for a queue's rate, becomes claimable; `None`
    /// when none does by time.
    pub next_at: Option<Timestamp>,
    /// True if more runs may become claimable once another one ends: their queue is full, or there
    /// were more than requested.
    pub held_back: bool,
}

/// Answer to a commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// A person's cancel of this run that has not been carried out.
    pub cancel: Option<CancelMode>,
}

/// Which runs to list.
#[derive(Clone, Debug)]
pub struct RunFilter {
    /// Only of this status.
    pub status: Option<RunStatus>,
    /// Only of this workflow.
    pub workflow: Option<String>,
    /// Only of this queue.
    pub queue: Option<String>,
    /// Only with this key.
    pub key: Option<String>,
    /// Only those that this worker holds.
    pub worker: Option<WorkerId>,
    /// Only those submitted at this time or later.
    pub since: Option<Timestamp>,
    /// Only those submitted before this time.
    pub until: Option<Timestamp>,
    /// Only those that failed at this time or later, and have not been retried since.
    pub failed_since: Option<Timestamp>,
    /// Only those whose key or unique value begins with this text (case matters), or whose id is
    /// this text.
    pub text: Option<String>,
    /// The oldest first, and [`Self::before`] then means after.
    pub oldest_first: bool,
    /// Only runs submitted before this one: the last of the page before.
    pub before: Option<RunId>,
    /// Runs at most.
    pub limit: usize,
}

impl Default for RunFilter {
    fn default() -> Self {
        Self {
            status: None,
            workflow: None,
            queue: None,
            key: None,
            worker: None,
            since: None,
            until: None,
            failed_since: None,
            text: None,
            oldest_first: false,
            before: None,
            limit: 50,
        }
    }
}

/// Which records to list. The default lists all.
#[derive(Clone, Debug, Default)]
pub struct RecordFilter {
    /// Only of this kind.
    pub kind: Option<String>,
    /// Only with this name.
    pub name: Option<String>,
    /// Only of this run.
    pub run: Option<RunId>,
    /// Only those of [`Self::kind`] whose name comes after this one: the last of the page before.
    pub after: Option<String>,
    /// Only those whose name begins with this text.
    pub prefix: Option<String>,
    /// Records at most.
    pub limit: Option<usize>,
}

/// Reason why a store did not carry out a call.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The lease under which a worker wrote has ended: its write counts for nothing.
    #[error("lease lost")]
    LeaseLost,
    /// There is no such run.
    #[error("no run {0}")]
    NoRun(RunId),
    /// This build cannot read the run: its plan is of a newer build, or a row of it is damaged.
    #[error("run {run} cannot be read by this surefoot ({reason}): upgrade it, or cancel the run")]
    Unreadable {
        /// The run.
        run: RunId,
        /// The part that cannot be read.
        reason: String,
    },
    /// The rules do not allow it.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// An allow-list does not permit the workflow or its actions.
    #[error(transparent)]
    NotPermitted(#[from] Box<NotPermitted>),
    /// Another run owns the record.
    #[error("the {kind} `{name}` is taken by run {owner}")]
    RecordTaken {
        /// [`Record::kind`].
        kind: String,
        /// [`Record::name`].
        name: String,
        /// The run that owns it.
        owner: RunId,
    },
    /// Another worker process lives on this embedded store.
    #[error("{0}")]
    InUse(String),
    /// The store cannot be reached for now, or its disk is full: the same call may succeed later.
    #[error("{0}")]
    Unavailable(String),
    /// The file or database is not a store that this build can use.
    #[error("{0}")]
    Unusable(String),
    /// The stored data contradict themselves, or a statement of the store is wrong.
    #[error("store fault: {0}")]
    Fault(String),
}

impl From<NotPermitted> for StoreError {
    fn from(refusal: NotPermitted) -> Self {
        Self::NotPermitted(Box::new(refusal))
    }
}

impl StoreError {
    /// Returns true if the same call may succeed later.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    /// Returns true if the store is at fault and not the request.
    ///
    /// A database that was renamed, or whose rights are being changed, is unusable until a person
    /// repairs it. The pending writes of a worker are still valid after that.
    pub const fn is_outage(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Unusable(_))
    }
}
