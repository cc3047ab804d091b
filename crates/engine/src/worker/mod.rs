//! Workers: each claims runs from a store and drives them to their end.
//!
//! [`Worker::start`] starts four tasks: the *dispatcher* claims runs while slots are free, the
//! *heartbeat* renews the lease, and *maintenance* reclaims runs of dead workers and prunes expired
//! history. One *driver* per run takes it from step to step. Three ways to stop a driver stay
//! apart: a shutdown (the run is handed back), a person's cancel (persisted; the run ends), and a
//! lost lease (nothing more is written).
//!
//! Every `select!` here is `biased`: branches are polled in source order, so a seed of the
//! whole-engine simulation (`docs/simulation.md`) replays identically.

mod active_runs;
mod attempt;
mod dispatcher;
mod driver;
mod heartbeat;
mod isolation;
mod jitter;
mod lease_clock;
mod maintenance;
mod masking;
mod next_step;
mod observation;
mod slots;
mod snapshots;
mod undo;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use active_runs::ActiveRuns;
pub(crate) use driver::drive;
pub(crate) use next_step::{NextStep, advance};
pub use slots::ReservedSlots;

use self::jitter::Jitter;
use self::lease_clock::LeaseClock;
use self::slots::Slots;
use crate::mask::Mask;
use crate::metrics::{AttemptReport, Observer, WorkerMetrics};
use crate::store::NewWorker;
use crate::workspace::SnapshotMemory;
use crate::{
    AllowLists, Client, CredentialSource, Handlers, NoCredentials, Secret, SecretKeys, Store,
    StoreError, WorkerId, Workflow,
};

/// Time limit for a stopping worker to write pending results once its handlers have ended.
pub const STOP_LIMIT: Duration = Duration::from_secs(5);

/// Time limit for a stopping worker to end its lease.
const DEREGISTER_LIMIT: Duration = Duration::from_secs(2);

/// Configuration of a worker.
#[derive(Clone)]
pub struct WorkerOptions {
    /// Name for people, such as host and process id. Need not be unique.
    pub name: String,
    /// Version of the program, for people.
    pub version: String,
    /// Number of runs that it holds at once.
    pub concurrency: usize,
    /// Slots for runs that must not wait behind others; none by default.
    pub reserved: ReservedSlots,
    /// Period for which its leases hold without a heartbeat; it sends at least three in that time.
    pub lease: Duration,
    /// Time for which a stopping worker lets running steps continue.
    pub grace: Duration,
    /// Time for which a cancelled handler may continue before its future is dropped.
    pub handler_grace: Duration,
    /// The workflows and actions that it permits. It claims no run of another workflow, and none
    /// that has another action.
    pub allow: AllowLists,
    /// Resources that it offers to runs which require them: a local forge, a key.
    pub resources: Arc<BTreeSet<String>>,
    /// Source of credentials.
    pub credentials: Arc<dyn CredentialSource>,
    /// Secrets of the program itself, such as the password of its database. They are masked in all
    /// that steps write, beside the credentials that steps request.
    pub secrets: Vec<Secret>,
    /// Keys of secret parameters. The worker offers them as resources and encrypts the parameters
    /// that its own client submits.
    pub keys: Option<SecretKeys>,
    /// Folder that holds a workspace for each run.
    pub workspaces: PathBuf,
    /// Bytes of workspaces that it has in memory at once while it stores and restores snapshots,
    /// over all of its runs: 64 MiB by default, which is 32 snapshots at a time. Others wait their
    /// turn. One snapshot takes 2 MiB, which is the least.
    pub snapshot_memory: usize,
    /// Observer of attempts and runs that end.
    pub observer: Option<Arc<dyn Observer>>,
    /// Called with each worker id before it is registered.
    ///
    /// A worker that loses its lease registers again under a new id. With the id, a lease can be
    /// ended early once the process is known to be gone ([`Store::reclaim_worker`]).
    pub announce: Option<fn(WorkerId)>,
    /// Runtime whose threads run handlers; `None`, the default, is the one that the worker starts
    /// on. With a separate runtime, a handler that blocks its thread delays no heartbeat, timeout
    /// or request.
    pub handler_runtime: Option<Handle>,
    /// Seed of the jitter of polls, searches for dead workers and retries. `None`, the default,
    /// draws one; a simulation sets it to replay the same waits.
    pub seed: Option<u64>,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            name: format!("pid {}", std::process::id()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            concurrency: 256,
            reserved: ReservedSlots::default(),
            lease: Duration::from_secs(5),
            grace: Duration::from_secs(10),
            handler_grace: Duration::from_secs(5),
            allow: AllowLists::default(),
            resources: Arc::default(),
            credentials: Arc::new(NoCredentials),
            secrets: Vec::new(),
            keys: None,
            workspaces: std::env::temp_dir().join("surefoot-workspaces"),
            snapshot_memory: 64 << 20,
            observer: None,
            announce: None,
            handler_runtime: None,
            seed: None,
        }
    }
}

