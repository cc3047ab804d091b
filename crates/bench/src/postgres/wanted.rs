//! What is wanted, as it would be on this machine: the figures were set for one on which pgbench makes so many commits.

use super::{BUSIEST, Ground, LOADS, Rounds};
use crate::report::{Figures, median};

/// Single-row commits a second with 32 clients, and batched rows a second with one, of the machine that the figures are for.
const COMMITS: f64 = 12_000.0;
const ROWS: f64 = 55_000.0;

/// Seven-step runs a second that are wanted there of two workers.
const RUNS: f64 = 1200.0;

/// Of the raw batches of the same rows.
const OF_RAW: f64 = 0.5;

/// Holds what was found against what is wanted.
pub(super) fn print(all: &Rounds) {
    let (by_commits, by_rows) = (rate(&all.commits) / COMMITS, rate(&all.rows) / ROWS);
    let (found, raw) = (busiest(all), rate(&all.runs));
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

/// What a history costs beside the shortest, in the turns that they took.
pub(super) fn print_cost(grounds: &[Ground]) {
    let Some((first, others)) = grounds.split_first() else {
        return;
    };
    for other in others {
        let (with, without) = (rate(&other.all.turns), rate(&first.all.turns));
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
