//! Writes the parts of a transition.

use std::collections::HashSet;

use rusqlite::{OptionalExtension as _, params};
use surefoot::state::{CancelMode, Head};
use surefoot::statistics::Outcome;
use surefoot::{Digest, RunId, Snapshot, StoreError, Timestamp};

use crate::error::{Failure, fault};
use crate::row::{RecordRow, Written, micros};
use crate::sql;
use crate::writer::Tx;

/// Refuses violations of the records or the snapshot before anything is written.
pub(super) fn check(tx: &Tx<'_>, run: RunId, written: &Written) -> Result<(), Failure> {
    check_records(tx, run, &written.records)?;
    written
        .snapshot
        .as_ref()
        .map_or(Ok(()), |snapshot| check_snapshot(tx, snapshot))
}

fn check_records(tx: &Tx<'_>, run: RunId, records: &[RecordRow]) -> Result<(), Failure> {
    for record in records {
        let RecordRow::Put { kind, name, .. } = record else {
            continue;
        };
        let mut statement = tx.conn.prepare_cached(sql::RECORD_OWNER)?;
        let owner = statement
            .query_row([kind, name], |row| row.get(0))
            .optional()?
            .map(RunId::from_bytes);
        if let Some(owner) = owner.filter(|owner| *owner != run) {
            let taken = StoreError::RecordTaken {
                kind: kind.clone(),
                name: name.clone(),
                owner,
            };
            return Err(Failure::Refused(taken));
        }
    }
    Ok(())
}

/// A snapshot's contents must exist when it is written: a step that cannot be restored is not
/// completed.
fn check_snapshot(tx: &Tx<'_>, snapshot: &Snapshot) -> Result<(), Failure> {
    let brought: HashSet<&Digest> = snapshot.contents.iter().map(|(digest, _)| digest).collect();
    for digest in snapshot
        .needs
        .iter()
        .filter(|digest| !brought.contains(digest))
    {
        if !tx
            .conn
            .prepare_cached(sql::BLOB_EXISTS)?
            .exists([digest.as_bytes()])?
        {
            return Err(Failure::Refused(fault(format_args!(
                "a snapshot needs {digest}, which the store does not have"
            ))));
        }
    }
    Ok(())
}

/// Writes the steps, events, records and snapshot; the caller writes the run's own row. Returns the
/// sequence of the last event.
pub(super) fn details(
    tx: &Tx<'_>,
    run: RunId,
    event_seq: u64,
    written: &Written,
) -> Result<u64, Failure> {
    if !written.steps.is_empty() {
        let mut statement = tx.conn.prepare_cached(sql::UPDATE_STEP)?;
        for step in &written.steps {
            if step.update(&mut statement, run)? != 1 {
                return Err(fault(format_args!("run {run} has no such step")).into());
            }
        }
    }
    records(tx, run, &written.records)?;
    if let Some(requires) = &written.requires {
        tx.conn
            .prepare_cached(sql::SET_REQUIRES)?
            .execute(params![run.as_bytes(), requires])?;
    }
    if let Some(snapshot) = &written.snapshot {
        store_snapshot(tx, run, snapshot)?;
    }
    let last = event_seq + written.events.count;
    if written.events.count > 0 {
        let mut statement = tx.conn.prepare_cached(sql::INSERT_EVENTS)?;
        statement.execute(params![
            run.as_bytes(),
            signed(last),
            tx.now.as_micros(),
            written.events.body
        ])?;
    }
    Ok(last)
}

fn records(tx: &Tx<'_>, run: RunId, records: &[RecordRow]) -> rusqlite::Result<()> {
    for record in records {
        match record {
            RecordRow::Put { kind, name, data } => {
                let mut statement = tx.conn.prepare_cached(sql::PUT_RECORD)?;
                statement.execute(params![
                    kind,
                    name,
                    run.as_bytes(),
                    data,
                    tx.now.as_micros()
                ])?;
            }
            RecordRow::Remove { kind, name } => {
                tx.conn
                    .prepare_cached(sql::REMOVE_RECORD)?
                    .execute(params![kind, name, run.as_bytes()])?;
            }
        }
    }
    Ok(())
}

fn store_snapshot(tx: &Tx<'_>, run: RunId, snapshot: &Snapshot) -> rusqlite::Result<()> {
    for (digest, content) in &snapshot.contents {
        tx.conn
            .prepare_cached(sql::INSERT_BLOB)?
            .execute(params![digest.as_bytes(), content])?;
    }
    let mut statement = tx.conn.prepare_cached(sql::INSERT_SNAPSHOT_BLOB)?;
    for digest in &snapshot.needs {
        statement.execute(params![run.as_bytes(), digest.as_bytes()])?;
    }
    Ok(())
}

/// The complete own row of a run.
pub(super) struct HeadRow<'a> {
    pub(super) run: RunId,
    pub(super) queue: &'a str,
    pub(super) head: &'a Head,
    pub(super) cancel: Option<CancelMode>,
    pub(super) available_at: Option<Timestamp>,
    pub(super) event_seq: u64,
    /// Set at a first start that the queue's rate counts.
    pub(super) rate_at: Option<Timestamp>,
}

impl HeadRow<'_> {
    pub(super) fn update(&self, tx: &mut Tx<'_>) -> rusqlite::Result<()> {
        let head = self.head;
        let ready = ready(self.available_at, tx.now);
        if self.available_at.is_some() {
            *tx.work = true;
            *tx.backlog = true;
        }
        let mut statement = tx.conn.prepare_cached(sql::UPDATE_RUN)?;
        let rows = statement.execute(params![
            self.run.as_bytes(),
            head.status.as_str(),
            head.progress,
            head.error,
            micros(head.started_at),
            micros(head.completed_at),
            micros(self.available_at),
            ready,
            head.worker.as_ref().map(|worker| worker.as_bytes()),
            signed(head.epoch),
            self.cancel.map(CancelMode::as_str),
            signed(self.event_seq),
            micros(self.rate_at),
            signed(head.commits),
        ])?;
        if let (Some(outcome), Some(end)) = (Outcome::of(head.status), head.completed_at) {
            tx.ends.add(self.queue, outcome, head.started_at, end);
        }
        if rows == 1 {
            Ok(())
        } else {
            Err(rusqlite::Error::StatementChangedRows(rows))
        }
    }
}

/// See the column `ready`.
pub(super) fn ready(available_at: Option<Timestamp>, now: Timestamp) -> Option<bool> {
    available_at.map(|at| at <= now)
}

/// Counters from 0 fit SQLite's signed integers for longer than any run lives.
pub(super) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
