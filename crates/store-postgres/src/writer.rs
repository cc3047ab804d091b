//! Group commit: operations of all tasks go through a channel to a task that writes them.
//!
//! The task takes the operations that have gathered while the previous batch was in flight, and
//! writes them as one statement: one round trip and one wait for the disk for all. So the disk sets
//! the pace and no operation waits for a timer. A batcher carries one kind of operation. It may
//! have several tasks: one batch is prepared while another commits.
//!
//! The checks of an operation are part of the statement, so a refused operation does not affect the
//! others. If the database refuses the whole statement, each operation of the batch is sent once
//! more, alone, so that none fails because of another.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use surefoot::{RunId, StoreError};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::connect::Session;
use crate::failure::Failure;
use crate::shared::Shared;

/// Limit of operations in one batch.
const MAX_BATCH: usize = 256;

/// An operation that is written in batches.
#[async_trait]
pub(crate) trait Batched: Send + Sync + Sized + 'static {
    /// Result of the operation.
    type Outcome: Send + 'static;

    /// Keys that no other operation of its batch may have.
    fn conflict_keys(&self) -> Vec<ConflictKey>;

    /// Writes a batch. Returns the outcome of each operation, in order.
    async fn write(
        target: &BatchTarget<'_>,
        batch: &[&Self],
    ) -> Result<Vec<Self::Outcome>, Failure>;
}

/// The subject of an operation. Two operations on one subject cannot share a batch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ConflictKey {
    Run(RunId),
    Key(String, String),
    Unique(String, String),
}

/// The session and state with which a batch is written.
pub(crate) struct BatchTarget<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) session: &'a Session,
    /// Identifies the rows in which this task counts.
    pub(crate) writer: i32,
}

/// Sends operations to the tasks. They end when this is dropped.
#[derive(Debug)]
pub(crate) struct Batcher<O: Batched> {
    sender: mpsc::UnboundedSender<Pending<O>>,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Pending<O: Batched> {
    operation: O,
    caller: oneshot::Sender<Result<O::Outcome, StoreError>>,
}

impl<O: Batched> Batcher<O> {
    pub(crate) fn start(shared: &Arc<Shared>, tasks: usize) -> Self {
        let (sender, operations) = mpsc::unbounded_channel();
        let operations = Arc::new(Mutex::new(operations));
        let mut running = JoinSet::new();
        for _ in 0..tasks {
            let writer = Uuid::new_v4().as_u64_pair().0 as u32 as i32;
            let task = Task {
                shared: shared.clone(),
                operations: operations.clone(),
                deferred: Vec::new(),
                writer,
            };
            running.spawn(task.run());
        }
        Self {
            sender,
            _tasks: running,
        }
    }

    /// Executes the operation, and waits until it is durable. Once this was polled it takes place,
    /// whether or not the caller waits.
    pub(crate) async fn run(&self, operation: O) -> Result<O::Outcome, StoreError> {
        let gone = || StoreError::Unavailable("the store is being closed".to_owned());
        let (caller, outcome) = oneshot::channel();
        self.sender
            .send(Pending { operation, caller })
            .map_err(|_| gone())?;
        outcome.await.map_err(|_| gone())?
    }
}

struct Task<O: Batched> {
    shared: Arc<Shared>,
    operations: Arc<Mutex<mpsc::UnboundedReceiver<Pending<O>>>>,
    /// Operations that conflict with another one of the batch that they came with.
    deferred: Vec<Pending<O>>,
    writer: i32,
}

impl<O: Batched> Task<O> {
    async fn run(mut self) {
        while let Some(batch) = self.gather().await {
            match self.write_batch(&batch).await {
                Ok(outcomes) => {
                    for (operation, outcome) in batch.into_iter().zip(outcomes) {
                        operation.answer(Ok(outcome));
                    }
                }
                Err(BatchError::Away(error)) => {
                    // The operations behind it would wait as long for the same.
                    let queued = self.drain_queued().await;
                    for operation in batch.into_iter().chain(queued) {
                        operation.answer(Err(error.clone()));
                    }
                }
                Err(BatchError::Refused(error)) if batch.len() == 1 => {
                    for operation in batch {
                        operation.answer(Err(error.clone()));
                    }
                }
                Err(BatchError::Refused(_)) => {
                    self.shared.metrics.rolled_back.add_one();
                    self.one_by_one(batch).await;
                }
            }
        }
    }

