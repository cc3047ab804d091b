//! Environment of a case: a fresh store, a clock that the case moves, and short methods for the
//! operations of workers and people.

use std::any::Any;
use std::collections::BTreeSet;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use surefoot::state::{CancelMode, Edit, RuleError};
use surefoot::store::{
    ClaimRequest, Claimed, Committed, NewWorker, RecordFilter, RunFilter, Submission, Submitted,
};
use surefoot::store::{Heartbeat, WorkerInfo};
use surefoot::{
    AllowList, Event, ManualClock, QueueInfo, QueueLimits, Record, Run, RunId, Store, StoreError,
    Timestamp, WorkerId, Workflow,
};

/// A fresh store and its clock.
pub struct Scene {
    /// The store under test.
    pub store: Arc<dyn Store>,
    /// Its clock.
    pub clock: Arc<ManualClock>,
    /// `true` if several workers can be alive on it at once.
    pub many_workers: bool,
    damage: Option<Damage>,
    builds: Option<Builds>,
    _guard: Box<dyn Any + Send + Sync>,
}

/// Executes a statement on the store's database behind the store's back. In the statement,
/// `{schema}` stands for the prefix of table names, `{id}` for the id of the run, `{digest}` for a
/// digest that no plan has, `{kept}` for the columns of a plan besides its `digest`, `format` and
/// `json`, and `{zeros}` for 2,500,000 bytes.
type Damage = Box<dyn Fn(&str, RunId) + Send + Sync>;

/// Opens the store of a scene as a build that reads plans up to a format has it.
type Builds = Box<dyn Fn(u32) -> OpenedStore + Send + Sync>;

type OpenedStore = Pin<Box<dyn Future<Output = Arc<dyn Store>> + Send>>;

/// Everything that a store shows.
#[derive(Debug, PartialEq)]
pub(crate) struct Picture {
    pub(crate) runs: Vec<Run>,
    pub(crate) events: Vec<Vec<Event>>,
    pub(crate) records: Vec<Record>,
    pub(crate) queues: Vec<QueueInfo>,
    pub(crate) workers: Vec<WorkerInfo>,
}

/// Lease of a scene's workers.
pub(crate) const LEASE: Duration = Duration::from_secs(10);

/// The action that a scene's workers have.
pub(crate) const WORK: &str = "test.work";

pub(crate) const SECOND: Duration = Duration::from_secs(1);

