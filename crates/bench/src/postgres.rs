//! Surefoot on PostgreSQL: a cluster of its own with fsync on, workers that are processes, and pgbench on the same machine in
//! the same run.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use anyhow::Context;
use surefoot_postgres::PostgresStore;
use surefoot_scratch_postgres::ScratchPostgres;

use crate::report::{Figures, median};
use crate::workload::{self, Work};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(long)]
    url: String,
    #[arg(long)]
    seconds: u64,
    #[arg(long)]
    steps: usize,
    /// Runs under way at once.
    #[arg(long)]
    at_once: usize,
}

/// One worker, as a process of the suite.
pub(crate) fn measure(args: &Args) -> anyhow::Result<Figures> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let store = PostgresStore::options(&args.url).open().await?;
        let work = Work { seconds: args.seconds, steps: args.steps, at_once: args.at_once };
        workload::run(Arc::new(store), &work).await
    })
}

#[derive(clap::Args)]
pub(crate) struct Suite {
    /// Rounds; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds that each measurement takes.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Finished runs in the database, each a table of its own.
    #[arg(long, value_delimiter = ',', default_value = "0,1000000")]
    history: Vec<u64>,
}

/// Steps, workers, and runs at once over all workers.
const KINDS: [(usize, usize, usize); 8] =
    [(1, 1, 1), (7, 1, 1), (1, 1, 256), (1, 2, 256), (7, 1, 256), (7, 2, 256), (7, 2, 512), (7, 4, 256)];

const COMMIT: &str = "INSERT INTO raw.one (id, body) VALUES (:client_id, 'step.completed');";
const ROWS: &str = "INSERT INTO raw.one (id, body) SELECT n, 'step.completed' FROM generate_series(1, 100) AS n;";

/// The rows of 100 seven-step runs, in one transaction of three statements: the same tables, indexes and checks.
const RUNS: &str = "BEGIN;
INSERT INTO raw.runs (id, plan, workflow, queue, parameters, priority, created_at, status, progress, started_at,
                      completed_at, epoch, event_seq)
SELECT (lpad(to_hex(:n), 10, '0') || lpad(to_hex(n), 22, '0'))::uuid, 1, 'raw', 'raw', '{\"at\":123456789}', 0, 1,
       'completed', 100, 1, 2, 1, 17 FROM generate_series(1, 100) AS n;
INSERT INTO raw.steps (run, position, id, status, progress, attempt, started_at, completed_at)
SELECT (lpad(to_hex(:n), 10, '0') || lpad(to_hex(n), 22, '0'))::uuid, s, 'step_' || s, 'completed', 100, 1, 1, 2
FROM generate_series(1, 100) AS n, generate_series(0, 6) AS s;
INSERT INTO raw.events (run, seq, at, body)
SELECT (lpad(to_hex(:n), 10, '0') || lpad(to_hex(n), 22, '0'))::uuid, s * 2 + 3, 1,
       '[[\"step.completed\",\"step_1\",null],[\"step.started\",\"step_2\",{\"attempt\":1}]]'
FROM generate_series(1, 100) AS n, generate_series(0, 7) AS s;
COMMIT;";

pub(crate) fn run(suite: &Suite) -> anyhow::Result<()> {
    println!("Median of {} rounds, {} s each; workers are processes of their own.\n", suite.rounds, suite.seconds);
    for &finished in &suite.history {
        let cluster = ScratchPostgres::start()?;
        prepare(&cluster, finished)?;
        let mut machine: [Vec<Figures>; 3] = Default::default();
        let mut kinds: Vec<Vec<Figures>> = vec![Vec::new(); KINDS.len()];
        for round in 0..suite.rounds {
            eprintln!("{finished} finished runs, round {} of {} ...", round + 1, suite.rounds);
            machine[0].push(pgbench(&cluster, COMMIT, 32, 1.0, suite.seconds)?);
            machine[1].push(pgbench(&cluster, ROWS, 1, 100.0, suite.seconds)?);
            machine[2].push(pgbench(&cluster, RUNS, 1, 100.0, suite.seconds)?);
            for ((steps, workers, at_once), figures) in KINDS.into_iter().zip(&mut kinds) {
                figures.push(workers_at_once(&cluster, suite.seconds, steps, workers, at_once)?);
            }
        }
        print(finished, &machine, &kinds);
    }
    Ok(())
}

