//! Both stores, the entities known in them, and the execution of an operation on both.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use surefoot::state::{Edit, Interruption, RuleError, Transition, Undo};
use surefoot::store::{ClaimRequest, Claimed, NewWorker, Submission, Submitted};
use surefoot::workflow::OnInterrupt;
use surefoot::{
    AllowList, Digest, QueueLimits, Rate, RecordChange, Retention, RetentionLimit, Run, RunId,
    Snapshot, Store, StoreError, WorkerId, Workflow,
};

use super::op::{Act, Draft, Op};
use crate::scene::{LEASE, WORK, begin, first, names};
use crate::{MemoryStore, Scene, reclaim_expired};

const OTHER_WORK: &str = "test.other";
const FORGE: &str = "forge:1";
const QUEUES: [&str; 2] = ["plain", "rated"];
const STEPS: [&str; 3] = ["one", "two", "three"];

/// Difference between the two.
type Why = String;

pub(super) struct World {
    scene: Scene,
    model: Scene,
    plans: Vec<Arc<Workflow>>,
    runs: Vec<RunId>,
    workers: Vec<WorkerId>,
    /// Held runs as their holders know them; a holder does not know that it has lost one.
    held: Vec<Run>,
}

impl World {
    pub(super) async fn new(scene: Scene) -> Self {
        let model = MemoryStore::new(scene.clock.clone());
        let model = Arc::new(if scene.many_workers {
            model
        } else {
            model.one_worker()
        });
        let model = Scene::new(model, scene.clock.clone(), ());
        let runs = Vec::new();
        let workers = Vec::new();
        let held = Vec::new();
        let mut world = Self {
            scene,
            model,
            plans: plans(),
            runs,
            workers,
            held,
        };
        for op in [
            Op::Limit {
                queue: 1,
                concurrency: None,
                per_key: None,
                only_if_new: false,
            },
            Op::Register,
        ] {
            world
                .play(&op)
                .await
                .expect("two empty stores are the same");
        }
        world
    }

    pub(super) async fn play(&mut self, op: &Op) -> Result<(), Why> {
        match op {
            Op::Advance(by) => self.scene.clock.advance(*by),
            Op::Submit(draft) => self.submit(draft).await?,
            Op::Claim {
                worker,
                limit,
                knows_all,
                has_forge,
            } => {
                self.claim(*worker, *limit, *knows_all, *has_forge).await?;
            }
            Op::Work { lease, act } => self.work(*lease, act).await?,
            Op::Register => self.register().await?,
            Op::Heartbeat { worker } => {
                let worker = self.worker(*worker);
                self.same(async |store| store.heartbeat(worker).await)
                    .await?;
            }
            Op::Deregister { worker } => {
                let worker = self.worker(*worker);
                self.same(async |store| store.deregister_worker(worker).await)
                    .await?;
            }
            Op::Reclaim => {
                self.same(async |store| reclaim_expired(store).await)
                    .await?;
            }
            Op::Cancel { .. } | Op::Retry { .. } | Op::Answer { .. } => self.person(op).await?,
            Op::Pause { .. } | Op::Limit { .. } | Op::Retain { .. } | Op::Prune => {
                self.maintain(op).await?
            }
        }
        Ok(())
    }

    /// Compares everything that the two stores show.
    pub(super) async fn compare(&self) -> Result<(), Why> {
        let shown = self.scene.picture().await;
        let expected = self.model.picture().await;
        if shown != expected {
            return Err(differ(&shown, &expected));
        }
        for file in 0..5 {
            self.same(async |store| store.blob_part(Digest::of(&[file]), 0).await)
                .await?;
        }
        Ok(())
    }

    /// Performs an operation on both and returns the common answer.
    async fn same<T: PartialEq + Debug>(
        &self,
        call: impl AsyncFn(&dyn Store) -> Result<T, StoreError>,
    ) -> Result<Option<T>, Why> {
        let answer = call(self.scene.store.as_ref()).await;
        let expected = call(self.model.store.as_ref()).await;
        match (answer, expected) {
            (Ok(answer), Ok(expected)) if answer == expected => Ok(Some(answer)),
            (Err(answer), Err(expected)) if format!("{answer:?}") == format!("{expected:?}") => {
                Ok(None)
            }
            (answer, expected) => Err(differ(&answer, &expected)),
        }
    }

    /// Usually the newest, which is alive.
    fn worker(&self, number: u8) -> WorkerId {
        let newest = self.workers.last().copied();
        let chosen = if number < 200 {
            newest
        } else {
            pick(&self.workers, number)
        };
        chosen.expect("a worker was registered at the start")
    }

