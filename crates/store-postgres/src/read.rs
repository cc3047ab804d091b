//! Reads: runs, events, records, contents, queues, workers.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use surefoot::store::{Heartbeats, LastHeartbeat, RecordFilter, RunFilter, WorkerInfo};
use surefoot::{
    AllowList, CHUNK, Digest, Event, QueueInfo, Record, Run, RunId, RunStatus, StoreError, WorkerId,
};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::args::Args;
use crate::failure::Failure;
use crate::row::{
    count, event_rows, get, of_runs, queue_row, record, signed, steps_of, time, uuid, word,
    worker_id,
};
use crate::shared::Shared;
use crate::tx::Tx;

pub(crate) async fn run(shared: &Shared, id: RunId) -> Result<Option<Run>, Failure> {
    let mut tx = Tx::begin_reading(shared).await?;
    let run = load(&mut tx, vec![uuid(id.as_bytes())]).await?.pop();
    tx.roll_back().await;
    Ok(run)
}

pub(crate) async fn runs(shared: &Shared, filter: &RunFilter) -> Result<Vec<Run>, Failure> {
    let Some((mut statement, args)) = listing(shared, filter) else {
        return Ok(Vec::new());
    };
    let mut tx = Tx::begin_reading(shared).await?;
    if is_common(&mut tx, filter).await? {
        statement = in_order(filter, &shared.sql.list_runs_scanning_for_text);
    }
    let rows = tx.query((&statement, args)).await?;
    let ids = rows
        .iter()
        .map(|row| get(row, 0))
        .collect::<Result<Vec<Uuid>, _>>()?;
    let runs = load(&mut tx, ids).await?;
    tx.roll_back().await;
    Ok(runs)
}

/// Runs with their steps, in the order of these ids.
async fn load(tx: &mut Tx<'_>, ids: Vec<Uuid>) -> Result<Vec<Run>, Failure> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let sql = tx.sql();
    let args = || Args::none().with_all(ids.clone());
    let answers = tx
        .queries(vec![(sql.run.as_str(), args()), (&sql.steps, args())])
        .await?;
    let rows = of_runs(&answers[0])?;
    let mut steps = steps_of(&answers[1])?;
    let plans = tx
        .shared
        .plans
        .get(tx, rows.iter().map(|row| row.plan))
        .await?;
    let mut runs = HashMap::new();
    for row in rows {
        let plan = &plans[&row.plan];
        let steps = steps.remove(&row.id).unwrap_or_default();
        runs.insert(
            uuid(row.id.as_bytes()),
            row.whole(&tx.shared.plans, plan, steps),
        );
    }
    Ok(ids.iter().filter_map(|id| runs.remove(id)).collect())
}

/// The statement for the filter; `None` if no run can match.
fn listing<'a>(shared: &'a Shared, filter: &'a RunFilter) -> Option<(Cow<'a, str>, Args<'a>)> {
    let (first, last) = bounds(filter)?;
    if is_impossible(&[&filter.workflow, &filter.queue, &filter.key, &filter.text]) {
        return None;
    }
    let status = filter
        .status
        .or(filter.worker.and(Some(RunStatus::Running)));
    if filter.worker.is_some() && status != Some(RunStatus::Running) {
        return None;
    }
    let args = Args::none()
        .with(status.map(RunStatus::as_str))
        .with(filter.workflow.as_deref())
        .with(filter.queue.as_deref())
        .with(filter.key.as_deref())
        .with(first)
        .with(last)
        .with(filter.worker.as_ref().map(|worker| uuid(worker.as_bytes())))
        .with(i64::try_from(filter.limit).unwrap_or(i64::MAX));
    let args = match filter.failed_since {
        None => args,
        Some(since) => args.with(since.as_micros()),
    };
    let args = match filter.text.as_deref() {
        None if filter.failed_since.is_some() => args
            .with(None::<&str>)
            .with(None::<&str>)
            .with(None::<Uuid>),
        None => args,
        Some(text) => {
            let id = text.parse::<RunId>().ok().map(|id| uuid(id.as_bytes()));
            args.with(text).with(end_of_prefix(text)).with(id)
        }
    };
    Some((in_order(filter, statement(shared, filter, status)), args))
}

