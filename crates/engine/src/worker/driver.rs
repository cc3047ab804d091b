//! The driver: takes one run from step to step under its lease, one commit between two steps.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::attempt::{Attempt, End};
use super::held::Held;
use super::isolation::{self, Isolation, Slots};
use super::masking::Masking;
use super::opening::{self, Opening};
use super::{Shared, undo};
use crate::handler::{MAX_DEFERRAL, MAX_DEFERRALS, Outcome, Said};
use crate::limits::{LimitError, check_run_output};
use crate::measures::{AttemptOutcome, AttemptReport};
use crate::secret_keys::open_parameters;
use crate::state::{
    CancelMode, Edit, Interruption, Lease, RuleError, RunStatus, StepStatus, Transition,
};
use crate::workflow::secret_texts;
use crate::workspace::{Folder, Reservation};
use crate::{Run, StepError, Store, StoreError, Timestamp};

/// Between two tries to write while the store is away. A run is to move within a second of its being back, and the store has a
/// wait of its own before it looks.
const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_MOST: Duration = Duration::from_millis(300);

/// The first and the longest time by which an attempt is deferred while this worker is short of something.
const DEFERRAL_FIRST: Duration = Duration::from_secs(1);
const DEFERRAL_MOST: Duration = Duration::from_secs(60);

/// One run, its lease, and what reaches it from outside.
pub(super) struct Driver {
    pub(super) shared: Arc<Shared>,
    /// The run as the store has it.
    pub(super) run: Run,
    /// A commit that may or may not have taken place, and the run as it is then. It is sent again before anything else is: the
    /// store has to know of commits in their order.
    pub(super) unsettled: Option<(Run, Transition)>,
    pub(super) lease: Lease,
    pub(super) held: Held,
    pub(super) folder: Folder,
    /// The memory of the snapshot that the next commit brings.
    pub(super) snapshot_memory: Option<Reservation>,
    pub(super) masking: Masking,
    /// The run's parameters with the secret ones in their places, when those are encrypted in the store.
    opened: Option<Value>,
    /// Keeps other runs off while the next step may not run beside them.
    pub(super) isolation: Isolation,
}

/// Why a driver stops before its run has ended: the lease is no longer ours.
#[derive(Debug)]
pub(super) struct Gone;

/// Gives a claimed run a driver.
pub(super) fn spawn(shared: &Arc<Shared>, run: Run) {
    let tracker = shared.drivers.clone();
    let held = shared.held.add(run.id, run.head.cancel);
    let shared = shared.clone();
    tracker.spawn(async move {
        let slots = isolation::slots(&shared, &run, &held).await;
        drive(shared, run, held, slots).await;
    });
}

/// Drives a run as far as it goes.
pub(crate) async fn drive(shared: Arc<Shared>, run: Run, held: Held, slots: Slots) {
    let id = run.id;
    if let Some(lease) = run.lease() {
        let mask = shared.mask.for_run();
        let folder = Folder::new(
            shared.options.workspaces.join(id.to_string()),
            shared.store.clone(),
            mask.clone(),
            shared.snapshot_memory.clone(),
        );
        let masking = Masking::new(mask);
        let Slots { own, isolation } = slots;
        let mut driver = Driver {
            shared: shared.clone(),
            run,
            unsettled: None,
            lease,
            held: held.clone(),
            folder,
            snapshot_memory: None,
            masking,
            opened: None,
            isolation,
        };
        // A lease that is lost is another's: nothing is left to do here.
        let _lost = driver.go().await;
        // Forgotten first, so that whoever hears of the end and retries the run does not find this end again.
        shared.held.remove(id, &held);
        // And its place given back first, so that whoever hears of it and submits another finds room.
        drop(own);
        driver.end_isolation();
        if driver.run.head.status.is_ended() {
            held.ended.send_replace(Some(Arc::new(driver.run)));
        }
    }
    shared.held.remove(id, &held);
    shared.note_place();
}

