//! Fills a store file with finished runs, as if Surefoot had executed them long ago.

use std::path::PathBuf;
use std::time::Instant;

use rusqlite::{Connection, params};
use uuid::Uuid;

use crate::raw::{self, STEPS};
use crate::report::Figures;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Store file; created if absent.
    #[arg(long)]
    file: PathBuf,
    /// Number of finished runs.
    #[arg(long)]
    runs: u64,
}

const BATCH: u64 = 10_000;

pub(crate) fn fill(args: &Args) -> anyhow::Result<Figures> {
    let conn = raw::open(&args.file)?;
    // The speed of this step is not measured, and a crash here costs one benchmark run.
    conn.execute_batch("PRAGMA synchronous = OFF; PRAGMA cache_size = -200000;")?;
    let plan = raw::plan(&conn)?;
    let began = Instant::now();
    for batch in 0..args.runs.div_ceil(BATCH) {
        conn.execute_batch("BEGIN IMMEDIATE")?;
        for _ in 0..BATCH.min(args.runs - batch * BATCH) {
            finished(&conn, plan)?;
        }
        conn.execute_batch("COMMIT")?;
    }
    conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
    Ok(Figures {
        per_second: args.runs as f64 / began.elapsed().as_secs_f64(),
        ..Figures::default()
    })
}

fn finished(conn: &Connection, plan: i64) -> anyhow::Result<()> {
    let id = Uuid::now_v7();
    let bytes = id.as_bytes().as_slice();
    conn.prepare_cached(
        "INSERT INTO runs (id, plan, workflow, queue, parameters, priority, created_at, status, progress, started_at,
                           completed_at, epoch, event_seq)
         VALUES (?1, ?2, 'raw', 'raw', '{\"at\":123456789}', 0, 1, 'completed', 100, 1, ?3, 1, 17)",
    )?
    .execute(params![bytes, plan, id.as_u128() as i64 & 0xffff_ffff])?;
    for position in 0..STEPS {
        conn.prepare_cached(
            "INSERT INTO steps (run, position, id, status, progress, attempt, started_at, completed_at)
             VALUES (?1, ?2, ?3, 'completed', 100, 1, 1, 2)",
        )?
        .execute(params![bytes, position, format!("step_{position}")])?;
    }
    for seq in 0..=STEPS {
        conn.prepare_cached("INSERT INTO events (run, seq, at, body) VALUES (?1, ?2, 1, ?3)")?
            .execute(params![
                bytes,
                seq * 2 + 3,
                r#"[["step.completed","step_1",null],["step.started","step_2",{"attempt":1}]]"#
            ])?;
    }
    Ok(())
}