    async fn register(&mut self) -> Result<(), Why> {
        let name = format!("worker {}", self.workers.len());
        let version = "1".to_owned();
        let actions = std::sync::Arc::default();
        let worker = NewWorker {
            id: WorkerId::new(),
            name,
            lease: LEASE,
            version,
            actions,
            workflows: AllowList::default(),
            resources: Arc::default(),
        };
        self.workers.push(worker.id);
        self.same(async |store| store.register_worker(worker.clone()).await)
            .await
            .map(drop)
    }

    async fn submit(&mut self, draft: &Draft) -> Result<(), Why> {
        let run = self.draft(draft);
        let now = self.scene.now();
        let started = draft
            .start_on
            .map(|worker| self.worker(worker))
            .map(|worker| {
                let mut edit = Edit::new(run.clone(), now);
                edit.submitted();
                edit.claim(worker)
                    .and_then(|()| begin(&mut edit))
                    .expect("a new run can be started");
                edit.finish()
            });
        let submission = Submission {
            queued: first(&run, now),
            started,
        };
        let became = self
            .same(async |store| store.submit(submission.clone()).await)
            .await?;
        if let Some(Submitted::Queued | Submitted::Started) = became {
            self.runs.push(run.id);
        }
        if let (Some(Submitted::Started), Some((started, _))) = (became, submission.started) {
            self.held.push(started);
        }
        Ok(())
    }

    fn draft(&self, draft: &Draft) -> Run {
        let plan = pick(&self.plans, draft.workflow).expect("there are workflows");
        let now = self.scene.now();
        let mut run = Run::new(RunId::at(now), plan, json!({}), now, now + draft.wait);
        run.key = draft.key.map(|key| format!("key {key}"));
        run.unique = draft.unique.map(|unique| format!("unique {unique}"));
        run.concurrency_key = draft.tenant.map(|tenant| format!("tenant {tenant}"));
        run.priority = draft.priority;
        if draft.needs_forge {
            run.requires = names(&[FORGE]);
        }
        run
    }

    async fn claim(
        &mut self,
        worker: u8,
        limit: usize,
        knows_all: bool,
        has_forge: bool,
    ) -> Result<(), Why> {
        let worker = self.worker(worker);
        let known = if knows_all {
            vec![WORK, OTHER_WORK]
        } else {
            vec![WORK]
        };
        let actions: Arc<BTreeSet<String>> =
            Arc::new(known.into_iter().map(str::to_owned).collect());
        let resources = Arc::new(names(if has_forge { &[FORGE] } else { &[] }));
        let request = || ClaimRequest {
            worker,
            limit,
            actions: actions.clone(),
            workflows: AllowList::default(),
            resources: resources.clone(),
        };
        let expected = self.model.store.claim(request()).await;
        let claimed = self.scene.store.claim(request()).await;
        match (claimed, expected) {
            (Ok(claimed), Ok(expected)) => self.compare_claims(claimed, expected, limit),
            (Err(StoreError::LeaseLost), Err(StoreError::LeaseLost)) => Ok(()),
            (claimed, expected) => Err(differ(&claimed, &expected)),
        }
    }

    fn compare_claims(
        &mut self,
        mut claimed: Claimed,
        mut expected: Claimed,
        limit: usize,
    ) -> Result<(), Why> {
        // The set of runs determines their order, so only the set is compared.
        claimed.runs.sort_by_key(|run| run.id);
        expected.runs.sort_by_key(|run| run.id);
        if claimed.runs != expected.runs {
            return Err(differ(&claimed.runs, &expected.runs));
        }
        // A store may return a time at which nothing turns out to be claimable, but not one that is
        // past or too late.
        let in_time = expected
            .next_at
            .is_none_or(|at| claimed.next_at.is_some_and(|named| named <= at));
        let ahead = claimed.next_at.is_none_or(|at| at > self.scene.now());
        if claimed.runs.len() < limit && !(in_time && ahead) {
            return Err(format!(
                "next at {:?}, in the model {:?}",
                claimed.next_at, expected.next_at
            ));
        }
        self.held.extend(claimed.runs);
        Ok(())
    }