    /// The next batch; `None` when the store is closed.
    async fn gather(&mut self) -> Option<Vec<Pending<O>>> {
        let mut all = std::mem::take(&mut self.deferred);
        if all.is_empty() {
            let mut operations = self.operations.lock().await;
            all.push(operations.recv().await?);
            take_more(&mut operations, &mut all, MAX_BATCH);
        } else if let Ok(mut operations) = self.operations.try_lock() {
            // If the lock is taken, another task is waiting for operations, so there are none.
            take_more(&mut operations, &mut all, MAX_BATCH);
        }
        let mut taken = HashSet::new();
        let mut batch = Vec::with_capacity(all.len());
        for one in all {
            let conflict_keys = one.operation.conflict_keys();
            let free = conflict_keys.iter().all(|key| !taken.contains(key));
            taken.extend(conflict_keys);
            if free {
                batch.push(one)
            } else {
                self.deferred.push(one)
            }
        }
        Some(batch)
    }

    async fn drain_queued(&mut self) -> Vec<Pending<O>> {
        let mut queued = std::mem::take(&mut self.deferred);
        // If the lock is taken, another task is waiting for operations, and leaves none behind.
        if let Ok(mut operations) = self.operations.try_lock() {
            take_more(&mut operations, &mut queued, usize::MAX);
        }
        queued
    }

    async fn write_batch(&self, batch: &[Pending<O>]) -> Result<Vec<O::Outcome>, BatchError> {
        let mut session = self
            .shared
            .batch_session()
            .await
            .map_err(BatchError::Away)?;
        // After a timeout the state of the session is unknown, so it is closed.
        session.busy = true;
        let target = BatchTarget {
            shared: &self.shared,
            session: &session,
            writer: self.writer,
        };
        let operations: Vec<&O> = batch.iter().map(|one| &one.operation).collect();
        let began = Instant::now();
        let written =
            tokio::time::timeout(self.shared.timeout(), O::write(&target, &operations)).await;
        match written {
            Ok(Ok(outcomes)) => {
                self.shared.metrics.committed(batch.len(), began.elapsed());
                session.busy = false;
                Ok(outcomes)
            }
            Ok(Err(failure)) => {
                let away = session.is_closed() || !failure.is_of_the_statement();
                session.busy = away;
                let error = failure.into_error();
                Err(if away {
                    BatchError::Away(error)
                } else {
                    BatchError::Refused(error)
                })
            }
            Err(_) => Err(BatchError::Away(self.shared.late())),
        }
    }

    async fn one_by_one(&mut self, batch: Vec<Pending<O>>) {
        let mut away = None;
        for one in batch {
            let done = match &away {
                Some(error) => Err(StoreError::clone(error)),
                None => match self.write_batch(std::slice::from_ref(&one)).await {
                    Ok(mut outcomes) => outcomes
                        .pop()
                        .ok_or_else(|| StoreError::Fault("no outcome".to_owned())),
                    Err(BatchError::Refused(error)) => Err(error),
                    Err(BatchError::Away(error)) => {
                        away = Some(error.clone());
                        Err(error)
                    }
                },
            };
            one.answer(done);
        }
    }
}

/// Takes queued operations, up to `most` in all.
fn take_more<O: Batched>(
    from: &mut mpsc::UnboundedReceiver<Pending<O>>,
    into: &mut Vec<Pending<O>>,
    most: usize,
) {
    while into.len() < most
        && let Ok(next) = from.try_recv()
    {
        into.push(next);
    }
}

impl<O: Batched> Pending<O> {
    fn answer(self, outcome: Result<O::Outcome, StoreError>) {
        // A dropped caller does not need the answer.
        let _gone = self.caller.send(outcome);
    }
}

/// Reason for which a batch was not written.
enum BatchError {
    /// The database is away, which would be the same for each operation alone.
    Away(StoreError),
    /// The database refused the statement, maybe because of one operation.
    Refused(StoreError),
}
