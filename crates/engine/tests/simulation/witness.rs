//! The store under test, and the witness of every write on it: each is held against what was
//! before, at that very moment.

use std::collections::BTreeSet;
use std::sync::Arc;

use surefoot::state::{Lease, Transition, Wait};
use surefoot::store::{
    ClaimRequest, Claimed, Committed, Heartbeat, Heartbeats, LastHeartbeat, NewWorker,
    RecordFilter, Submission, Submitted,
};
use surefoot::{QueueLimits, Run, RunId, RunStatus, StepStatus, Store, StoreError, WorkerId};

use crate::history::lock;
use crate::ledger::Ending;
use crate::rows::{self, Cause};
use crate::seen::{Seen, SeenLease, SeenRun, SeenWorker};
use crate::story::Story;
use crate::world::World;

impl World {
    pub(crate) async fn register(&self, worker: NewWorker) -> Result<(), StoreError> {
        let id = worker.id;
        let name = worker.name.clone();
        let lease = worker.lease;
        let before = self.held_by_all();
        self.store.register_worker(worker).await?;
        {
            let mut seen = lock(&self.seen);
            let lives = seen
                .workers
                .values()
                .filter(|worker| worker.name.starts_with(&name))
                .count();
            let name = if lives == 0 {
                name
            } else {
                format!("{name}/{lives}")
            };
            self.history.say(&name, || "registers".to_owned());
            seen.workers.insert(
                id,
                SeenWorker {
                    name,
                    lease,
                    expires_at: self.steady() + lease,
                    gone: false,
                },
            );
        }
        self.look_at(before, Cause::Lost);
        Ok(())
    }

    pub(crate) async fn heartbeat(&self, worker: WorkerId) -> Result<Heartbeat, StoreError> {
        let beat = self.store.heartbeat(worker).await;
        let mut seen = lock(&self.seen);
        let now = self.steady();
        if let Some(known) = seen.workers.get_mut(&worker) {
            match &beat {
                Ok(_) => {
                    let dead = known.gone;
                    known.expires_at = now + known.lease;
                    self.history.expect(!dead, || {
                        "3: a worker that was taken for dead renews its lease".to_owned()
                    });
                }
                Err(StoreError::LeaseLost) => known.gone = true,
                Err(_) => {}
            }
        }
        beat
    }

    pub(crate) async fn deregister(&self, worker: WorkerId) -> Result<(), StoreError> {
        let held = lock(&self.seen).held_by(worker);
        self.store.deregister_worker(worker).await?;
        self.mark_gone(worker);
        self.look_at(held, Cause::Lost);
        Ok(())
    }

    pub(crate) async fn reclaim_worker(&self, worker: WorkerId) -> Result<(), StoreError> {
        let held = lock(&self.seen).held_by(worker);
        self.store.reclaim_worker(worker).await?;
        self.mark_gone(worker);
        self.look_at(held, Cause::Lost);
        Ok(())
    }

    pub(crate) async fn heartbeats(&self) -> Result<Heartbeats, StoreError> {
        self.broken.heartbeats(self).await
    }

    pub(crate) async fn reclaim(&self, silent: Vec<LastHeartbeat>) -> Result<Vec<Run>, StoreError> {
        let taken = self.broken.reclaim(self, silent).await?;
        for run in &taken {
            let holder = lock(&self.seen).row(run.id).and_then(|run| run.head.worker);
            let Some(holder) = holder else { continue };
            let alive = {
                let seen = lock(&self.seen);
                seen.workers
                    .get(&holder)
                    .is_some_and(|worker| worker.expires_at > self.steady() && !worker.gone)
            };
            self.history.expect(!alive, || {
                let seen = lock(&self.seen);
                format!(
                    "4: {} is taken from {}, which lives",
                    seen.name(run.id),
                    seen.worker_name(holder)
                )
            });
            self.check_could_not_renew(run.id, holder);
            self.mark_gone(holder);
        }
        self.look_at(taken.iter().map(|run| run.id).collect(), Cause::Lost);
        Ok(taken)
    }

