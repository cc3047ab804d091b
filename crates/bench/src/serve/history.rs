//! A long history, made by copying one run that Surefoot executed: its row, its steps, its events.
//! The copies have keys and submission times spread over the last thirty days; one in fifty failed.

use std::path::Path;

use rusqlite::Connection;
use surefoot_scratch_postgres::ScratchPostgres;

/// Columns that differ between a copy and the original, in both dialects: `{n}` is the copy's
/// number, `{ms}` its submission time.
const RUN_COLUMNS: &str =
    "progress, event_seq, epoch, commits, plan, workflow, queue, priority, parameters";
const STEP_COLUMNS: &str = "position, id, status, progress, attempt, interruptions, started_at, completed_at, message, output";

/// Inserts `copies` copies into a file that no process has open.
pub(super) fn sqlite(file: &Path, copies: u64) -> anyhow::Result<()> {
    let conn = Connection::open(file)?;
    conn.execute_batch(&format!(
        "PRAGMA synchronous = OFF; PRAGMA cache_size = -400000; PRAGMA foreign_keys = OFF;
         CREATE TEMP TABLE copies AS
         WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {copies}),
              at (n, ms) AS (SELECT n, {ms} FROM n)
         SELECT n, ms * 1000 AS us, unhex(printf('%012x7000%016x', ms, n | (1 << 63))) AS id FROM at;
         CREATE TEMP TABLE original AS SELECT * FROM runs WHERE workflow = 'work' LIMIT 1;
         BEGIN IMMEDIATE;
         INSERT INTO runs (id, status, error, key, created_at, started_at, completed_at, {RUN_COLUMNS})
         SELECT c.id, {status}, {error}, 'project-' || c.n, c.us, c.us, c.us + 900000, {RUN_COLUMNS}
         FROM copies AS c, original;
         INSERT INTO steps (run, {STEP_COLUMNS})
         SELECT c.id, {steps} FROM copies AS c, steps AS s WHERE s.run = (SELECT id FROM original);
         INSERT INTO events (run, seq, at, body)
         SELECT c.id, e.seq, c.us, e.body FROM copies AS c, events AS e WHERE e.run = (SELECT id FROM original);
         COMMIT;
         ANALYZE;
         PRAGMA wal_checkpoint(TRUNCATE);",
        ms = moment(copies, "CAST(unixepoch('subsec') * 1000 AS INTEGER)", "/"),
        status = STATUS,
        error = ERROR,
        steps = STEP_COLUMNS.replace("position", "s.position").replace(", id", ", s.id"),
    ))?;
    Ok(())
}

/// Inserts `copies` copies into the database.
pub(super) fn postgres(cluster: &ScratchPostgres, copies: u64) -> anyhow::Result<()> {
    let script = format!(
        "CREATE UNLOGGED TABLE copies AS
         SELECT n, ms * 1000 AS us, (lpad(to_hex(ms), 12, '0') || '70008' || lpad(to_hex(n), 15, '0'))::uuid AS id
         FROM (SELECT n, {ms} AS ms FROM generate_series(1::bigint, {copies}) AS n) AS at;
         CREATE UNLOGGED TABLE original AS SELECT * FROM surefoot.runs WHERE workflow = 'work' LIMIT 1;
         INSERT INTO surefoot.runs (id, status, error, key, created_at, started_at, completed_at, {RUN_COLUMNS})
         SELECT c.id, {status}, {error}, 'project-' || c.n, c.us, c.us, c.us + 900000, {columns}
         FROM copies AS c, original AS o;
         INSERT INTO surefoot.steps (run, {STEP_COLUMNS})
         SELECT c.id, {steps} FROM copies AS c, surefoot.steps AS s WHERE s.run = (SELECT id FROM original);
         INSERT INTO surefoot.events (run, seq, at, body)
         SELECT c.id, e.seq, c.us, e.body FROM copies AS c, surefoot.events AS e
         WHERE e.run = (SELECT id FROM original);
         DROP TABLE copies, original; VACUUM ANALYZE; CHECKPOINT",
        ms = moment(copies, "(extract(epoch FROM now()) * 1000)::bigint", "/"),
        status = STATUS,
        error = ERROR,
        columns = RUN_COLUMNS.split(", ").map(|column| format!("o.{column}")).collect::<Vec<_>>().join(", "),
        steps = STEP_COLUMNS.split(", ").map(|column| format!("s.{column}")).collect::<Vec<_>>().join(", "),
    );
    for statement in script.split(';') {
        cluster.psql("postgres", statement.trim())?;
    }
    Ok(())
}

const STATUS: &str = "CASE c.n % 50 WHEN 0 THEN 'failed' ELSE 'completed' END";
const ERROR: &str = "CASE c.n % 50 WHEN 0 THEN 'step four: exit status 1' END";

/// Submission time of copy `n` in milliseconds: spread evenly over thirty days, the last an hour
/// ago.
fn moment(copies: u64, now: &str, by: &str) -> String {
    const HOUR: u64 = 3_600_000;
    format!(
        "{now} - {HOUR} - ({copies} - n) * {days} {by} {copies}",
        days = 30 * 24 * HOUR
    )
}
