//! Targets, scaled to this machine: they were set for one where pgbench reaches the rates below.

use super::{BUSIEST, Ground, LOADS, Rounds};
use crate::report::{Figures, median};

/// Single-row commits a second with 32 clients, and batched rows a second with one, on the
/// reference machine.
const COMMITS: f64 = 12_000.0;
const ROWS: f64 = 55_000.0;

/// Target there: seven-step runs a second with two workers.
const RUNS: f64 = 1200.0;

/// Target as a share of the raw batches of the same rows.
const OF_RAW: f64 = 0.5;

/// Prints the figures beside the targets.
pub(super) fn print(all: &Rounds) {
    let by_commits = rate(&all.commits) / COMMITS;
    let by_rows = rate(&all.rows) / ROWS;
    let found = busiest(all);
    let raw = rate(&all.runs);
    println!("\n| wanted | there | here | found |");
    println!("|---|---|---|---|");
    println!(
        "| seven-step runs/s by two workers | {RUNS:.0} | {:.0} by pgbench's commits, {:.0} by its rows | {found:.0} |",
        RUNS * by_commits,
        RUNS * by_rows,
    );
    println!(
        "| of raw batches | {OF_RAW} | {:.0} runs/s | {:.2} |",
        raw * OF_RAW,
        found / raw
    );
    // The first two loads are one run at a time, of one step and of seven.
    for ((load, rounds), commits) in LOADS.iter().zip(&all.loads).zip(&all.among_others) {
        println!(
            "| submit to handler, same worker, runs of {} | 1.5 commits of its rows | {:.2} ms | {:.2} ms |",
            load.steps,
            1.5e3 / rate(commits),
            median(rounds, |figures| figures.p50_us) / 1000.0,
        );
    }
    println!(
        "| submit to handler, another worker, NOTIFY | 10 ms | 10 ms | {:.2} ms |",
        median(&all.notified, |figures| figures.p50_us) / 1000.0
    );
    println!(
        "| queries/s of an idle worker | 5 | 5 | {:.1} |\n",
        rate(&all.idle)
    );
}

/// Prints the cost of each history relative to the shortest, from the alternating turns.
pub(super) fn print_cost(grounds: &[Ground]) {
    let Some((first, others)) = grounds.split_first() else {
        return;
    };
    for other in others {
        let with = rate(&other.all.turns);
        let without = rate(&first.all.turns);
        println!(
            "{} finished runs beside {}, {} turns of two workers (7 steps, 256 at once): {with:.0} and {without:.0} runs/s, a cost of \
             {:.1} %; wanted: under 10 %",
            other.finished,
            first.finished,
            other.all.turns.len(),
            (1.0 - with / without) * 100.0,
        );
    }
}

fn busiest(all: &Rounds) -> f64 {
    let rounds = LOADS
        .iter()
        .zip(&all.loads)
        .find(|(load, _)| **load == BUSIEST);
    rounds.map_or(f64::NAN, |(_, rounds)| rate(rounds))
}

fn rate(rounds: &[Figures]) -> f64 {
    median(rounds, |figures| figures.per_second)
}
