//! Measures Surefoot beside the machine's own limits, in one invocation, and prints a table.
//!
//! Each measurement is a separate process, so that its memory figure is its own. The kinds
//! alternate round by round, so that a drift in the machine's speed affects all of them. The table
//! shows the median of the rounds.

#![expect(
    clippy::disallowed_methods,
    reason = "a measurement works on files of its own"
)]

mod history;
mod machine;
mod postgres;
mod raw;
mod report;
mod serve;
mod suite;
mod workload;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Measures Surefoot beside the machine's own limits and prints a table")]
struct Args {
    #[command(subcommand)]
    command: Option<Measure>,
    /// Rounds; the median is printed.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Finished runs in the file; each value gets a table of its own.
    #[arg(long, value_delimiter = ',', default_value = "0,100000,1000000")]
    history: Vec<u64>,
    /// Directory of the files, on the disk to measure. By default a temporary directory.
    #[arg(long)]
    folder: Option<PathBuf>,
}

/// A single measurement; prints its figures as JSON.
#[derive(Subcommand)]
enum Measure {
    /// Durable appends of 4 KiB, one after the other.
    Appends(machine::Args),
    /// Single-row inserts into a plain SQLite table, 100 a transaction, synchronous=FULL.
    Rows(machine::Args),
    /// The rows of seven-step runs, written by plain SQLite in batches.
    Raw(raw::Args),
    /// The rows of one submission, written by plain SQLite, with a durable commit each.
    Commits(raw::CommitArgs),
    /// No-op workflows on Surefoot.
    Workload(workload::Args),
    /// No-op workflows on Surefoot on PostgreSQL, by one worker.
    PostgresWorkload(postgres::WorkloadArgs),
    /// A worker on PostgreSQL, until its input ends.
    PostgresWorker(postgres::WorkerArgs),
    /// The PostgreSQL table: a fresh cluster, pgbench beside Surefoot with one, two and four
    /// workers.
    Postgres(postgres::Suite),
    /// The server's table: pages over a long history, a thousand watchers, requests under load.
    Serve(serve::Suite),
    /// Fills a store file with finished runs.
    Fill(history::Args),
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    match args.command {
        Some(Measure::Appends(args)) => report::print(&machine::appends(&args)?),
        Some(Measure::Rows(args)) => report::print(&machine::rows(&args)?),
        Some(Measure::Raw(args)) => report::print(&raw::measure(&args)?),
        Some(Measure::Commits(args)) => report::print(&raw::commits(&args)?),
        Some(Measure::Workload(args)) => report::print(&workload::measure(&args)?),
        Some(Measure::PostgresWorkload(args)) => report::print(&postgres::workload(&args)?),
        Some(Measure::PostgresWorker(args)) => report::print(&postgres::worker(&args)?),
        Some(Measure::Postgres(suite)) => postgres::run(&suite),
        Some(Measure::Serve(suite)) => serve::run(&suite),
        Some(Measure::Fill(args)) => report::print(&history::fill(&args)?),
        None => suite::run(args.rounds, args.seconds, &args.history, args.folder),
    }
}
