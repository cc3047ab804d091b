//! The one thread that writes, and its group commit.
//!
//! Operations of all tasks come through a channel. The thread takes the first, begins a transaction, applies it and
//! everything that has come meanwhile, commits once, and answers all. While a commit waits for the disk the next group
//! gathers, so the disk sets the pace and nobody waits for a timer.
//!
//! When one operation of a group fails, the group is rolled back and each operation runs again in a transaction of its
//! own: none fails for its neighbour's sake. Savepoints would do the same at the price of two more statements for each
//! operation that succeeds.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use surefoot::measures::StoreMeasures;
use surefoot::{Clock, StoreError, Timestamp};
use tokio::sync::{oneshot, watch};

use crate::database_file::{DatabaseFile, Presence};
use crate::error::{Failure, fault, store_error};
use crate::plans::Plans;
use crate::statistics::Ends;

/// Operations in one transaction at most.
const GROUP: usize = 512;

/// How often the thread looks whether another process has written to the file.
const LOOK: Duration = Duration::from_millis(40);

/// The transaction that an operation is applied in.
pub(crate) struct Tx<'a> {
    pub(crate) conn: &'a Connection,
    pub(crate) plans: &'a Plans,
    pub(crate) now: Timestamp,
    /// An operation sets it when a run may have become claimable, or a cancel was asked for.
    pub(crate) work: &'a mut bool,
    /// Rows that were changed and that nobody has to hear of.
    pub(crate) quiet: &'a mut u64,
    /// What the transaction adds to the counts.
    pub(crate) ends: &'a mut Ends,
    /// Whether runs may be waiting that a worker could take as soon as another run ends.
    pub(crate) backlog: &'a mut bool,
}

/// What the operations of a transaction have to say to those who listen.
#[derive(Default)]
struct Told {
    work: bool,
    quiet: u64,
}

/// Sends operations to the thread. The thread ends when this is dropped and all that was sent is done.
#[derive(Debug)]
pub(crate) struct Writer {
    sender: Option<Sender<Box<dyn Operation>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The channels of [`surefoot::store::Hints`], and what is counted of commits.
#[derive(Clone, Debug, Default)]
pub(crate) struct Marks {
    pub(crate) work: watch::Sender<()>,
    pub(crate) any: watch::Sender<()>,
    pub(crate) measures: Arc<StoreMeasures>,
}

/// The connection that writes, with the files that it has open.
pub(crate) struct OpenDatabase {
    pub(crate) conn: Connection,
    pub(crate) presence: Arc<Presence>,
    /// Dropped after the connection.
    pub(crate) _file: Arc<DatabaseFile>,
}

impl Drop for OpenDatabase {
    /// The last connection removes the log by its path. SQLite does not when the database was moved; when only the log was,
    /// it would remove the one that another process has made since, with what that process committed.
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
    /// Applies it and keeps the outcome. An error means that the transaction cannot be committed.
    fn apply(&mut self, tx: &mut Tx<'_>) -> Result<(), StoreError>;

    /// Tells the caller: the outcome that was kept, or the error that undid it.
    fn answer(self: Box<Self>, undone: Option<StoreError>);
}

struct Pending<T, F> {
    apply: F,
    outcome: Option<Result<T, StoreError>>,
    caller: oneshot::Sender<Answer<T, F>>,
}

/// The outcome, and what was applied: it goes back so that its memory is freed by the caller's thread and not by this one.
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
                .unwrap_or_else(|| Err(fault("an operation was not applied"))),
        };
        // A caller that has gone away does not want to know.
        let _ = self.caller.send((outcome, self.apply));
    }
}

impl Writer {
    /// Starts the thread on a connection that may write.
    pub(crate) fn start(
        database: OpenDatabase,
        clock: Arc<dyn Clock>,
        plans: Arc<Plans>,
        marks: Marks,
    ) -> Result<Self, StoreError> {
        let (sender, operations) = mpsc::channel();
        let work = Work {
            database,
            clock,
            plans,
            marks,
            operations,
            seen: 0,
            looked: Instant::now(),
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

    /// Has `apply` done in a transaction, and waits until it is durable. It may be called again after a rollback, and what it
    /// refuses it refuses before it writes. Once this was polled it takes place, whether or not the caller waits.
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
    /// What was sent is written, and the file closed, before this returns.
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self
            .thread
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            // A panic on the thread has been reported by its hook; there is nobody to pass it on to.
            let _ = thread.join();
        }
    }
}

/// The thread's own.
struct Work {
    database: OpenDatabase,
    clock: Arc<dyn Clock>,
    plans: Arc<Plans>,
    marks: Marks,
    operations: Receiver<Box<dyn Operation>>,
    /// The last `data_version`: it changes when another connection commits.
    seen: i64,
    looked: Instant,
    backlog: bool,
    ends: Ends,
}

