//! State shared by the parts of a store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use surefoot::metrics::StoreMetrics;
use surefoot::{StoreError, Timestamp};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_postgres::Row;

use crate::clock::DatabaseClock;
use crate::connect::Connector;
use crate::failure::{Failure, fault};
use crate::limited_queues::LimitedQueues;
use crate::notifier::Notifier;
use crate::pipeline::Call;
use crate::plans::Plans;
use crate::pool::{BackoffConnector, Pool, Pooled};
use crate::sql::Statements;

/// Sessions for operations outside batches, and for reads.
const SESSIONS: usize = 4;

/// Contents of workspaces on their way at once, each a chunk. They leave sessions for what is small
/// and urgent.
const TRANSFERS: usize = SESSIONS / 2;

/// Batches of commits in flight: one is prepared while another waits for the disk.
pub(crate) const COMMITS: usize = 2;

/// Batches of submissions with a key in flight: some wait for the holder of a key, the others go
/// on.
pub(crate) const KEYED: usize = 3;

/// Batches in flight; submissions without a key have one.
const BATCHES: usize = COMMITS + KEYED + 1;

/// State shared by the parts of a store.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) sql: Statements,
    pub(crate) clock: DatabaseClock,
    pub(crate) plans: Plans,
    pub(crate) notifier: Notifier,
    pub(crate) limited_queues: LimitedQueues,
    pub(crate) metrics: Arc<StoreMetrics>,
    /// Set while runs may be waiting that can be claimed as soon as another run ends.
    pub(crate) backlog: AtomicBool,
    timeout: Duration,
    transfers: Semaphore,
    connector: BackoffConnector,
    pool: Pool,
    /// A separate session: a heartbeat never waits.
    heartbeat_pool: Pool,
    /// For batches: one for each that may be in flight.
    batch_pool: Pool,
}

impl Shared {
    pub(crate) fn new(
        connector: Connector,
        clock: DatabaseClock,
        timeout: Duration,
        plans: Plans,
        notifier: Notifier,
    ) -> Self {
        Self {
            sql: Statements::of(connector.schema()),
            clock,
            plans,
            notifier,
            limited_queues: LimitedQueues::default(),
            metrics: Arc::default(),
            backlog: AtomicBool::new(true),
            timeout,
            transfers: Semaphore::new(TRANSFERS),
            connector: BackoffConnector::new(connector),
            pool: Pool::new(SESSIONS),
            heartbeat_pool: Pool::new(1),
            batch_pool: Pool::planning_once(BATCHES),
        }
    }

    /// A session for a batch.
    pub(crate) async fn batch_session(&self) -> Result<Pooled<'_>, StoreError> {
        self.batch_pool.get(&self.connector).await
    }

    pub(crate) async fn session(&self) -> Result<Pooled<'_>, StoreError> {
        self.pool.get(&self.connector).await
    }

    /// Waits for its turn to send or fetch a content. That takes none of the time that the
    /// operation itself may take.
    pub(crate) async fn transfer_turn(&self) -> Result<SemaphorePermit<'_>, StoreError> {
        self.transfers.acquire().await.map_err(fault)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Executes one statement in its own transaction.
    pub(crate) async fn query(&self, call: Call<'_>) -> Result<Vec<Row>, Failure> {
        Ok(self.session().await?.query(call).await?)
    }

    /// Executes one on the session reserved for heartbeats.
    pub(crate) async fn query_for_heartbeat(&self, call: Call<'_>) -> Result<Vec<Row>, Failure> {
        Ok(self
            .heartbeat_pool
            .get(&self.connector)
            .await?
            .query(call)
            .await?)
    }

    /// Samples the database's clock.
    pub(crate) async fn sample_clock(&self) -> Result<(), Failure> {
        let mut session = self.session().await?;
        let asked = Instant::now();
        let rows = session
            .query((&self.sql.now, crate::args::Args::none()))
            .await?;
        if let Some(row) = rows.first() {
            self.clock.record(asked, crate::row::time(row, 0)?);
        }
        Ok(())
    }

    /// Applies the time limit to an operation: a database that does not answer counts as away.
    pub(crate) async fn within<T>(
        &self,
        operation: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, StoreError> {
        bounded(self.timeout, operation).await
    }

    /// Also retries the operation if another transaction interferes.
    pub(crate) async fn retried<T, F>(
        &self,
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
        bounded(self.timeout, tries).await
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

/// Limit of attempts when other transactions interfere.
const TRIES: usize = 5;