/// Reverses the order of a statement that lists the newest first, if the filter wants that.
fn in_order<'a>(filter: &RunFilter, newest_first: &'a str) -> Cow<'a, str> {
    if filter.oldest_first {
        newest_first.replace("DESC LIMIT", "ASC LIMIT").into()
    } else {
        newest_first.into()
    }
}

/// Up to this many runs are fetched and sorted by id within 50 ms.
const COMMON: i64 = 2_000;

/// Returns whether very many runs have the wanted text. A listing by time of failure keeps its own
/// order.
async fn is_common(tx: &mut Tx<'_>, filter: &RunFilter) -> Result<bool, Failure> {
    if filter.failed_since.is_some() {
        return Ok(false);
    }
    let Some(text) = filter.text.as_deref() else {
        return Ok(false);
    };
    let sql = tx.sql();
    let args = Args::none()
        .with(text)
        .with(end_of_prefix(text))
        .with(COMMON);
    let rows = tx.query((&sql.count_runs_with_text, args)).await?;
    let found: i64 = rows
        .first()
        .map(|row| get(row, 0))
        .transpose()?
        .unwrap_or_default();
    Ok(found >= COMMON)
}

/// First and last id of the runs that can match the filter; `None` if there is none in between.
fn bounds(filter: &RunFilter) -> Option<(Uuid, Uuid)> {
    let number = |id: RunId| u128::from_be_bytes(*id.as_bytes());
    let (after_page, before_page) = if filter.oldest_first {
        (filter.before, None)
    } else {
        (None, filter.before)
    };
    let after = after_page.map(|id| number(id).checked_add(1));
    let before = before_page.map(|id| number(id).checked_sub(1));
    let since = filter
        .since
        .map(|since| Some(number(RunId::first_at(since))));
    let until = filter
        .until
        .map(|until| number(RunId::first_at(until)).checked_sub(1));
    let first = after
        .into_iter()
        .chain(since)
        .try_fold(0, |first: u128, one| Some(first.max(one?)))?;
    let last = before
        .into_iter()
        .chain(until)
        .try_fold(u128::MAX, |last: u128, one| Some(last.min(one?)))?;
    (first <= last).then_some((Uuid::from_u128(first), Uuid::from_u128(last)))
}

/// Upper bound of the texts with this prefix. (No key begins with the last Unicode character.)
fn end_of_prefix(text: &str) -> String {
    format!("{text}{}", char::MAX)
}

/// Returns whether one of these texts cannot be in any row: the database would refuse to search for
/// it.
pub(crate) fn is_impossible(texts: &[&Option<String>]) -> bool {
    texts
        .iter()
        .any(|text| text.as_deref().is_some_and(|text| text.contains('\0')))
}

/// A text with a NUL is in no row, so a listing after it equals a listing after its part before the
/// NUL.
pub(crate) fn before_nul(text: &str) -> &str {
    text.split('\0').next().unwrap_or(text)
}

/// The statement whose index has the fewest rows that the filter rejects.
fn statement<'a>(shared: &'a Shared, filter: &RunFilter, status: Option<RunStatus>) -> &'a str {
    let sql = &shared.sql;
    match status {
        _ if filter.failed_since.is_some() => &sql.list_failed_runs,
        _ if filter.text.is_some() => &sql.list_runs_with_text,
        _ if filter.key.is_some() => &sql.list_runs_with_key,
        Some(RunStatus::Running) => &sql.list_running_runs,
        Some(RunStatus::Queued | RunStatus::Waiting) => &sql.list_held_back_runs,
        Some(RunStatus::Failed | RunStatus::Cancelled) => &sql.list_failed_or_cancelled_runs,
        Some(RunStatus::Completed) | None if filter.workflow.is_some() => {
            &sql.list_runs_of_workflow
        }
        Some(RunStatus::Completed) | None if filter.queue.is_some() => &sql.list_runs_of_queue,
        Some(RunStatus::Completed) | None => &sql.list_runs,
    }
}