    /// Neither a step of the clock nor a silent connection keeps a worker from renewing its lease.
    fn check_could_not_renew(&self, run: RunId, holder: WorkerId) {
        let seen = lock(&self.seen);
        let Some(worker) = seen.workers.get(&holder).filter(|worker| !worker.gone) else {
            return;
        };
        let life = lock(&self.lives).get(&holder).cloned();
        let could = life.is_some_and(|life| life.could_renew(worker.lease, self.steady()));
        self.history.expect(!could, || {
            format!(
                "4: {} is taken from {}, which could have renewed its lease",
                seen.name(run),
                worker.name
            )
        });
    }

    fn mark_gone(&self, worker: WorkerId) {
        if let Some(worker) = lock(&self.seen).workers.get_mut(&worker) {
            worker.gone = true;
        }
    }

    pub(crate) async fn submit(&self, submission: Submission) -> Result<Submitted, StoreError> {
        let id = submission.queued.0.id;
        let submitted = self.broken.submit(self, submission).await?;
        if matches!(submitted, Submitted::Queued | Submitted::Started) {
            self.look(id, Cause::Submit);
        }
        Ok(submitted)
    }

    pub(crate) async fn claim(&self, request: ClaimRequest) -> Result<Claimed, StoreError> {
        let worker = request.worker;
        let actions = request.actions.clone();
        let limit = request.limit;
        let claimed = self.broken.claim(self, request).await;
        self.history
            .say(lock(&self.seen).worker_name(worker), || match &claimed {
                Ok(claimed) => format!("claims {limit}, is given {}", claimed.runs.len()),
                Err(error) => format!("claims {limit}: {error}"),
            });
        let claimed = claimed?;
        for run in &claimed.runs {
            self.check_claim(run, worker, &actions);
            self.look(run.id, Cause::Claim);
        }
        Ok(claimed)
    }

    fn check_claim(&self, run: &Run, worker: WorkerId, actions: &BTreeSet<String>) {
        let seen = lock(&self.seen);
        let name = seen.name(run.id);
        let free = seen
            .row(run.id)
            .is_some_and(|run| run.head.available_at.is_some_and(|at| at <= self.now()));
        self.history.expect(free, || {
            format!("3: {name} is given to a worker while it is not free")
        });
        self.history.expect(run.head.worker == Some(worker), || {
            format!("3: {name} is given to another than who asked")
        });
        let gone = seen.workers.get(&worker).is_none_or(|worker| worker.gone);
        self.history.expect(!gone, || {
            format!("3: {name} is given to a worker that was taken for dead")
        });
        let known = run
            .plan
            .actions()
            .into_iter()
            .all(|action| actions.contains(action));
        self.history.expect(known, || {
            format!("8: {name} is given to a worker that does not know its actions")
        });
    }

    pub(crate) async fn commit(
        &self,
        lease: Lease,
        transition: Transition,
    ) -> Result<Committed, StoreError> {
        let held = lock(&self.seen).holds(lease);
        if !self.broken.takes_any_number()
            && lock(&self.seen).has_taken(lease, transition.head.commits)
        {
            // Sent again: it is written once however often that is.
            return self.store.commit(lease, transition).await;
        }
        let committed = self.broken.commit(self, lease, transition).await;
        if committed.is_ok() {
            self.history.expect(held, || {
                let seen = lock(&self.seen);
                let run = seen.name(lease.run);
                let worker = seen.worker_name(lease.worker);
                format!(
                    "3: {worker} writes to {run} under lease {}, which is over",
                    lease.epoch
                )
            });
            self.look(lease.run, Cause::Commit);
        }
        committed
    }

    /// Notes a person's action on a run.
    pub(crate) async fn person(
        &self,
        run: RunId,
        cause: Cause,
        done: Result<Run, StoreError>,
    ) -> Result<Run, StoreError> {
        if done.is_ok() {
            self.look(run, cause);
        }
        done
    }

