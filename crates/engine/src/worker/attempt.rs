//! An attempt of a step: runs the handler in its own task, commits its reports, and ends it on a
//! timeout, cancel, shutdown or lost lease.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::driver::Driver;
use crate::handler::{Inner, Note, Outcome, Reports, Said};
use crate::{Run, StepContext, StepError, StepHandler};

/// Interval over which reports of a handler are collected before they are written.
const COALESCE: Duration = Duration::from_millis(100);

/// Time limit for a handler whose future is dropped to return its thread.
const ABANDON_AFTER: Duration = Duration::from_secs(2);

/// End of an attempt.
pub(super) enum End {
    /// The handler returned.
    Done(Outcome),
    /// The handler failed, panicked or ran out of time.
    Failed(StepError),
    /// A person cancelled the run.
    Cancelled,
    /// The worker stops and the grace period is over.
    Interrupted,
    /// This worker no longer holds the lease.
    Lost,
}

/// Event that the attempt's loop handles.
enum Event {
    Returned(Option<Result<Result<Outcome, StepError>, JoinError>>),
    Said,
    Noted(Note),
    TimedOut,
    Cancelled,
    Interrupted,
    Lost,
}

pub(super) struct Attempt {
    position: usize,
    handler: Option<Arc<dyn StepHandler>>,
    context: StepContext,
    reports: Reports,
    notes: mpsc::Receiver<Note>,
    token: CancellationToken,
}

impl Attempt {
    pub(super) fn of(driver: &Driver, position: usize, input: Value) -> Self {
        let reports = Reports::default();
        let (sender, notes) = mpsc::channel(1);
        let token = driver.attempt_token();
        let context = StepContext(Arc::new(Inner {
            run: Arc::new(Run {
                parameters: driver.parameters().clone(),
                ..driver.run.clone()
            }),
            position,
            input,
            reports: reports.clone(),
            notes: sender,
            cancellation: token.clone(),
            resources: driver.shared.options.resources.clone(),
            credentials: driver.shared.options.credentials.clone(),
            mask: driver.masking.mask().clone(),
            workspace: driver.folder.at(driver.run.snapshot_before(position)),
        }));
        let action = &driver.run.plan.steps()[position].action;
        let handler = driver.shared.handlers.get(action).cloned();
        Self {
            position,
            handler,
            context,
            reports,
            notes,
            token,
        }
    }

    /// Takes the parts that a handler's `undo` needs.
    pub(super) fn into_context(
        self,
    ) -> (
        Option<Arc<dyn StepHandler>>,
        StepContext,
        Reports,
        CancellationToken,
    ) {
        (self.handler, self.context, self.reports, self.token)
    }

    /// Runs the handler to its end. Returns that end and the reports that are not yet written.
    pub(super) async fn run(mut self, driver: &mut Driver) -> (End, Said) {
        let Some(handler) = self.handler.take() else {
            let action = &driver.run.plan.steps()[self.position].action;
            let error = StepError::fatal(format!(
                "this worker has no handler for the action {action}"
            ));
            return (End::Failed(error), Said::default());
        };
        let context = self.context.clone();
        let mut task = JoinSet::new();
        driver
            .shared
            .spawn_handler(&mut task, async move { handler.run(context).await });
        let end = self.follow(driver, &mut task).await;
        (end, self.reports.take())
    }

    async fn follow(
        &mut self,
        driver: &mut Driver,
        task: &mut JoinSet<Result<Outcome, StepError>>,
    ) -> End {
        let timeout = driver.run.plan.steps()[self.position].timeout;
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        let mut write_at = Instant::now();
        loop {
            match self.next(driver, task, deadline, write_at).await {
                Event::Returned(result) => return returned(result),
                Event::Said => {
                    if unless_lost(&driver.held.lost.clone(), self.write_said(driver))
                        .await
                        .is_err()
                    {
                        return End::Lost;
                    }
                    write_at = Instant::now() + COALESCE;
                }
                Event::Noted(note) => {
                    if unless_lost(&driver.held.lost.clone(), self.write_note(driver, note))
                        .await
                        .is_err()
                    {
                        return End::Lost;
                    }
                }
                Event::TimedOut => {
                    self.end(driver, task).await;
                    let limit = crate::format_duration(timeout.unwrap_or_default());
                    return End::Failed(StepError::from(format!("timed out after {limit}")));
                }
                Event::Cancelled => {
                    self.end(driver, task).await;
                    return End::Cancelled;
                }
                // A handler that returns within its grace period was not interrupted.
                Event::Interrupted => {
                    return match self.end(driver, task).await {
                        Some(Ok(outcome)) => done(outcome),
                        _ => End::Interrupted,
                    };
                }
                Event::Lost => return End::Lost,
            }
        }
    }

