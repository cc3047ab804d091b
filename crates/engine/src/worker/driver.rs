//! The driver: takes one run from step to step under its lease, with one commit between two steps.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::active_runs::ActiveRun;
use super::attempt::{Attempt, End};
use super::isolation::{self, HeldSlots, Isolation};
use super::masking::Masking;
use super::next_step::{self, NextStep};
use super::{Shared, undo};
use crate::handler::{MAX_DEFERRAL, MAX_DEFERRALS, Outcome, Said};
use crate::limits::{LimitError, check_run_output};
use crate::metrics::{AttemptOutcome, AttemptReport};
use crate::secret_keys::open_parameters;
use crate::state::{
    CancelMode, Edit, Interruption, Lease, RuleError, RunStatus, StepStatus, Transition,
};
use crate::workflow::secret_texts;
use crate::workspace::{Folder, Reservation};
use crate::{Run, StepError, Store, StoreError, Timestamp};

/// First and longest delay between retries of a write. A run must move within a second of the
/// store's return, and the store's own reconnect delay comes on top.
const RETRY_MIN: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_millis(300);

/// First and longest deferral of an attempt while a resource is unavailable.
const DEFERRAL_MIN: Duration = Duration::from_secs(1);
const DEFERRAL_LIMIT: Duration = Duration::from_secs(60);

/// A run with its lease and the signals that reach it.
pub(super) struct Driver {
    pub(super) shared: Arc<Shared>,
    /// The run as the store has it.
    pub(super) run: Run,
    /// A commit whose result is unknown, with the run as it is after it. It is sent again before
    /// any other commit, because the store requires commits in order.
    pub(super) unsettled: Option<(Run, Transition)>,
    pub(super) lease: Lease,
    pub(super) held: ActiveRun,
    pub(super) folder: Folder,
    /// The memory of the snapshot that the next commit brings.
    pub(super) snapshot_memory: Option<Reservation>,
    pub(super) masking: Masking,
    /// The run's parameters with the secret ones decrypted, when those are encrypted in the store.
    opened: Option<Value>,
    /// Keeps other runs away while the next step must not run beside them.
    pub(super) isolation: Isolation,
}

/// Error that stops a driver before its run has ended: this worker no longer holds the lease.
#[derive(Debug)]
pub(super) struct LeaseLost;

/// Starts a driver for a claimed run.
pub(super) fn spawn(shared: &Arc<Shared>, run: Run) {
    let tracker = shared.drivers.clone();
    let held = shared.active_runs.add(run.id, run.head.cancel);
    let shared = shared.clone();
    tracker.spawn(async move {
        let slots = isolation::slots(&shared, &run, &held).await;
        drive(shared, run, held, slots).await;
    });
}

/// Drives a run until it ends, waits, or its lease is handed back or lost.
pub(crate) async fn drive(shared: Arc<Shared>, run: Run, held: ActiveRun, slots: HeldSlots) {
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
        let HeldSlots { own, isolation } = slots;
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
        // After a lost lease there is nothing left to do: another worker drives the run.
        let _lost = driver.run_to_end().await;
        // Removed before the end is published, so that a retry of the run does not find this end.
        shared.active_runs.remove(id, &held);
        // The slot too, so that a submission in response to the end finds it free.
        drop(own);
        driver.end_isolation();
        if driver.run.head.status.is_ended() {
            held.ended.send_replace(Some(Arc::new(driver.run)));
        }
    }
    shared.active_runs.remove(id, &held);
    shared.slot_released();
}

