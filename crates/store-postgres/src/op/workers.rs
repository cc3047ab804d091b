//! Workers: registration, heartbeats and leases.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use serde_json::json;
use surefoot::state::{CancelMode, Interruption};
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
use crate::pipeline::Call;
use crate::row::{RunRow, clean, get, length, of_runs, optional_word, time, uuid, worker_id};
use crate::shared::Shared;
use crate::tx::Tx;

/// Registers a worker.
pub(crate) async fn register(shared: &Shared, worker: &NewWorker) -> Result<(), Failure> {
    let workflows = worker.workflows.entries();
    let workflows = workflows
        .map(|entries| crate::row::json(&json!(entries)))
        .transpose()?;
    let args = Args::none()
        .with(uuid(worker.id.as_bytes()))
        .with(clean(worker.name.clone()))
        .with(length(worker.lease))
        .with(clean(worker.version.clone()))
        .with(crate::row::json(&json!(*worker.actions))?)
        .with(shared.clock.time_parameter())
        .with(KNOWN_SCHEMA)
        .with(crate::row::json(&json!(*worker.resources))?)
        .with(workflows)
        .with(shared.plans.stored_format());
    if shared
        .query((&shared.sql.insert_worker, args))
        .await?
        .is_empty()
    {
        return Err(StoreError::Unusable(format!(
            "the store's schema no longer works with this surefoot, which knows version {KNOWN_SCHEMA} of it: upgrade it"
        ))
        .into());
    }
    shared.notifier.changed(true);
    Ok(())
}

/// Renews a lease, by the database's clock. It waits for no other operation.
pub(crate) async fn heartbeat(shared: &Shared, worker: WorkerId) -> Result<Heartbeat, Failure> {
    let asked = Instant::now();
    let args = Args::none()
        .with(uuid(worker.as_bytes()))
        .with(shared.clock.time_parameter());
    let rows = shared
        .query_for_heartbeat((&shared.sql.heartbeat, args))
        .await?;
    let Some(first) = rows.first() else {
        return Err(StoreError::LeaseLost.into());
    };
    shared.clock.record(asked, time(first, 0)?);
    let mut heartbeat = Heartbeat::default();
    for row in &rows {
        // A worker without runs still has one row.
        let Some(run) = get::<Option<Uuid>>(row, 1)? else {
            continue;
        };
        let run = RunId::from_bytes(run.into_bytes());
        if !shared.plans.unreadable.has(run) {
            heartbeat.held.push(run);
        }
        heartbeat
            .cancels
            .extend(optional_word::<CancelMode>(row, 2)?.map(|cancel| (run, cancel)));
    }
    Ok(heartbeat)
}

/// Removes a worker that shuts down. Its runs are handed back.
pub(crate) async fn deregister(shared: &Shared, worker: WorkerId) -> Result<(), Failure> {
    end_one(shared, worker, false).await
}

/// Removes a worker whose process has ended.
pub(crate) async fn reclaim_worker(shared: &Shared, worker: WorkerId) -> Result<(), Failure> {
    end_one(shared, worker, true).await
}

async fn end_one(shared: &Shared, worker: WorkerId, crashed: bool) -> Result<(), Failure> {
    let mut tx = Tx::begin(shared).await?;
    let key = uuid(worker.as_bytes());
    let rows = tx
        .query((&shared.sql.lock_worker, Args::none().with(key)))
        .await?;
    let Some(row) = rows.first() else {
        tx.roll_back().await;
        return Ok(());
    };
    let reason = format!(
        "worker {} {}",
        get::<&str>(row, 1)?,
        if crashed { "died" } else { "stopped" }
    );
    let one = || Args::none().with_all(vec![key]);
    let calls = vec![
        (shared.sql.lock_runs_of_workers.as_str(), one()),
        (&shared.sql.count_in_flight, one()),
    ];
    let answers = tx.queries(calls).await?;
    let in_flight = in_flight(&answers[1])?;
    let cause = |row: &RunRow| {
        if crashed {
            crash_of(row, &in_flight)
        } else {
            Interruption::HandedBack
        }
    };
    let now = shared.now();
    let changes = person::interrupt(&mut tx, of_runs(&answers[0])?, now, |row| {
        (cause(row), reason.clone())
    })
    .await?;
    end(tx, &changes, vec![key], now).await
}