impl Driver {
    async fn go(&mut self) -> Result<(), Gone> {
        if let Err(error) = self.open_parameters()
            && let Some(position) = self.run.next_step()
        {
            return self
                .fail(position, Said::default(), &error.chain())
                .await
                .map(drop);
        }
        let mut next = self.first().await?;
        while let Some((position, input)) = next {
            self.folder.begin().await;
            self.is_held_still().await?;
            let started_at = self.shared.store.now();
            let (end, said) = Attempt::of(self, position, input).run(self).await;
            self.report(position, started_at, &end);
            next = self.settle(position, end, said).await?;
            self.end_isolation();
        }
        Ok(())
    }

    /// Other runs may run beside this one again.
    pub(super) fn end_isolation(&mut self) {
        if self.isolation.end() {
            self.shared.note_place();
        }
    }

    /// Decrypts the run's secret parameters, and masks them in all that it writes.
    fn open_parameters(&mut self) -> Result<(), StepError> {
        if !self.run.plan.has_secret_parameters() {
            return Ok(());
        }
        if self.run.sealed.is_some() {
            let keys = self.shared.options.keys.as_ref();
            self.opened = Some(open_parameters(&self.run, keys).map_err(StepError::fatal)?);
        }
        let secrets = secret_texts(self.run.plan.parameters(), self.parameters());
        secrets
            .iter()
            .try_for_each(|secret| self.masking.mask().add(secret))
            .map_err(StepError::fatal)
    }

    /// The run's parameters as its handlers see them.
    pub(super) fn parameters(&self) -> &Value {
        self.opened.as_ref().unwrap_or(&self.run.parameters)
    }

    /// A run that was submitted straight to this worker comes with its first step running; a claimed one without. One that
    /// was found without a driver may have a step running of which nobody knows how far it came: it is interrupted.
    async fn first(&mut self) -> Result<Option<(usize, Value)>, Gone> {
        match self
            .run
            .next_step()
            .filter(|_| self.held.cancel.borrow().is_none())
        {
            Some(position)
                if self.run.steps[position].status == StepStatus::Running
                    && self.run.head.commits > 0 =>
            {
                let mut edit = self.edit();
                self.rule(edit.interrupt(
                    Interruption::Crashed { in_flight: 1 },
                    "its driver was lost",
                ))?;
                self.write(edit).await.map(|()| None)
            }
            Some(position) if self.run.steps[position].status == StepStatus::Running => {
                match opening::input_of(&self.run, position, self.parameters()) {
                    Ok(input) => Ok(Some((position, input))),
                    Err(error) => {
                        self.fail(position, Said::default(), &error.to_string())
                            .await
                    }
                }
            }
            _ => self.proceed(self.edit()).await,
        }
    }

    /// A change to the run as it is once everything that was sent is written.
    pub(super) fn edit(&self) -> Edit {
        let run = self.unsettled.as_ref().map_or(&self.run, |(run, _)| run);
        Edit::new(run.clone(), self.shared.store.now())
    }

    /// Commits `edit` together with what comes next in the run.
    async fn proceed(&mut self, mut edit: Edit) -> Result<Option<(usize, Value)>, Gone> {
        let cancel = *self.held.cancel.borrow();
        match cancel {
            Some(CancelMode::Stop) => edit.cancelled("cancelled"),
            Some(CancelMode::Undo) => {
                self.write(edit).await?;
                Box::pin(undo::undo(self)).await?;
                return Ok(None);
            }
            None if self.shared.draining.is_cancelled() && edit.run().next_step().is_some() => {
                self.rule(edit.interrupt(Interruption::HandedBack, "the worker stops"))?;
            }
            None => {
                let opening = opening::open_claimed(&mut edit, self.parameters());
                let opening = self.rule(opening)?;
                self.write(edit).await?;
                return Ok(match opening {
                    Opening::Attempt { position, input } => Some((position, input)),
                    Opening::Ended => None,
                });
            }
        }
        self.write(edit).await?;
        Ok(None)
    }

