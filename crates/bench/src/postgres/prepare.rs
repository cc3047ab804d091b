//! Databases to measure.

use surefoot_postgres::PostgresStore;
use surefoot_scratch_postgres::ScratchPostgres;

/// Creates Surefoot's schema, with runs that ended long ago, and a copy of its tables for pgbench.
pub(super) fn prepare(cluster: &ScratchPostgres, finished: u64) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        PostgresStore::options(&cluster.url())
            .open()
            .await
            .map(drop)
    })?;
    let script = format!(
        "CREATE SCHEMA raw; CREATE TABLE raw.one (id bigint, body text);
         CREATE TABLE raw.runs (LIKE surefoot.runs INCLUDING ALL);
         CREATE TABLE raw.steps (LIKE surefoot.steps INCLUDING ALL);
         CREATE TABLE raw.events (LIKE surefoot.events INCLUDING ALL);
         INSERT INTO surefoot.plans (digest, workflow, queue, steps, json, used)
         VALUES (sha256('raw'), 'raw', 'raw', ARRAY['step_0'], '{{}}', true);
         INSERT INTO surefoot.runs (id, plan, workflow, queue, parameters, priority, created_at, status, progress,
                                    started_at, completed_at, epoch, event_seq)
         SELECT lpad(to_hex(n), 32, '0')::uuid, 1, 'raw', 'raw', '{{\"at\":123456789}}', 0, 1, 'completed', 100, 1, n, 1, 17
         FROM generate_series(1, {finished}) AS n;
         INSERT INTO surefoot.steps (run, position, id, status, progress, attempt, started_at, completed_at)
         SELECT lpad(to_hex(n), 32, '0')::uuid, s, 'step_' || s, 'completed', 100, 1, 1, 2
         FROM generate_series(1, {finished}) AS n, generate_series(0, 6) AS s;
         INSERT INTO surefoot.events (run, seq, at, body)
         SELECT lpad(to_hex(n), 32, '0')::uuid, s * 2 + 3, 1, '[[\"step.completed\",\"step_1\",null]]'
         FROM generate_series(1, {finished}) AS n, generate_series(0, 7) AS s;
         SET client_min_messages = error; VACUUM ANALYZE;"
    );
    let mut psql = cluster.program("psql");
    let script = script
        .split(';')
        .map(str::trim)
        .filter(|statement| !statement.is_empty());
    for statement in script {
        psql.args(["-c", statement]);
    }
    let output = psql
        .args(["-q", "-v", "ON_ERROR_STOP=1", "-d", &cluster.url()])
        .output()?;
    anyhow::ensure!(
        output.status.success(),
        "psql: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    cluster.psql("postgres", "CHECKPOINT")?;
    Ok(())
}
