//! Changes by a rule, on the writer's thread: a person's cancel, retry and answer, and the
//! interruption of the runs of a lost worker.

use surefoot::state::{CancelMode, Edit, RuleError};
use surefoot::{Run, RunId, StoreError, Timestamp};

use super::write::{self, HeadRow};
use crate::error::Failure;
use crate::row::{Written, load_run};
use crate::sql;
use crate::writer::Tx;

/// Applies one rule to a run and writes the transition. Returns the new run.
pub(crate) fn edit(
    tx: &mut Tx<'_>,
    id: RunId,
    rule: impl FnOnce(&mut Edit) -> Result<(), RuleError>,
) -> Result<Run, Failure> {
    edit_start(tx, id, None, rule)
}

/// The same, for a rule that may start a run for the first time, which the queue's rate counts at
/// `rate_at`.
pub(super) fn edit_start(
    tx: &mut Tx<'_>,
    id: RunId,
    rate_at: Option<Timestamp>,
    rule: impl FnOnce(&mut Edit) -> Result<(), RuleError>,
) -> Result<Run, Failure> {
    let (run, event_seq) = load(tx, id)?;
    run.check_readable().map_err(Failure::Refused)?;
    write_edit(tx, run, event_seq, rate_at, rule)
}

/// A person's cancel, which works on unreadable runs too.
pub(crate) fn cancel(
    tx: &mut Tx<'_>,
    id: RunId,
    mode: CancelMode,
    by: &str,
) -> Result<Run, Failure> {
    let (run, event_seq) = load(tx, id)?;
    let held = match run.head.worker {
        Some(worker) => tx
            .conn
            .prepare_cached(sql::WORKER_EXISTS)?
            .exists([worker.as_bytes()])?,
        None => false,
    };
    let run = write_edit(tx, run, event_seq, None, |edit| {
        edit.cancel_even_unreadable(mode, by, held)
    })?;
    if run.head.status.is_ended() {
        tx.plans.unreadable.forget(id);
    }
    Ok(run)
}

fn load(tx: &Tx<'_>, id: RunId) -> Result<(Run, u64), Failure> {
    load_run(tx.conn, tx.plans, id)?.ok_or(Failure::Refused(StoreError::NoRun(id)))
}

fn write_edit(
    tx: &mut Tx<'_>,
    run: Run,
    event_seq: u64,
    rate_at: Option<Timestamp>,
    rule: impl FnOnce(&mut Edit) -> Result<(), RuleError>,
) -> Result<Run, Failure> {
    let id = run.id;
    let mut edit = Edit::new(run, tx.now);
    rule(&mut edit)?;
    let (run, transition) = edit.finish();
    let written = Written::of(transition)?;
    write::check(tx, id, &written)?;
    let event_seq = write::details(tx, id, event_seq, &written)?;
    let head = &written.head;
    let queue = run.queue();
    HeadRow {
        run: id,
        queue,
        head,
        cancel: head.cancel,
        available_at: head.available_at,
        event_seq,
        rate_at,
    }
    .update(tx)?;
    *tx.work |= head.cancel.is_some() || *tx.backlog && head.status.is_ended();
    Ok(run)
}