    fn report(&self, position: usize, started_at: Timestamp, end: &End) {
        let (outcome, error) = match end {
            End::Done(Outcome::Completed(_)) => (AttemptOutcome::Completed, None),
            End::Done(Outcome::Sleep { .. } | Outcome::Ask { .. }) => {
                (AttemptOutcome::Suspended, None)
            }
            End::Failed(error) => {
                let goes_on =
                    self.lacks(error).is_some() || self.deferral(position, error).is_some();
                let outcome = if goes_on {
                    AttemptOutcome::Suspended
                } else {
                    AttemptOutcome::Failed
                };
                (outcome, Some(self.masking.mask().message(error.chain())))
            }
            End::Cancelled => (AttemptOutcome::Cancelled, None),
            End::Interrupted => (AttemptOutcome::Interrupted, None),
            End::Lost => (AttemptOutcome::Lost, None),
        };
        let ended_at = self.shared.store.now();
        self.shared.report(&AttemptReport {
            run: &self.run,
            position,
            started_at,
            ended_at,
            outcome,
            error,
        });
    }

    /// Writes down how an attempt ended, with what comes next.
    async fn settle(
        &mut self,
        position: usize,
        end: End,
        said: Said,
    ) -> Result<Option<(usize, Value)>, Gone> {
        match end {
            End::Done(Outcome::Completed(output)) => {
                if let Err(limit) = self.check_outputs(position, &output.value) {
                    return self
                        .fail(position, said, &format!("the step's output {limit}"))
                        .await;
                }
                let snapshot = match self.upload_snapshot().await? {
                    Ok(snapshot) => snapshot,
                    Err(error) => return self.retry(position, said, &error).await,
                };
                let mut edit = self.reported(position, said);
                self.rule(edit.complete_step(position, output.value, output.records, snapshot))?;
                edit.require(&output.required, &output.released);
                self.proceed(edit).await
            }
            End::Done(Outcome::Sleep { delay, checkpoint }) => {
                let mut edit = self.reported(position, said);
                self.rule(edit.sleep_step(position, delay, checkpoint))?;
                self.write(edit).await.map(|()| None)
            }
            End::Done(Outcome::Ask {
                question,
                checkpoint,
            }) => {
                let mut edit = self.reported(position, said);
                self.rule(edit.ask_step(position, &question, checkpoint))?;
                self.write(edit).await.map(|()| None)
            }
            End::Failed(error) => self.retry(position, said, &error).await,
            End::Cancelled => self.proceed(self.reported(position, said)).await,
            End::Interrupted => {
                let mut edit = self.reported(position, said);
                self.rule(edit.interrupt(Interruption::HandedBack, "the worker stopped"))?;
                self.write(edit).await.map(|()| None)
            }
            End::Lost => Err(Gone),
        }
    }

    /// The time until the same attempt runs again; `None` when the error is one of the step, or the attempt was deferred too
    /// often.
    fn deferral(&self, position: usize, error: &StepError) -> Option<Duration> {
        deferral(&self.shared, error, self.run.steps[position].deferrals)
    }