pub(crate) async fn events(
    shared: &Shared,
    run: RunId,
    after: u64,
    limit: usize,
) -> Result<Vec<Event>, Failure> {
    // Each row has at least one event; the first may have others that are not wanted.
    let rows = i64::try_from(limit).unwrap_or(i64::MAX);
    let args = Args::none()
        .with(uuid(run.as_bytes()))
        .with(signed(after))
        .with(rows);
    let rows = shared.query((&shared.sql.events, args)).await?;
    let mut found = event_rows(&rows)?;
    found.retain(|event| event.seq > after);
    found.truncate(limit);
    Ok(found)
}

pub(crate) async fn records(
    shared: &Shared,
    filter: &RecordFilter,
) -> Result<Vec<Record>, Failure> {
    if is_impossible(&[&filter.kind, &filter.name, &filter.prefix]) {
        return Ok(Vec::new());
    }
    let prefix = filter.prefix.as_deref().filter(|prefix| !prefix.is_empty());
    let args = Args::none()
        .with(filter.kind.as_deref())
        .with(filter.name.as_deref())
        .with(filter.run.as_ref().map(|run| uuid(run.as_bytes())))
        .with(filter.after.as_deref().map(before_nul))
        .with(prefix)
        .with(prefix.map(end_of_prefix))
        .with(
            filter
                .limit
                .map(|limit| i64::try_from(limit).unwrap_or(i64::MAX)),
        );
    let rows = shared.query((&shared.sql.records, args)).await?;
    Ok(rows.iter().map(record).collect::<Result<_, _>>()?)
}

pub(crate) async fn blob_part(
    shared: &Shared,
    digest: Digest,
    offset: u64,
) -> Result<Option<Vec<u8>>, Failure> {
    // The first byte is number 1, and no content has as many bytes as fit the number.
    let first = i32::try_from(offset.saturating_add(1)).unwrap_or(i32::MAX);
    let args = Args::none()
        .with(digest.as_bytes().as_slice())
        .with(first)
        .with(CHUNK as i32);
    let rows = shared.query((&shared.sql.blob_part, args)).await?;
    Ok(rows.first().map(|row| get(row, 0)).transpose()?)
}

pub(crate) async fn queues(shared: &Shared) -> Result<Vec<QueueInfo>, Failure> {
    let mut tx = Tx::begin_reading(shared).await?;
    let sql = tx.sql();
    let answers = tx
        .queries(vec![
            (sql.queue_counts.as_str(), Args::none()),
            (&sql.queues, Args::none()),
        ])
        .await?;
    tx.roll_back().await;
    let counts = answers[0]
        .iter()
        .map(queue_count)
        .collect::<Result<HashMap<_, _>, _>>()?;
    let info = |row: &Row| -> Result<QueueInfo, StoreError> {
        let (name, paused, limits) = queue_row(row)?;
        let count = |status| counts.get(&(name.clone(), status)).copied().unwrap_or(0);
        let queued = count(RunStatus::Queued);
        let waiting = count(RunStatus::Waiting);
        Ok(QueueInfo {
            limits,
            paused,
            queued,
            waiting,
            running: count(RunStatus::Running),
            name,
        })
    };
    Ok(answers[1].iter().map(info).collect::<Result<_, _>>()?)
}

fn queue_count(row: &Row) -> Result<((String, RunStatus), u64), StoreError> {
    Ok(((get(row, 0)?, word(row, 1)?), count(row, 2)?))
}

pub(crate) async fn heartbeats(shared: &Shared) -> Result<Heartbeats, Failure> {
    let rows = shared.query((&shared.sql.heartbeats, Args::none())).await?;
    let mut heartbeats = Heartbeats::default();
    for row in &rows {
        heartbeats.has_orphans = get(row, 0)?;
        // Without any worker there is still one row.
        let Some(worker) = get::<Option<Uuid>>(row, 1)? else {
            continue;
        };
        let worker = WorkerId::from_bytes(worker.into_bytes());
        let lease = Duration::from_micros(count(row, 3)?);
        heartbeats.workers.push(LastHeartbeat {
            worker,
            at: time(row, 2)?,
            lease,
        });
    }
    Ok(heartbeats)
}

