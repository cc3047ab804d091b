//! A day of history in a store: runs of every outcome, written by the engine's rules on a manual
//! clock.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use surefoot::state::Edit;
use surefoot::store::{NewWorker, Submission};
use surefoot::{
    AllowList, Clock, ManualClock, Run, RunId, Store, SystemClock, Timestamp, WorkerId, Workflow,
};
use surefoot_sqlite::SqliteStore;

const HOUR: i64 = 3600;
/// Start of the history in seconds before now, and duration of its busy period.
const BEGINS: i64 = 23 * HOUR;
const OFTEN: i64 = HOUR;

const WORDS: [&str; 12] = [
    "billing",
    "search",
    "ledger",
    "gateway",
    "inventory",
    "payments",
    "identity",
    "catalog",
    "pricing",
    "orders",
    "reports",
    "mailer",
];
const KINDS: [&str; 4] = ["api", "worker", "web", "jobs"];
const ERRORS: [&str; 3] = [
    "git push: remote hung up unexpectedly",
    "POST https://forge.internal/api/v1/orgs/platform/repos: 502 Bad Gateway",
    "template rust-service has no file Cargo.toml.j2",
];

struct Past {
    store: SqliteStore,
    clock: Arc<ManualClock>,
    worker: WorkerId,
    random: u64,
    made: u32,
}

/// Writes the history into the store at `file`, which no server may have open.
pub(crate) async fn play(file: &Path, plans: &[Arc<Workflow>]) {
    let end = SystemClock.now();
    let clock = Arc::new(ManualClock::new(before(end, BEGINS)));
    let store = SqliteStore::options()
        .clock(clock.clone())
        .open(file)
        .unwrap();
    let worker = WorkerId::new();
    let lease = Duration::from_secs(2 * 86_400);
    let worker_row = NewWorker {
        id: worker,
        name: "gone".into(),
        lease,
        version: "1".into(),
        actions: Arc::default(),
        workflows: AllowList::default(),
        resources: Arc::default(),
    };
    store.register_worker(worker_row).await.unwrap();
    let mut past = Past {
        store,
        clock,
        worker,
        random: 88_172_645_463_325_252,
        made: 100,
    };
    while past.clock.now() < before(end, 20) {
        let often = past.clock.now() > before(end, OFTEN);
        let pause = if often {
            past.below(70) + 12
        } else {
            past.below(1500) + 500
        };
        past.clock.advance(Duration::from_secs(pause));
        let plan = plans[usize::from(past.below(10) >= 7)].clone();
        past.run(plan).await;
    }
    past.store.deregister_worker(worker).await.unwrap();
}

fn before(at: Timestamp, seconds: i64) -> Timestamp {
    Timestamp::from_micros(at.as_micros() - seconds * 1_000_000)
}

impl Past {
    fn below(&mut self, most: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % most
    }

    fn name(&mut self) -> String {
        let word = self.below(WORDS.len() as u64) as usize;
        let kind = self.below(KINDS.len() as u64) as usize;
        self.made += 1;
        format!("{}-{}-{}", WORDS[word], KINDS[kind], self.made)
    }

    async fn run(&mut self, plan: Arc<Workflow>) {
        let now = self.clock.now();
        let name = self.name();
        let mut run = Run::new(RunId::at(now), plan, json!({ "name": name }), now, now);
        run.unique = Some(name);
        let first = |claim: Option<WorkerId>| {
            let mut edit = Edit::new(run.clone(), now);
            edit.submitted();
            if let Some(worker) = claim {
                edit.claim(worker).unwrap();
            }
            edit.finish()
        };
        let submission = Submission {
            queued: first(None),
            started: Some(first(Some(self.worker))),
        };
        self.store.submit(submission).await.unwrap();
        let mut run = self.store.run(run.id).await.unwrap().unwrap();
        let outcome = self.below(100);
        let fails_at = (outcome < 6).then(|| self.below(run.steps.len() as u64) as usize);
        for position in 0..run.steps.len() {
            run = self
                .write(run, |edit| edit.start_step(position).unwrap())
                .await;
            let took = 150 + self.below(2200);
            self.clock.advance(Duration::from_millis(took));
            if fails_at == Some(position) {
                let error = ERRORS[self.below(ERRORS.len() as u64) as usize];
                self.write(run, |edit| edit.fail_step(position, error).unwrap())
                    .await;
                return;
            }
            if outcome == 99 && position == 1 {
                self.write(run, |edit| edit.cancelled("cancelled by ann"))
                    .await;
                return;
            }
            run = self
                .write(run, |edit| {
                    edit.complete_step(position, Value::Null, Vec::new(), None)
                        .unwrap();
                    if edit.run().next_step().is_none() {
                        edit.complete_run().unwrap();
                    }
                })
                .await;
        }
    }

    async fn write(&self, run: Run, rule: impl FnOnce(&mut Edit)) -> Run {
        let lease = run.lease().unwrap();
        let mut edit = Edit::new(run, self.clock.now());
        rule(&mut edit);
        let (run, transition) = edit.finish_as_holder();
        self.store.commit(lease, transition).await.unwrap();
        run
    }
}