    async fn next(
        &mut self,
        driver: &Driver,
        task: &mut JoinSet<Result<Outcome, StepError>>,
        deadline: Option<Instant>,
        write_at: Instant,
    ) -> Event {
        let mut cancel = driver.held.cancel.subscribe();
        let cancelled = async {
            // The sender lives as long as the driver, so this cannot fail.
            let _ = cancel.wait_for(Option::is_some).await;
        };
        let said = async {
            if driver.unsettled.is_none() {
                self.reports.said_something().await;
            }
            tokio::time::sleep_until(write_at).await;
        };
        let timed_out = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = driver.held.lost.cancelled() => Event::Lost,
            result = task.join_next() => Event::Returned(result),
            Some(note) = self.notes.recv() => Event::Noted(note),
            () = cancelled => Event::Cancelled,
            () = driver.shared.interrupting.cancelled() => Event::Interrupted,
            () = timed_out => Event::TimedOut,
            () = said => Event::Said,
        }
    }

    /// Cancels the handler, waits for the grace period, and drops it. Returns its result if it
    /// returned in time.
    async fn end(
        &self,
        driver: &Driver,
        task: &mut JoinSet<Result<Outcome, StepError>>,
    ) -> Option<Result<Outcome, StepError>> {
        self.token.cancel();
        let result = tokio::select! {
            biased;
            result = task.join_next() => result,
            () = tokio::time::sleep(driver.shared.options.handler_grace) => None,
            () = driver.shared.aborted.cancelled() => None,
            () = driver.held.lost.cancelled() => None,
        };
        task.abort_all();
        // A handler that blocks its thread cannot be dropped. It keeps the thread, but it delays
        // neither the run nor the worker's shutdown.
        let dropped = tokio::time::timeout(ABANDON_AFTER, async {
            while task.join_next().await.is_some() {}
        })
        .await;
        if dropped.is_err() {
            tracing::error!(run = %driver.run.id, "a handler blocks its thread and was abandoned");
        }
        result.and_then(Result::ok)
    }

    /// Tries to write progress and log lines. While the store is away the write is retried, and
    /// later reports are collected.
    async fn write_said(&self, driver: &mut Driver) -> Result<(), ()> {
        if driver.unsettled.is_none() {
            let said = self.reports.take();
            if said.progress.is_none() && said.lines.is_empty() {
                return Ok(());
            }
            let mut edit = driver.edit();
            edit.report(self.position, said.progress, said.lines);
            driver.unsettled = Some(driver.finish(edit).await);
        }
        driver.try_to_settle().await.map_err(|_| ())
    }

    /// Commits a checkpoint together with the reports made before it.
    async fn write_note(&self, driver: &mut Driver, note: Note) -> Result<(), ()> {
        let said = self.reports.take();
        let mut edit = driver.edit();
        edit.report(self.position, said.progress, said.lines);
        driver
            .rule(edit.checkpoint(self.position, note.checkpoint))
            .map_err(|_| ())?;
        driver.write(edit).await.map_err(|_| ())?;
        // The receiver is gone if the handler was dropped meanwhile; the checkpoint is written
        // anyway.
        let _ = note.done.send(());
        Ok(())
    }
}

/// Waits for a write while the handler runs, unless the lease is lost first.
///
/// A slow store must not keep a handler running whose lease is lost; the write would be refused.
async fn unless_lost(
    lost: &CancellationToken,
    write: impl Future<Output = Result<(), ()>>,
) -> Result<(), ()> {
    tokio::select! {
        biased;
        () = lost.cancelled() => Err(()),
        written = write => written,
    }
}

fn returned(result: Option<Result<Result<Outcome, StepError>, JoinError>>) -> End {
    match result {
        Some(Ok(Ok(outcome))) => done(outcome),
        Some(Ok(Err(error))) => End::Failed(error),
        Some(Err(error)) => End::Failed(StepError::from(panic_message(error))),
        None => End::Lost,
    }
}

fn done(outcome: Outcome) -> End {
    match outcome.check() {
        Ok(()) => End::Done(outcome),
        Err(error) => End::Failed(error),
    }
}

pub(super) fn panic_message(error: JoinError) -> String {
    match error.try_into_panic() {
        Ok(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            format!(
                "the handler panicked: {}",
                text.unwrap_or_else(|| "no message".to_owned())
            )
        }
        Err(error) => format!("the handler was ended: {error}"),
    }
}
