//! Workers: registration, heartbeats and leases.

use rusqlite::{Row, params};
use surefoot::state::{CancelMode, Interruption};
use surefoot::statistics::Outcome;
use surefoot::store::{Heartbeat, LastHeartbeat, NewWorker};
use surefoot::{Run, RunId, StoreError, WorkerId};

use super::person;
use crate::error::Failure;
use crate::row::{entries, json, length, optional_word};
use crate::sql;
use crate::writer::Tx;

/// Registers a worker. With `alone` no other worker can be alive, and those in the table are dead:
/// the lock on the database's inode was just taken, and a process keeps that lock while it has a
/// worker on this file by any path. The system releases it only when that process has ended, and a
/// frozen worker still holds it. A worker whose file was removed or replaced is on another inode:
/// it has no row here, and is refused there.
pub(crate) fn register(tx: &mut Tx<'_>, worker: &NewWorker, alone: bool) -> Result<(), Failure> {
    if alone {
        let dead = read_workers(tx, sql::ALL_WORKERS, &[])?;
        remove_dead(tx, &dead)?;
        let orphans = ids(tx, sql::RUNS_OF_UNKNOWN_WORKERS, &[])?;
        // Other runs of its process may have been reclaimed before: no worker was alone then.
        interrupt(
            tx,
            &orphans,
            Interruption::Crashed { in_flight: 2 },
            "its worker died",
        )?;
    }
    let expires_at = tx.now + worker.lease;
    let actions = json(&serde_json::json!(*worker.actions))?;
    let resources = json(&serde_json::json!(*worker.resources))?;
    tx.conn
        .prepare_cached(sql::INSERT_WORKER)?
        .execute(params![
            worker.id.as_bytes(),
            worker.name,
            length(worker.lease),
            tx.now.as_micros(),
            expires_at.as_micros(),
            worker.version,
            actions,
            resources,
            entries(&worker.workflows)?,
            tx.plans.format,
        ])?;
    *tx.work = true;
    Ok(())
}

pub(crate) fn heartbeat(tx: &mut Tx<'_>, worker: WorkerId) -> Result<Heartbeat, Failure> {
    let renewed = tx
        .conn
        .prepare_cached(sql::HEARTBEAT)?
        .execute(params![worker.as_bytes(), tx.now.as_micros()])?;
    if renewed == 0 {
        return Err(Failure::Refused(StoreError::LeaseLost));
    }
    // Otherwise every heartbeat would refresh every open page.
    *tx.silent_changes += renewed as u64;
    let mut statement = tx.conn.prepare_cached(sql::CANCELS_OF_WORKER)?;
    let decode = |row: &Row<'_>| {
        Ok((
            RunId::from_bytes(row.get(0)?),
            optional_word::<CancelMode>(row, 1)?,
        ))
    };
    let cancels = statement
        .query_map([worker.as_bytes()], decode)?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let cancels = cancels
        .into_iter()
        .filter_map(|(run, cancel)| Some((run, cancel?)))
        .collect();
    let mut held = ids(tx, sql::RUNS_OF_WORKER, &[worker.as_bytes()])?;
    held.retain(|run| !tx.plans.unreadable.has(*run));
    Ok(Heartbeat { cancels, held })
}

/// Removes a worker. Returns whether another one is alive.
pub(crate) fn deregister(tx: &mut Tx<'_>, worker: WorkerId) -> Result<bool, Failure> {
    let workers = read_workers(tx, sql::ALL_WORKERS, &[])?;
    if let Some((id, name)) = workers.iter().find(|(id, _)| *id == worker) {
        end(
            tx,
            *id,
            Interruption::HandedBack,
            &format!("worker {name} stopped"),
        )?;
        *tx.work = true;
    }
    Ok(workers.iter().any(|(id, _)| *id != worker))
}

