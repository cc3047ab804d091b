//! What the parts of a store share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use surefoot::measures::StoreMeasures;
use surefoot::{StoreError, Timestamp};
use tokio_postgres::Row;

use crate::clock::DatabaseClock;
use crate::connect::Connector;
use crate::failure::Failure;
use crate::limited::Limited;
use crate::marks::Marks;
use crate::pipe::Call;
use crate::plans::Plans;
use crate::pool::{Door, Pool, Pooled};
use crate::sql::Statements;

/// Sessions for operations that are no group, and for reading.
const SESSIONS: usize = 4;

/// Groups of commits on their way at once: one is made ready while another waits for the disk.
pub(crate) const COMMITS: usize = 2;

/// Groups of submissions with a key on their way at once: some wait for whoever has a key, the others go on.
pub(crate) const KEYED: usize = 3;

/// Groups on their way at once; submissions without a key have one.
const GROUPS: usize = COMMITS + KEYED + 1;

/// What the parts of a store share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) sql: Statements,
    pub(crate) clock: DatabaseClock,
    pub(crate) plans: Plans,
    pub(crate) marks: Marks,
    pub(crate) limited: Limited,
    pub(crate) measures: Arc<StoreMeasures>,
    /// Whether runs may be waiting that a worker could take as soon as another run ends.
    pub(crate) backlog: AtomicBool,
    timeout: Duration,
    door: Door,
    pool: Pool,
    /// One more session: a heartbeat waits for nobody.
    pulse: Pool,
    /// For groups: one for each that may be on its way at once.
    groups: Pool,
}

impl Shared {
    pub(crate) fn new(
        connector: Connector,
        clock: DatabaseClock,
        timeout: Duration,
        marks: Marks,
    ) -> Self {
        Self {
            sql: Statements::of(connector.schema()),
            clock,
            plans: Plans::default(),
            marks,
            limited: Limited::default(),
            measures: Arc::default(),
            backlog: AtomicBool::new(true),
            timeout,
            door: Door::new(connector),
            pool: Pool::new(SESSIONS),
            pulse: Pool::new(1),
            groups: Pool::planning_once(GROUPS),
        }
    }

    /// A session for a group of operations.
    pub(crate) async fn group_session(&self) -> Result<Pooled<'_>, StoreError> {
        self.groups.get(&self.door).await
    }

    pub(crate) async fn session(&self) -> Result<Pooled<'_>, StoreError> {
        self.pool.get(&self.door).await
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// One statement, a transaction by itself.
    pub(crate) async fn query(&self, call: Call<'_>) -> Result<Vec<Row>, Failure> {
        Ok(self.session().await?.query(call).await?)
    }

    /// The same, on the session that is kept for heartbeats.
    pub(crate) async fn beat(&self, call: Call<'_>) -> Result<Vec<Row>, Failure> {
        Ok(self.pulse.get(&self.door).await?.query(call).await?)
    }

    /// Looks at the database's clock.
    pub(crate) async fn look_at_clock(&self) -> Result<(), Failure> {
        let mut session = self.session().await?;
        let asked = Instant::now();
        let rows = session
            .query((&self.sql.now, crate::args::Args::none()))
            .await?;
        if let Some(row) = rows.first() {
            self.clock.saw(asked, crate::row::time(row, 0)?);
        }
        Ok(())
    }

    /// Bounds an operation: a database that does not answer is as good as away.
    pub(crate) async fn within<T>(
        &self,
        operation: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, StoreError> {
        bounded(self.timeout, operation).await
    }

    /// The same for an operation that is worth another look when another transaction comes between.
    pub(crate) async fn retried<T, F>(&self, operation: impl FnMut() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        self.retried_with(Duration::ZERO, operation).await
    }

    /// The same for one that may take so much longer.
    pub(crate) async fn retried_with<T, F>(
        &self,
        more: Duration,
        mut operation: impl FnMut() -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let tries = async {
            for _ in 1..TRIES {
                match operation().await {
                    Err(failure) if failure.is_collision() => {}
                    done => return done,
                }
            }
            operation().await
        };
        bounded(self.timeout + more, tries).await
    }

    pub(crate) fn late(&self) -> StoreError {
        late(self.timeout)
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(crate) fn has_backlog(&self) -> bool {
        self.backlog.load(Ordering::Relaxed)
    }

    pub(crate) fn set_backlog(&self, backlog: bool) {
        self.backlog.store(backlog, Ordering::Relaxed);
    }
}

async fn bounded<T>(
    time: Duration,
    operation: impl Future<Output = Result<T, Failure>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(time, operation).await {
        Ok(done) => done.map_err(Failure::into_error),
        Err(_) => Err(late(time)),
    }
}

fn late(time: Duration) -> StoreError {
    StoreError::Unavailable(format!("the database did not answer within {time:?}"))
}

/// How often an operation is tried when others come between.
const TRIES: usize = 5;
