//! Undo of a run, last step first. Each step's undo is durable: after a crash another worker
//! continues.

use std::sync::Arc;

use serde_json::Value;
use tokio::task::JoinSet;

use super::attempt::{Attempt, panic_message};
use super::driver::{self, Driver, LeaseLost};
use super::next_step;
use crate::handler::Said;
use crate::state::{Edit, Interruption, RuleError, Undo};
use crate::store::RecordFilter;
use crate::{RecordChange, StepContext, StepError, StepHandler, Undone, cut};

/// End of a step's undo.
enum End {
    Done(Undone),
    Failed(StepError),
    /// The worker stops; another one continues.
    Interrupted,
}

/// Undoes the completed steps of the run and cancels it.
pub(super) async fn undo(driver: &mut Driver) -> Result<(), LeaseLost> {
    let mut edit = driver.edit();
    driver.rule(edit.begin_undo())?;
    while let Some(position) = Edit::next_undo(edit.run()) {
        edit.undo_step(position, Undo::Running, None);
        driver.write(edit).await?;
        let (end, said) = persist(driver, position).await?;
        edit = driver.edit();
        edit.report(position, None, said.lines);
        match end {
            End::Done(undone) => {
                record(&mut edit, position, undone);
                driver.end_isolation();
            }
            End::Failed(error) => {
                if let Some(resource) = driver.lacks(&error) {
                    edit.require(&[resource.to_owned()], &[]);
                    let reason = format!("the undo needs {resource}, which this worker lacks");
                    driver.rule(edit.interrupt(Interruption::HandedBack, &reason))?;
                    return driver.write(edit).await;
                }
                edit.undo_failed(position, &error.chain());
                return driver.write(edit).await;
            }
            End::Interrupted => {
                driver.rule(edit.interrupt(Interruption::HandedBack, "the worker stopped"))?;
                return driver.write(edit).await;
            }
        }
    }
    edit.remove_records(records_of(driver).await?);
    edit.end_undo();
    driver.write(edit).await
}

/// Longest note of an undo, in characters.
const NOTE: usize = 1000;

/// Records what the undo of a step removed or kept.
fn record(edit: &mut Edit, position: usize, undone: Undone) {
    let (undo, note) = match undone {
        Undone::Nothing => (Undo::Done, None),
        Undone::Removed(what) => (Undo::Done, Some(what)),
        Undone::Kept(why) => (Undo::Kept, Some(why)),
    };
    let note = note.map(|note| cut(&note, NOTE));
    edit.undo_step(position, undo, note.as_deref());
}

/// Runs the undo of a step with as many attempts as its retry policy permits.
async fn persist(driver: &Driver, position: usize) -> Result<(End, Said), LeaseLost> {
    let policy = driver.run.plan.steps()[position].retry.clone();
    let mut attempt = 1;
    let mut deferrals = 0;
    let mut said = Said::default();
    loop {
        driver.ensure_held().await?;
        let (end, more) = once(driver, position).await;
        said.lines.extend(more.lines);
        let End::Failed(error) = &end else {
            return Ok((end, said));
        };
        if driver.lacks(error).is_some() {
            return Ok((end, said));
        }
        let delay = if let Some(delay) = driver::deferral(&driver.shared, error, deferrals) {
            said.lines
                .push(format!("undo deferred: waiting for {}", error.chain()));
            deferrals += 1;
            delay
        } else if !error.fatal && attempt < policy.attempts {
            said.lines
                .push(format!("undo failed, trying again: {}", error.chain()));
            attempt += 1;
            policy
                .delay(attempt - 1, driver.shared.jitter.unit())
                .max(error.retry_after.unwrap_or_default())
        } else {
            return Ok((end, said));
        };
        tokio::select! {
            biased;
            () = driver.shared.interrupting.cancelled() => return Ok((End::Interrupted, said)),
            waited = driver.pause(delay) => waited?,
        }
    }
}

async fn once(driver: &Driver, position: usize) -> (End, Said) {
    // If the input cannot be rendered, the handler never ran with one.
    let input =
        next_step::input_of(&driver.run, position, driver.parameters()).unwrap_or(Value::Null);
    let (handler, context, reports, token) = Attempt::of(driver, position, input).into_context();
    let Some(handler) = handler else {
        let action = &driver.run.plan.steps()[position].action;
        let error = StepError::fatal(format!(
            "this worker has no handler for the action {action}"
        ));
        return (End::Failed(error), Said::default());
    };
    let end = run(driver, position, handler, context).await;
    token.cancel();
    (end, reports.take())
}

async fn run(
    driver: &Driver,
    position: usize,
    handler: Arc<dyn StepHandler>,
    context: StepContext,
) -> End {
    let timeout = driver.run.plan.steps()[position].timeout;
    let mut task = JoinSet::new();
    driver
        .shared
        .spawn_handler(&mut task, async move { handler.undo(context).await });
    let timed_out = async {
        match timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        result = task.join_next() => match result {
            Some(Ok(Ok(undone))) => End::Done(undone),
            Some(Ok(Err(error))) => End::Failed(error),
            Some(Err(error)) => End::Failed(StepError::from(panic_message(error))),
            None => End::Interrupted,
        },
        () = timed_out => End::Failed(StepError::from("undo timed out")),
        () = driver.shared.interrupting.cancelled() => End::Interrupted,
        () = driver.held.lost.cancelled() => End::Interrupted,
    }
}

/// Reads the run's records and returns their removal.
async fn records_of(driver: &Driver) -> Result<Vec<RecordChange>, LeaseLost> {
    let filter = RecordFilter {
        run: Some(driver.run.id),
        ..RecordFilter::default()
    };
    loop {
        match driver.shared.store.records(filter.clone()).await {
            Ok(records) => {
                let remove = |record: crate::Record| RecordChange::Remove {
                    kind: record.kind,
                    name: record.name,
                };
                return Ok(records.into_iter().map(remove).collect());
            }
            Err(error) if error.is_outage() => {
                driver.pause(std::time::Duration::from_millis(200)).await?
            }
            Err(error) => return driver.rule(Err(RuleError(error.to_string()))),
        }
    }
}
