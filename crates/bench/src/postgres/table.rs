//! Prints one history's figures.

use super::{LOADS, Rounds};
use crate::report::{Figures, median};

/// Prints the measured figures for one history; [`super::wanted`] compares them with the targets.
pub(super) fn print(finished: u64, all: &Rounds, vacuum: &str) {
    let raw = rate(&all.runs);
    let commit_us = 1e6 / rate(&all.one_commit);
    println!("### {finished} finished runs in the database\n");
    println!(
        "pgbench: {:.0} single-row commits/s (32 clients), {:.0} (1 client: {:.2} ms each), {:.0} batched rows/s (1 client);",
        rate(&all.commits),
        rate(&all.one_commit),
        commit_us / 1000.0,
        rate(&all.rows),
    );
    let [one, seven] = [0, 1].map(|of| 1e6 / rate(&all.one_submission[of]));
    let among = [0, 1].map(|of| 1e6 / rate(&all.among_others[of]));
    println!(
        "a commit of the rows of one submission, by one client: {:.2} ms (1 step), {:.2} ms (7 steps); with one and seven \
         single-row commits between: {:.2} ms, {:.2} ms;",
        one / 1000.0,
        seven / 1000.0,
        among[0] / 1000.0,
        among[1] / 1000.0,
    );
    println!("raw batches make the row writes of {raw:.0} seven-step runs/s\n");
    println!(
        "| steps | workers | runs at once | runs/s | steps/s | submit to handler p50 | p99 | of raw | memory |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for (load, rounds) in LOADS.into_iter().zip(&all.loads) {
        let runs = rate(rounds);
        let wait = median(rounds, |figures| figures.p50_us);
        let of_raw = if load.steps == 7 {
            format!("{:.2}", runs / raw)
        } else {
            String::new()
        };
        let (rows_us, among_us) = if load.steps == 1 {
            (one, among[0])
        } else {
            (seven, among[1])
        };
        let commits = format!(
            " ({:.2} commits of its rows, {:.2} among others, {:.2} of a single row)",
            wait / rows_us,
            wait / among_us,
            wait / commit_us
        );
        let commits = if load.at_once == 1 {
            commits
        } else {
            String::new()
        };
        println!(
            "| {} | {} | {} | {runs:.0} | {:.0} | {:.2} ms{commits} | {:.2} ms | {of_raw} | {:.0} MiB |",
            load.steps,
            load.workers,
            load.at_once,
            runs * load.steps as f64,
            wait / 1000.0,
            median(rounds, |figures| figures.p99_us) / 1000.0,
            median(rounds, |figures| figures.memory_mib),
        );
    }
    println!();
    hand_over("woken by NOTIFY", &all.notified);
    hand_over("by polling alone", &all.polled);
    let memory = median(&all.idle, |figures| figures.memory_mib);
    println!(
        "an idle worker: {:.1} transactions/s, {memory:.0} MiB",
        rate(&all.idle)
    );
    println!("after all of it: {vacuum}");
    println!();
}

fn hand_over(how: &str, rounds: &[Figures]) {
    println!(
        "submitted in one process and run in another, {how}: p50 {:.2} ms, p99 {:.2} ms",
        median(rounds, |figures| figures.p50_us) / 1000.0,
        median(rounds, |figures| figures.p99_us) / 1000.0,
    );
}

fn rate(rounds: &[Figures]) -> f64 {
    median(rounds, |figures| figures.per_second)
}
