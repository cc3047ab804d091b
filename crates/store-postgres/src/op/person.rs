//! Changes by a rule, under the lock of the run's row: a person's cancel, retry and answer, and the
//! interruption of the runs of a lost worker.

use std::collections::HashMap;

use surefoot::state::{CancelMode, Edit, Interruption, RuleError};
use surefoot::{Run, RunId, StoreError, Timestamp};

use super::write::{self, Change};
use crate::args::Args;
use crate::failure::Failure;
use crate::row::{RunRow, Written, steps_of, uuid};
use crate::shared::Shared;
use crate::tx::Tx;

/// Applies one rule to a run and writes the transition. Returns the new run.
pub(crate) async fn edit(
    shared: &Shared,
    id: RunId,
    rule: impl FnOnce(&mut Edit) -> Result<(), RuleError>,
) -> Result<Run, Failure> {
    write_edit(shared, id, |edit, _| {
        edit.run().check_readable()?;
        Ok(rule(edit)?)
    })
    .await
}

/// A person's cancel, which works on unreadable runs too.
pub(crate) async fn cancel(
    shared: &Shared,
    id: RunId,
    mode: CancelMode,
    by: &str,
) -> Result<Run, Failure> {
    let run = write_edit(shared, id, |edit, is_held| {
        Ok(edit.cancel_even_unreadable(mode, by, is_held)?)
    })
    .await?;
    if run.head.status.is_ended() {
        shared.plans.unreadable.forget(id);
    }
    Ok(run)
}

/// Applies `rule`, whose argument says whether a live worker holds the run.
async fn write_edit(
    shared: &Shared,
    id: RunId,
    rule: impl FnOnce(&mut Edit, bool) -> Result<(), StoreError>,
) -> Result<Run, Failure> {
    let mut tx = Tx::begin(shared).await?;
    let now = shared.now();
    match ruled(&mut tx, id, now, rule).await {
        Ok(change) => {
            let changes = [change];
            tx.commit(vec![write::changes(shared, &changes, now)])
                .await?;
            shared.notifier.changed(write::make_work(shared, &changes));
            let [change] = changes;
            Ok(change.run)
        }
        Err(failure) => {
            tx.roll_back().await;
            Err(failure)
        }
    }
}

async fn ruled(
    tx: &mut Tx<'_>,
    id: RunId,
    now: Timestamp,
    rule: impl FnOnce(&mut Edit, bool) -> Result<(), StoreError>,
) -> Result<Change, Failure> {
    let key = uuid(id.as_bytes());
    let sql = tx.sql();
    let calls = vec![
        (sql.lock_run.as_str(), Args::none().with(key)),
        (&sql.steps, Args::none().with_all(vec![key])),
    ];
    let answers = tx.queries(calls).await?;
    let row = answers[0].first().ok_or(StoreError::NoRun(id))?;
    let row = RunRow::read(row)?;
    let plans = tx.shared.plans.get(tx, [row.plan]).await?;
    let steps = steps_of(&answers[1])?.remove(&id).unwrap_or_default();
    let plan = &plans[&row.plan];
    let run = row.whole(&tx.shared.plans, plan, steps);
    let is_held = match run.head.worker {
        None => false,
        Some(_) if run.unreadable.is_none() => true,
        Some(worker) => {
            let args = Args::none().with(uuid(worker.as_bytes()));
            !tx.query((&tx.sql().worker_exists, args)).await?.is_empty()
        }
    };
    let mut edit = Edit::new(run, now);
    rule(&mut edit, is_held)?;
    let (run, transition) = edit.finish();
    let written = Written::of(transition)?;
    if written.is_heavy() {
        let answers = tx.queries(write::questions(tx.shared, &written)).await?;
        write::check(id, &written, &answers)?;
        write::extras(tx, id, &written, now).await?;
    }
    Ok(Change {
        run,
        written,
        rate_at: None,
    })
}

/// Interrupts runs whose rows are locked, because their worker is gone.
pub(super) async fn interrupt(
    tx: &mut Tx<'_>,
    rows: Vec<RunRow>,
    now: Timestamp,
    cause: impl Fn(&RunRow) -> (Interruption, String),
) -> Result<Vec<Change>, Failure> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let plans = tx
        .shared
        .plans
        .get(tx, rows.iter().map(|row| row.plan))
        .await?;
    let ids = rows.iter().map(|row| uuid(row.id.as_bytes())).collect();
    let mut steps: HashMap<_, _> = steps_of(
        &tx.query((&tx.sql().steps, Args::none().with_all(ids)))
            .await?,
    )?;
    let mut changes = Vec::with_capacity(rows.len());
    for row in rows {
        let (cause, reason) = cause(&row);
        let plan = &plans[&row.plan];
        let steps = steps.remove(&row.id).unwrap_or_default();
        let run = row.whole(&tx.shared.plans, plan, steps);
        // It stays as it is, held by no worker, until a build that can read it interrupts it.
        if run.unreadable.is_some() && run.head.cancel != Some(CancelMode::Stop) {
            continue;
        }
        let mut edit = Edit::new(run, now);
        edit.interrupt(cause, &reason)?;
        let (run, transition) = edit.finish();
        changes.push(Change {
            run,
            written: Written::of(transition)?,
            rate_at: None,
        });
    }
    Ok(changes)
}