    pub(crate) async fn set_queue(
        &self,
        name: &str,
        limits: QueueLimits,
        only_if_new: bool,
    ) -> Result<(), StoreError> {
        self.store
            .set_queue(name, limits.clone(), only_if_new)
            .await?;
        let mut seen = lock(&self.seen);
        if !(only_if_new && seen.queues.contains_key(name)) {
            self.history.say(name, || {
                format!(
                    "limits {:?}, {:?} per key",
                    limits.concurrency, limits.concurrency_per_key
                )
            });
            seen.queues.entry(name.to_owned()).or_default().limits = limits;
        }
        drop(seen);
        self.tell();
        Ok(())
    }

    pub(crate) async fn pause_queue(&self, name: &str, paused: bool) -> Result<(), StoreError> {
        self.store.pause_queue(name, paused).await?;
        self.history.say(name, || {
            if paused {
                "is paused".to_owned()
            } else {
                "is resumed".to_owned()
            }
        });
        lock(&self.seen)
            .queues
            .entry(name.to_owned())
            .or_default()
            .paused = paused;
        self.tell();
        Ok(())
    }

    fn held_by_all(&self) -> Vec<RunId> {
        lock(&self.seen)
            .rows()
            .filter(|run| run.head.worker.is_some())
            .map(|run| run.id)
            .collect()
    }

    fn look_at(&self, runs: Vec<RunId>, cause: Cause) {
        for run in runs {
            self.look(run, cause);
        }
        self.tell();
    }

    /// Holds what a write made of a run against what was before.
    fn look(&self, id: RunId, cause: Cause) {
        let Ok(Some(after)) = now_or_never(self.store.run(id)) else {
            return self
                .history
                .violated(|| "1: a run that was written is not there".to_owned());
        };
        let mut guard = lock(&self.seen);
        let seen = &mut *guard;
        let name = format!("r{}", seen.runs.len() + 1);
        let before = seen.runs.get(&id).map(|run| run.row.clone());
        seen.writes += u64::from(before.as_ref() != Some(&after));
        let known = seen.runs.entry(id).or_insert_with(|| {
            let fresh = Run::new(
                id,
                after.plan.clone(),
                after.parameters.clone(),
                after.created_at,
                after.created_at,
            );
            SeenRun {
                name,
                row: fresh,
                story: Story::of(&after),
            }
        });
        let after_seq = known.story.seq;
        let name = known.name.clone();
        if before.as_ref() != Some(&after) {
            self.say_change(&name, before.as_ref(), &after, cause);
        }
        let events = now_or_never(self.store.events(id, after_seq, usize::MAX)).unwrap_or_default();
        let told = known.story.read(&events, &after);
        known.row = after.clone();
        let promise = |what: Result<(), String>, number: &str| {
            if let Err(what) = what {
                self.history
                    .violated(|| format!("{number}: {name}: {what}"));
            }
        };
        // A run that a submission started is seen for the first time when it is claimed already.
        let claimed = before.is_none() && after.head.epoch == 1;
        match &before {
            Some(before) => promise(rows::check_change(before, &after, cause), "2, 5"),
            None => promise(check_unique(seen, &after), "1"),
        }
        promise(rows::check(&after), "6");
        promise(told, "9");
        if let Some(before) = &before
            && cause == Cause::Commit
        {
            promise(self.check_attempts(before, &after), "7");
            promise(self.check_outputs(before, &after), "9");
        }
        if claimed || cause == Cause::Claim {
            promise(self.check_limits(seen, &after, before.as_ref()), "limits");
        }
        self.note_lease(seen, before.as_ref(), &after);
        drop(guard);
        self.tell();
    }