impl Scene {
    /// A scene on a store on which several workers can be alive. `guard` is dropped with it, for
    /// example the directory of the store's file.
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<ManualClock>,
        guard: impl Any + Send + Sync,
    ) -> Self {
        Self {
            store,
            clock,
            many_workers: true,
            damage: None,
            builds: None,
            _guard: Box::new(guard),
        }
    }

    /// Declares that only one worker can be alive on the store.
    #[must_use]
    pub fn one_worker(self) -> Self {
        Self {
            many_workers: false,
            ..self
        }
    }

    /// Lets the cases damage rows of the store with SQL statements.
    #[must_use]
    pub fn with_damage(self, damage: impl Fn(&str, RunId) + Send + Sync + 'static) -> Self {
        Self {
            damage: Some(Box::new(damage)),
            ..self
        }
    }

    /// The same on a store that the cases can open a second time, as a build that reads plans up to
    /// another format has it.
    #[must_use]
    pub fn with_builds<F>(self, open: impl Fn(u32) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Arc<dyn Store>> + Send + 'static,
    {
        Self {
            builds: Some(Box::new(move |format| Box::pin(open(format)))),
            ..self
        }
    }

    /// The same store, as a build that reads plans up to `format` has it.
    pub(crate) async fn build(&self, format: u32) -> Self {
        let open = self.builds.as_ref().expect("the store can be opened again");
        Self {
            store: open(format).await,
            clock: self.clock.clone(),
            many_workers: self.many_workers,
            damage: None,
            builds: None,
            _guard: Box::new(()),
        }
    }

    /// Returns whether the store has rows that can be damaged. The model has none.
    pub(crate) fn can_damage(&self) -> bool {
        self.damage.is_some()
    }

    /// Damages rows of a run.
    pub(crate) fn damage(&self, statement: &str, run: RunId) {
        self.damage
            .as_ref()
            .expect("the store's rows can be damaged")(statement, run);
    }

    /// A clock for a scene, at a time that is not a round number.
    pub fn clock() -> Arc<ManualClock> {
        Arc::new(ManualClock::new(Timestamp::from_micros(
            1_777_888_999_123_457,
        )))
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.store.now()
    }

    pub(crate) async fn reclaim(&self) -> Result<Vec<Run>, StoreError> {
        reclaim_expired(self.store.as_ref()).await
    }

    pub(crate) async fn worker(&self, name: &str) -> WorkerId {
        let id = WorkerId::new();
        let actions = Arc::new(BTreeSet::from([WORK.to_owned()]));
        let name = name.to_owned();
        let version = "1.2.3".to_owned();
        self.store
            .register_worker(NewWorker {
                id,
                name,
                lease: LEASE,
                version,
                actions,
                workflows: AllowList::default(),
                resources: Arc::default(),
            })
            .await
            .unwrap();
        id
    }

    /// A run of `plan` that is not submitted yet.
    pub(crate) fn draft(&self, plan: &Arc<Workflow>) -> Run {
        Run::new(
            RunId::at(self.now()),
            plan.clone(),
            json!({}),
            self.now(),
            self.now(),
        )
    }

    pub(crate) async fn submit(&self, run: &Run) -> Submitted {
        self.store
            .submit(Submission {
                queued: first(run, self.now()),
                started: None,
            })
            .await
            .unwrap()
    }

    /// Submits a new run, which must be queued.
    pub(crate) async fn queue(&self, plan: &Arc<Workflow>) -> Run {
        let run = self.draft(plan);
        assert_eq!(self.submit(&run).await, Submitted::Queued);
        run
    }

    /// Submits a run that `worker` starts at once if the store allows it.
    pub(crate) async fn submit_on(&self, worker: WorkerId, run: &Run) -> Submitted {
        let submission = Submission {
            queued: first(run, self.now()),
            started: Some(taken(run, worker, self.now())),
        };
        self.store.submit(submission).await.unwrap()
    }

    /// Submits a new run, which must start at once.
    pub(crate) async fn start(&self, worker: WorkerId, plan: &Arc<Workflow>) -> Run {
        let run = self.draft(plan);
        assert_eq!(self.submit_on(worker, &run).await, Submitted::Started);
        self.get(run.id).await
    }

    pub(crate) async fn claim(&self, worker: WorkerId, limit: usize) -> Claimed {
        self.claim_with(worker, &[], limit).await
    }

    /// Claims for a worker that offers resources.
    pub(crate) async fn claim_with(
        &self,
        worker: WorkerId,
        resources: &[&str],
        limit: usize,
    ) -> Claimed {
        let actions = Arc::new(BTreeSet::from([WORK.to_owned()]));
        let resources = Arc::new(names(resources));
        self.store
            .claim(ClaimRequest {
                worker,
                limit,
                actions,
                workflows: AllowList::default(),
                resources,
            })
            .await
            .unwrap()
    }

    pub(crate) async fn claim_ids(&self, worker: WorkerId, limit: usize) -> Vec<RunId> {
        self.claim(worker, limit)
            .await
            .runs
            .iter()
            .map(|run| run.id)
            .collect()
    }

    /// Claims the only claimable run.
    pub(crate) async fn claim_one(&self, worker: WorkerId) -> Run {
        let mut runs = self.claim(worker, 10).await.runs;
        assert_eq!(runs.len(), 1, "one run to claim, in {runs:#?}");
        runs.remove(0)
    }

    /// Commits for the holder of `run`, based on the run as that holder knows it.
    pub(crate) async fn try_commit(
        &self,
        run: &Run,
        rule: impl FnOnce(&mut Edit) -> Result<(), RuleError>,
    ) -> Result<(Run, Committed), StoreError> {
        let lease = run.lease().expect("the run is held");
        let mut edit = Edit::new(run.clone(), self.now());
        rule(&mut edit).expect("the rules allow what the case does");
        let (run, transition) = edit.finish_as_holder();
        self.store
            .commit(lease, transition)
            .await
            .map(|committed| (run, committed))
    }

    /// Commits, which must succeed; returns the run as its holder then knows it.
    pub(crate) async fn commit(
        &self,
        run: &Run,
        rule: impl FnOnce(&mut Edit) -> Result<(), RuleError>,
    ) -> Run {
        self.try_commit(run, rule).await.unwrap().0
    }

    /// Commits, which must be refused.
    pub(crate) async fn refused(
        &self,
        run: &Run,
        rule: impl FnOnce(&mut Edit) -> Result<(), RuleError>,
    ) -> StoreError {
        let before = self.picture().await;
        let error = self
            .try_commit(run, rule)
            .await
            .expect_err("the commit is refused");
        assert_eq!(
            self.picture().await,
            before,
            "a refused commit changes nothing"
        );
        error
    }

    /// Runs every step of a held run to its end.
    pub(crate) async fn complete(&self, run: &Run) -> Run {
        self.commit(run, complete).await
    }

    /// Fails a held run at its next step.
    pub(crate) async fn fail(&self, run: &Run) -> Run {
        self.commit(run, fail).await
    }

    pub(crate) async fn cancel(&self, run: &Run, mode: CancelMode) -> Run {
        self.store.cancel(run.id, mode, "ann").await.unwrap()
    }

    pub(crate) async fn heartbeat(&self, worker: WorkerId) -> Heartbeat {
        self.store.heartbeat(worker).await.unwrap()
    }

    pub(crate) async fn limits(&self, queue: &str, limits: QueueLimits) {
        self.store.set_queue(queue, limits, false).await.unwrap();
    }

    pub(crate) async fn get(&self, id: RunId) -> Run {
        self.store.run(id).await.unwrap().expect("the run is there")
    }

    pub(crate) async fn events(&self, id: RunId) -> Vec<Event> {
        self.store.events(id, 0, 10_000).await.unwrap()
    }

    /// The kinds of a run's events, in order.
    pub(crate) async fn story(&self, id: RunId) -> Vec<String> {
        self.events(id)
            .await
            .into_iter()
            .map(|event| event.kind)
            .collect()
    }

    pub(crate) async fn picture(&self) -> Picture {
        let runs = self
            .store
            .runs(RunFilter {
                limit: 10_000,
                ..RunFilter::default()
            })
            .await
            .unwrap();
        let mut events = Vec::new();
        for run in &runs {
            events.push(self.events(run.id).await);
        }
        let records = self.store.records(RecordFilter::default()).await.unwrap();
        let queues = self.store.queues().await.unwrap();
        let workers = self.store.workers().await.unwrap();
        Picture {
            runs,
            events,
            records,
            queues,
            workers,
        }
    }
}

