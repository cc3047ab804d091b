//! Workers: a process (or a part of one) that takes runs from a store and drives them to their end.
//!
//! [`Worker::start`] makes four things go: the *dispatcher* claims runs while there is room, the *pulse* renews the lease, the
//! *upkeep* looks for what other workers left behind and tidies, and one *driver* a run takes it from step to step. Three ways to stop a
//! driver stay apart: a shutdown (the run is handed back), a person's cancel (persisted; the run ends), and a lost lease
//! (nothing more is written).
//!
//! Every `select!` here is `biased`: which of two things that are ready comes first is decided by the text, so that the
//! whole-engine simulation (`docs/simulation.md`) plays the same seed the same way.

mod attempt;
mod chance;
mod dispatcher;
mod driver;
mod held;
mod isolation;
mod masking;
mod observation;
mod opening;
mod places;
mod pulse;
mod renewal;
mod snapshots;
mod undo;
mod upkeep;

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

pub(crate) use driver::drive;
pub(crate) use held::Registry;
pub(crate) use opening::{Opening, open};
pub use places::KeptPlaces;

use self::chance::Chance;
use self::places::Places;
use self::renewal::Renewal;
use crate::mask::Mask;
use crate::measures::{AttemptReport, Observer, WorkerMeasures};
use crate::store::NewWorker;
use crate::workspace::SnapshotMemory;
use crate::{
    AllowLists, Client, CredentialSource, Handlers, NoCredentials, Secret, SecretKeys, Store,
    StoreError, WorkerId, Workflow,
};

/// The time that a stopping worker has to write what it holds, once its handlers have ended.
pub const STOP_LIMIT: Duration = Duration::from_secs(5);

/// The time that a stopping worker has to end its lease.
const DEREGISTER_LIMIT: Duration = Duration::from_secs(2);

/// How a worker works.
#[derive(Clone)]
pub struct WorkerOptions {
    /// What people read of it: host and process id. Need not be unique.
    pub name: String,
    /// The version of its program, for people to read.
    pub version: String,
    /// Runs that it holds at once.
    pub concurrency: usize,
    /// Places for runs that must not wait for the others; none by default.
    pub kept: KeptPlaces,
    /// How long its leases hold without a heartbeat; it sends three in that time.
    pub lease: Duration,
    /// How long a stopping worker lets the steps under way go on.
    pub grace: Duration,
    /// How long a handler that is told to end may take to do so, before its future is dropped.
    pub handler_grace: Duration,
    /// The workflows and actions that it permits. It claims no run of another workflow, and none
    /// that has another action.
    pub allow: AllowLists,
    /// The resources that it offers to runs which require them: a local forge, a key.
    pub resources: Arc<BTreeSet<String>>,
    /// Where credentials come from.
    pub credentials: Arc<dyn CredentialSource>,
    /// What is masked in all that steps say, beside the credentials that they ask for: secrets of the program itself, such as
    /// the password of its database.
    pub secrets: Vec<Secret>,
    /// The keys of secret parameters: the worker offers them as resources, and encrypts what its own client submits.
    pub keys: Option<SecretKeys>,
    /// The folder under which each run has its workspace.
    pub workspaces: PathBuf,
    /// Bytes of workspaces that it has in memory at once while it stores and restores snapshots,
    /// over all of its runs: 64 MiB by default, which is 32 snapshots at a time. Others wait their
    /// turn. One snapshot takes 2 MiB, which is the least.
    pub snapshot_memory: usize,
    /// Who is told of attempts and runs as they end.
    pub observer: Option<Arc<dyn Observer>>,
    /// Is told the id of each life of the worker before the store is: a worker that is taken for dead begins another. Whoever
    /// finds out by other means that the process is gone can end its lease by it ([`Store::reclaim_worker`]).
    pub announce: Option<fn(WorkerId)>,
    /// The runtime whose threads run handlers; `None`, the default, is the one that the worker is started on. With one of their
    /// own, a handler that blocks its thread delays no heartbeat, timeout or request.
    pub handler_runtime: Option<Handle>,
    /// What spreads the worker's waits: its polls, its sweeps, and its tries while the store is away. `None`, the default,
    /// draws it; whoever wants to play the same waits again gives a number.
    pub seed: Option<u64>,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            name: format!("pid {}", std::process::id()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            concurrency: 256,
            kept: KeptPlaces::default(),
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

/// Takes runs from a store and drives them.
#[derive(Debug)]
pub struct Worker;

/// A worker that is at work. Dropping it is like a crash: what it held is taken up by lease.
#[must_use = "a worker ends when its handle is dropped"]
pub struct WorkerHandle {
    shared: Arc<Shared>,
    actors: JoinSet<()>,
}

/// What the parts of a worker share.
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) handlers: Handlers,
    pub(crate) actions: Arc<BTreeSet<String>>,
    pub(crate) options: WorkerOptions,
    /// Secrets that are masked in every run of this worker.
    pub(crate) mask: Mask,
    pub(crate) measures: Arc<WorkerMeasures>,
    /// The present life of the worker; a worker that was taken for dead begins another.
    id: RwLock<WorkerId>,
    pub(crate) places: Places,
    /// Wakes the dispatcher: a place that it waits for is free, or it has something else to look into.
    pub(crate) freed: Notify,
    /// The dispatcher might take a run once another ends: it has no place, or a queue is full.
    pub(crate) wants_place: AtomicBool,
    pub(crate) renewal: Renewal,
    pub(crate) chance: Chance,
    pub(crate) snapshot_memory: SnapshotMemory,
    pub(crate) held: Registry,
    /// A call that leases runs failed and may have taken place: the store may hold runs for us that nobody drives.
    pub(crate) in_doubt: AtomicBool,
    pub(crate) drivers: TaskTracker,
    /// No new runs, and no new steps.
    pub(crate) draining: CancellationToken,
    /// The grace period is over: steps under way are interrupted.
    pub(crate) interrupting: CancellationToken,
    /// Handlers are dropped without being given time to end.
    pub(crate) hurried: CancellationToken,
    /// Drivers with something to write that the store does not take at the moment.
    waiting_to_write: AtomicUsize,
    /// Why the store cannot be written at the moment.
    trouble: watch::Sender<Option<String>>,
}

