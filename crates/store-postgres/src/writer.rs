//! Group commit: operations of all tasks come through a channel to a task that writes them.
//!
//! It takes what has gathered while the group before was under way, and writes it as one statement: one round trip and one
//! wait for the disk for all. So the disk sets the pace and nobody waits for a timer. A lane carries one kind of operation.
//! It may have several tasks: one group is made ready while another commits.
//!
//! What an operation has to check is in the statement, so one that is refused harms no other. When the database refuses
//! the whole statement, each operation of the group is sent once more, alone: none fails for its neighbour's sake.

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

/// Operations in one group at most.
const GROUP: usize = 256;

/// An operation that is written in groups.
#[async_trait]
pub(crate) trait Grouped: Send + Sync + Sized + 'static {
    /// What became of it.
    type Outcome: Send + 'static;

    /// What no other operation of its group may be about.
    fn about(&self) -> Vec<Name>;

    /// Writes a group. What became of each, in order.
    async fn write(place: &Place<'_>, group: &[&Self]) -> Result<Vec<Self::Outcome>, Failure>;
}

/// What an operation is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Name {
    Run(RunId),
    Key(String, String),
    Unique(String, String),
}

/// Where a group is written.
pub(crate) struct Place<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) session: &'a Session,
    /// Names the rows in which this task counts.
    pub(crate) writer: i32,
}

/// Sends operations to the tasks. They end when this is dropped.
#[derive(Debug)]
pub(crate) struct Lane<O: Grouped> {
    sender: mpsc::UnboundedSender<Pending<O>>,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Pending<O: Grouped> {
    operation: O,
    caller: oneshot::Sender<Result<O::Outcome, StoreError>>,
}

impl<O: Grouped> Lane<O> {
    pub(crate) fn start(shared: &Arc<Shared>, tasks: usize) -> Self {
        let (sender, operations) = mpsc::unbounded_channel();
        let operations = Arc::new(Mutex::new(operations));
        let mut running = JoinSet::new();
        for _ in 0..tasks {
            let writer = Uuid::new_v4().as_u64_pair().0 as u32 as i32;
            let task = Task {
                shared: shared.clone(),
                operations: operations.clone(),
                later: Vec::new(),
                writer,
            };
            running.spawn(task.run());
        }
        Self {
            sender,
            _tasks: running,
        }
    }

    /// Has the operation done, and waits until it is durable. Once this was polled it takes place, whether or not the caller
    /// waits.
    pub(crate) async fn run(&self, operation: O) -> Result<O::Outcome, StoreError> {
        let gone = || StoreError::Unavailable("the store is being closed".to_owned());
        let (caller, outcome) = oneshot::channel();
        self.sender
            .send(Pending { operation, caller })
            .map_err(|_| gone())?;
        outcome.await.map_err(|_| gone())?
    }
}

struct Task<O: Grouped> {
    shared: Arc<Shared>,
    operations: Arc<Mutex<mpsc::UnboundedReceiver<Pending<O>>>>,
    /// What was about the same as another operation of the group that it came with.
    later: Vec<Pending<O>>,
    writer: i32,
}

impl<O: Grouped> Task<O> {
    async fn run(mut self) {
        while let Some(group) = self.gather().await {
            match self.together(&group).await {
                Ok(outcomes) => group
                    .into_iter()
                    .zip(outcomes)
                    .for_each(|(one, outcome)| one.answer(Ok(outcome))),
                Err(Broken::Away(error)) => {
                    // Those who wait behind would wait as long for the same.
                    let behind = self.behind().await;
                    group
                        .into_iter()
                        .chain(behind)
                        .for_each(|one| one.answer(Err(error.clone())));
                }
                Err(Broken::Refused(error)) if group.len() == 1 => {
                    group
                        .into_iter()
                        .for_each(|one| one.answer(Err(error.clone())));
                }
                Err(Broken::Refused(_)) => {
                    self.shared.measures.rolled_back.add_one();
                    self.one_by_one(group).await;
                }
            }
        }
    }

    /// The next group; `None` when the store is closed.
    async fn gather(&mut self) -> Option<Vec<Pending<O>>> {
        let mut all = std::mem::take(&mut self.later);
        if all.is_empty() {
            let mut operations = self.operations.lock().await;
            all.push(operations.recv().await?);
            take_more(&mut operations, &mut all, GROUP);
        } else if let Ok(mut operations) = self.operations.try_lock() {
            // Another task of the lane that waits for operations has the lock: then there are none.
            take_more(&mut operations, &mut all, GROUP);
        }
        let mut taken = HashSet::new();
        let mut group = Vec::with_capacity(all.len());
        for one in all {
            let about = one.operation.about();
            let free = about.iter().all(|name| !taken.contains(name));
            taken.extend(about);
            if free {
                group.push(one)
            } else {
                self.later.push(one)
            }
        }
        Some(group)
    }

    async fn behind(&mut self) -> Vec<Pending<O>> {
        let mut behind = std::mem::take(&mut self.later);
        // Another task of the lane that waits for operations has the lock, and leaves none behind.
        if let Ok(mut operations) = self.operations.try_lock() {
            take_more(&mut operations, &mut behind, usize::MAX);
        }
        behind
    }

    async fn together(&self, group: &[Pending<O>]) -> Result<Vec<O::Outcome>, Broken> {
        let mut session = self.shared.group_session().await.map_err(Broken::Away)?;
        // When it takes too long, nobody knows what the database is doing on this session: it is closed.
        session.busy = true;
        let place = Place {
            shared: &self.shared,
            session: &session,
            writer: self.writer,
        };
        let operations: Vec<&O> = group.iter().map(|one| &one.operation).collect();
        let begun = Instant::now();
        let written =
            tokio::time::timeout(self.shared.timeout(), O::write(&place, &operations)).await;
        match written {
            Ok(Ok(outcomes)) => {
                self.shared.measures.committed(group.len(), begun.elapsed());
                session.busy = false;
                Ok(outcomes)
            }
            Ok(Err(failure)) => {
                let away = session.is_closed() || !failure.is_of_the_statement();
                session.busy = away;
                let error = failure.into_error();
                Err(if away {
                    Broken::Away(error)
                } else {
                    Broken::Refused(error)
                })
            }
            Err(_) => Err(Broken::Away(self.shared.late())),
        }
    }

    async fn one_by_one(&mut self, group: Vec<Pending<O>>) {
        let mut away = None;
        for one in group {
            let done = match &away {
                Some(error) => Err(StoreError::clone(error)),
                None => match self.together(std::slice::from_ref(&one)).await {
                    Ok(mut outcomes) => outcomes
                        .pop()
                        .ok_or_else(|| StoreError::Fault("no outcome".to_owned())),
                    Err(Broken::Refused(error)) => Err(error),
                    Err(Broken::Away(error)) => {
                        away = Some(error.clone());
                        Err(error)
                    }
                },
            };
            one.answer(done);
        }
    }
}

/// Takes what has come, up to `most` in all.
fn take_more<O: Grouped>(
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

impl<O: Grouped> Pending<O> {
    fn answer(self, outcome: Result<O::Outcome, StoreError>) {
        // A caller that has gone away does not want to know.
        let _gone = self.caller.send(outcome);
    }
}

/// Why a group was not written.
enum Broken {
    /// The database is away: it would be the same for each operation alone.
    Away(StoreError),
    /// The database refused the statement, maybe because of one operation.
    Refused(StoreError),
}