/// Removes those of the given workers that have sent no heartbeat since, and reclaims their runs
/// and those of unknown workers.
pub(crate) async fn reclaim(
    shared: &Shared,
    silent: &[LastHeartbeat],
) -> Result<Vec<Run>, Failure> {
    // The clock may have stepped since the last sample: an interrupted run must not wait for a time
    // in the future.
    shared.sample_clock().await?;
    let now = shared.now();
    let mut tx = Tx::begin(shared).await?;
    let workers = silent
        .iter()
        .map(|last| uuid(last.worker.as_bytes()))
        .collect();
    let times = silent.iter().map(|last| last.at.as_micros()).collect();
    let args = Args::none()
        .with_all::<Uuid>(workers)
        .with_all::<i64>(times);
    let dead = tx.query((&shared.sql.lock_silent_workers, args)).await?;
    let names = dead
        .iter()
        .map(worker_name)
        .collect::<Result<HashMap<WorkerId, String>, _>>()?;
    let dead: Vec<Uuid> = names.keys().map(|id| uuid(id.as_bytes())).collect();
    let calls = vec![
        (
            shared.sql.lock_runs_of_workers.as_str(),
            Args::none().with_all(dead.clone()),
        ),
        (&shared.sql.lock_runs_of_unknown_workers, Args::none()),
        (
            &shared.sql.count_in_flight,
            Args::none().with_all(dead.clone()),
        ),
    ];
    let answers = tx.queries(calls).await?;
    let mut held = of_runs(&answers[0])?;
    held.extend(of_runs(&answers[1])?);
    held.sort_unstable_by_key(|row| row.id);
    let in_flight = in_flight(&answers[2])?;
    let reason = |row: &RunRow| match row.head.worker.and_then(|worker| names.get(&worker)) {
        Some(name) => format!("worker {name} died"),
        None => "its worker died".to_owned(),
    };
    let cause = |row: &RunRow| (crash_of(row, &in_flight), reason(row));
    let changes = person::interrupt(&mut tx, held, now, cause).await?;
    end(tx, &changes, dead, now).await?;
    Ok(changes.into_iter().map(|change| change.run).collect())
}

/// Number of runs of each worker that have a step or an undo in flight.
fn in_flight(rows: &[Row]) -> Result<HashMap<WorkerId, u32>, StoreError> {
    let read = |row| {
        Ok((
            worker_id(row, 0)?,
            u32::try_from(get::<i64>(row, 1)?).unwrap_or(u32::MAX),
        ))
    };
    rows.iter().map(read).collect()
}

/// The crash by which a run lost its worker. Other runs of an unknown worker may have been
/// reclaimed before, so none of them was alone.
fn crash_of(row: &RunRow, in_flight: &HashMap<WorkerId, u32>) -> Interruption {
    let known = row.head.worker.and_then(|worker| in_flight.get(&worker));
    Interruption::Crashed {
        in_flight: known.copied().unwrap_or(2),
    }
}

fn worker_name(row: &Row) -> Result<(WorkerId, String), StoreError> {
    Ok((worker_id(row, 0)?, get(row, 1)?))
}

/// Writes the end of workers and the interruption of their runs.
async fn end(
    tx: Tx<'_>,
    changes: &[Change],
    workers: Vec<Uuid>,
    now: Timestamp,
) -> Result<(), Failure> {
    let shared = tx.shared;
    let mut calls = vec![(
        shared.sql.delete_workers.as_str(),
        Args::none().with_all(workers),
    )];
    if !changes.is_empty() {
        calls.push(write::changes(shared, changes, now));
        calls.push(recovered(shared, changes, now));
    }
    tx.commit(calls).await?;
    write::make_work(shared, changes);
    shared.notifier.changed(true);
    Ok(())
}

/// Counts the runs reclaimed from dead workers.
fn recovered<'a>(shared: &'a Shared, changes: &'a [Change], now: Timestamp) -> Call<'a> {
    let mut queues: BTreeMap<&str, i64> = BTreeMap::new();
    for change in changes {
        *queues.entry(change.run.queue()).or_default() += 1;
    }
    let each = queues.len();
    let (queues, counts): (Vec<&str>, Vec<i64>) = queues.into_iter().unzip();
    let args = Args::none()
        .with_all(vec![Span::Minute.beginning(now).as_micros(); each])
        .with_all(queues)
        .with_all(vec![Outcome::Recovered.as_str(); each])
        .with_all(vec![0_i16; each])
        .with_all(counts)
        .with(write::UNBATCHED_WRITER);
    (&shared.sql.add_tallies, args)
}
