//! The rows of seven-step runs, written by plain SQLite: the same tables, indexes, checks and row
//! writes as Surefoot's, in batches of 100 commits a transaction, without engine, queue or thread.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};
use surefoot_sqlite::SqliteStore;
use uuid::Uuid;

use crate::machine::durable;
use crate::report::{Figures, percentile};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Store file; created if absent.
    #[arg(long)]
    file: PathBuf,
    #[arg(long)]
    seconds: u64,
    /// Concurrent runs, as in the workload that it is compared with.
    #[arg(long, default_value_t = 256)]
    at_once: usize,
}

#[derive(clap::Args)]
pub(crate) struct CommitArgs {
    /// Store file; created if absent.
    #[arg(long)]
    file: PathBuf,
    #[arg(long)]
    seconds: u64,
    #[arg(long)]
    steps: i64,
}

/// Steps of a run.
pub(crate) const STEPS: i64 = 7;
/// Surefoot's commits for such a run: one for the submission and one for each step's end.
const COMMITS: i64 = STEPS + 1;
const BATCH: usize = 100;

/// As long as the events of such a run.
const BODY: &str = r#"[["step.completed","step_1",null],["step.started","step_2",{"attempt":1}]]"#;

pub(crate) fn measure(args: &Args) -> anyhow::Result<Figures> {
    let conn = open(&args.file)?;
    let plan = plan(&conn)?;
    let began = Instant::now();
    let mut runs = 0_u64;
    while began.elapsed() < Duration::from_secs(args.seconds) {
        wave(&conn, plan, args.at_once)?;
        runs += args.at_once as u64;
    }
    let per_second = runs as f64 / began.elapsed().as_secs_f64();
    Ok(Figures {
        per_second,
        memory_mib: crate::report::peak_memory(),
        ..Figures::default()
    })
}

/// Times single durable commits: one transaction for the rows of each submission.
pub(crate) fn commits(args: &CommitArgs) -> anyhow::Result<Figures> {
    let conn = open(&args.file)?;
    let plan = plan(&conn)?;
    let began = Instant::now();
    let mut took = Vec::new();
    while began.elapsed() < Duration::from_secs(args.seconds) {
        let id = Uuid::now_v7();
        let one = Instant::now();
        conn.execute_batch("BEGIN IMMEDIATE")?;
        submit(&conn, plan, &id, args.steps)?;
        conn.execute_batch("COMMIT")?;
        took.push(one.elapsed().as_secs_f64() * 1e6);
        // Ends the run, so that the file has as few running runs as that of a worker with one run
        // at a time.
        conn.prepare_cached(END)?
            .execute([id.as_bytes().as_slice()])?;
    }
    let per_second = took.len() as f64 / began.elapsed().as_secs_f64();
    took.sort_by(f64::total_cmp);
    Ok(Figures {
        per_second,
        p50_us: percentile(&took, 0.5),
        p99_us: percentile(&took, 0.99),
        ..Figures::default()
    })
}

const END: &str = "UPDATE runs SET status = 'completed', progress = 100, worker = NULL, completed_at = 2 WHERE id = ?1";

/// Opens a store file with Surefoot's schema by plain SQLite.
pub(crate) fn open(file: &Path) -> anyhow::Result<Connection> {
    drop(SqliteStore::open(file)?);
    let conn = Connection::open(file)?;
    conn.busy_timeout(Duration::from_secs(5))?;
    durable(&conn)?;
    Ok(conn)
}

pub(crate) fn plan(conn: &Connection) -> anyhow::Result<i64> {
    conn.execute(
        "INSERT OR IGNORE INTO plans (digest, workflow, queue, json) VALUES (zeroblob(32), 'raw', 'raw', '{}')",
        [],
    )?;
    Ok(conn.query_row(
        "SELECT id FROM plans WHERE digest = zeroblob(32)",
        [],
        |row| row.get(0),
    )?)
}

/// Advances many runs together: the first commit of each, then the second of each, and so on.
fn wave(conn: &Connection, plan: i64, at_once: usize) -> anyhow::Result<()> {
    let ids = (0..at_once).map(|_| Uuid::now_v7()).collect::<Vec<_>>();
    for commit in 0..COMMITS {
        for batch in ids.chunks(BATCH) {
            conn.execute_batch("BEGIN IMMEDIATE")?;
            for id in batch {
                if commit == 0 {
                    submit(conn, plan, id, STEPS)?
                } else {
                    advance(conn, id, commit)?
                }
            }
            conn.execute_batch("COMMIT")?;
        }
    }
    Ok(())
}

/// Writes the run, its steps with the first of them running, and the first events: with seven steps
/// nine rows, ten writes.
fn submit(conn: &Connection, plan: i64, id: &Uuid, steps: i64) -> anyhow::Result<()> {
    let bytes = id.as_bytes().as_slice();
    conn.prepare_cached(
        "INSERT INTO runs (id, plan, workflow, queue, parameters, priority, created_at, status, progress, started_at,
                           worker, epoch, event_seq)
         VALUES (?1, ?2, 'raw', 'raw', '{\"at\":123456789}', 0, 1, 'running', 0, 1, zeroblob(16), 1, 3)",
    )?
    .execute(params![bytes, plan])?;
    for position in 0..steps {
        let name = format!("step_{position}");
        conn.prepare_cached(
            "INSERT INTO steps (run, position, id, status) VALUES (?1, ?2, ?3, 'pending')",
        )?
        .execute(params![bytes, position, name])?;
    }
    step(conn, bytes, 0, "running")?;
    event(conn, bytes, 3)
}

/// Ends one step and starts the next, or ends the run.
fn advance(conn: &Connection, id: &Uuid, commit: i64) -> anyhow::Result<()> {
    let bytes = id.as_bytes().as_slice();
    if commit == STEPS {
        conn.prepare_cached(
            "UPDATE runs SET status = 'completed', progress = 100, worker = NULL, completed_at = ?2, event_seq = 17
             WHERE id = ?1",
        )?
        .execute(params![bytes, commit])?;
    } else {
        conn.prepare_cached(
            "UPDATE runs SET progress = ?2, error = NULL, event_seq = ?3 WHERE id = ?1",
        )?
        .execute(params![bytes, commit * 14, commit * 2 + 3])?;
        step(conn, bytes, commit, "running")?;
    }
    step(conn, bytes, commit - 1, "completed")?;
    event(conn, bytes, commit * 2 + 3)
}

fn step(conn: &Connection, run: &[u8], position: i64, status: &str) -> anyhow::Result<()> {
    conn.prepare_cached(
        "UPDATE steps SET status = ?3, progress = 0, message = NULL, attempt = 1, interruptions = 0, started_at = 1,
                          completed_at = CASE ?3 WHEN 'completed' THEN 2 END, error = NULL, output = NULL, wait = NULL,
                          checkpoint = NULL, answer = NULL, snapshot = NULL, undo = NULL
         WHERE run = ?1 AND position = ?2",
    )?
    .execute(params![run, position, status])?;
    Ok(())
}

fn event(conn: &Connection, run: &[u8], seq: i64) -> anyhow::Result<()> {
    conn.prepare_cached("INSERT INTO events (run, seq, at, body) VALUES (?1, ?2, 1, ?3)")?
        .execute(params![run, seq, BODY])?;
    Ok(())
}