pub(crate) async fn workers(shared: &Shared) -> Result<Vec<WorkerInfo>, Failure> {
    let rows = shared
        .query((
            &shared.sql.workers,
            Args::none().with(shared.clock.time_parameter()),
        ))
        .await?;
    let info = |row: &Row| -> Result<WorkerInfo, StoreError> {
        Ok(WorkerInfo {
            id: worker_id(row, 0)?,
            name: get(row, 1)?,
            started_at: time(row, 2)?,
            heartbeat_at: time(row, 3)?,
            expires_at: time(row, 4)?,
            running: count(row, 5)?,
            version: get(row, 6)?,
            actions: Arc::new(serde_json::from_str(get(row, 7)?).unwrap_or_default()),
            resources: Arc::new(serde_json::from_str(get(row, 8)?).unwrap_or_default()),
            workflows: AllowList::stored(
                get::<Option<&str>>(row, 9)?
                    .map(|list| serde_json::from_str(list).unwrap_or_default()),
            ),
            plan_format: u32::try_from(get::<i32>(row, 10)?).unwrap_or_default(),
        })
    };
    Ok(rows.iter().map(info).collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use surefoot::{Client, Store as _, Submit, Workflow};
    use surefoot_scratch_postgres::ScratchPostgres;

    use super::*;
    use crate::PostgresStore;

    /// A prefix that very many runs share is searched in the table, and must give the same result
    /// as the indexes of keys.
    #[tokio::test]
    async fn a_common_text_gives_the_same_runs() {
        let url = ScratchPostgres::shared().fresh_database().unwrap();
        let store = Arc::new(PostgresStore::options(&url).open().await.unwrap());
        let workflow = Arc::new(Workflow::builder("a").step("one", "x").build().unwrap());
        let client = Client::new(store.clone());
        let first = client
            .submit(Submit::new(workflow).key("many-0"))
            .await
            .unwrap()
            .run;
        let copies = format!(
            "WITH copies AS (
                 SELECT n, lpad(to_hex(n), 32, '0')::uuid AS id FROM generate_series(1, {COMMON}) AS n
             ), added AS (
                 INSERT INTO surefoot.runs (id, plan, workflow, queue, key, priority, created_at, parameters, status, progress,
                                            available_at, ready, epoch, event_seq)
                 SELECT c.id, plan, workflow, queue, CASE n % 2 WHEN 0 THEN 'many-' || n ELSE 'other-' || n END, priority,
                        created_at, parameters, status, progress, available_at, ready, epoch, event_seq
                 FROM copies AS c, surefoot.runs
             )
             INSERT INTO surefoot.steps (run, position, id, status) SELECT id, 0, 'one', 'pending' FROM copies"
        );
        store
            .shared
            .query((copies.as_str(), Args::none()))
            .await
            .unwrap();
        let id = |n: u128| RunId::from_bytes(n.to_be_bytes());
        let check = async |text: &str, common: bool, oldest_first: bool, expect: [RunId; 3]| {
            let filter = RunFilter {
                text: Some(text.to_owned()),
                oldest_first,
                limit: 3,
                ..RunFilter::default()
            };
            let mut tx = Tx::begin_reading(&store.shared).await.unwrap();
            assert_eq!(is_common(&mut tx, &filter).await.unwrap(), common, "{text}");
            tx.roll_back().await;
            let found = store.runs(filter).await.unwrap();
            assert_eq!(
                found.iter().map(|run| run.id).collect::<Vec<_>>(),
                expect,
                "{text}"
            );
        };
        let last = COMMON as u128;
        check("many-", false, false, [first.id, id(last), id(last - 2)]).await;
        store
            .shared
            .query(("UPDATE surefoot.runs SET uniq = key", Args::none()))
            .await
            .unwrap();
        check("many-", true, false, [first.id, id(last), id(last - 2)]).await;
        check("many-", true, true, [id(2), id(4), id(6)]).await;
        check(
            "other-",
            true,
            false,
            [id(last - 1), id(last - 3), id(last - 5)],
        )
        .await;
    }
}
