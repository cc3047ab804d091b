//! Surefoot on PostgreSQL: a cluster of its own with fsync on, workers that are processes, and pgbench on the same machine in
//! the same run.

mod pgbench;
mod prepare;
mod processes;
mod table;

use std::time::Duration;

use anyhow::Context as _;
use surefoot_scratch_postgres::ScratchPostgres;

use self::processes::Load;
pub(crate) use self::processes::{WorkerArgs, WorkloadArgs, worker, workload};
use crate::report::Figures;

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

/// In the order in which they are measured, from few to many.
const LOADS: [Load; 8] = [
    Load { steps: 1, workers: 1, at_once: 1 },
    Load { steps: 7, workers: 1, at_once: 1 },
    Load { steps: 1, workers: 1, at_once: 256 },
    Load { steps: 1, workers: 2, at_once: 256 },
    Load { steps: 7, workers: 1, at_once: 256 },
    Load { steps: 7, workers: 2, at_once: 256 },
    Load { steps: 7, workers: 2, at_once: 512 },
    Load { steps: 7, workers: 4, at_once: 256 },
];

/// What the rounds over one history came to.
#[derive(Default)]
struct Rounds {
    commits: Vec<Figures>,
    one_commit: Vec<Figures>,
    /// The rows of a submission in one commit, with one step and with seven.
    one_submission: [Vec<Figures>; 2],
    rows: Vec<Figures>,
    runs: Vec<Figures>,
    /// In the order of the loads.
    loads: [Vec<Figures>; LOADS.len()],
    /// Submitted here, run there: woken by NOTIFY, and by polling alone.
    notified: Vec<Figures>,
    polled: Vec<Figures>,
    /// Transactions that one worker makes while there is nothing to do.
    idle: Vec<Figures>,
}

pub(crate) fn run(suite: &Suite) -> anyhow::Result<()> {
    println!("Median of {} rounds, {} s each; workers are processes of their own.\n", suite.rounds, suite.seconds);
    let mut first = None;
    for &finished in &suite.history {
        let cluster = ScratchPostgres::start()?;
        eprintln!("filling a database with {finished} finished runs ...");
        prepare::prepare(&cluster, finished)?;
        let mut all = Rounds::default();
        for round in 0..suite.rounds {
            eprintln!("{finished} finished runs, round {} of {} ...", round + 1, suite.rounds);
            measure(&cluster, suite.seconds, &mut all)?;
        }
        let busiest = table::print(finished, &all, first, &vacuum(&cluster)?);
        first.get_or_insert(busiest);
    }
    Ok(())
}

fn measure(cluster: &ScratchPostgres, seconds: u64, all: &mut Rounds) -> anyhow::Result<()> {
    let url = cluster.url();
    all.commits.push(pgbench::run(cluster, &pgbench::COMMITS, seconds)?);
    all.one_commit.push(pgbench::run(cluster, &pgbench::ONE_COMMIT, seconds)?);
    for (script, figures) in pgbench::ONE_SUBMISSION.iter().zip(&mut all.one_submission) {
        figures.push(pgbench::run(cluster, script, seconds)?);
    }
    all.rows.push(pgbench::run(cluster, &pgbench::ROWS, seconds)?);
    all.runs.push(pgbench::run(cluster, &pgbench::RUNS, seconds)?);
    for (load, figures) in LOADS.into_iter().zip(&mut all.loads) {
        figures.push(processes::together(&url, seconds, load)?);
    }
    all.notified.push(processes::hand_over(&url, seconds, false)?);
    all.polled.push(processes::hand_over(&url, seconds, true)?);
    all.idle.push(idle(cluster, seconds)?);
    Ok(())
}

/// One worker that has nothing to do: what it asks the database, by the database's own count.
fn idle(cluster: &ScratchPostgres, seconds: u64) -> anyhow::Result<Figures> {
    let worker = processes::idle_worker(&cluster.url(), false)?;
    // It starts, and looks around; the database counts a session's transactions up to a second late.
    std::thread::sleep(Duration::from_secs(3));
    let before = transactions(cluster)?;
    std::thread::sleep(Duration::from_secs(seconds));
    let asked = transactions(cluster)? - before;
    let memory_mib = processes::stop(worker)?.memory_mib;
    Ok(Figures { per_second: asked / seconds as f64, memory_mib, ..Figures::default() })
}

/// Over another database than the one that is counted.
fn transactions(cluster: &ScratchPostgres) -> anyhow::Result<f64> {
    let counted = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = 'postgres'";
    cluster.psql("template1", counted)?.parse().context("a count of transactions")
}

/// What the load left to autovacuum, and what autovacuum did about it.
fn vacuum(cluster: &ScratchPostgres) -> anyhow::Result<String> {
    let asked =
        "SELECT string_agg(relname || ': ' || n_dead_tup || ' dead of ' || n_live_tup + n_dead_tup || ', vacuumed '
                 || autovacuum_count || ' times', '; ' ORDER BY relname)
                 FROM pg_stat_user_tables WHERE schemaname = 'surefoot' AND relname IN ('runs', 'steps', 'events')";
    Ok(cluster.psql("postgres", asked)?)
}