impl Work {
    fn run(mut self) {
        self.look(false);
        loop {
            match self
                .operations
                .recv_timeout(LOOK.saturating_sub(self.looked.elapsed()))
            {
                Ok(first) => self.group(first),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.looked.elapsed() >= LOOK {
                self.look(true);
            }
        }
    }

    /// Looks whether another process has written.
    fn look(&mut self, tell: bool) {
        self.looked = Instant::now();
        let version = self
            .database
            .conn
            .prepare_cached("PRAGMA data_version")
            .and_then(|mut s| s.query_row([], |row| row.get(0)));
        // A file that cannot be read just now is found out by the next operation.
        let Ok(version) = version else { return };
        if std::mem::replace(&mut self.seen, version) != version && tell {
            self.backlog = true;
            self.marks.work.send_replace(());
            self.marks.any.send_replace(());
        }
    }

    fn group(&mut self, first: Box<dyn Operation>) {
        let mut group = vec![first];
        let begun = Instant::now();
        match self.together(&mut group) {
            Ok(()) => {
                self.marks.measures.committed(group.len(), begun.elapsed());
                answer(group, None);
            }
            Err(Broken::NotBegun(error) | Broken::Gone(error)) => {
                // Those who wait behind would wait as long for the same.
                self.gather(&mut group);
                answer(group, Some(&error));
            }
            Err(Broken::RolledBack(error)) if group.len() == 1 => answer(group, Some(&error)),
            Err(Broken::RolledBack(_)) => {
                self.marks.measures.rolled_back.add_one();
                self.one_by_one(group);
            }
        }
    }

    /// Applies the group, and what comes while it does, in one transaction.
    fn together(&mut self, group: &mut Vec<Box<dyn Operation>>) -> Result<(), Broken> {
        let changes = self.begin()?;
        let mut told = Told::default();
        let mut next = 0;
        while next < group.len() {
            self.apply(&mut *group[next], &mut told)
                .map_err(|error| self.roll_back(error))?;
            next += 1;
            if next == group.len() {
                self.gather(group);
            }
        }
        self.commit(changes, &told)
    }

    fn gather(&self, group: &mut Vec<Box<dyn Operation>>) {
        let room = GROUP.saturating_sub(group.len());
        group.extend(self.operations.try_iter().take(room));
    }

    fn one_by_one(&mut self, group: Vec<Box<dyn Operation>>) {
        let mut locked = None;
        for mut operation in group {
            let done = match &locked {
                Some(error) => Err(StoreError::clone(error)),
                None => self.alone(&mut *operation).map_err(|broken| {
                    if let Broken::NotBegun(error) | Broken::Gone(error) = &broken {
                        locked = Some(error.clone());
                    }
                    broken.into_error()
                }),
            };
            operation.answer(done.err());
        }
    }

    fn alone(&mut self, operation: &mut dyn Operation) -> Result<(), Broken> {
        let changes = self.begin()?;
        let mut told = Told::default();
        self.apply(operation, &mut told)
            .map_err(|error| self.roll_back(error))?;
        self.commit(changes, &told)
    }

    /// How many rows were changed before, for [`Self::commit`].
    fn begin(&self) -> Result<u64, Broken> {
        // So that nothing is written to a file that was moved. The whole check comes after the commit.
        self.database
            .presence
            .check_database()
            .map_err(Broken::Gone)?;
        let begin = || {
            self.database
                .conn
                .prepare_cached("BEGIN IMMEDIATE")?
                .execute([])
        };
        begin().map_err(|error| Broken::NotBegun(store_error(&error)))?;
        Ok(self.database.conn.total_changes())
    }

    /// A panic is a fault of ours in one operation; the others, and the store, go on.
    fn apply(&mut self, operation: &mut dyn Operation, told: &mut Told) -> Result<(), StoreError> {
        let now = self.clock.now();
        let Self {
            database,
            plans,
            backlog,
            ends,
            ..
        } = self;
        let Told { work, quiet } = told;
        let mut tx = Tx {
            conn: &database.conn,
            plans,
            now,
            work,
            quiet,
            ends,
            backlog,
        };
        let applied =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| operation.apply(&mut tx)));
        applied.unwrap_or_else(|_| Err(fault("an operation on the store panicked")))
    }

    fn commit(&mut self, changes: u64, told: &Told) -> Result<(), Broken> {
        let counted = self.ends.write(&self.database.conn);
        let committed =
            counted.and_then(|()| self.database.conn.prepare_cached("COMMIT")?.execute([]));
        committed.map_err(|error| self.roll_back(store_error(&error)))?;
        // Before anything is acknowledged: what was written to a file that has gone by now is lost.
        self.database.presence.check().map_err(Broken::Gone)?;
        if told.work {
            self.marks.work.send_replace(());
        }
        if self.database.conn.total_changes() != changes + told.quiet {
            self.marks.any.send_replace(());
        }
        Ok(())
    }

    fn roll_back(&mut self, error: StoreError) -> Broken {
        self.plans.forget();
        self.ends.forget();
        // SQLite rolls back by itself after some errors, and then has nothing left to roll back.
        if !self.database.conn.is_autocommit()
            && let Err(error) = self.database.conn.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "cannot roll back");
        }
        Broken::RolledBack(error)
    }
}

fn answer(group: Vec<Box<dyn Operation>>, undone: Option<&StoreError>) {
    for operation in group {
        operation.answer(undone.cloned());
    }
}

/// Why a transaction did not take place.
enum Broken {
    /// The file could not be locked for writing: it would be the same for each operation alone.
    NotBegun(StoreError),
    /// The store's files are no longer in their places. What was committed is lost, and must not be applied again.
    Gone(StoreError),
    /// One operation failed, or the commit.
    RolledBack(StoreError),
}

impl Broken {
    fn into_error(self) -> StoreError {
        match self {
            Self::NotBegun(error) | Self::Gone(error) | Self::RolledBack(error) => error,
        }
    }
}