impl Worker {
    /// Makes a worker known to the store and sets it to work: first on what an earlier one left behind.
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
            places: Places::new(options.concurrency, &options.kept, actions.clone()),
            actions,
            renewal: Renewal::new(store.now()),
            chance: Chance::new(options.seed),
            snapshot_memory: SnapshotMemory::new(options.snapshot_memory),
            store,
            handlers,
            mask: Mask::of(&options.secrets),
            options,
            measures: Arc::default(),
            id: RwLock::new(id),
            freed: Notify::new(),
            wants_place: AtomicBool::new(false),
            held: Registry::default(),
            in_doubt: AtomicBool::new(false),
            drivers: TaskTracker::new(),
            draining: CancellationToken::new(),
            interrupting: CancellationToken::new(),
            hurried: CancellationToken::new(),
            waiting_to_write: AtomicUsize::new(0),
            trouble: watch::Sender::new(None),
        });
        shared.register(id).await?;
        let mut actors = JoinSet::new();
        actors.spawn(dispatcher::run(shared.clone()));
        actors.spawn(pulse::run(shared.clone()));
        actors.spawn(upkeep::sweep(shared.clone()));
        actors.spawn(upkeep::tidy(shared.clone()));
        Ok(WorkerHandle { shared, actors })
    }
}

impl WorkerHandle {
    /// A client whose submissions start on this worker at once when it has room and the queue's limits allow.
    pub fn client(&self) -> Client {
        Client::local(self.shared.clone())
    }

    /// Why the store cannot be written at the moment, as long as it cannot. Nothing is lost meanwhile: results are kept
    /// and written when it can be.
    pub fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.shared.trouble.subscribe()
    }

    /// How many runs it holds.
    pub fn running(&self) -> usize {
        self.shared.held.len()
    }

    /// Stops: claims nothing more, lets steps under way go on for the grace period, interrupts the rest, and hands back
    /// every lease. An interrupted step spends no attempt.
    ///
    /// Has a bound, also while the store is away: the grace period, the time that handlers have to end, and [`STOP_LIMIT`].
    /// Gives how many runs it then held whose results could not be written: their steps run again elsewhere.
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
            Err(_) => shared.held.len(),
        };
        shared.hurried.cancel();
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

    /// What a [`Self::stop`] under way does at once: interrupts steps without waiting for them. For a second signal.
    pub fn hurry(&self) -> impl Fn() + Send + Sync + 'static {
        let shared = self.shared.clone();
        move || {
            shared.hurried.cancel();
            shared.interrupting.cancel();
        }
    }
}

impl Drop for WorkerHandle {
    fn drop(&mut self) {
        self.shared.held.lose_all();
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

    /// Starts a handler on the threads that are for handlers.
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

    /// An attempt ended.
    pub(crate) fn report(&self, report: &AttemptReport<'_>) {
        self.measures.attempt(report);
        if let Some(observer) = &self.options.observer {
            observer.attempt(report);
        }
    }

    /// A run ended, and that is written.
    pub(crate) fn run_ended(&self, run: &crate::Run) {
        if let Some(observer) = &self.options.observer {
            observer.run_ended(run);
        }
    }

    /// A call that leases runs failed. Whether it took place is for the dispatcher to find out.
    pub(crate) fn doubt(&self, error: &StoreError) {
        self.note_trouble(error);
        self.in_doubt.store(true, Ordering::SeqCst);
        self.freed.notify_one();
    }

    /// A place was given back: the dispatcher is told when it waits for one.
    pub(crate) fn note_place(&self) {
        if self.wants_place.load(Ordering::SeqCst) {
            self.freed.notify_one();
        }
    }

    /// Notes that a write failed; it will be tried again.
    pub(crate) fn note_trouble(&self, error: &StoreError) {
        self.set_trouble(Some(error.to_string()));
    }

    /// Notes that a write succeeded. On a disk that is nearly full a small one does, while a driver waits with a large one.
    pub(crate) fn note_written(&self) {
        if self.waiting_to_write.load(Ordering::SeqCst) == 0 {
            self.set_trouble(None);
        }
    }

    /// Counts a driver that waits to write, until what this gives is dropped.
    pub(crate) fn waits_to_write(&self) -> impl Drop + '_ {
        struct Waiting<'a>(&'a Shared);

        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                self.0.waiting_to_write.fetch_sub(1, Ordering::SeqCst);
            }
        }

        self.waiting_to_write.fetch_add(1, Ordering::SeqCst);
        Waiting(self)
    }

    /// Why the store cannot be written at the moment.
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