/// Surefoot's schema, with runs that ended long ago, and a copy of its tables for pgbench.
fn prepare(cluster: &ScratchPostgres, finished: u64) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { PostgresStore::options(&cluster.url()).open().await.map(drop) })?;
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
    let script = script.split(';').map(str::trim).filter(|statement| !statement.is_empty());
    for statement in script {
        psql.args(["-c", statement]);
    }
    let output = psql.args(["-q", "-v", "ON_ERROR_STOP=1", "-d", &cluster.url()]).output()?;
    anyhow::ensure!(output.status.success(), "psql: {}", String::from_utf8_lossy(&output.stderr));
    cluster.psql("postgres", "CHECKPOINT")?;
    Ok(())
}

/// What pgbench says of a script's transactions, each of which counts for `weight`.
fn pgbench(
    cluster: &ScratchPostgres,
    script: &str,
    clients: u32,
    weight: f64,
    seconds: u64,
) -> anyhow::Result<Figures> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("script.sql");
    std::fs::write(&file, format!("\\set n random(1, 1000000000)\n{script}\n"))?;
    let (clients, seconds) = (clients.to_string(), seconds.to_string());
    let mut command = Command::new(cluster.program("pgbench").get_program());
    let output = command
        .args(["-n", "-M", "prepared", "-j", "2", "-c", &clients, "-T", &seconds, "-f"])
        .arg(&file)
        .arg(cluster.url())
        .output()?;
    anyhow::ensure!(output.status.success(), "pgbench: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let tps = text.lines().find_map(|line| line.strip_prefix("tps = ")?.split_whitespace().next()?.parse::<f64>().ok());
    Ok(Figures { per_second: tps.context("pgbench says no tps")? * weight, ..Figures::default() })
}

/// Several workers together: their rates added up, the latency of the slowest.
fn workers_at_once(
    cluster: &ScratchPostgres,
    seconds: u64,
    steps: usize,
    workers: usize,
    at_once: usize,
) -> anyhow::Result<Figures> {
    let children = (0..workers).map(|_| worker(&cluster.url(), seconds, steps, at_once / workers));
    let children: Vec<Child> = children.collect::<anyhow::Result<_>>()?;
    let mut all = Figures::default();
    for child in children {
        let output = child.wait_with_output()?;
        anyhow::ensure!(output.status.success(), "a worker failed: {}", String::from_utf8_lossy(&output.stderr));
        let one: Figures = serde_json::from_slice(&output.stdout)?;
        all.per_second += one.per_second;
        all.memory_mib += one.memory_mib;
        all.p50_us = all.p50_us.max(one.p50_us);
        all.p99_us = all.p99_us.max(one.p99_us);
    }
    Ok(all)
}

fn worker(url: &str, seconds: u64, steps: usize, at_once: usize) -> anyhow::Result<Child> {
    let (seconds, steps, at_once) = (seconds.to_string(), steps.to_string(), at_once.to_string());
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["postgres-workload", "--url", url, "--seconds", &seconds, "--steps", &steps, "--at-once", &at_once]);
    Ok(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
}

fn print(finished: u64, machine: &[Vec<Figures>; 3], kinds: &[Vec<Figures>]) {
    let [commits, rows, raw] = machine.each_ref().map(|rounds| median(rounds, |figures| figures.per_second));
    println!("## {finished} finished runs in the database\n");
    println!("pgbench: {commits:.0} single-row commits/s (32 clients), {rows:.0} batched rows/s (1 client);");
    println!("raw batches write the rows of {raw:.0} seven-step runs/s, never touching one twice\n");
    println!("| steps | workers | runs at once | runs/s | steps/s | submit to handler p50 | p99 | of raw | memory |");
    println!("|---|---|---|---|---|---|---|---|---|");
    for ((steps, workers, at_once), rounds) in KINDS.into_iter().zip(kinds) {
        let runs = median(rounds, |figures| figures.per_second);
        let of_raw = if steps == 7 { format!("{:.2}", runs / raw) } else { String::new() };
        println!(
            "| {steps} | {workers} | {at_once} | {runs:.0} | {:.0} | {:.2} ms | {:.2} ms | {of_raw} | {:.0} MiB |",
            runs * steps as f64,
            median(rounds, |figures| figures.p50_us) / 1000.0,
            median(rounds, |figures| figures.p99_us) / 1000.0,
            median(rounds, |figures| figures.memory_mib),
        );
    }
    println!();
}