    async fn work(&mut self, lease: u8, act: &Act) -> Result<(), Why> {
        // The newest lease first.
        let Some(index) = self
            .held
            .len()
            .checked_sub(1)
            .map(|last| last - usize::from(lease) % self.held.len())
        else {
            return Ok(());
        };
        let run = self.held[index].clone();
        if let (Act::Upload(files), Some(lease)) = (act, run.lease()) {
            let blobs = Arc::new(contents(files));
            let put = async |store: &dyn Store| store.put_blobs(lease, blobs.clone()).await;
            return self.same(put).await.map(drop);
        }
        let Some((lease, (after, transition))) = run.lease().zip(self.written(run, act)) else {
            return Ok(());
        };
        if let Some(committed) = self
            .same(async |store| store.commit(lease, transition.clone()).await)
            .await?
        {
            if after.lease().is_some() {
                self.held[index] = after;
                self.held[index].head.cancel = committed.cancel;
            } else {
                // The lease has ended. It stays, behind the valid ones, to be tried again.
                self.held[..=index].rotate_right(1);
            }
        }
        Ok(())
    }

    /// The transition that the holder writes, if the rules allow it.
    fn written(&self, run: Run, act: &Act) -> Option<(Run, Transition)> {
        let mut edit = Edit::new(run, self.scene.now());
        perform(&mut edit, act)
            .ok()
            .map(|()| edit.finish_as_holder())
    }

    async fn person(&self, op: &Op) -> Result<(), Why> {
        let named = |run: &u8| pick(&self.runs, *run).unwrap_or_else(|| RunId::from_bytes([7; 16]));
        let step = |step: u8| *STEPS.get(usize::from(step)).unwrap_or(&"nowhere");
        match op {
            Op::Cancel { run, mode } => {
                self.same(async |store| store.cancel(named(run), *mode, "ann").await)
                    .await
            }
            Op::Retry { run, from } => {
                self.same(async |store| store.retry(named(run), from.map(step), "ann").await)
                    .await
            }
            Op::Answer {
                run,
                step: at,
                answer,
            } => {
                self.same(async |store| {
                    store
                        .answer(named(run), step(*at), *answer, "ann", Some("so"))
                        .await
                })
                .await
            }
            _ => Ok(None),
        }
        .map(drop)
    }

    async fn maintain(&self, op: &Op) -> Result<(), Why> {
        let queue = |queue: &u8| QUEUES[usize::from(*queue) % QUEUES.len()];
        // The count of a rate before it was set is unspecified, so each queue keeps its rate.
        let rate = |name: &str| {
            (name == "rated").then_some(Rate {
                max: 2,
                per: Duration::from_millis(1500),
            })
        };
        let set = async |name: &str, limits: QueueLimits, only_if_new: bool| {
            let limits = QueueLimits {
                rate: rate(name),
                ..limits
            };
            self.same(async |store| store.set_queue(name, limits.clone(), only_if_new).await)
                .await
                .map(drop)
        };
        match op {
            Op::Pause { queue: at, paused } => self
                .same(async |store| store.pause_queue(queue(at), *paused).await)
                .await
                .map(drop),
            Op::Limit {
                queue: at,
                concurrency,
                per_key,
                only_if_new,
            } => {
                let concurrency = *concurrency;
                let concurrency_per_key = *per_key;
                let limits = QueueLimits {
                    concurrency,
                    concurrency_per_key,
                    ..QueueLimits::default()
                };
                set(queue(at), limits, *only_if_new).await
            }
            Op::Retain {
                queue: at,
                age,
                count,
            } => {
                let keep = RetentionLimit {
                    age: *age,
                    count: *count,
                };
                let retention = Retention {
                    completed: keep,
                    failed: keep,
                    cancelled: keep,
                };
                set(
                    queue(at),
                    QueueLimits {
                        retention,
                        ..QueueLimits::default()
                    },
                    false,
                )
                .await
            }
            _ => self
                .same(async |store| store.prune(1000).await)
                .await
                .map(drop),
        }
    }
}

/// Shows both from the first line that differs to the last.
fn differ(answer: &impl Debug, expected: &impl Debug) -> Why {
    let answer = format!("{answer:#?}");
    let expected = format!("{expected:#?}");
    let answer = Vec::from_iter(answer.lines());
    let expected = Vec::from_iter(expected.lines());
    let same = |(one, other): &(&&str, &&str)| one == other;
    let before = answer.iter().zip(&expected).take_while(same).count();
    let after = answer[before..]
        .iter()
        .rev()
        .zip(expected[before..].iter().rev())
        .take_while(same)
        .count();
    let part = |lines: &[&str]| lines[before.saturating_sub(8)..lines.len() - after].join("\n");
    format!(
        "the store says\n{}\nthe model\n{}",
        part(&answer),
        part(&expected)
    )
}