    /// Checks this step's output together with the outputs of the other steps.
    fn check_outputs(&self, position: usize, output: &Value) -> Result<(), LimitError> {
        let others = self
            .run
            .steps
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != position);
        check_run_output(
            others
                .filter_map(|(_, step)| step.output.as_ref())
                .chain([output]),
        )
    }

    /// A failed attempt: the next one, after its wait, or the end of the run.
    async fn retry(
        &mut self,
        position: usize,
        said: Said,
        error: &StepError,
    ) -> Result<Option<(usize, Value)>, Gone> {
        if let Some(resource) = self.lacks(error) {
            let mut edit = self.reported(position, said);
            self.rule(edit.hand_over(position, resource))?;
            return self.write(edit).await.map(|()| None);
        }
        let message = error.chain();
        if let Some(delay) = self.deferral(position, error) {
            let mut edit = self.reported(position, said);
            self.rule(edit.defer_step(position, &message, delay))?;
            self.write(edit).await?;
            self.shared.measures.deferred.add_one();
            return Ok(None);
        }
        let attempt = self.run.steps[position].attempt;
        let policy = &self.run.plan.steps()[position].retry;
        if error.fatal || attempt >= policy.attempts {
            return self.fail(position, said, &message).await;
        }
        let delay = policy
            .delay(attempt, self.shared.chance.unit())
            .max(error.retry_after.unwrap_or_default());
        let mut edit = self.reported(position, said);
        self.rule(edit.retry_step(position, &message, delay))?;
        self.write(edit).await?;
        self.shared.measures.retried.add_one();
        Ok(None)
    }

    /// The resource that an attempt needs and this worker lacks: another worker goes on with it.
    pub(super) fn lacks<'e>(&self, error: &'e StepError) -> Option<&'e str> {
        let resource = error.needs.as_deref()?;
        (!self.shared.options.resources.contains(resource)).then_some(resource)
    }

    async fn fail(
        &mut self,
        position: usize,
        said: Said,
        message: &str,
    ) -> Result<Option<(usize, Value)>, Gone> {
        let mut edit = self.reported(position, said);
        if self.held.cancel.borrow().is_some() {
            // A person has asked for the end already, and maybe for an undo: a failure must not come before it.
            return Box::pin(self.proceed(edit)).await;
        }
        self.rule(edit.fail_step(position, message))?;
        self.write(edit).await.map(|()| None)
    }

    fn reported(&self, position: usize, said: Said) -> Edit {
        let mut edit = self.edit();
        edit.report(position, said.progress, said.lines);
        edit
    }

    /// A rule that refuses what a driver does is a fault of ours. The run is left to its lease.
    pub(super) fn rule<T>(&self, result: Result<T, RuleError>) -> Result<T, Gone> {
        result.map_err(|error| {
            tracing::error!(run = %self.run.id, %error, "the driver broke a rule");
            Gone
        })
    }

    /// Ends a change: the run as it is from now on and what is written, both without secrets.
    pub(super) async fn finish(&mut self, edit: Edit) -> (Run, Transition) {
        let (run, transition) = edit.finish_as_holder();
        self.masking.apply(run, transition).await
    }

    /// Writes a change. While the store is away it is kept and tried again, for as long as the lease may hold.
    pub(super) async fn write(&mut self, edit: Edit) -> Result<(), Gone> {
        let (run, transition) = self.finish(edit).await;
        if run.head.status.is_ended() {
            // Before the commit: after it the run may be retried, and the folder be in use again.
            self.folder.remove().await;
        }
        if let Some((run, transition)) = self.unsettled.take() {
            self.persist(run, transition).await?;
        }
        let persisted = self.persist(run, transition).await;
        self.snapshot_memory = None;
        persisted
    }

    /// Sends one commit until it is known what became of it. One that the store refuses for good fails the step.
    async fn persist(&mut self, run: Run, transition: Transition) -> Result<(), Gone> {
        match self.send(run, transition).await? {
            None => Ok(()),
            Some(error) => self.refused(&error).await,
        }
    }

    /// Sends one commit until it is known what became of it: `None` when it is written, else why it never will be. What is
    /// wrong with the store, and not with the commit, passes or is mended by a person; it costs no attempt.
    async fn send(&mut self, run: Run, transition: Transition) -> Result<Option<StoreError>, Gone> {
        let lease = self.lease;
        let yields = transition.yields_to_undo;
        let commit = |store: Arc<dyn Store>| {
            let transition = transition.clone();
            async move { store.commit(lease, transition).await }
        };
        let committed = match self.until_answered(commit).await? {
            Ok(committed) => committed,
            Err(error) => return Ok(Some(error)),
        };
        self.held.asked_to(committed.cancel);
        self.run = run;
        if yields && committed.cancel == Some(CancelMode::Undo) {
            self.run.head.yield_to_undo(self.shared.store.now());
        }
        if self.run.head.status.is_ended() {
            self.shared.run_ended(&self.run);
        }
        Ok(None)
    }

    /// Repeats a write under the lease while the store is away. Gives what it came to, or why it
    /// never will take place.
    pub(super) async fn until_answered<T, F>(
        &self,
        write: impl Fn(Arc<dyn Store>) -> F,
    ) -> Result<Result<T, StoreError>, Gone>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let shared = &self.shared;
        let (mut wait, mut waiting) = (RETRY_FIRST, None);
        loop {
            match write(shared.store.clone()).await {
                Ok(done) => {
                    if waiting.take().is_some() {
                        shared.note_written();
                    }
                    return Ok(Ok(done));
                }
                Err(StoreError::LeaseLost) => {
                    // One that the pulse learnt of is counted there.
                    if !self.held.lost.is_cancelled() {
                        shared.measures.leases_lost.add_one();
                    }
                    return Err(Gone);
                }
                Err(error) if error.is_outage() => {
                    waiting.get_or_insert_with(|| shared.waits_to_write());
                    shared.note_trouble(&error);
                    self.pause(shared.chance.spread(wait)).await?;
                    wait = (wait * 2).min(RETRY_MOST);
                }
                Err(error) => return Ok(Err(error)),
            }
        }
    }

    /// Sends what is unsettled once. It stays unsettled while the store is away.
    pub(super) async fn try_to_settle(&mut self) -> Result<(), Gone> {
        let Some((run, transition)) = self.unsettled.clone() else {
            return Ok(());
        };
        match self.shared.store.commit(self.lease, transition).await {
            Ok(committed) => {
                self.held.asked_to(committed.cancel);
                (self.run, self.unsettled) = (run, None);
                Ok(())
            }
            Err(StoreError::LeaseLost) => Err(Gone),
            Err(error) => {
                self.shared.note_trouble(&error);
                if !error.is_outage() {
                    // It did not take place and never will: what was said is lost, and the step goes on.
                    self.unsettled = None;
                }
                Ok(())
            }
        }
    }

    /// The store refused what a step did, for good: the step fails, so that the run does not hang.
    async fn refused(&mut self, error: &StoreError) -> Result<(), Gone> {
        let error = self.masking.mask().message(error.to_string());
        tracing::warn!(run = %self.run.id, %error, "the store refused what the step did");
        let running = self
            .run
            .steps
            .iter()
            .position(|step| step.status == StepStatus::Running);
        let (Some(position), RunStatus::Running) = (running, self.run.head.status) else {
            // Not even a step to fail: try again until the lease is gone, rather than forget the run.
            self.pause(Duration::from_secs(1)).await?;
            return Err(Gone);
        };
        let mut edit = self.edit();
        self.rule(edit.fail_step(position, &error))?;
        let (run, transition) = self.finish(edit).await;
        self.folder.remove().await;
        if let Some(error) = self.send(run, transition).await? {
            // Not even that. The run is found again as one that nobody drives, a few heartbeats later.
            let error = self.masking.mask().message(error.to_string());
            tracing::error!(run = %self.run.id, %error, "the store refused the failure too");
        }
        Err(Gone)
    }

    /// Waits, unless the lease is lost first or the worker is in a hurry to stop.
    pub(super) async fn pause(&self, wait: Duration) -> Result<(), Gone> {
        tokio::select! {
            biased;
            () = tokio::time::sleep(wait) => Ok(()),
            () = self.held.lost.cancelled() => Err(Gone),
            () = self.shared.hurried.cancelled() => Err(Gone),
        }
    }

    /// Before a handler is called: a process that was frozen meanwhile may have lost its leases, and has to ask.
    pub(super) async fn is_held_still(&self) -> Result<(), Gone> {
        tokio::select! {
            biased;
            () = self.held.lost.cancelled() => return Err(Gone),
            () = self.shared.renewal.holds(self.shared.store.as_ref(), self.shared.options.lease) => {}
            () = self.shared.hurried.cancelled() => return Err(Gone),
        }
        // What an earlier life of this worker held is over, also when a list of it was long on its way and came after the end.
        if self.lease.worker == self.shared.id() {
            Ok(())
        } else {
            Err(Gone)
        }
    }

    pub(super) fn attempt_token(&self) -> CancellationToken {
        self.held.lost.child_token()
    }
}

/// The time by which an attempt that was deferred `before` times is deferred; `None` when it is not to be.
pub(super) fn deferral(shared: &Shared, error: &StepError, before: u32) -> Option<Duration> {
    if !error.unavailable || before >= MAX_DEFERRALS {
        return None;
    }
    let usual = DEFERRAL_FIRST
        .saturating_mul(1 << before.min(10))
        .min(DEFERRAL_MOST);
    let delay = error
        .retry_after
        .unwrap_or_else(|| shared.chance.spread(usual));
    Some(delay.min(MAX_DEFERRAL))
}
