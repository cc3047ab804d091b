//! A worker process, from its start to its death. It may freeze and continue.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use surefoot::state::Lease;
use surefoot::{RunId, Timestamp, WorkerId};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::history::lock;

/// The connections of a process that are silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    Heartbeats,
    All,
}

/// Time for which a connection stays silent when the engine keeps using it.
const KEPT: Duration = Duration::from_secs(15);

/// Connections that fell silent at some moment.
#[derive(Debug)]
struct Silent {
    which: Silence,
    since: Timestamp,
    /// Calls that were given up on their connection since, and have a new one.
    replaced: BTreeSet<String>,
}

#[derive(Debug)]
pub(crate) struct Life {
    /// `w1.2`: the second life of the first worker.
    pub(crate) name: String,
    /// Hints do not reach it.
    pub(crate) deaf: bool,
    frozen: Mutex<bool>,
    thawed: Notify,
    dead: CancellationToken,
    /// The leases that it knows of.
    leases: Mutex<BTreeMap<RunId, Lease>>,
    /// Ids that it registered: a worker that loses its lease registers again.
    ids: Mutex<Vec<WorkerId>>,
    silent: Mutex<Option<Silent>>,
    /// When something other than a silent connection last kept it from renewing its lease.
    hampered_at: Mutex<Option<Timestamp>>,
    /// It is stopping.
    leaves: Mutex<bool>,
}

impl Life {
    pub(crate) fn new(name: String, deaf: bool) -> Self {
        Self {
            name,
            deaf,
            frozen: Mutex::default(),
            thawed: Notify::default(),
            dead: CancellationToken::default(),
            leases: Mutex::default(),
            ids: Mutex::default(),
            silent: Mutex::default(),
            hampered_at: Mutex::default(),
            leaves: Mutex::default(),
        }
    }

    /// Its connections fall silent; new ones do not.
    pub(crate) fn fall_silent(&self, which: Silence, now: Timestamp) {
        *lock(&self.silent) = Some(Silent {
            which,
            since: now,
            replaced: BTreeSet::new(),
        });
    }

    /// Returns whether this call's connection is silent. The next one is not, unless connections
    /// are kept.
    pub(crate) fn is_silent(&self, what: &str, now: Timestamp, keeps: bool) -> bool {
        let mut silent = lock(&self.silent);
        let Some(silent) = silent.as_mut() else {
            return false;
        };
        if silent.which == Silence::Heartbeats && what != "heartbeat" {
            return false;
        }
        if keeps {
            return now.since(silent.since) < KEPT;
        }
        silent.replaced.insert(what.to_owned())
    }

    pub(crate) fn was_hampered(&self, now: Timestamp) {
        *lock(&self.hampered_at) = Some(now);
    }

    pub(crate) fn leaves(&self) {
        *lock(&self.leaves) = true;
    }

    /// Returns whether nothing but silent connections kept it from renewing its lease during the
    /// last `time`.
    pub(crate) fn could_renew(&self, time: Duration, now: Timestamp) -> bool {
        let is_hampered = lock(&self.hampered_at).is_some_and(|at| now.since(at) <= time);
        !(self.is_dead() || *lock(&self.frozen) || *lock(&self.leaves) || is_hampered)
    }

    /// Returns as long as the process runs: later when it is frozen, never when it is dead.
    pub(crate) async fn awake(&self) {
        while *lock(&self.frozen) {
            self.thawed.notified().await;
        }
        if self.is_dead() {
            std::future::pending::<()>().await;
        }
    }

    pub(crate) fn freeze(&self) {
        *lock(&self.frozen) = true;
    }

    pub(crate) fn thaw(&self) {
        *lock(&self.frozen) = false;
        self.thawed.notify_waiters();
    }

    pub(crate) fn die(&self) {
        self.dead.cancel();
        self.thaw();
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.is_cancelled()
    }

    pub(crate) async fn until_dead(&self) {
        self.dead.cancelled().await;
    }

    /// Time goes by in the process.
    pub(crate) async fn sleep(&self, time: Duration) {
        if !time.is_zero() {
            tokio::time::sleep(time).await;
        }
        self.awake().await;
    }

    pub(crate) fn was_given(&self, lease: Lease) {
        lock(&self.leases).insert(lease.run, lease);
    }

    pub(crate) fn is_now(&self, worker: WorkerId) {
        lock(&self.ids).push(worker);
    }

    /// It reads of a lease, which may be its own. An older answer is worth less than a newer one.
    pub(crate) fn read_of(&self, lease: Lease) {
        let mut leases = lock(&self.leases);
        if lock(&self.ids).contains(&lease.worker)
            && leases
                .get(&lease.run)
                .is_none_or(|known| known.epoch < lease.epoch)
        {
            leases.insert(lease.run, lease);
        }
    }

    pub(crate) fn lease(&self, run: RunId) -> Option<Lease> {
        lock(&self.leases).get(&run).copied()
    }
}