fn perform(edit: &mut Edit, act: &Act) -> Result<(), RuleError> {
    match act {
        Act::Start => begun(edit).map(drop),
        Act::Complete {
            record,
            files,
            brings,
        } => {
            let records = record
                .map(|(put, name)| change(put, name))
                .into_iter()
                .collect();
            let snapshot = (!files.is_empty()).then(|| snapshot(files, *brings));
            begun(edit).and_then(|step| {
                edit.complete_step(step, json!({ "made": files.len() }), records, snapshot)
            })
        }
        // It has no rules, and is no commit.
        Act::Upload(_) => Ok(()),
        Act::CompleteRun => edit.complete_run(),
        Act::Skip => next(edit).and_then(|step| edit.skip_step(step, "its condition gave false")),
        Act::Fail => begun(edit).and_then(|step| edit.fail_step(step, "it broke")),
        Act::Retry(delay) => begun(edit).and_then(|step| edit.retry_step(step, "it broke", *delay)),
        Act::Sleep(delay) => {
            begun(edit).and_then(|step| edit.sleep_step(step, *delay, json!({ "slept": null })))
        }
        Act::Ask => begun(edit).and_then(|step| edit.ask_step(step, "go on?", json!(null))),
        Act::Report(lines) => {
            let lines = (0..*lines).map(|line| format!("line {line}")).collect();
            next(edit).map(|step| edit.report(step, Some((50, None)), lines))
        }
        Act::Checkpoint => begun(edit).and_then(|step| edit.checkpoint(step, json!([1, 2]))),
        Act::Interrupt => edit.interrupt(Interruption::HandedBack, "it stops"),
        Act::HandOver => begun(edit).and_then(|step| edit.hand_over(step, FORGE)),
        Act::Release => {
            edit.require(&[], &[FORGE.to_owned()]);
            Ok(())
        }
        Act::Cancelled => {
            edit.cancelled("cancelled");
            Ok(())
        }
        Act::Undo => undo(edit, None),
        Act::UndoFailed => undo(edit, Some("it stays")),
    }
}

fn next(edit: &Edit) -> Result<usize, RuleError> {
    edit.run()
        .next_step()
        .ok_or_else(|| RuleError("no step is left".to_owned()))
}

/// Position of the next step, started if it was not: most acts need a running one.
fn begun(edit: &mut Edit) -> Result<usize, RuleError> {
    next(edit).and_then(|_| begin(edit))
}

/// Undoes the next step to undo, and cancels the run after the last.
fn undo(edit: &mut Edit, error: Option<&str>) -> Result<(), RuleError> {
    edit.begin_undo()?;
    match (Edit::next_undo(edit.run()), error) {
        (Some(position), Some(error)) => edit.undo_failed(position, error),
        (Some(position), None) => edit.undo_step(position, Undo::Done, None),
        (None, _) => edit.end_undo(),
    }
    Ok(())
}

fn change(put: bool, name: u8) -> RecordChange {
    let kind = "thing".to_owned();
    let name = format!("thing {name}");
    if put {
        RecordChange::Put {
            kind,
            name,
            data: json!(1),
        }
    } else {
        RecordChange::Remove { kind, name }
    }
}

fn contents(files: &[u8]) -> Vec<(Digest, Vec<u8>)> {
    files
        .iter()
        .map(|file| (Digest::of(&[*file]), vec![*file]))
        .collect()
}

fn snapshot(files: &[u8], brings: bool) -> Snapshot {
    let contents = contents(files);
    Snapshot {
        digest: contents[0].0,
        needs: contents.iter().map(|(digest, _)| *digest).collect(),
        contents: if brings { contents } else { Vec::new() },
    }
}

fn plans() -> Vec<Arc<Workflow>> {
    let policies = [
        OnInterrupt::Rerun,
        OnInterrupt::Ask,
        OnInterrupt::Fail,
        OnInterrupt::Rerun,
    ];
    let plan = |(index, policy): (usize, OnInterrupt)| {
        let workflow = Workflow::builder(format!("workflow-{}", index / 2))
            .queue(QUEUES[index % 2])
            .step_with("one", WORK, |step| {
                step.on_interrupt(policy).max_interruptions(1)
            })
            .step("two", if index == 3 { OTHER_WORK } else { WORK })
            .step("three", WORK);
        Arc::new(workflow.build().expect("the plan is well formed"))
    };
    policies.into_iter().enumerate().map(plan).collect()
}

fn pick<T: Clone>(all: &[T], number: u8) -> Option<T> {
    all.get(usize::from(number).checked_rem(all.len())?)
        .cloned()
}