/// Claims runs from a store and drives them.
#[derive(Debug)]
pub struct Worker;

/// A running worker. Dropping it is like a crash: its runs are reclaimed once the lease expires.
#[must_use = "a worker ends when its handle is dropped"]
pub struct WorkerHandle {
    shared: Arc<Shared>,
    actors: JoinSet<()>,
}

/// State shared by the tasks of a worker.
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) handlers: Handlers,
    pub(crate) actions: Arc<BTreeSet<String>>,
    pub(crate) options: WorkerOptions,
    /// Mask of the secrets that apply to every run of this worker.
    pub(crate) mask: Mask,
    pub(crate) metrics: Arc<WorkerMetrics>,
    /// Current id; a worker that lost its lease registers under a new one.
    id: RwLock<WorkerId>,
    pub(crate) slots: Slots,
    /// Wakes the dispatcher: a slot that it waits for is free, or it has runs to resume.
    pub(crate) freed: Notify,
    /// Set while a released slot lets the dispatcher claim: it has none, or a queue is full.
    pub(crate) wants_slot: AtomicBool,
    pub(crate) lease_clock: LeaseClock,
    pub(crate) jitter: Jitter,
    pub(crate) snapshot_memory: SnapshotMemory,
    pub(crate) active_runs: ActiveRuns,
    /// Set when a call that leases runs failed but may have committed: the store may hold runs for
    /// this worker that have no driver.
    pub(crate) in_doubt: AtomicBool,
    pub(crate) drivers: TaskTracker,
    /// Cancelled to start no new runs and no new steps.
    pub(crate) draining: CancellationToken,
    /// Cancelled when the grace period is over: running steps are interrupted.
    pub(crate) interrupting: CancellationToken,
    /// Cancelled to drop handlers without giving them time to end.
    pub(crate) aborted: CancellationToken,
    /// Number of drivers with a write that the store currently refuses.
    waiting_to_write: AtomicUsize,
    /// Reason for which the store cannot be written at the moment.
    trouble: watch::Sender<Option<String>>,
}

impl Worker {
    /// Registers a worker with the store and starts its tasks.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when the store is embedded and another worker process lives on it.
    pub async fn start(
        store: Arc<dyn Store>,
        handlers: Handlers,
        mut options: WorkerOptions,
    ) -> Result<WorkerHandle, StoreError> {
        let keys = options.keys.iter().flat_map(SecretKeys::resources);
        options.resources = Arc::new(options.resources.iter().cloned().chain(keys).collect());
        let id = WorkerId::new();
        // An action that is not permitted is not known, to the store and to this worker's own
        // client.
        let mut actions = handlers.actions();
        actions.retain(|action| options.allow.actions.permits(action));
        let actions = Arc::new(actions);
        let shared = Arc::new(Shared {
            slots: Slots::new(options.concurrency, &options.reserved, actions.clone()),
            actions,
            lease_clock: LeaseClock::new(store.now()),
            jitter: Jitter::new(options.seed),
            snapshot_memory: SnapshotMemory::new(options.snapshot_memory),
            store,
            handlers,
            mask: Mask::of(&options.secrets),
            options,
            metrics: Arc::default(),
            id: RwLock::new(id),
            freed: Notify::new(),
            wants_slot: AtomicBool::new(false),
            active_runs: ActiveRuns::default(),
            in_doubt: AtomicBool::new(false),
            drivers: TaskTracker::new(),
            draining: CancellationToken::new(),
            interrupting: CancellationToken::new(),
            aborted: CancellationToken::new(),
            waiting_to_write: AtomicUsize::new(0),
            trouble: watch::Sender::new(None),
        });
        shared.register(id).await?;
        let mut actors = JoinSet::new();
        actors.spawn(dispatcher::run(shared.clone()));
        actors.spawn(heartbeat::run(shared.clone()));
        actors.spawn(maintenance::reclaim_dead_workers(shared.clone()));
        actors.spawn(maintenance::prune_history(shared.clone()));
        Ok(WorkerHandle { shared, actors })
    }
}

impl WorkerHandle {
    /// Returns a client whose submissions start on this worker at once if it has a free slot and
    /// the queue's limits permit.
    pub fn client(&self) -> Client {
        Client::local(self.shared.clone())
    }

