//! The way from a worker or a person to the store: each call has its fate, and a frozen or dead
//! process makes none.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

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

use crate::broken::Broken;
use crate::history::lock;
use crate::life::Life;
use crate::rng::Rng;
use crate::rows::Cause;
use crate::weather::Fate;
use crate::world::World;

/// The time limit of a store for one operation.
const STATEMENT_LIMIT: Duration = Duration::from_secs(10);

/// A store as one process sees it.
pub(crate) struct Link {
    world: Arc<World>,
    who: String,
    life: Option<Arc<Life>>,
    rng: Mutex<Rng>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({})", self.who)
    }
}

impl Link {
    pub(crate) fn of_worker(world: &Arc<World>, life: &Arc<Life>, rng: Rng) -> Arc<dyn Store> {
        let world = world.clone();
        let life = life.clone();
        let who = life.name.clone();
        Arc::new(Self {
            world,
            who,
            life: Some(life),
            rng: Mutex::new(rng),
        })
    }

    pub(crate) fn of_person(world: &Arc<World>, who: &str, rng: Rng) -> Arc<dyn Store> {
        let who = who.to_owned();
        let rng = Mutex::new(rng);
        Arc::new(Self {
            world: world.clone(),
            who,
            life: None,
            rng,
        })
    }

    async fn awake(&self) {
        if let Some(life) = &self.life {
            life.awake().await;
        }
    }

    /// A worker waits for an unusable store, which a person must repair, as for one that is away.
    fn away(&self) -> StoreError {
        if self.life.is_some() && self.world.weather.unusable {
            return StoreError::Unusable("the store is not as it has to be".to_owned());
        }
        StoreError::Unavailable("the store is away".to_owned())
    }

    fn say(&self, what: &str, fault: &str) {
        self.world
            .history
            .say(&self.who, || format!("{what}: {fault}"));
    }

    /// Makes a call. If its answer is lost, `lost` is called with whether it took place.
    async fn call<T>(
        &self,
        what: &str,
        call: impl Future<Output = Result<T, StoreError>>,
        lost: impl FnOnce(Fate, bool),
    ) -> Result<T, StoreError> {
        self.awake().await;
        let fate = self
            .world
            .weather
            .fate(what, &mut lock(&self.rng), self.world.steady());
        if self.is_silent(what) {
            return self.on_silent_connection(what, fate, call, lost).await;
        }
        self.note_trouble(what, fate.is_trouble());
        pass(fate.there).await;
        if fate.dies_with_caller && self.life.as_ref().is_some_and(|life| life.is_dead()) {
            std::future::pending::<()>().await;
        }
        if fate.refused || self.world.weather.is_away(self.world.steady()) {
            self.say(what, "refused");
            self.note_trouble(what, true);
            lost(fate, false);
            self.awake().await;
            return Err(self.away());
        }
        let result = call.await;
        pass(fate.back).await;
        self.awake().await;
        if fate.lost || self.world.weather.is_away(self.world.steady()) {
            self.say(what, "its answer is lost");
            self.note_trouble(what, true);
            lost(fate, result.is_ok());
            return Err(self.away());
        }
        if fate.back.as_millis() > 1_000 {
            self.say(what, "its answer comes late");
        }
        result
    }

    /// Returns whether the connection that this call uses is silent. Each kind of call has its own.
    fn is_silent(&self, what: &str) -> bool {
        let keeps = self.world.broken == Broken::KeepsSilentConnections;
        self.life
            .as_ref()
            .is_some_and(|life| life.is_silent(what, self.world.steady(), keeps))
    }

    /// A call that may reach the store, and whose answer never comes: the store's own time limit
    /// ends it, unless its caller gives up before.
    async fn on_silent_connection<T>(
        &self,
        what: &str,
        fate: Fate,
        call: impl Future<Output = Result<T, StoreError>>,
        lost: impl FnOnce(Fate, bool),
    ) -> Result<T, StoreError> {
        self.say(what, "its connection is silent");
        let arrives = lock(&self.rng).chance(50);
        let took_place = arrives && call.await.is_ok();
        lost(fate, took_place);
        self.world.until_calm_or(STATEMENT_LIMIT).await;
        self.awake().await;
        Err(self.away())
    }

    /// Notes what keeps a worker from renewing its lease, for which it is not to blame.
    fn note_trouble(&self, what: &str, is_trouble: bool) {
        if let Some(life) = &self.life
            && is_trouble
            && matches!(what, "heartbeat" | "register")
        {
            life.was_hampered(self.world.steady());
        }
    }

