//! A worker's commit: the most frequent write. Without records or a snapshot it is written in a group; with them it is a
//! transaction of its own, for those are checked first, and the step that left them has taken its time.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use surefoot::state::{CancelMode, Lease};
use surefoot::store::Committed;
use surefoot::{RunId, RunStatus, StoreError};
use tokio_postgres::Row;

use super::write;
use crate::args::Args;
use crate::doubts::Token;
use crate::failure::Failure;
use crate::row::{Heads, Steps, Written, get, optional_word, run_id, uuid, word, worker_id};
use crate::shared::Shared;
use crate::tx::Tx;
use crate::writer::{Grouped, Lane, Name, Place};

/// A commit, as it is sent to its lane.
#[derive(Debug)]
pub(crate) struct Commit {
    lease: Lease,
    token: Token,
    written: Arc<Written>,
}

/// Writes what the holder of a lease did. One whose answer gets lost is remembered: it is recognised when it comes again.
pub(crate) async fn commit(
    shared: &Shared,
    lane: &Lane<Commit>,
    lease: Lease,
    written: Written,
) -> Result<Committed, StoreError> {
    let written = Arc::new(written);
    let token = shared.doubts.token(lease, &written);
    let commit = Commit { lease, token, written: written.clone() };
    let committed = if written.is_heavy() {
        shared.retried(|| alone(shared, &commit)).await
    } else {
        lane.run(commit).await.and_then(|outcome| outcome)
    };
    match &committed {
        Err(error) if error.is_retryable() => shared.doubts.keep(lease, written, token),
        _ if token.again => shared.doubts.settle(lease.run),
        _ => {}
    }
    committed
}

#[async_trait]
impl Grouped for Commit {
    type Outcome = Result<Committed, StoreError>;

    fn about(&self) -> Vec<Name> {
        vec![Name::Run(self.lease.run)]
    }

    async fn write(place: &Place<'_>, group: &[&Self]) -> Result<Vec<Self::Outcome>, Failure> {
        let shared = place.shared;
        let (mut heads, mut steps) = (Heads::default(), Steps::default());
        for commit in group {
            heads.add(commit.lease.run, Some((commit.lease, commit.token.value)), &commit.written, None);
            steps.add(commit.lease.run, &commit.written.steps);
        }
        let args = Args::none().with(true).with(shared.now().as_micros()).with(place.writer);
        let args = steps.put(heads.put(args));
        let rows = place.session.query_typed(&shared.sql.write_runs, &args.as_slice()).await?;
        let mut held = cancels(&rows)?;
        let again: Vec<&Self> = group.iter().copied().filter(|commit| commit.is_missed(&held)).collect();
        if !again.is_empty() {
            held.extend(took_place(place, &again).await?);
        }
        let written: Vec<&Self> = group.iter().copied().filter(|commit| held.contains_key(&commit.lease.run)).collect();
        if !written.is_empty() {
            shared.marks.changed(make_work(shared, &written, &held));
        }
        let outcome = |commit: &&Self| match held.get(&commit.lease.run) {
            Some(cancel) => Ok(Committed { cancel: *cancel }),
            None => Err(StoreError::LeaseLost),
        };
        Ok(group.iter().map(outcome).collect())
    }
}

impl Commit {
    /// Whether it was sent before and not written now: it may have been written then.
    fn is_missed(&self, held: &HashMap<RunId, Option<CancelMode>>) -> bool {
        self.token.again && !held.contains_key(&self.lease.run)
    }
}

/// The cancels that were asked for of the runs that are still held.
fn cancels(rows: &[Row]) -> Result<HashMap<RunId, Option<CancelMode>>, StoreError> {
    rows.iter().map(|row| Ok((run_id(row, 0)?, optional_word(row, 1)?))).collect()
}

/// Those of these commits that were written the time before.
async fn took_place(place: &Place<'_>, again: &[&Commit]) -> Result<HashMap<RunId, Option<CancelMode>>, Failure> {
    let runs = again.iter().map(|commit| uuid(commit.lease.run.as_bytes())).collect();
    let tokens = again.iter().map(|commit| commit.token.value).collect();
    let args = Args::none().with_all(runs).with_all::<i64>(tokens);
    Ok(cancels(&place.session.query_typed(&place.shared.sql.token, &args.as_slice()).await?)?)
}

/// Whether there may be work after these: a run was given back, or left a place for which others may wait.
fn make_work(shared: &Shared, written: &[&Commit], held: &HashMap<RunId, Option<CancelMode>>) -> bool {
    let given_back = written.iter().any(|commit| {
        let waits_for_a_person = commit.written.head.available_at.is_none() && held[&commit.lease.run].is_none();
        matches!(commit.written.head.status, RunStatus::Queued | RunStatus::Waiting) && !waits_for_a_person
    });
    if given_back {
        shared.set_backlog(true);
    }
    given_back || shared.has_backlog() && written.iter().any(|commit| commit.written.head.worker.is_none())
}

/// Writes a commit that brings records or a snapshot.
async fn alone(shared: &Shared, commit: &Commit) -> Result<Committed, Failure> {
    let (lease, written) = (commit.lease, &*commit.written);
    let run = Args::none().with(uuid(lease.run.as_bytes()));
    let mut tx = Tx::begin(shared).await?;
    let mut calls = vec![(shared.sql.held_run.as_str(), run)];
    calls.extend(write::questions(shared, written));
    let mut answers = tx.queries(calls).await?;
    let held = answers.remove(0);
    let checked = match standing(held.first(), commit)? {
        Standing::Held => write::check(lease.run, written, &answers),
        Standing::Lost => Err(StoreError::LeaseLost),
        Standing::Done(cancel) => {
            tx.roll_back().await;
            return Ok(Committed { cancel });
        }
    };
    if let Err(error) = checked {
        tx.roll_back().await;
        return Err(error.into());
    }
    let now = shared.now();
    if let Err(failure) = write::extras(&mut tx, lease.run, written, now).await {
        tx.roll_back().await;
        return Err(failure);
    }
    let (mut heads, mut steps) = (Heads::default(), Steps::default());
    heads.add(lease.run, Some((lease, commit.token.value)), written, None);
    steps.add(lease.run, &written.steps);
    let args = Args::none().with(true).with(now.as_micros()).with(write::NOBODY);
    let answers = tx.commit(vec![(&shared.sql.write_runs, steps.put(heads.put(args)))]).await?;
    let held = cancels(answers.first().map_or(&[], Vec::as_slice))?;
    shared.marks.changed(make_work(shared, &[commit], &held));
    Ok(Committed { cancel: held.get(&lease.run).copied().flatten() })
}

/// How a run, whose row is locked, stands to a commit.
enum Standing {
    Held,
    Lost,
    /// The commit took place before, and its answer got lost.
    Done(Option<CancelMode>),
}

fn standing(row: Option<&Row>, commit: &Commit) -> Result<Standing, StoreError> {
    let Some(row) = row else { return Ok(Standing::Lost) };
    if get::<Option<i64>>(row, 3)? == Some(commit.token.value) {
        return Ok(Standing::Done(optional_word(row, 4)?));
    }
    let running = word::<RunStatus>(row, 0)? == RunStatus::Running;
    let held = running
        && worker_id(row, 1)? == commit.lease.worker
        && get::<i64>(row, 2)?.unsigned_abs() == commit.lease.epoch;
    Ok(if held { Standing::Held } else { Standing::Lost })
}