    fn note_lease(&self, seen: &mut Seen, before: Option<&Run>, after: &Run) {
        let old = before.and_then(Run::lease);
        let new = after.lease();
        if old == new {
            return;
        }
        if let Some(known) = old.and_then(|old| seen.leases.get_mut(&(old.run, old.epoch))) {
            known.ended_at = Some(self.steady());
        }
        if let Some(new) = new {
            let lease = SeenLease {
                worker: new.worker,
                ended_at: None,
                heard_at: None,
            };
            seen.leases.insert((new.run, new.epoch), lease);
        }
    }

    /// An attempt is spent only by a handler that failed or ran out of time: by no outage, and by
    /// no interruption.
    fn check_attempts(&self, before: &Run, after: &Run) -> Result<(), String> {
        let cancelled = before.head.cancel.is_some() || after.head.status == RunStatus::Cancelled;
        let Some(lease) = before.lease() else {
            return Ok(());
        };
        if cancelled {
            return Ok(());
        }
        for (position, (old, new)) in before.steps.iter().zip(&after.steps).enumerate() {
            let spent = new.wait == Some(Wait::Retry) || new.status == StepStatus::Failed;
            if !spent || old.status == new.status || new.interruptions > old.interruptions {
                continue;
            }
            let plan = &before.plan.steps()[position];
            let ledger = lock(&self.ledger);
            let call = ledger.last(lease, position, false);
            let failed = call.is_some_and(|call| matches!(call.ended, Some((_, Ending::Failed))));
            let took = call
                .map(|call| self.steady().since(call.began))
                .unwrap_or_default();
            let timed_out = plan.timeout.is_some_and(|timeout| took >= timeout);
            let taken = new
                .error
                .as_deref()
                .is_some_and(|error| error.contains("is taken by run"));
            if !failed && !timed_out && !taken {
                return Err(format!(
                    "{} spends its attempt, and its handler did not fail: {call:?}",
                    plan.id
                ));
            }
        }
        Ok(())
    }

    /// A step that completed has what its handler gave: output and record, in the same commit.
    fn check_outputs(&self, before: &Run, after: &Run) -> Result<(), String> {
        for (position, (old, new)) in before.steps.iter().zip(&after.steps).enumerate() {
            if old.status == StepStatus::Completed || new.status != StepStatus::Completed {
                continue;
            }
            let step = &before.plan.steps()[position].id;
            let ledger = lock(&self.ledger);
            let call = before
                .lease()
                .and_then(|lease| ledger.last(lease, position, false));
            let ending = call
                .and_then(|call| call.ended.as_ref())
                .map(|(_, ending)| ending);
            let given = match ending {
                Some(Ending::Completed(output)) => Some(output),
                other => return Err(format!("{step} is completed, its handler {other:?}")),
            };
            if new.output.as_ref() != given {
                return Err(format!(
                    "{step} gave {given:?}, its row has {:?}",
                    new.output
                ));
            }
            if !self.has_record(after, position) {
                return Err(format!("{step} is completed, and its record is not there"));
            }
        }
        Ok(())
    }

    fn has_record(&self, run: &Run, position: usize) -> bool {
        let Some(name) = self.record_of(run, position) else {
            return true;
        };
        let filter = RecordFilter {
            name: Some(name),
            run: Some(run.id),
            ..RecordFilter::default()
        };
        now_or_never(self.store.records(filter)).is_ok_and(|found| found.len() == 1)
    }

