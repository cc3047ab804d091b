//! What is true of an open store: how its connection writes, how large its files are, whether they are whole, who works.
//! For `surefoot doctor`, and for whoever would rather know than believe.

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

/// How the store's writing connection is set, and the size of its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqliteFacts {
    /// The version of SQLite.
    pub version: String,
    /// `wal`, or `delete` where the file system has no memory that processes share.
    pub journal_mode: String,
    /// `PRAGMA synchronous`: 0 off, 1 normal, 2 full, 3 extra.
    pub synchronous: i64,
    /// `PRAGMA fullfsync`: what macOS needs for a sync to reach the disk.
    pub fullfsync: bool,
    /// The version of the schema.
    pub schema: i64,
    /// The size of the database's file in bytes.
    pub size: u64,
    /// What of it is free for new rows.
    pub free: u64,
    /// The size of the write-ahead log in bytes.
    pub log: u64,
    /// The size that the log has before it is moved to the file, when no reader stands in the way.
    pub checkpoint: u64,
}

/// What a look through the file came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Integrity {
    /// Everything was looked at, and holds together.
    Whole,
    /// What does not hold together, the first few in SQLite's words.
    Damaged(Vec<String>),
    /// The time was over first.
    Unfinished,
}

/// Who holds the lock that lets one worker process live at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LockHolder {
    /// Nobody.
    Nobody,
    /// The process with this id, as it signed the lock; in the holder's own numbering when it is in a container.
    Process(String),
}

impl SqliteStore {
    /// How the store writes, as its connection says it.
    ///
    /// # Errors
    /// When the connection does not answer.
    pub async fn facts(&self) -> Result<SqliteFacts, StoreError> {
        let mut facts = self
            .writer
            .run(|tx| facts(tx.conn).map_err(Into::into))
            .await?;
        facts.log = std::fs::metadata(self.log_path()).map_or(0, |log| log.len());
        Ok(facts)
    }

    /// Looks through the file for damage: `PRAGMA quick_check`, which reads all of it, and gives up after `within`.
    /// Readers and the writer go on meanwhile.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn quick_check(&self, within: Duration) -> Result<Integrity, StoreError> {
        let (sender, handle) = oneshot::channel();
        let read = self.readers.read(move |conn| {
            // Nobody listens when the caller was dropped.
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

    /// The holder of the worker's lock. Looking takes it, shared and for a moment.
    ///
    /// # Errors
    /// When the lock's file cannot be opened.
    pub fn lock_holder(&self) -> std::io::Result<LockHolder> {
        let path = lock::path_beside(self.readers.path());
        if self.readers.file().is_locked()? {
            // The lock file may have been removed: the lock on the database counts all the same.
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

/// SQLite says no more than this of what is damaged.
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

/// Asks by taking a shared lock for a moment, which a worker that begins in that moment waits out.
fn holder(path: &Path) -> std::io::Result<LockHolder> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(LockHolder::Nobody),
        other => other?,
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(LockHolder::Nobody),
        Err(TryLockError::WouldBlock) => Ok(signer(std::fs::read_to_string(path)?.trim())),
        Err(TryLockError::Error(error)) => Err(error),
    }
}