impl Driver {
    async fn run_to_end(&mut self) -> Result<(), LeaseLost> {
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
            self.ensure_held().await?;
            let started_at = self.shared.store.now();
            let (end, said) = Attempt::of(self, position, input).run(self).await;
            self.report(position, started_at, &end);
            next = self.settle(position, end, said).await?;
            self.end_isolation();
        }
        Ok(())
    }

    /// Lets other runs run beside this one again.
    pub(super) fn end_isolation(&mut self) {
        if self.isolation.end() {
            self.shared.slot_released();
        }
    }

    /// Decrypts the run's secret parameters and adds them to the mask.
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

    /// Returns the first attempt of this driver.
    ///
    /// A run submitted directly to this worker has its first step running already; a claimed run
    /// does not. A run that was found without a driver may have a running step with an unknown
    /// state: that step is interrupted.
    async fn first(&mut self) -> Result<Option<(usize, Value)>, LeaseLost> {
        let is_cancelled = self.held.cancel.borrow().is_some();
        let next = if is_cancelled {
            None
        } else {
            self.run.next_step()
        };
        match next {
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
                match next_step::input_of(&self.run, position, self.parameters()) {
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

    /// Starts a change to the run as it is once every sent commit is written.
    pub(super) fn edit(&self) -> Edit {
        let run = self.unsettled.as_ref().map_or(&self.run, |(run, _)| run);
        Edit::new(run.clone(), self.shared.store.now())
    }

    /// Commits `edit` together with the start of the next step or the end of the run.
    async fn proceed(&mut self, mut edit: Edit) -> Result<Option<(usize, Value)>, LeaseLost> {
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
                let next = next_step::advance_claimed(&mut edit, self.parameters());
                let next = self.rule(next)?;
                self.write(edit).await?;
                return Ok(match next {
                    NextStep::Attempt { position, input } => Some((position, input)),
                    NextStep::Ended => None,
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

    /// Commits the end of an attempt, together with what follows from it.
    async fn settle(
        &mut self,
        position: usize,
        end: End,
        said: Said,
    ) -> Result<Option<(usize, Value)>, LeaseLost> {
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
            End::Lost => Err(LeaseLost),
        }
    }

    /// Returns the deferral of an attempt after an error; `None` for an error of the step itself
    /// and for an attempt that was deferred too often.
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

    /// Commits a failed attempt: schedules the next one, or fails the run.
    async fn retry(
        &mut self,
        position: usize,
        said: Said,
        error: &StepError,
    ) -> Result<Option<(usize, Value)>, LeaseLost> {
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
            self.shared.metrics.deferred.add_one();
            return Ok(None);
        }
        let attempt = self.run.steps[position].attempt;
        let policy = &self.run.plan.steps()[position].retry;
        if error.fatal || attempt >= policy.attempts {
            return self.fail(position, said, &message).await;
        }
        let delay = policy
            .delay(attempt, self.shared.jitter.unit())
            .max(error.retry_after.unwrap_or_default());
        let mut edit = self.reported(position, said);
        self.rule(edit.retry_step(position, &message, delay))?;
        self.write(edit).await?;
        self.shared.metrics.retried.add_one();
        Ok(None)
    }

    /// Returns the resource that an attempt needs and this worker lacks; another worker continues
    /// it.
    pub(super) fn lacks<'e>(&self, error: &'e StepError) -> Option<&'e str> {
        let resource = error.needs.as_deref()?;
        (!self.shared.options.resources.contains(resource)).then_some(resource)
    }

    async fn fail(
        &mut self,
        position: usize,
        said: Said,
        message: &str,
    ) -> Result<Option<(usize, Value)>, LeaseLost> {
        let mut edit = self.reported(position, said);
        if self.held.cancel.borrow().is_some() {
            // A requested cancel, possibly with an undo, takes precedence over the failure.
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

    /// Converts a rule violation, which is a bug of the engine. The run is left until its lease
    /// expires.
    pub(super) fn rule<T>(&self, result: Result<T, RuleError>) -> Result<T, LeaseLost> {
        result.map_err(|error| {
            tracing::error!(run = %self.run.id, %error, "the driver broke a rule");
            LeaseLost
        })
    }

    /// Finishes a change: returns the changed run and its transition, both masked.
    pub(super) async fn finish(&mut self, edit: Edit) -> (Run, Transition) {
        let (run, transition) = edit.finish_as_holder();
        self.masking.apply(run, transition).await
    }

    /// Commits a change. While the store is away it is kept and retried, as long as the lease may
    /// hold.
    pub(super) async fn write(&mut self, edit: Edit) -> Result<(), LeaseLost> {
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

    /// Sends one commit until its result is known. A permanent refusal fails the step.
    async fn persist(&mut self, run: Run, transition: Transition) -> Result<(), LeaseLost> {
        match self.send(run, transition).await? {
            None => Ok(()),
            Some(error) => self.refused(&error).await,
        }
    }

    /// Sends one commit until its result is known: `None` when it is written, else the reason for
    /// which it never will be. A fault of the store, as opposed to the commit, is waited out and
    /// costs no attempt.
    async fn send(
        &mut self,
        run: Run,
        transition: Transition,
    ) -> Result<Option<StoreError>, LeaseLost> {
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
        self.held.note_cancel(committed.cancel);
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
    ) -> Result<Result<T, StoreError>, LeaseLost>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let shared = &self.shared;
        let mut wait = RETRY_MIN;
        let mut waiting = None;
        loop {
            match write(shared.store.clone()).await {
                Ok(done) => {
                    if waiting.take().is_some() {
                        shared.note_written();
                    }
                    return Ok(Ok(done));
                }
                Err(StoreError::LeaseLost) => {
                    // The heartbeat counts the losses that it detects.
                    if !self.held.lost.is_cancelled() {
                        shared.metrics.leases_lost.add_one();
                    }
                    return Err(LeaseLost);
                }
                Err(error) if error.is_outage() => {
                    waiting.get_or_insert_with(|| shared.count_waiting_writer());
                    shared.note_trouble(&error);
                    self.pause(shared.jitter.apply(wait)).await?;
                    wait = (wait * 2).min(RETRY_MAX);
                }
                Err(error) => return Ok(Err(error)),
            }
        }
    }

    /// Sends the unsettled commit once. It stays unsettled while the store is away.
    pub(super) async fn try_to_settle(&mut self) -> Result<(), LeaseLost> {
        let Some((run, transition)) = self.unsettled.clone() else {
            return Ok(());
        };
        match self.shared.store.commit(self.lease, transition).await {
            Ok(committed) => {
                self.held.note_cancel(committed.cancel);
                self.run = run;
                self.unsettled = None;
                Ok(())
            }
            Err(StoreError::LeaseLost) => Err(LeaseLost),
            Err(error) => {
                self.shared.note_trouble(&error);
                if !error.is_outage() {
                    // It never will be written: the report is lost, and the step continues.
                    self.unsettled = None;
                }
                Ok(())
            }
        }
    }

    /// Fails the step whose commit the store refused permanently, so that the run does not hang.
    async fn refused(&mut self, error: &StoreError) -> Result<(), LeaseLost> {
        let error = self.masking.mask().message(error.to_string());
        tracing::warn!(run = %self.run.id, %error, "the store refused what the step did");
        let running = self
            .run
            .steps
            .iter()
            .position(|step| step.status == StepStatus::Running);
        let (Some(position), RunStatus::Running) = (running, self.run.head.status) else {
            // There is no step to fail: keep the lease for a moment instead of a tight retry loop.
            self.pause(Duration::from_secs(1)).await?;
            return Err(LeaseLost);
        };
        let mut edit = self.edit();
        self.rule(edit.fail_step(position, &error))?;
        let (run, transition) = self.finish(edit).await;
        self.folder.remove().await;
        if let Some(error) = self.send(run, transition).await? {
            // Refused too. A few heartbeats later the run is resumed as one without a driver.
            let error = self.masking.mask().message(error.to_string());
            tracing::error!(run = %self.run.id, %error, "the store refused the failure too");
        }
        Err(LeaseLost)
    }

    /// Waits, unless the lease is lost first or the worker aborts.
    pub(super) async fn pause(&self, wait: Duration) -> Result<(), LeaseLost> {
        tokio::select! {
            biased;
            () = tokio::time::sleep(wait) => Ok(()),
            () = self.held.lost.cancelled() => Err(LeaseLost),
            () = self.shared.aborted.cancelled() => Err(LeaseLost),
        }
    }

    /// Waits until the lease certainly holds. Required before each handler call, because a process
    /// that was frozen may have lost its leases.
    pub(super) async fn ensure_held(&self) -> Result<(), LeaseLost> {
        let shared = &self.shared;
        let renewed = shared
            .lease_clock
            .wait_until_renewed_within(shared.store.as_ref(), shared.options.lease);
        tokio::select! {
            biased;
            () = self.held.lost.cancelled() => return Err(LeaseLost),
            () = renewed => {}
            () = self.shared.aborted.cancelled() => return Err(LeaseLost),
        }
        // A lease under an earlier id of this worker is lost, even if a delayed answer reported it
        // later.
        if self.lease.worker == self.shared.id() {
            Ok(())
        } else {
            Err(LeaseLost)
        }
    }

    pub(super) fn attempt_token(&self) -> CancellationToken {
        self.held.lost.child_token()
    }
}

/// Returns the deferral of an attempt that was deferred `before` times; `None` if it must not be
/// deferred.
pub(super) fn deferral(shared: &Shared, error: &StepError, before: u32) -> Option<Duration> {
    if !error.unavailable || before >= MAX_DEFERRALS {
        return None;
    }
    let usual = DEFERRAL_MIN
        .saturating_mul(1 << before.min(10))
        .min(DEFERRAL_LIMIT);
    let delay = error
        .retry_after
        .unwrap_or_else(|| shared.jitter.apply(usual));
    Some(delay.min(MAX_DEFERRAL))
}
