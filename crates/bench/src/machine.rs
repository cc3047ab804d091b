//! Baselines: the figures of the machine without Surefoot.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::report::Figures;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Directory to write in.
    #[arg(long)]
    folder: PathBuf,
    #[arg(long)]
    seconds: u64,
}

/// Appends of 4 KiB, each made durable (fdatasync) before the next.
pub(crate) fn appends(args: &Args) -> anyhow::Result<Figures> {
    let mut file = File::create(args.folder.join("appends"))?;
    let block = [7_u8; 4096];
    let began = Instant::now();
    let mut count = 0_u64;
    while began.elapsed() < Duration::from_secs(args.seconds) {
        file.write_all(&block)?;
        file.sync_data()?;
        count += 1;
    }
    Ok(Figures {
        per_second: count as f64 / began.elapsed().as_secs_f64(),
        ..Figures::default()
    })
}

/// Inserts rows of 100 bytes into a table with an integer key, 100 a transaction.
pub(crate) fn rows(args: &Args) -> anyhow::Result<Figures> {
    let conn = Connection::open(args.folder.join("rows"))?;
    durable(&conn)?;
    conn.execute_batch("CREATE TABLE plain (id INTEGER PRIMARY KEY, body TEXT NOT NULL)")?;
    let body = "x".repeat(100);
    let began = Instant::now();
    let mut count = 0_u64;
    while began.elapsed() < Duration::from_secs(args.seconds) {
        conn.execute_batch("BEGIN IMMEDIATE")?;
        for _ in 0..100 {
            conn.prepare_cached("INSERT INTO plain (body) VALUES (?1)")?
                .execute([&body])?;
        }
        conn.execute_batch("COMMIT")?;
        count += 100;
    }
    Ok(Figures {
        per_second: count as f64 / began.elapsed().as_secs_f64(),
        ..Figures::default()
    })
}

/// Applies the store's durability settings.
pub(crate) fn durable(conn: &Connection) -> anyhow::Result<()> {
    conn.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4000;
         PRAGMA cache_size = -8000; PRAGMA temp_store = MEMORY;",
    )?;
    conn.set_prepared_statement_cache_capacity(64);
    Ok(())
}