impl fmt::Debug for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scene({:?})", self.store)
    }
}

/// A set of names.
pub(crate) fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// A workflow in the queue `name`, whose steps all have the action [`WORK`].
pub(crate) fn plan(name: &str, steps: &[&str]) -> Arc<Workflow> {
    let workflow = steps
        .iter()
        .fold(Workflow::builder(name), |workflow, step| {
            workflow.step(*step, WORK)
        });
    Arc::new(workflow.build().expect("the plan of a case is well formed"))
}

/// The run as it is queued, with its first event.
pub(crate) fn first(run: &Run, now: Timestamp) -> (Run, surefoot::state::Transition) {
    let mut edit = Edit::new(run.clone(), now);
    edit.submitted();
    edit.finish()
}

/// The run as it is when `worker` starts it at once.
pub(crate) fn taken(
    run: &Run,
    worker: WorkerId,
    now: Timestamp,
) -> (Run, surefoot::state::Transition) {
    let mut edit = Edit::new(run.clone(), now);
    edit.submitted();
    edit.claim(worker).expect("a new run can be claimed");
    edit.finish()
}

/// Starts the next step, if none is running, and returns its position.
pub(crate) fn begin(edit: &mut Edit) -> Result<usize, RuleError> {
    let position = edit.run().next_step().expect("a step is left");
    if edit.run().steps[position].status != surefoot::StepStatus::Running {
        edit.start_step(position)?;
    }
    Ok(position)
}

pub(crate) fn complete(edit: &mut Edit) -> Result<(), RuleError> {
    while edit.run().next_step().is_some() {
        let position = begin(edit)?;
        edit.complete_step(position, Value::Null, Vec::new(), None)?;
    }
    edit.complete_run()
}

pub(crate) fn fail(edit: &mut Edit) -> Result<(), RuleError> {
    let position = begin(edit)?;
    edit.fail_step(position, "it broke")
}

/// The rule that starts the next step.
pub(crate) fn step(edit: &mut Edit) -> Result<(), RuleError> {
    begin(edit).map(drop)
}

/// Asserts that a write was refused because its lease has ended.
#[track_caller]
pub(crate) fn lost<T: fmt::Debug>(result: Result<T, StoreError>) {
    assert!(
        matches!(result, Err(StoreError::LeaseLost)),
        "expected a lost lease, got {result:?}"
    );
}

/// Asserts that the rules forbid something, with an error that contains `part`.
#[track_caller]
pub(crate) fn forbidden<T: fmt::Debug>(result: Result<T, StoreError>, part: &str) {
    match result {
        Err(StoreError::Rule(error)) if error.to_string().contains(part) => {}
        other => panic!("expected a rule that says `{part}`, got {other:?}"),
    }
}

/// Reclaims from the workers whose lease has expired by the store's clock, as an observer of every
/// heartbeat would.
///
/// # Errors
/// As [`Store::reclaim`].
pub async fn reclaim_expired(store: &dyn Store) -> Result<Vec<Run>, StoreError> {
    let alive = store.workers().await?;
    let mut silent = store.heartbeats().await?.workers;
    silent.retain(|last| alive.iter().all(|worker| worker.id != last.worker));
    store.reclaim(silent).await
}
