//! A worker's commit: the most frequent write. Without records or a snapshot it is one lookup, one
//! update of the run, one of each changed step, and one row of events.

use rusqlite::{OptionalExtension as _, Row, params};
use surefoot::state::{CancelMode, Head, Lease};
use surefoot::store::Committed;
use surefoot::{RunStatus, StoreError};

use super::write::{self, HeadRow, signed};
use crate::error::Failure;
use crate::row::{Written, count, optional_word};
use crate::sql;
use crate::writer::Tx;

pub(crate) fn commit(
    tx: &mut Tx<'_>,
    lease: Lease,
    written: &Written,
) -> Result<Committed, Failure> {
    let Some(Held {
        event_seq,
        asked,
        queue,
        commits,
    }) = held(tx, lease, &written.head)?
    else {
        return Err(Failure::Refused(StoreError::LeaseLost));
    };
    if commits == written.head.commits {
        // It was written, and its answer was lost.
        return Ok(Committed { cancel: asked });
    }
    write::check(tx, lease.run, written)?;
    let event_seq = write::details(tx, lease.run, event_seq, written)?;
    let head = &written.head;
    if head.status == RunStatus::Running
        && head.worker == Some(lease.worker)
        && head.epoch == lease.epoch
    {
        let mut statement = tx.conn.prepare_cached(sql::ADVANCE_RUN)?;
        statement.execute(params![
            lease.run.as_bytes(),
            head.progress,
            head.error,
            signed(event_seq),
            signed(head.commits)
        ])?;
        return Ok(Committed { cancel: asked });
    }
    let yielded = (written.yields_to_undo && asked == Some(CancelMode::Undo)).then(|| {
        let mut head = head.clone();
        head.yield_to_undo(tx.now);
        head
    });
    let head = yielded.as_ref().unwrap_or(head);
    let cancel = if head.status.is_ended() {
        head.cancel
    } else {
        asked
    };
    let given_back = matches!(head.status, RunStatus::Queued | RunStatus::Waiting);
    let available_at = if given_back && cancel.is_some() {
        Some(tx.now)
    } else {
        head.available_at
    };
    HeadRow {
        run: lease.run,
        queue: queue.as_deref().unwrap_or_default(),
        head,
        cancel,
        available_at,
        event_seq,
        rate_at: None,
    }
    .update(tx)?;
    // Another run may have waited for this one's slot.
    *tx.work |= *tx.backlog;
    Ok(Committed { cancel })
}

/// Facts that a commit needs of its run.
struct Held {
    event_seq: u64,
    /// The requested cancel.
    asked: Option<CancelMode>,
    /// Only for a run that ends, which is counted in its queue.
    queue: Option<String>,
    /// Number of the last commit.
    commits: u64,
}

/// Reads the facts; `None` if the lease is lost, or if the commit does not follow the last.
fn held(tx: &Tx<'_>, lease: Lease, head: &Head) -> rusqlite::Result<Option<Held>> {
    let read = |row: &Row<'_>| {
        let queue = if head.status.is_ended() {
            row.get(2)?
        } else {
            None
        };
        Ok(Held {
            event_seq: count(row, 0)?,
            asked: optional_word(row, 1)?,
            queue,
            commits: count(row, 3)?,
        })
    };
    let mut statement = tx.conn.prepare_cached(sql::HELD_RUN)?;
    let run = lease.run.as_bytes();
    let worker = lease.worker.as_bytes();
    statement
        .query_row(
            params![run, worker, signed(lease.epoch), signed(head.commits)],
            read,
        )
        .optional()
}
