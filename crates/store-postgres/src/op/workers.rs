//! Workers: their lives and their leases.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use serde_json::json;
use surefoot::state::CancelMode;
use surefoot::statistics::{Outcome, Span};
use surefoot::store::{Heartbeat, LastHeartbeat, NewWorker};
use surefoot::{Run, RunId, StoreError, Timestamp, WorkerId};
use tokio_postgres::Row;
use uuid::Uuid;

use super::person;
use super::write::{self, Change};
use crate::args::Args;
use crate::connect::KNOWN_SCHEMA;
use crate::failure::Failure;
use crate::pipe::Call;
use crate::row::{RunRow, clean, get, length, of_runs, optional_word, time, uuid, worker_id};
use crate::shared::Shared;
use crate::tx::Tx;

/// Makes a worker known.
pub(crate) async fn register(shared: &Shared, worker: &NewWorker) -> Result<(), Failure> {
    let args = Args::none()
        .with(uuid(worker.id.as_bytes()))
        .with(clean(worker.name.clone()))
        .with(length(worker.lease))
        .with(clean(worker.version.clone()))
        .with(crate::row::json(&json!(*worker.actions))?)
        .with(shared.clock.told())
        .with(KNOWN_SCHEMA)
        .with(crate::row::json(&json!(*worker.resources))?);
    if shared.query((&shared.sql.insert_worker, args)).await?.is_empty() {
        return Err(StoreError::Unusable(format!(
            "the store's schema no longer works with this surefoot, which knows version {KNOWN_SCHEMA} of it: upgrade it"
        ))
        .into());
    }
    shared.marks.changed(true);
    Ok(())
}

/// Renews a lease, by the database's clock. It waits for no other operation.
pub(crate) async fn heartbeat(shared: &Shared, worker: WorkerId) -> Result<Heartbeat, Failure> {
    let asked = Instant::now();
    let args = Args::none().with(uuid(worker.as_bytes())).with(shared.clock.told());
    let rows = shared.beat((&shared.sql.heartbeat, args)).await?;
    let Some(first) = rows.first() else { return Err(StoreError::LeaseLost.into()) };
    shared.clock.saw(asked, time(first, 0)?);
    let mut heartbeat = Heartbeat::default();
    for row in &rows {
        // A worker that holds nothing has one row all the same.
        let Some(run) = get::<Option<Uuid>>(row, 1)? else { continue };
        let run = RunId::from_bytes(run.into_bytes());
        if !shared.plans.unreadable.has(run) {
            heartbeat.held.push(run);
        }
        heartbeat.cancels.extend(optional_word::<CancelMode>(row, 2)?.map(|cancel| (run, cancel)));
    }
    Ok(heartbeat)
}

/// Ends a worker's life. What it holds still is interrupted.
pub(crate) async fn deregister(shared: &Shared, worker: WorkerId) -> Result<(), Failure> {
    let mut tx = Tx::begin(shared).await?;
    let key = uuid(worker.as_bytes());
    let rows = tx.query((&shared.sql.lock_worker, Args::none().with(key))).await?;
    let Some(row) = rows.first() else {
        tx.roll_back().await;
        return Ok(());
    };
    let reason = format!("worker {} stopped", get::<&str>(row, 1)?);
    let held = tx.query((&shared.sql.lock_runs_of_workers, Args::none().with_all(vec![key]))).await?;
    let now = shared.now();
    let changes = person::interrupt(&mut tx, of_runs(&held)?, now, |_| reason.clone()).await?;
    end(tx, &changes, vec![key], now).await
}

/// Ends those of these workers that have sent no heartbeat since, and takes the runs that they held, and those of workers of
/// which nothing is known.
pub(crate) async fn reclaim(shared: &Shared, silent: &[LastHeartbeat]) -> Result<Vec<Run>, Failure> {
    // The clock may have stepped since it was last seen: a run that is interrupted waits for no time that is to come.
    shared.look_at_clock().await?;
    let now = shared.now();
    let mut tx = Tx::begin(shared).await?;
    let workers = silent.iter().map(|last| uuid(last.worker.as_bytes())).collect();
    let times = silent.iter().map(|last| last.at.as_micros()).collect();
    let args = Args::none().with_all::<Uuid>(workers).with_all::<i64>(times);
    let dead = tx.query((&shared.sql.lock_silent_workers, args)).await?;
    let names = dead.iter().map(named).collect::<Result<HashMap<WorkerId, String>, _>>()?;
    let dead: Vec<Uuid> = names.keys().map(|id| uuid(id.as_bytes())).collect();
    let calls = vec![
        (shared.sql.lock_runs_of_workers.as_str(), Args::none().with_all(dead.clone())),
        (&shared.sql.lock_runs_of_nobody, Args::none()),
    ];
    let answers = tx.queries(calls).await?;
    let mut held = of_runs(&answers[0])?;
    held.extend(of_runs(&answers[1])?);
    held.sort_unstable_by_key(|row| row.id);
    let reason = |row: &RunRow| match row.head.worker.and_then(|worker| names.get(&worker)) {
        Some(name) => format!("worker {name} died"),
        None => "its worker died".to_owned(),
    };
    let changes = person::interrupt(&mut tx, held, now, reason).await?;
    end(tx, &changes, dead, now).await?;
    Ok(changes.into_iter().map(|change| change.run).collect())
}

fn named(row: &Row) -> Result<(WorkerId, String), StoreError> {
    Ok((worker_id(row, 0)?, get(row, 1)?))
}

/// Writes the end of workers and what becomes of their runs.
async fn end(tx: Tx<'_>, changes: &[Change], workers: Vec<Uuid>, now: Timestamp) -> Result<(), Failure> {
    let shared = tx.shared;
    let mut calls = vec![(shared.sql.delete_workers.as_str(), Args::none().with_all(workers))];
    if !changes.is_empty() {
        calls.push(write::changes(shared, changes, now));
        calls.push(recovered(shared, changes, now));
    }
    tx.commit(calls).await?;
    write::make_work(shared, changes);
    shared.marks.changed(true);
    Ok(())
}

/// Counts the runs that were taken from the dead.
fn recovered<'a>(shared: &'a Shared, changes: &'a [Change], now: Timestamp) -> Call<'a> {
    let mut queues: BTreeMap<&str, i64> = BTreeMap::new();
    changes.iter().for_each(|change| *queues.entry(change.run.queue()).or_default() += 1);
    let each = queues.len();
    let (queues, counts): (Vec<&str>, Vec<i64>) = queues.into_iter().unzip();
    let args = Args::none()
        .with_all(vec![Span::Minute.beginning(now).as_micros(); each])
        .with_all(queues)
        .with_all(vec![Outcome::Recovered.as_str(); each])
        .with_all(vec![0_i16; each])
        .with_all(counts)
        .with(write::NOBODY);
    (&shared.sql.add_tallies, args)
}
