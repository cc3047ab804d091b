//! A worker's commit: the most frequent write. Without records or a snapshot it is written in a
//! batch. With them it is a transaction of its own, because they are checked first, and their step
//! took its time anyway.

use std::collections::HashMap;
use std::time::Instant;

use async_trait::async_trait;
use surefoot::state::{CancelMode, Lease};
use surefoot::store::Committed;
use surefoot::{RunId, RunStatus, StoreError};
use tokio_postgres::Row;

use super::write;
use crate::args::Args;
use crate::failure::Failure;
use crate::row::{
    Heads, Steps, Written, count, optional_word, run_id, signed, uuid, word, worker_id,
};
use crate::shared::Shared;
use crate::tx::Tx;
use crate::writer::{BatchTarget, Batched, Batcher, ConflictKey};

/// A commit for the batcher.
#[derive(Debug)]
pub(crate) struct Commit {
    lease: Lease,
    written: Written,
}

/// Writes the changes of a lease holder.
pub(crate) async fn commit(
    shared: &Shared,
    batcher: &Batcher<Commit>,
    lease: Lease,
    written: Written,
) -> Result<Committed, StoreError> {
    let commit = Commit { lease, written };
    if commit.written.is_heavy() {
        let begun = Instant::now();
        let done = shared.retried(|| write_alone(shared, &commit)).await;
        if done.is_ok() {
            shared.metrics.committed(1, begun.elapsed());
        }
        done
    } else {
        batcher.run(commit).await.and_then(|outcome| outcome)
    }
}

#[async_trait]
impl Batched for Commit {
    type Outcome = Result<Committed, StoreError>;

    fn conflict_keys(&self) -> Vec<ConflictKey> {
        vec![ConflictKey::Run(self.lease.run)]
    }

    async fn write(
        target: &BatchTarget<'_>,
        batch: &[&Self],
    ) -> Result<Vec<Self::Outcome>, Failure> {
        let shared = target.shared;
        let mut heads = Heads::default();
        let mut steps = Steps::default();
        for commit in batch {
            heads.add(commit.lease.run, Some(commit.lease), &commit.written, None);
            steps.add(commit.lease.run, &commit.written.steps);
        }
        let args = Args::none()
            .with(true)
            .with(shared.now().as_micros())
            .with(target.writer);
        let args = steps.put(heads.put(args));
        let rows = target.session.rows((&shared.sql.write_runs, args)).await?;
        let mut held = cancels(&rows)?;
        let is_held = |commit: &&Self| held.contains_key(&commit.lease.run);
        let (written, others): (Vec<&Self>, Vec<&Self>) = batch.iter().copied().partition(is_held);
        if !others.is_empty() {
            held.extend(written_commits(target, &others).await?);
        }
        if !written.is_empty() {
            shared.notifier.changed(make_work(shared, &written, &held));
        }
        let outcome = |commit: &&Self| match held.get(&commit.lease.run) {
            Some(cancel) => Ok(Committed { cancel: *cancel }),
            None => Err(StoreError::LeaseLost),
        };
        Ok(batch.iter().map(outcome).collect())
    }
}

/// Requested cancels of the runs that are still held.
fn cancels(rows: &[Row]) -> Result<HashMap<RunId, Option<CancelMode>>, StoreError> {
    rows.iter()
        .map(|row| Ok((run_id(row, 0)?, optional_word(row, 1)?)))
        .collect()
}

/// The given commits that were written before, and whose answers were lost.
async fn written_commits(
    target: &BatchTarget<'_>,
    commits: &[&Commit],
) -> Result<HashMap<RunId, Option<CancelMode>>, Failure> {
    let runs = commits
        .iter()
        .map(|commit| uuid(commit.lease.run.as_bytes()))
        .collect();
    let epochs = commits
        .iter()
        .map(|commit| signed(commit.lease.epoch))
        .collect();
    let numbers = commits
        .iter()
        .map(|commit| signed(commit.written.head.commits))
        .collect();
    let args = Args::none()
        .with_all(runs)
        .with_all::<i64>(epochs)
        .with_all::<i64>(numbers);
    Ok(cancels(
        &target
            .session
            .rows((&target.shared.sql.written_commits, args))
            .await?,
    )?)
}

/// Returns whether there may be work afterwards: a run was handed back, or freed a slot that others
/// may wait for.
fn make_work(
    shared: &Shared,
    written: &[&Commit],
    held: &HashMap<RunId, Option<CancelMode>>,
) -> bool {
    let given_back = written.iter().any(|commit| {
        let yielded =
            commit.written.yields_to_undo && held[&commit.lease.run] == Some(CancelMode::Undo);
        let waits_for_a_person =
            commit.written.head.available_at.is_none() && held[&commit.lease.run].is_none();
        let waits = matches!(
            commit.written.head.status,
            RunStatus::Queued | RunStatus::Waiting
        );
        yielded || waits && !waits_for_a_person
    });
    if given_back {
        shared.set_backlog(true);
    }
    given_back
        || shared.has_backlog()
            && written
                .iter()
                .any(|commit| commit.written.head.worker.is_none())
}

/// Writes a commit with records or a snapshot.
async fn write_alone(shared: &Shared, commit: &Commit) -> Result<Committed, Failure> {
    let lease = commit.lease;
    let written = &commit.written;
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
    let mut heads = Heads::default();
    let mut steps = Steps::default();
    heads.add(lease.run, Some(lease), written, None);
    steps.add(lease.run, &written.steps);
    let args = Args::none()
        .with(true)
        .with(now.as_micros())
        .with(write::UNBATCHED_WRITER);
    let answers = tx
        .commit(vec![(&shared.sql.write_runs, steps.put(heads.put(args)))])
        .await?;
    let held = cancels(answers.first().map_or(&[], Vec::as_slice))?;
    shared.notifier.changed(make_work(shared, &[commit], &held));
    Ok(Committed {
        cancel: held.get(&lease.run).copied().flatten(),
    })
}

/// State of a run, whose row is locked, relative to a commit.
enum Standing {
    Held,
    Lost,
    /// The commit was written before, and its answer was lost.
    Done(Option<CancelMode>),
}

fn standing(row: Option<&Row>, commit: &Commit) -> Result<Standing, StoreError> {
    let Some(row) = row else {
        return Ok(Standing::Lost);
    };
    let epoch = count(row, 2)?;
    let last = count(row, 3)?;
    let lease = commit.lease;
    let number = commit.written.head.commits;
    if epoch == lease.epoch && last == number {
        return Ok(Standing::Done(optional_word(row, 4)?));
    }
    let held = word::<RunStatus>(row, 0)? == RunStatus::Running
        && worker_id(row, 1)? == lease.worker
        && epoch == lease.epoch
        && last + 1 == number;
    Ok(if held { Standing::Held } else { Standing::Lost })
}
