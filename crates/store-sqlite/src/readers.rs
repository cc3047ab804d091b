//! Reading connections. They never block the writer, and it never blocks them.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use surefoot::StoreError;
use tokio::sync::Semaphore;

use crate::database_file::{DatabaseFile, Presence};
use crate::error::{fault, store_error};
use crate::open;

/// Concurrent reads. More would only compete for the same disk and the same two or four cores.
const READERS: usize = 2;

/// A small pool. A connection is opened when it is first needed.
#[derive(Debug)]
pub(crate) struct Readers {
    turns: Semaphore,
    pool: Arc<Pool>,
}

#[derive(Debug)]
struct Pool {
    presence: Arc<Presence>,
    busy_timeout: Duration,
    idle: Mutex<Vec<Connection>>,
    /// Dropped after the connections.
    file: Arc<DatabaseFile>,
}

impl Readers {
    pub(crate) fn of(
        file: Arc<DatabaseFile>,
        presence: Arc<Presence>,
        busy_timeout: Duration,
    ) -> Self {
        let pool = Pool {
            presence,
            busy_timeout,
            idle: Mutex::default(),
            file,
        };
        Self {
            turns: Semaphore::new(READERS),
            pool: Arc::new(pool),
        }
    }

    /// The database's file.
    pub(crate) fn path(&self) -> &Path {
        self.pool.file.path()
    }

    pub(crate) fn file(&self) -> &DatabaseFile {
        &self.pool.file
    }

    /// Executes `read` on one snapshot of the database.
    pub(crate) async fn read<T, F>(&self, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let _turn = self.turns.acquire().await.map_err(fault)?;
        let pool = self.pool.clone();
        tokio::task::spawn_blocking(move || pool.read(read))
            .await
            .map_err(fault)?
    }
}

impl Pool {
    fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.presence.check()?;
        let idle = self.idle().pop();
        let conn = match idle {
            Some(conn) => conn,
            None => self.open()?,
        };
        let result = snapshot(&conn, read);
        self.idle().push(conn);
        result
    }

    /// Opens a connection, unless another file has replaced the store's.
    fn open(&self) -> Result<Connection, StoreError> {
        let opened = open::reader(self.file.path(), self.busy_timeout);
        self.presence.check()?;
        opened.map_err(|error| store_error(&error))
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A run and its steps must be of one snapshot, so reads with several statements use a transaction.
fn snapshot<T>(
    conn: &Connection,
    read: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let tx = conn
        .unchecked_transaction()
        .map_err(|error| store_error(&error))?;
    let result = read(&tx);
    // There is nothing to commit; ending it allows checkpoints of the log.
    tx.commit().map_err(|error| store_error(&error))?;
    result
}
