//! Migrates a file to the schema of this build.
//!
//! Each migration is a numbered `.sql` file. Its checksum is stored with it, so that a schema
//! changed by another build is detected instead of misread.

use rusqlite::{Connection, TransactionBehavior, params};
use surefoot::{Digest, StoreError, Timestamp};

use crate::error::store_error;

/// `Sure` in ASCII: marks a SQLite file as a Surefoot store.
pub(crate) const APPLICATION_ID: i64 = 0x5375_7265;

struct Migration {
    version: i64,
    name: &'static str,
    sql: &'static str,
}

const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "first",
        sql: include_str!("../migrations/0001_first.sql"),
    },
    Migration {
        version: 2,
        name: "deferrals",
        sql: include_str!("../migrations/0002_deferrals.sql"),
    },
    Migration {
        version: 3,
        name: "requirements",
        sql: include_str!("../migrations/0003_requirements.sql"),
    },
    Migration {
        version: 4,
        name: "undo_notes",
        sql: include_str!("../migrations/0004_undo_notes.sql"),
    },
    Migration {
        version: 5,
        name: "secrets",
        sql: include_str!("../migrations/0005_secrets.sql"),
    },
    Migration {
        version: 6,
        name: "plan_format",
        sql: include_str!("../migrations/0006_plan_format.sql"),
    },
    Migration {
        version: 7,
        name: "isolation",
        sql: include_str!("../migrations/0007_isolation.sql"),
    },
    Migration {
        version: 8,
        name: "uploads",
        sql: include_str!("../migrations/0008_uploads.sql"),
    },
    Migration {
        version: 9,
        name: "allow_lists",
        sql: include_str!("../migrations/0009_allow_lists.sql"),
    },
    Migration {
        version: 10,
        name: "worker_plan_format",
        sql: include_str!("../migrations/0010_worker_plan_format.sql"),
    },
];

/// Statements of every migration, in order.
#[cfg(test)]
pub(crate) fn all() -> impl Iterator<Item = &'static str> {
    MIGRATIONS.iter().map(|migration| migration.sql)
}

/// Schema version of this build.
const KNOWN: i64 = MIGRATIONS.len() as i64;

/// Runs the missing migrations.
pub(crate) fn migrate(conn: &mut Connection, now: Timestamp) -> Result<(), StoreError> {
    if version(conn)? != KNOWN {
        run_missing(conn, now)?;
    }
    check_sums(conn)
}

/// Refuses a file of another program, or of a newer build, before anything is written to it.
pub(crate) fn check_owner(conn: &Connection) -> Result<(), StoreError> {
    // The three queries must see one snapshot: another process may be creating the store.
    let snapshot = conn
        .unchecked_transaction()
        .map_err(|error| store_error(&error))?;
    check(&snapshot)
}

fn check(conn: &Connection) -> Result<(), StoreError> {
    let application: i64 = pragma(conn, "application_id")?;
    let version = version(conn)?;
    if application == APPLICATION_ID && version > KNOWN {
        let message = format!(
            "made by a newer surefoot (schema {version}; this one knows {KNOWN}): upgrade, or use another file"
        );
        return Err(StoreError::Unusable(message));
    }
    if application == APPLICATION_ID || (application == 0 && version == 0 && is_empty(conn)?) {
        return Ok(());
    }
    Err(StoreError::Unusable(
        "it is the database of another program: use another file".to_owned(),
    ))
}

fn is_empty(conn: &Connection) -> Result<bool, StoreError> {
    let empty = conn.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| {
        row.get(0)
    });
    empty.map_err(|error| store_error(&error))
}

fn pragma(conn: &Connection, name: &str) -> Result<i64, StoreError> {
    conn.pragma_query_value(None, name, |row| row.get(0))
        .map_err(|error| store_error(&error))
}

fn version(conn: &Connection) -> Result<i64, StoreError> {
    pragma(conn, "user_version")
}

/// In one transaction, so that of two processes that open a new file at once the second finds it
/// migrated.
fn run_missing(conn: &mut Connection, now: Timestamp) -> Result<(), StoreError> {
    let sql = |error: rusqlite::Error| store_error(&error);
    let tx = conn
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(sql)?;
    check(&tx)?;
    let from = version(&tx)?;
    let write = || -> rusqlite::Result<()> {
        for migration in MIGRATIONS
            .iter()
            .filter(|migration| migration.version > from)
        {
            migration.run(&tx, now)?;
        }
        tx.pragma_update(None, "application_id", APPLICATION_ID)?;
        tx.pragma_update(None, "user_version", KNOWN)
    };
    write().map_err(sql)?;
    tx.commit().map_err(sql)
}

fn check_sums(conn: &Connection) -> Result<(), StoreError> {
    let read = || -> rusqlite::Result<Vec<(i64, [u8; 32])>> {
        let mut statement =
            conn.prepare("SELECT version, sha256 FROM migrations ORDER BY version")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect()
    };
    let found = read().map_err(|error| store_error(&error))?;
    let known: Vec<_> = MIGRATIONS
        .iter()
        .map(|migration| (migration.version, *migration.sum().as_bytes()))
        .collect();
    if found == known {
        return Ok(());
    }
    let message = "its schema was made by another build of surefoot than this one: use that build, or another file";
    Err(StoreError::Unusable(message.to_owned()))
}

impl Migration {
    fn run(&self, conn: &Connection, now: Timestamp) -> rusqlite::Result<()> {
        conn.execute_batch(self.sql)?;
        let sum = self.sum();
        let row = params![self.version, self.name, sum.as_bytes(), now.as_micros()];
        conn.execute(
            "INSERT INTO migrations (version, name, sha256, applied_at) VALUES (?1, ?2, ?3, ?4)",
            row,
        )?;
        Ok(())
    }

    fn sum(&self) -> Digest {
        Digest::of(self.sql.as_bytes())
    }
}
