//! Sessions that are kept open between uses, a few at most.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use surefoot::StoreError;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_postgres::{Error, Row};

use crate::connect::{Connector, Session, spread};
use crate::pipeline::Call;

/// Opens sessions. While the database is away it fails at once instead of trying each time.
#[derive(Debug)]
pub(crate) struct BackoffConnector {
    connector: Connector,
    away: Mutex<Option<Away>>,
}

#[derive(Clone, Debug)]
struct Away {
    until: Instant,
    wait: Duration,
    why: StoreError,
}

/// Interval between two attempts to connect, jittered by half so that many workers do not return at
/// once. It is short, because a run must move within a second of the database's return, and a
/// caller that needs a session waits between two attempts as well.
const FIRST: Duration = Duration::from_millis(20);
const MOST: Duration = Duration::from_millis(250);

impl BackoffConnector {
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

/// Sessions kept open between uses. The most recently used one is reused first, because the caches
/// of its server process are warm.
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

    /// A pool of sessions for statements whose best plan does not depend on their parameters.
    pub(crate) fn planning_once(size: usize) -> Self {
        Self {
            plans_once: true,
            ..Self::new(size)
        }
    }

    /// A session for exclusive use.
    pub(crate) async fn get<'a>(
        &'a self,
        connector: &BackoffConnector,
    ) -> Result<Pooled<'a>, StoreError> {
        let closed = || StoreError::Unavailable("the store is closed".to_owned());
        let permit = self.room.acquire().await.map_err(|_| closed())?;
        let known = self.take();
        let session = match known {
            Some(session) => session,
            None if self.plans_once => connector.connect().await?.planning_once(),
            None => connector.connect().await?,
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

/// A session of the pool. On drop it returns to the pool, unless a request is unfinished: then it
/// is closed, and the database rolls back uncommitted changes.
#[derive(Debug)]
pub(crate) struct Pooled<'a> {
    session: Option<Session>,
    pool: &'a Pool,
    /// A transaction is open, or a response is pending.
    pub(crate) busy: bool,
    _permit: SemaphorePermit<'a>,
}

impl Pooled<'_> {
    /// Executes one statement in its own transaction.
    pub(crate) async fn query(&mut self, call: Call<'_>) -> Result<Vec<Row>, Error> {
        self.busy = true;
        let rows = self.rows(call).await;
        self.busy = false;
        rows
    }
}

impl Pooled<'_> {
    /// Executes a statement without rows; returns the number of changed rows.
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
