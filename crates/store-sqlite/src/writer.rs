//! The only writing thread, and its group commit.
//!
//! Operations of all tasks arrive through a channel. The thread takes the first, begins a
//! transaction, applies it and everything that has arrived meanwhile, commits once, and answers
//! all. The next batch gathers while a commit waits for the disk, so the disk sets the pace and no
//! operation waits for a timer.
//!
//! If one operation of a batch fails, the batch is rolled back and each operation runs again in its
//! own transaction, so that none fails because of another. Savepoints would do the same at the
//! price of two more statements for each successful operation.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use surefoot::metrics::StoreMetrics;
use surefoot::{Clock, StoreError, Timestamp};
use tokio::sync::{oneshot, watch};

use crate::database_file::{DatabaseFile, Presence};
use crate::error::{Failure, fault, store_error};
use crate::plans::Plans;
use crate::statistics::Ends;

/// Limit of operations in one transaction.
const MAX_BATCH: usize = 512;

/// Interval of the check whether another process has written to the file.
const CHANGE_CHECK_INTERVAL: Duration = Duration::from_millis(40);

/// The transaction of an operation.
pub(crate) struct Tx<'a> {
    pub(crate) conn: &'a Connection,
    pub(crate) plans: &'a Plans,
    pub(crate) now: Timestamp,
    /// Set by an operation that may have made a run claimable, or that requested a cancel.
    pub(crate) work: &'a mut bool,
    /// Changed rows without a need for a hint.
    pub(crate) silent_changes: &'a mut u64,
    /// Additions of the transaction to the counts.
    pub(crate) ends: &'a mut Ends,
    /// Set while runs may be waiting that can be claimed as soon as another run ends.
    pub(crate) backlog: &'a mut bool,
}

/// Hints that the operations of a transaction cause.
#[derive(Default)]
struct PendingHints {
    work: bool,
    silent_changes: u64,
}