/// Removes a worker whose process has ended.
pub(crate) fn reclaim_worker(tx: &mut Tx<'_>, worker: WorkerId) -> Result<(), Failure> {
    let workers = read_workers(tx, sql::ALL_WORKERS, &[])?;
    let dead: Vec<_> = workers
        .into_iter()
        .filter(|(id, _)| *id == worker)
        .collect();
    remove_dead(tx, &dead).map(drop)
}

/// Removes those of the given workers that have sent no heartbeat since. Returns the runs that they
/// held.
pub(crate) fn reclaim(tx: &mut Tx<'_>, silent: &[LastHeartbeat]) -> Result<Vec<Run>, Failure> {
    let mut dead = Vec::new();
    for last in silent {
        let mut statement = tx.conn.prepare_cached(sql::SILENT_WORKER)?;
        let rows = statement.query_map(
            params![last.worker.as_bytes(), last.at.as_micros()],
            name_of,
        )?;
        dead.extend(rows.collect::<rusqlite::Result<Vec<_>>>()?);
    }
    let mut runs = remove_dead(tx, &dead)?;
    runs.sort_unstable_by_key(|run| run.id);
    Ok(runs)
}

fn remove_dead(tx: &mut Tx<'_>, dead: &[(WorkerId, String)]) -> Result<Vec<Run>, Failure> {
    let mut runs = Vec::new();
    for (id, name) in dead {
        let mut statement = tx.conn.prepare_cached(sql::COUNT_IN_FLIGHT)?;
        let in_flight = statement.query_row([id.as_bytes()], |row| row.get(0))?;
        drop(statement);
        runs.extend(end(
            tx,
            *id,
            Interruption::Crashed { in_flight },
            &format!("worker {name} died"),
        )?);
        *tx.work = true;
    }
    Ok(runs)
}

fn end(
    tx: &mut Tx<'_>,
    worker: WorkerId,
    cause: Interruption,
    reason: &str,
) -> Result<Vec<Run>, Failure> {
    let held = ids(tx, sql::RUNS_OF_WORKER, &[worker.as_bytes()])?;
    tx.conn
        .prepare_cached(sql::DELETE_WORKER)?
        .execute([worker.as_bytes()])?;
    interrupt(tx, &held, cause, reason)
}

fn interrupt(
    tx: &mut Tx<'_>,
    runs: &[RunId],
    cause: Interruption,
    reason: &str,
) -> Result<Vec<Run>, Failure> {
    let mut interrupted = Vec::with_capacity(runs.len());
    for id in runs {
        let run = person::edit(tx, *id, |edit| edit.interrupt(cause, reason));
        if let Err(Failure::Refused(StoreError::Unreadable { .. })) = run {
            // It stays as it is, held by no worker, until a build that can read it interrupts it.
            continue;
        }
        // The worker's end and the runs before it are written already.
        let run = run.map_err(|failure| Failure::Aborted(failure.into_error()))?;
        tx.ends.add(run.queue(), Outcome::Recovered, None, tx.now);
        interrupted.push(run);
    }
    Ok(interrupted)
}

fn read_workers(
    tx: &Tx<'_>,
    statement: &str,
    parameters: &[i64],
) -> rusqlite::Result<Vec<(WorkerId, String)>> {
    let mut statement = tx.conn.prepare_cached(statement)?;
    let parameters = rusqlite::params_from_iter(parameters);
    let rows = statement.query_map(parameters, name_of)?;
    rows.collect()
}

fn name_of(row: &Row<'_>) -> rusqlite::Result<(WorkerId, String)> {
    Ok((WorkerId::from_bytes(row.get(0)?), row.get(1)?))
}

fn ids(tx: &Tx<'_>, statement: &str, parameters: &[&[u8; 16]]) -> rusqlite::Result<Vec<RunId>> {
    let mut statement = tx.conn.prepare_cached(statement)?;
    let parameters = rusqlite::params_from_iter(parameters);
    let rows = statement.query_map(parameters, |row| Ok(RunId::from_bytes(row.get(0)?)))?;
    rows.collect()
}