    /// The limits of its queue, over all workers, at the moment of a start.
    fn check_limits(&self, seen: &mut Seen, run: &Run, before: Option<&Run>) -> Result<(), String> {
        let now = self.now();
        let first = before.is_none_or(|before| before.head.started_at.is_none());
        let exempt = before.is_some_and(|before| before.head.cancel.is_some());
        let running = seen.running(run.queue()).count();
        let of_key = seen
            .running(run.queue())
            .filter(|other| other.concurrency_key == run.concurrency_key)
            .count();
        let Some(queue) = seen.queues.get_mut(run.queue()) else {
            return Ok(());
        };
        if first {
            queue.starts.push(now);
        }
        if exempt {
            return Ok(());
        }
        let over =
            |limit: Option<u32>, count: usize| limit.is_some_and(|limit| count > limit as usize);
        if queue.paused {
            return Err(format!("it starts, and {} is paused", run.queue()));
        }
        if over(queue.limits.concurrency, running) {
            return Err(format!(
                "{running} run in {}, {:?} may",
                run.queue(),
                queue.limits.concurrency
            ));
        }
        if run.concurrency_key.is_some() && over(queue.limits.concurrency_per_key, of_key) {
            return Err(format!(
                "{of_key} of one key run in {}, {:?} may",
                run.queue(),
                queue.limits.concurrency_per_key
            ));
        }
        if let Some(rate) = queue.limits.rate
            && first
        {
            let starts = queue
                .starts
                .iter()
                // A start further ahead was written before the clock was set back.
                .filter(|start| now.since(**start) < rate.per && start.since(now) <= rate.per)
                .count();
            if starts > rate.max as usize {
                return Err(format!(
                    "{starts} starts in {:?} in {}, {} may",
                    rate.per,
                    run.queue(),
                    rate.max
                ));
            }
        }
        Ok(())
    }

    fn say_change(&self, name: &str, before: Option<&Run>, after: &Run, cause: Cause) {
        self.history.say(name, || {
            let mut line = format!("{cause:?}: {}", after.head.status);
            if let Some(available_at) = after.head.available_at.filter(|at| *at > self.now()) {
                line += &format!(" for {:?}", available_at.since(self.now()));
            }
            if let Some(lease) = after.lease() {
                // The witness holds the names: they were locked by who calls this.
                line += &format!(", lease {}", lease.epoch);
            }
            if let Some(cancel) = after.head.cancel {
                line += &format!(", to {cancel}");
            }
            for (position, step) in after.steps.iter().enumerate() {
                let old = before.map(|before| &before.steps[position]);
                if old != Some(step) && (old.is_some() || step.status != StepStatus::Pending) {
                    let wait = step
                        .wait
                        .map(|wait| format!(" for {wait}"))
                        .unwrap_or_default();
                    line += &format!("; s{} {}{wait}", position + 1, step.status);
                    line += &format!(
                        " (attempt {}, {} interruptions, {} %)",
                        step.attempt, step.interruptions, step.progress
                    );
                    if let Some(undo) = step.undo {
                        line += &format!(" undo {undo}");
                    }
                }
            }
            line
        });
    }

    /// Passes on what the store hints at.
    pub(crate) fn tell(&self) {
        let mut hints = lock(&self.store_hints);
        let changed = |hint: &mut tokio::sync::watch::Receiver<()>| {
            let changed = hint.has_changed().unwrap_or(false);
            hint.mark_unchanged();
            changed
        };
        let work = changed(&mut hints.work);
        let any = changed(&mut hints.any);
        self.hub.tell(work, any);
    }
}

/// The model never waits.
fn now_or_never<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("the model waited"),
    }
}

/// Each key belongs to one run of a workflow, except for cancelled ones.
fn check_unique(seen: &Seen, run: &Run) -> Result<(), String> {
    let twin = |other: &&Run| {
        other.plan.name() == run.plan.name()
            && other.id != run.id
            && other.key.is_some()
            && other.key == run.key
            && other.head.status != RunStatus::Cancelled
    };
    match seen.rows().find(twin) {
        Some(other) => Err(format!("it has the key of {}", seen.name(other.id))),
        None => Ok(()),
    }
}

/// A submitted run must be readable at once.
pub(crate) fn acknowledged(world: &Arc<World>, run: RunId) {
    let known = lock(&world.seen).runs.contains_key(&run);
    world.history.expect(known, || {
        "1: a submission is acknowledged, and its run is not there".to_owned()
    });
    lock(&world.acknowledged).push(run);
}