    /// Watches the reason for which the store cannot be written, `None` while it can. Results are
    /// kept meanwhile and written once the store is back.
    pub fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.shared.trouble.subscribe()
    }

    /// Number of runs that it holds.
    pub fn running(&self) -> usize {
        self.shared.active_runs.len()
    }

    /// Stops: claims nothing more, lets running steps continue for the grace period, interrupts the
    /// rest, and hands back every lease. An interrupted step spends no attempt.
    ///
    /// Bounded also while the store is away, by the sum of the grace period, the handler grace and
    /// [`STOP_LIMIT`]. Returns the number of runs whose results could not be written; their steps
    /// run again elsewhere.
    pub async fn stop(mut self) -> usize {
        let shared = self.shared.clone();
        shared.draining.cancel();
        shared.drivers.close();
        tokio::select! {
            biased;
            () = shared.drivers.wait() => {}
            () = tokio::time::sleep(shared.options.grace) => {}
            () = shared.interrupting.cancelled() => {}
        }
        shared.interrupting.cancel();
        let bound = shared.options.handler_grace + STOP_LIMIT;
        let unwritten = match tokio::time::timeout(bound, shared.drivers.wait()).await {
            Ok(()) => 0,
            Err(_) => shared.active_runs.len(),
        };
        shared.aborted.cancel();
        self.actors.shutdown().await;
        let deregistered = tokio::time::timeout(
            DEREGISTER_LIMIT,
            shared.store.deregister_worker(shared.id()),
        )
        .await;
        if !matches!(deregistered, Ok(Ok(()))) {
            tracing::warn!("could not deregister the worker; its lease will expire on its own");
        }
        unwritten
    }

    /// Returns a function that makes a [`Self::stop`] in progress interrupt steps without waiting
    /// for them, for a second signal.
    pub fn abort(&self) -> impl Fn() + Send + Sync + 'static {
        let shared = self.shared.clone();
        move || {
            shared.aborted.cancel();
            shared.interrupting.cancel();
        }
    }
}

impl Drop for WorkerHandle {
    fn drop(&mut self) {
        self.shared.active_runs.lose_all();
        self.shared.draining.cancel();
    }
}

impl std::fmt::Debug for WorkerHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WorkerHandle({})", self.shared.id())
    }
}

impl Shared {
    pub(crate) fn id(&self) -> WorkerId {
        *self
            .id
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    async fn register(&self, id: WorkerId) -> Result<(), StoreError> {
        let (name, lease, version) = (
            self.options.name.clone(),
            self.options.lease,
            self.options.version.clone(),
        );
        let actions = self.actions.clone();
        let workflows = self.options.allow.workflows.clone();
        let resources = self.options.resources.clone();
        if let Some(announce) = self.options.announce {
            announce(id);
        }
        self.store
            .register_worker(NewWorker {
                id,
                name,
                lease,
                version,
                actions,
                workflows,
                resources,
            })
            .await?;
        *self
            .id
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = id;
        Ok(())
    }

    /// Returns whether the worker can run a plan: it permits the workflow and knows every action.
    pub(crate) fn fits(&self, plan: &Workflow) -> bool {
        self.options.allow.workflows.permits(plan.name()) && plan.is_known_by(&self.actions)
    }

    /// Starts a handler on the runtime for handlers.
    pub(crate) fn spawn_handler<T: Send + 'static>(
        &self,
        task: &mut JoinSet<T>,
        handler: impl Future<Output = T> + Send + 'static,
    ) {
        match &self.options.handler_runtime {
            Some(runtime) => task.spawn_on(handler, runtime),
            None => task.spawn(handler),
        };
    }

    /// Reports the end of an attempt to the metrics and the observer.
    pub(crate) fn report(&self, report: &AttemptReport<'_>) {
        self.metrics.attempt(report);
        if let Some(observer) = &self.options.observer {
            observer.attempt(report);
        }
    }

    /// Reports the committed end of a run to the observer.
    pub(crate) fn run_ended(&self, run: &crate::Run) {
        if let Some(observer) = &self.options.observer {
            observer.run_ended(run);
        }
    }

    /// Notes that a call that leases runs failed; the dispatcher finds out if it committed.
    pub(crate) fn note_unacknowledged(&self, error: &StoreError) {
        self.note_trouble(error);
        self.in_doubt.store(true, Ordering::SeqCst);
        self.freed.notify_one();
    }

    /// Wakes the dispatcher if it waits for a slot.
    pub(crate) fn slot_released(&self) {
        if self.wants_slot.load(Ordering::SeqCst) {
            self.freed.notify_one();
        }
    }

    /// Notes that a write failed; it will be retried.
    pub(crate) fn note_trouble(&self, error: &StoreError) {
        self.set_trouble(Some(error.to_string()));
    }

    /// Notes that a write succeeded. The trouble remains while another driver waits to write: on a
    /// disk that is nearly full, small writes succeed and large ones do not.
    pub(crate) fn note_written(&self) {
        if self.waiting_to_write.load(Ordering::SeqCst) == 0 {
            self.set_trouble(None);
        }
    }

    /// Counts a driver that waits to write, until the guard is dropped.
    pub(crate) fn count_waiting_writer(&self) -> impl Drop + '_ {
        struct Waiting<'a>(&'a Shared);

        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                self.0.waiting_to_write.fetch_sub(1, Ordering::SeqCst);
            }
        }

        self.waiting_to_write.fetch_add(1, Ordering::SeqCst);
        Waiting(self)
    }

    /// Returns the reason for which the store cannot be written at the moment.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.borrow().clone()
    }

    fn set_trouble(&self, trouble: Option<String>) {
        self.trouble.send_if_modified(|now| {
            let changed = *now != trouble;
            *now = trouble;
            changed
        });
    }
}
