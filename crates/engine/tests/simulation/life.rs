//! One life of a worker's process: it may freeze and go on, and it dies once.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use surefoot::state::Lease;
use surefoot::{RunId, WorkerId};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::history::lock;

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
    /// As whom it registered: a worker that is taken for dead begins anew.
    ids: Mutex<Vec<WorkerId>>,
}

impl Life {
    pub(crate) fn new(name: String, deaf: bool) -> Self {
        let (frozen, thawed, dead, leases, ids) = Default::default();
        Self {
            name,
            deaf,
            frozen,
            thawed,
            dead,
            leases,
            ids,
        }
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
