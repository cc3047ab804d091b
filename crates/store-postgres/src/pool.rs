//! Sessions that are kept open between uses, a few at most.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use surefoot::StoreError;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_postgres::{Error, Row};

use crate::connect::{Connector, Session, spread};
use crate::pipe::Call;

/// Connects, and while the database is away says so at once instead of trying each time anew.
#[derive(Debug)]
pub(crate) struct Door {
    connector: Connector,
    away: Mutex<Option<Away>>,
}

#[derive(Clone, Debug)]
struct Away {
    until: Instant,
    wait: Duration,
    why: StoreError,
}

/// Between two tries to connect, each spread by half so that many workers do not come back at once. A run is to move within a
/// second of the database's being back, and whoever asks for a session waits between two tries as well.
const FIRST: Duration = Duration::from_millis(20);
const MOST: Duration = Duration::from_millis(250);

impl Door {
    pub(crate) fn new(connector: Connector) -> Self {
        Self {
            connector,
            away: Mutex::new(None),
        }
    }

    pub(crate) async fn connect(&self) -> Result<Session, StoreError> {
        let away = self.away().clone();
        if let Some(away) = away.as_ref().filter(|away| Instant::now() < away.until) {
            return Err(away.why.clone());
        }
        let connected = self.connector.connect().await;
        *self.away() = connected.as_ref().err().map(|why| {
            let wait = away.map_or(FIRST, |away| (away.wait * 2).min(MOST));
            Away {
                until: Instant::now() + spread(wait),
                wait,
                why: why.clone(),
            }
        });
        connected
    }

    fn away(&self) -> MutexGuard<'_, Option<Away>> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sessions that are kept open between uses. The one that was used last is used next: the server's process behind it has all
/// that it needs at hand, where one that has slept for a while would have to fetch it.
#[derive(Debug)]
pub(crate) struct Pool {
    idle: Mutex<Vec<Session>>,
    room: Semaphore,
    plans_once: bool,
}

impl Pool {
    pub(crate) fn new(size: usize) -> Self {
        Self {
            idle: Mutex::default(),
            room: Semaphore::new(size),
            plans_once: false,
        }
    }

    /// Of sessions for statements that are the same whatever their parameters are.
    pub(crate) fn planning_once(size: usize) -> Self {
        Self {
            plans_once: true,
            ..Self::new(size)
        }
    }

    /// A session that nobody else uses meanwhile.
    pub(crate) async fn get<'a>(&'a self, door: &Door) -> Result<Pooled<'a>, StoreError> {
        let closed = || StoreError::Unavailable("the store is closed".to_owned());
        let permit = self.room.acquire().await.map_err(|_| closed())?;
        let known = self.take();
        let session = match known {
            Some(session) => session,
            None if self.plans_once => door.connect().await?.planning_once(),
            None => door.connect().await?,
        };
        Ok(Pooled {
            session: Some(session),
            pool: self,
            busy: false,
            _permit: permit,
        })
    }

    fn take(&self) -> Option<Session> {
        let mut idle = self.idle();
        idle.retain(|session| !session.is_closed());
        idle.pop()
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Session>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session of the pool. It goes back when this is dropped, unless it is in the midst of something: then it is closed, and
/// the database rolls back what was not committed.
#[derive(Debug)]
pub(crate) struct Pooled<'a> {
    session: Option<Session>,
    pool: &'a Pool,
    /// A transaction is open, or an answer is to come.
    pub(crate) busy: bool,
    _permit: SemaphorePermit<'a>,
}

impl Pooled<'_> {
    /// Runs one statement, a transaction by itself.
    pub(crate) async fn query(&mut self, call: Call<'_>) -> Result<Vec<Row>, Error> {
        self.busy = true;
        let rows = self.rows(call).await;
        self.busy = false;
        rows
    }
}

impl Pooled<'_> {
    /// The same for a statement that gives no rows: how many it changed.
    pub(crate) async fn execute(&mut self, (statement, args): Call<'_>) -> Result<u64, Error> {
        self.busy = true;
        let changed = self
            .alone(self.execute_typed(statement, &args.as_slice()))
            .await;
        self.busy = false;
        changed
    }
}

impl std::ops::Deref for Pooled<'_> {
    type Target = Session;

    fn deref(&self) -> &Session {
        self.session
            .as_ref()
            .expect("the session is taken only by the drop")
    }
}

impl Drop for Pooled<'_> {
    fn drop(&mut self) {
        if let Some(session) = self
            .session
            .take()
            .filter(|session| !self.busy && !session.is_closed())
        {
            self.pool.idle().push(session);
        }
    }
}