/// Sends operations to the thread. The thread ends when this is dropped and everything sent is
/// done.
#[derive(Debug)]
pub(crate) struct Writer {
    sender: Option<Sender<Box<dyn Operation>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The channels of [`surefoot::store::Hints`], and the statistics of commits.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notifier {
    pub(crate) work: watch::Sender<()>,
    pub(crate) any: watch::Sender<()>,
    pub(crate) metrics: Arc<StoreMetrics>,
}

/// The writing connection, with its open files.
pub(crate) struct OpenDatabase {
    pub(crate) conn: Connection,
    pub(crate) presence: Arc<Presence>,
    /// Dropped after the connection.
    pub(crate) _file: Arc<DatabaseFile>,
}

impl Drop for OpenDatabase {
    /// The last connection removes the log by its path. SQLite does not if the database was moved.
    /// If only the log was moved, it would remove a log that another process has created since,
    /// with the commits in it.
    fn drop(&mut self) {
        if self.presence.check().is_err()
            && let Err(error) = self
                .conn
                .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        {
            tracing::error!(%error, "cannot keep SQLite from removing the log of another file");
        }
    }
}

trait Operation: Send {
    /// Applies the operation and keeps the outcome. An error means that the transaction cannot be
    /// committed.
    fn apply(&mut self, tx: &mut Tx<'_>) -> Result<(), StoreError>;

    /// Returns to the caller the kept outcome, or the error that undid it.
    fn answer(self: Box<Self>, undone: Option<StoreError>);
}

struct Pending<T, F> {
    apply: F,
    outcome: Option<Result<T, StoreError>>,
    caller: oneshot::Sender<Answer<T, F>>,
}

/// The outcome and the closure, which is returned so that its memory is freed by the caller's
/// thread and not by this one.
type Answer<T, F> = (Result<T, StoreError>, F);

impl<T, F> Operation for Pending<T, F>
where
    T: Send,
    F: FnMut(&mut Tx<'_>) -> Result<T, Failure> + Send,
{
    fn apply(&mut self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let (outcome, done) = match (self.apply)(tx) {
            Ok(value) => (Ok(value), Ok(())),
            Err(Failure::Refused(error)) => (Err(error), Ok(())),
            Err(Failure::Aborted(error)) => (Err(error.clone()), Err(error)),
        };
        self.outcome = Some(outcome);
        done
    }

    fn answer(self: Box<Self>, undone: Option<StoreError>) {
        let outcome = match undone {
            Some(error) => Err(error),
            None => self
                .outcome
                .unwrap_or_else(|| Err(fault("an operation was not executed"))),
        };
        // A dropped caller does not need the answer.
        let _ = self.caller.send((outcome, self.apply));
    }
}

impl Writer {
    /// Starts the thread on a connection that may write.
    pub(crate) fn start(
        database: OpenDatabase,
        clock: Arc<dyn Clock>,
        plans: Arc<Plans>,
        notifier: Notifier,
    ) -> Result<Self, StoreError> {
        let (sender, operations) = mpsc::channel();
        let work = WriterThread {
            database,
            clock,
            plans,
            notifier,
            operations,
            data_version: 0,
            checked_at: Instant::now(),
            backlog: true,
            ends: Ends::default(),
        };
        let thread = std::thread::Builder::new()
            .name("surefoot-sqlite".to_owned())
            .spawn(move || work.run());
        let thread = thread
            .map_err(|error| StoreError::Unavailable(format!("cannot start a thread: {error}")))?;
        Ok(Self {
            sender: Some(sender),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Applies `apply` in a transaction, and waits until it is durable. It may be called again
    /// after a rollback, and must refuse before it writes. Once this was polled it takes place,
    /// whether or not the caller waits.
    pub(crate) async fn run<T, F>(&self, apply: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T, Failure> + Send + 'static,
    {
        let gone = || fault("the thread that writes to the store has ended");
        let (caller, outcome) = oneshot::channel();
        let operation = Box::new(Pending {
            apply,
            outcome: None,
            caller,
        });
        self.sender
            .as_ref()
            .ok_or_else(gone)?
            .send(operation)
            .map_err(|_| gone())?;
        let (outcome, _applied) = outcome.await.map_err(|_| gone())?;
        outcome
    }
}

impl Drop for Writer {
    /// Pending operations are written, and the file is closed, before this returns.
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self
            .thread
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            // The panic hook has reported a panic on the thread; there is no caller to pass it on
            // to.
            let _ = thread.join();
        }
    }
}

/// State of the thread.
struct WriterThread {
    database: OpenDatabase,
    clock: Arc<dyn Clock>,
    plans: Arc<Plans>,
    notifier: Notifier,
    operations: Receiver<Box<dyn Operation>>,
    /// The last `data_version`, which changes when another connection commits.
    data_version: i64,
    checked_at: Instant,
    backlog: bool,
    ends: Ends,
}

impl WriterThread {
    fn run(mut self) {
        self.check_for_changes(false);
        loop {
            match self
                .operations
                .recv_timeout(CHANGE_CHECK_INTERVAL.saturating_sub(self.checked_at.elapsed()))
            {
                Ok(first) => self.commit_batch(first),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.checked_at.elapsed() >= CHANGE_CHECK_INTERVAL {
                self.check_for_changes(true);
            }
        }
    }

    /// Checks whether another process has written.
    fn check_for_changes(&mut self, notify: bool) {
        self.checked_at = Instant::now();
        let version = self
            .database
            .conn
            .prepare_cached("PRAGMA data_version")
            .and_then(|mut s| s.query_row([], |row| row.get(0)));
        // The next operation reports a file that cannot be read.
        let Ok(version) = version else { return };
        if std::mem::replace(&mut self.data_version, version) != version && notify {
            self.backlog = true;
            self.notifier.work.send_replace(());
            self.notifier.any.send_replace(());
        }
    }

    fn commit_batch(&mut self, first: Box<dyn Operation>) {
        let mut batch = vec![first];
        let began = Instant::now();
        match self.apply_batch(&mut batch) {
            Ok(()) => {
                self.notifier
                    .metrics
                    .committed(batch.len(), began.elapsed());
                answer(batch, None);
            }
            Err(TransactionError::NotBegun(error) | TransactionError::Gone(error)) => {
                // The operations behind it would wait as long for the same lock.
                self.gather(&mut batch);
                answer(batch, Some(&error));
            }
            Err(TransactionError::RolledBack(error)) if batch.len() == 1 => {
                answer(batch, Some(&error))
            }
            Err(TransactionError::RolledBack(_)) => {
                self.notifier.metrics.rolled_back.add_one();
                self.one_by_one(batch);
            }
        }
    }

    /// Applies the batch, and operations that arrive meanwhile, in one transaction.
    fn apply_batch(&mut self, batch: &mut Vec<Box<dyn Operation>>) -> Result<(), TransactionError> {
        let changes = self.begin()?;
        let mut hints = PendingHints::default();
        let mut next = 0;
        while next < batch.len() {
            self.apply(&mut *batch[next], &mut hints)
                .map_err(|error| self.roll_back(error))?;
            next += 1;
            if next == batch.len() {
                self.gather(batch);
            }
        }
        self.commit(changes, &hints)
    }

    fn gather(&self, batch: &mut Vec<Box<dyn Operation>>) {
        let free = MAX_BATCH.saturating_sub(batch.len());
        batch.extend(self.operations.try_iter().take(free));
    }

    fn one_by_one(&mut self, batch: Vec<Box<dyn Operation>>) {
        let mut locked = None;
        for mut operation in batch {
            let done = match &locked {
                Some(error) => Err(StoreError::clone(error)),
                None => self.apply_alone(&mut *operation).map_err(|failure| {
                    if let TransactionError::NotBegun(error) | TransactionError::Gone(error) =
                        &failure
                    {
                        locked = Some(error.clone());
                    }
                    failure.into_error()
                }),
            };
            operation.answer(done.err());
        }
    }

    fn apply_alone(&mut self, operation: &mut dyn Operation) -> Result<(), TransactionError> {
        let changes = self.begin()?;
        let mut hints = PendingHints::default();
        self.apply(operation, &mut hints)
            .map_err(|error| self.roll_back(error))?;
        self.commit(changes, &hints)
    }

    /// Begins a transaction. Returns the number of rows changed so far, for [`Self::commit`].
    fn begin(&self) -> Result<u64, TransactionError> {
        // So that nothing is written to a file that was moved. The full check follows the commit.
        self.database
            .presence
            .check_database()
            .map_err(TransactionError::Gone)?;
        let begin = || {
            self.database
                .conn
                .prepare_cached("BEGIN IMMEDIATE")?
                .execute([])
        };
        begin().map_err(|error| TransactionError::NotBegun(store_error(&error)))?;
        Ok(self.database.conn.total_changes())
    }

    /// A panic is a bug in one operation; the others, and the store, continue.
    fn apply(
        &mut self,
        operation: &mut dyn Operation,
        hints: &mut PendingHints,
    ) -> Result<(), StoreError> {
        let now = self.clock.now();
        let Self {
            database,
            plans,
            backlog,
            ends,
            ..
        } = self;
        let PendingHints {
            work,
            silent_changes,
        } = hints;
        let mut tx = Tx {
            conn: &database.conn,
            plans,
            now,
            work,
            silent_changes,
            ends,
            backlog,
        };
        let applied =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| operation.apply(&mut tx)));
        applied.unwrap_or_else(|_| Err(fault("an operation on the store panicked")))
    }

    fn commit(&mut self, changes: u64, hints: &PendingHints) -> Result<(), TransactionError> {
        let counted = self.ends.write(&self.database.conn);
        let committed =
            counted.and_then(|()| self.database.conn.prepare_cached("COMMIT")?.execute([]));
        committed.map_err(|error| self.roll_back(store_error(&error)))?;
        // Before anything is acknowledged: data written to a file that is gone by now is lost.
        self.database
            .presence
            .check()
            .map_err(TransactionError::Gone)?;
        if hints.work {
            self.notifier.work.send_replace(());
        }
        if self.database.conn.total_changes() != changes + hints.silent_changes {
            self.notifier.any.send_replace(());
        }
        Ok(())
    }

    fn roll_back(&mut self, error: StoreError) -> TransactionError {
        self.plans.forget();
        self.ends.forget();
        // SQLite rolls back by itself after some errors, and then there is nothing to roll back.
        if !self.database.conn.is_autocommit()
            && let Err(error) = self.database.conn.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "cannot roll back");
        }
        TransactionError::RolledBack(error)
    }
}

fn answer(batch: Vec<Box<dyn Operation>>, undone: Option<&StoreError>) {
    for operation in batch {
        operation.answer(undone.cloned());
    }
}

/// Reason for which a transaction did not take place.
enum TransactionError {
    /// The file could not be locked for writing, which would be the same for each operation alone.
    NotBegun(StoreError),
    /// The store's files are no longer in place. The commit is lost, and must not be applied again.
    Gone(StoreError),
    /// An operation of the batch, or the commit, failed.
    RolledBack(StoreError),
}

impl TransactionError {
    fn into_error(self) -> StoreError {
        match self {
            Self::NotBegun(error) | Self::Gone(error) | Self::RolledBack(error) => error,
        }
    }
}