    async fn plain<T>(
        &self,
        what: &str,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.call(what, call, |_, _| ()).await
    }

    /// The lease as its holder knows it: given, kept or over.
    fn was_given(&self, lease: Option<Lease>) {
        if let Some((life, lease)) = self.life.as_ref().zip(lease) {
            life.was_given(lease);
        }
    }

    fn heard_the_end_of(&self, lease: Lease) {
        lock(&self.world.seen).heard(lease.run, lease.epoch, self.world.steady());
    }

    /// Decides if an abandoned call still arrives much later: in half of the cases that it could
    /// break.
    fn arrives_late(&self, took_place: bool) -> Option<Duration> {
        let mut rng = lock(&self.rng);
        let late = rng.chance(if self.world.broken == Broken::WritesLate {
            100
        } else {
            30
        });
        let after = rng.millis(1, 3_000);
        (late && !took_place).then_some(after)
    }
}

async fn pass(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

#[async_trait]
impl Store for Link {
    fn now(&self) -> Timestamp {
        self.world.now()
    }

    fn hints(&self) -> Hints {
        self.world
            .hub
            .listen(self.life.as_ref().is_some_and(|life| life.deaf))
    }

    async fn register_worker(&self, worker: NewWorker) -> Result<(), StoreError> {
        if let Some(life) = &self.life {
            life.is_now(worker.id);
            lock(&self.world.lives).insert(worker.id, life.clone());
        }
        self.plain("register", self.world.register(worker)).await
    }

    async fn heartbeat(&self, worker: WorkerId) -> Result<Heartbeat, StoreError> {
        let beat = self.plain("heartbeat", self.world.heartbeat(worker)).await;
        if matches!(beat, Err(StoreError::LeaseLost)) {
            self.say("heartbeat", "hears that it is taken for dead");
            lock(&self.world.seen).heard_of_death(worker, self.world.steady());
            if self.world.broken == Broken::IgnoresLostLeases {
                return Ok(Heartbeat::default());
            }
        }
        beat
    }

    async fn deregister_worker(&self, worker: WorkerId) -> Result<(), StoreError> {
        self.plain("deregister", self.world.deregister(worker))
            .await
    }

    async fn reclaim_worker(&self, worker: WorkerId) -> Result<(), StoreError> {
        self.plain("reclaim a worker", self.world.reclaim_worker(worker))
            .await
    }

    async fn heartbeats(&self) -> Result<Heartbeats, StoreError> {
        self.plain("heartbeats", self.world.heartbeats()).await
    }

    async fn reclaim(&self, silent: Vec<LastHeartbeat>) -> Result<Vec<Run>, StoreError> {
        self.plain("reclaim", self.world.reclaim(silent)).await
    }

    async fn workers(&self) -> Result<Vec<WorkerInfo>, StoreError> {
        self.plain("workers", self.world.store.workers()).await
    }

    async fn submit(&self, submission: Submission) -> Result<Submitted, StoreError> {
        let leased = submission.started.as_ref().and_then(|(run, _)| run.lease());
        let given_up = submission.clone();
        let lost = |_, took_place| {
            if let Some(after) = self.arrives_late(took_place) {
                self.world.submit_late(given_up, after);
            }
        };
        let submitted = self
            .call("submit", self.world.submit(submission), lost)
            .await;
        if matches!(submitted, Ok(Submitted::Started)) {
            self.was_given(leased);
        }
        submitted
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Claimed, StoreError> {
        let given_up = request.clone();
        let lost = |_, took_place| {
            if let Some(after) = self.arrives_late(took_place) {
                self.world.claim_late(given_up, after);
            }
        };
        let claimed = self.call("claim", self.world.claim(request), lost).await;
        for run in claimed.iter().flat_map(|claimed| &claimed.runs) {
            self.was_given(run.lease());
        }
        claimed
    }

    async fn commit(&self, lease: Lease, transition: Transition) -> Result<Committed, StoreError> {
        let keeps = transition.head.worker.is_some();
        let given_up = transition.clone();
        let lost = |_, took_place| {
            if let Some(after) = self.arrives_late(took_place) {
                self.world.write_late(lease, given_up, after);
            }
        };
        let committed = self
            .call("commit", self.world.commit(lease, transition), lost)
            .await;
        match &committed {
            Ok(_) if keeps => self.was_given(Some(lease)),
            Ok(_) | Err(StoreError::LeaseLost) => self.heard_the_end_of(lease),
            Err(_) => {}
        }
        committed
    }

    async fn cancel(&self, run: RunId, mode: CancelMode, by: &str) -> Result<Run, StoreError> {
        let call = async {
            let done = self.world.store.cancel(run, mode, by).await;
            self.world.person(run, Cause::Person, done).await
        };
        self.plain("cancel", call).await
    }

    async fn retry(&self, run: RunId, from: Option<&str>, by: &str) -> Result<Run, StoreError> {
        let call = async {
            let done = self.world.store.retry(run, from, by).await;
            self.world.person(run, Cause::Retry, done).await
        };
        self.plain("retry", call).await
    }

    async fn answer(
        &self,
        run: RunId,
        step: &str,
        answer: Answer,
        by: &str,
        note: Option<&str>,
    ) -> Result<Run, StoreError> {
        let call = async {
            let done = self.world.store.answer(run, step, answer, by, note).await;
            self.world.person(run, Cause::Person, done).await
        };
        self.plain("answer", call).await
    }

    async fn set_queue(
        &self,
        name: &str,
        limits: QueueLimits,
        only_if_new: bool,
    ) -> Result<(), StoreError> {
        self.plain("set queue", self.world.set_queue(name, limits, only_if_new))
            .await
    }

    async fn pause_queue(&self, name: &str, paused: bool) -> Result<(), StoreError> {
        self.plain("pause queue", self.world.pause_queue(name, paused))
            .await
    }

    async fn queues(&self) -> Result<Vec<QueueInfo>, StoreError> {
        self.plain("queues", self.world.store.queues()).await
    }

    async fn run(&self, id: RunId) -> Result<Option<Run>, StoreError> {
        self.plain("run", self.world.store.run(id)).await
    }

    async fn runs(&self, filter: RunFilter) -> Result<Vec<Run>, StoreError> {
        let runs = self.plain("runs", self.world.store.runs(filter)).await;
        if let Some(life) = &self.life {
            let running = runs
                .iter()
                .flatten()
                .filter(|run| run.head.status == RunStatus::Running);
            for lease in running.filter_map(Run::lease) {
                life.read_of(lease);
            }
        }
        runs
    }

    async fn events(&self, run: RunId, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        self.plain("events", self.world.store.events(run, after, limit))
            .await
    }

    async fn records(&self, filter: RecordFilter) -> Result<Vec<Record>, StoreError> {
        self.plain("records", self.world.store.records(filter))
            .await
    }

    async fn tallies(&self, span: Span, since: Timestamp) -> Result<Vec<Tally>, StoreError> {
        self.plain("tallies", self.world.store.tallies(span, since))
            .await
    }

    async fn count_runs(&self, status: RunStatus, limit: u64) -> Result<u64, StoreError> {
        self.plain("count", self.world.store.count_runs(status, limit))
            .await
    }

    async fn put_blobs(
        &self,
        lease: Lease,
        blobs: Arc<Vec<(Digest, Vec<u8>)>>,
    ) -> Result<(), StoreError> {
        self.plain("put_blobs", self.world.store.put_blobs(lease, blobs))
            .await
    }

    async fn blob_part(&self, digest: Digest, offset: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.plain("blob_part", self.world.store.blob_part(digest, offset))
            .await
    }

    async fn put_document(
        &self,
        document: NewDocument,
        expect: Expect,
    ) -> Result<Option<u64>, StoreError> {
        self.plain(
            "put document",
            self.world.store.put_document(document, expect),
        )
        .await
    }

    async fn document(&self, kind: &str, id: &str) -> Result<Option<Document>, StoreError> {
        self.plain("document", self.world.store.document(kind, id))
            .await
    }

    async fn documents(&self, filter: DocumentFilter) -> Result<Vec<Document>, StoreError> {
        self.plain("documents", self.world.store.documents(filter))
            .await
    }

    async fn delete_document(&self, kind: &str, id: &str) -> Result<bool, StoreError> {
        self.plain(
            "delete document",
            self.world.store.delete_document(kind, id),
        )
        .await
    }

    async fn prune(&self, limit: usize) -> Result<usize, StoreError> {
        self.plain("prune", self.world.store.prune(limit)).await
    }
}
