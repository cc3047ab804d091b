//! Facts of an open store: settings of its writing connection, sizes and integrity of its files,
//! the holder of its lock. For `surefoot doctor` and other diagnostics.

#![expect(
    clippy::disallowed_methods,
    reason = "`doctor` asks on a blocking thread"
)]

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};
use surefoot::StoreError;
use tokio::sync::oneshot;

use crate::SqliteStore;
use crate::database_file::with_end;
use crate::error::store_error;
use crate::lock;

/// Settings of the store's writing connection, and the size of its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqliteFacts {
    /// Version of SQLite.
    pub version: String,
    /// `wal`, or `delete` on a file system without shared memory.
    pub journal_mode: String,
    /// `PRAGMA synchronous`: 0 off, 1 normal, 2 full, 3 extra.
    pub synchronous: i64,
    /// `PRAGMA fullfsync`: required on macOS for a sync to reach the disk.
    pub fullfsync: bool,
    /// Version of the schema.
    pub schema: i64,
    /// Size of the database's file in bytes.
    pub size: u64,
    /// Bytes of it that are free for new rows.
    pub free: u64,
    /// Size of the write-ahead log in bytes.
    pub log: u64,
    /// Size at which the log is moved to the file, unless a reader prevents it.
    pub checkpoint: u64,
}

/// Result of an integrity check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Integrity {
    /// Everything was checked and is consistent.
    Whole,
    /// The first few inconsistencies, in SQLite's words.
    Damaged(Vec<String>),
    /// The time ran out first.
    Unfinished,
}

/// Holder of the lock that allows only one worker process at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LockHolder {
    /// The lock is free.
    Free,
    /// The process with this id, as written into the lock file; for a holder in a container, the id
    /// inside it.
    Process(String),
}

impl SqliteStore {
    /// Settings and sizes, as the writing connection reports them.
    ///
    /// # Errors
    /// If the connection does not answer.
    pub async fn facts(&self) -> Result<SqliteFacts, StoreError> {
        let mut facts = self
            .writer
            .run(|tx| facts(tx.conn).map_err(Into::into))
            .await?;
        facts.log = std::fs::metadata(self.log_path()).map_or(0, |log| log.len());
        Ok(facts)
    }

    /// Checks the file for damage with `PRAGMA quick_check`, which reads all of it, and gives up
    /// after `within`. Readers and the writer continue meanwhile.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub async fn quick_check(&self, within: Duration) -> Result<Integrity, StoreError> {
        let (sender, handle) = oneshot::channel();
        let read = self.readers.read(move |conn| {
            // The receiver is gone if the caller was dropped.
            let _ = sender.send(conn.get_interrupt_handle());
            quick_check(conn)
        });
        let stop = async {
            if let Ok(handle) = handle.await {
                tokio::time::sleep(within).await;
                handle.interrupt();
            }
            std::future::pending().await
        };
        tokio::select! {
            result = read => result,
            never = stop => never,
        }
    }

    /// Holder of the worker lock. The check takes a shared lock for a moment.
    ///
    /// # Errors
    /// If the lock file cannot be opened.
    pub fn lock_holder(&self) -> std::io::Result<LockHolder> {
        let path = lock::path_beside(self.readers.path());
        if self.readers.file().is_locked()? {
            // The lock file may have been removed; the lock on the database still counts.
            return Ok(signer(
                std::fs::read_to_string(path).unwrap_or_default().trim(),
            ));
        }
        holder(&path)
    }

    fn log_path(&self) -> PathBuf {
        with_end(self.readers.path(), "-wal")
    }
}

fn facts(conn: &Connection) -> rusqlite::Result<SqliteFacts> {
    let number = |name: &str| conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let page = number("page_size")?.unsigned_abs();
    Ok(SqliteFacts {
        version: rusqlite::version().to_owned(),
        journal_mode: conn.pragma_query_value(None, "journal_mode", |row| row.get(0))?,
        synchronous: number("synchronous")?,
        fullfsync: number("fullfsync")? != 0,
        schema: number("user_version")?,
        size: number("page_count")?.unsigned_abs() * page,
        free: number("freelist_count")?.unsigned_abs() * page,
        log: 0,
        checkpoint: number("wal_autocheckpoint")?.unsigned_abs() * page,
    })
}

/// Number of inconsistencies to report.
const COMPLAINTS: u32 = 5;

fn quick_check(conn: &Connection) -> Result<Integrity, StoreError> {
    let read = || -> rusqlite::Result<Vec<String>> {
        let mut statement = conn.prepare(&format!("PRAGMA quick_check({COMPLAINTS})"))?;
        statement.query_map([], |row| row.get(0))?.collect()
    };
    match read() {
        Ok(lines) if lines == ["ok"] => Ok(Integrity::Whole),
        Ok(lines) => Ok(Integrity::Damaged(lines)),
        Err(error) => match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => Ok(Integrity::Unfinished),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Ok(Integrity::Damaged(vec![error.to_string()]))
            }
            _ => Err(store_error(&error)),
        },
    }
}

fn signer(signature: &str) -> LockHolder {
    LockHolder::Process(if signature.is_empty() { "?" } else { signature }.to_owned())
}

/// Tests the lock by taking it shared for a moment; a worker that starts in that moment waits for
/// it.
fn holder(path: &Path) -> std::io::Result<LockHolder> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(LockHolder::Free),
        other => other?,
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(LockHolder::Free),
        Err(TryLockError::WouldBlock) => Ok(signer(std::fs::read_to_string(path)?.trim())),
        Err(TryLockError::Error(error)) => Err(error),
    }
}
