//! Opens connections: the writing one and the reading ones.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags};
use surefoot::StoreError;

use crate::database_file::{DatabaseFile, Presence};
use crate::error::store_error;
use crate::migrate;
use crate::options::SqliteOptions;

/// Prepared statements cached by a connection: enough for all.
const STATEMENTS: usize = 128;

/// Pages in the write-ahead log before a checkpoint. The default of 1,000 is filled by five full
/// batches of commits. Most batches write the same few pages, so a later checkpoint moves each of
/// them once for many batches.
const CHECKPOINT_PAGES: u32 = 4000;

/// Opens the writing connection and its files. Creates the database's file if absent.
pub(crate) fn writer(
    path: &Path,
    options: &SqliteOptions,
) -> Result<(Connection, DatabaseFile, Presence), StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || {
        check_folder(path)?;
        let sql = |error: rusqlite::Error| store_error(&error);
        // Declared before the connection, so that on an error it is closed after it.
        let file = DatabaseFile::open(path)?;
        let mut conn = Connection::open_with_flags(file.path(), flags).map_err(sql)?;
        conn.busy_timeout(options.busy_timeout).map_err(sql)?;
        // Before the first write, which would otherwise change a file of another program.
        migrate::check_owner(&conn)?;
        let has_log = journal(&conn, path, options.busy_timeout).map_err(sql)?;
        settings(&conn, options).map_err(sql)?;
        migrate::migrate(&mut conn, options.clock.now())?;
        let presence = Presence::note(&file, has_log)?;
        Ok((conn, file, presence))
    };
    open().map_err(|error| name_file(path, error))
}

/// Opens a reading connection. The writer's is open, so the file exists and is a store.
pub(crate) fn reader(path: &Path, busy_timeout: Duration) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(busy_timeout)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    conn.execute_batch("PRAGMA cache_size = -1000; PRAGMA temp_store = MEMORY;")?;
    Ok(conn)
}

fn settings(conn: &Connection, options: &SqliteOptions) -> rusqlite::Result<()> {
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    conn.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA foreign_keys = OFF; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -8000;
         PRAGMA journal_size_limit = 67108864;",
    )?;
    conn.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    if let Some(bytes) = options.max_size {
        let page: i64 = conn.pragma_query_value(None, "page_size", |row| row.get(0))?;
        conn.execute_batch(&format!(
            "PRAGMA max_page_count = {}",
            (bytes / page.unsigned_abs()).max(1)
        ))?;
    }
    Ok(())
}

/// Switches on the write-ahead log, which needs shared memory. Network file systems lack it: there
/// the store works with a rollback journal, which is slower and makes readers wait for the writer.
/// Returns whether there is a write-ahead log.
fn journal(conn: &Connection, path: &Path, busy_timeout: Duration) -> rusqlite::Result<bool> {
    let set = |mode| set_journal(conn, mode, busy_timeout);
    let mode = match set("WAL") {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure) => {
            set("DELETE")?
        }
        other => other?,
    };
    if mode != "wal" {
        tracing::warn!(path = %path.display(), mode, "no write-ahead log on this file system: the store will be slow");
    }
    Ok(mode == "wal")
}

/// A new file, or one that is just being closed, may be locked for a moment in a way that SQLite's
/// busy timeout does not cover.
fn set_journal(conn: &Connection, mode: &str, busy_timeout: Duration) -> rusqlite::Result<String> {
    let begin = Instant::now();
    loop {
        match conn.pragma_update_and_check(None, "journal_mode", mode, |row| row.get(0)) {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && begin.elapsed() < busy_timeout =>
            {
                std::thread::sleep(Duration::from_millis(10));
            }
            other => return other,
        }
    }
}

fn check_folder(path: &Path) -> Result<(), StoreError> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    if !folder.is_dir() {
        let message = format!(
            "the folder {} is not there: make it, or choose another path",
            folder.display()
        );
        return Err(StoreError::Unusable(message));
    }
    if path.is_dir() {
        return Err(StoreError::Unusable(
            "it is a folder: give the path of a file".to_owned(),
        ));
    }
    Ok(())
}

/// Adds the path to an error.
fn name_file(path: &Path, error: StoreError) -> StoreError {
    let path = path.display();
    match error {
        StoreError::Unusable(message) => {
            StoreError::Unusable(format!("{path} cannot be the store: {message}"))
        }
        StoreError::Unavailable(message) => {
            StoreError::Unavailable(format!("cannot open {path}: {message}"))
        }
        other => other,
    }
}
