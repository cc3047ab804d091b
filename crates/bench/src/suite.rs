//! The whole suite: the machine and Surefoot in turn, round after round, and the table.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::report::{Figures, median};

const AT_ONCE: [usize; 3] = [1, 32, 256];
const STEPS: [usize; 2] = [1, 7];

/// All figures of one history.
#[derive(Default)]
struct Rounds {
    appends: Vec<Figures>,
    rows: Vec<Figures>,
    raw: Vec<Figures>,
    /// By steps, in the order of the constant.
    commits: Vec<Vec<Figures>>,
    /// By steps and concurrent runs, in the order of the constants.
    workloads: Vec<Vec<Figures>>,
}

pub(crate) fn run(
    rounds: usize,
    seconds: u64,
    history: &[u64],
    folder: Option<PathBuf>,
) -> anyhow::Result<()> {
    let scratch = match &folder {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    println!(
        "Median of {rounds} rounds, {seconds} s each; every measurement in a process of its own.\n"
    );
    let mut first = None;
    for &finished in history {
        let base = scratch.path().join(format!("history-{finished}"));
        std::fs::create_dir(&base)?;
        eprintln!("filling a file with {finished} finished runs ...");
        child(&[
            "fill",
            "--file",
            &text(&base.join("store.db"))?,
            "--runs",
            &finished.to_string(),
        ])?;
        let mut all = Rounds {
            commits: vec![Vec::new(); STEPS.len()],
            workloads: vec![Vec::new(); AT_ONCE.len() * STEPS.len()],
            ..Rounds::default()
        };
        for round in 0..rounds {
            eprintln!(
                "{finished} finished runs, round {} of {rounds} ...",
                round + 1
            );
            measure(&base, seconds, &mut all).with_context(|| format!("round {round}"))?;
        }
        let best = print(finished, &all, first);
        first.get_or_insert(best);
        std::fs::remove_dir_all(&base)?;
    }
    Ok(())
}

fn measure(base: &Path, seconds: u64, all: &mut Rounds) -> anyhow::Result<()> {
    let folder = text(base)?;
    let file = text(&base.join("store.db"))?;
    let seconds = seconds.to_string();
    all.appends.push(child(&[
        "appends",
        "--folder",
        &folder,
        "--seconds",
        &seconds,
    ])?);
    let _ = std::fs::remove_file(base.join("rows"));
    all.rows.push(child(&[
        "rows",
        "--folder",
        &folder,
        "--seconds",
        &seconds,
    ])?);
    all.raw
        .push(child(&["raw", "--file", &file, "--seconds", &seconds])?);
    for (commits, steps) in all.commits.iter_mut().zip(STEPS) {
        commits.push(child(&[
            "commits",
            "--file",
            &file,
            "--seconds",
            &seconds,
            "--steps",
            &steps.to_string(),
        ])?);
    }
    for (index, (steps, at_once)) in kinds().enumerate() {
        let steps = steps.to_string();
        let at_once = at_once.to_string();
        let args = [
            "workload",
            "--file",
            &file,
            "--seconds",
            &seconds,
            "--steps",
            &steps,
            "--at-once",
            &at_once,
        ];
        all.workloads[index].push(child(&args)?);
    }
    Ok(())
}

/// Median time of a durable commit of the rows of one submission in plain SQLite.
fn commit_us(all: &Rounds, steps: usize) -> f64 {
    let of_steps = STEPS
        .iter()
        .zip(&all.commits)
        .find(|(known, _)| **known == steps);
    of_steps.map_or(f64::NAN, |(_, rounds)| {
        median(rounds, |figures| figures.p50_us)
    })
}

fn kinds() -> impl Iterator<Item = (usize, usize)> {
    STEPS
        .iter()
        .flat_map(|&steps| AT_ONCE.iter().map(move |&at_once| (steps, at_once)))
}

fn text(path: &Path) -> anyhow::Result<String> {
    Ok(path
        .to_str()
        .context("the folder's name is not UTF-8")?
        .to_owned())
}

/// Starts this program again for one measurement.
fn child(args: &[&str]) -> anyhow::Result<Figures> {
    let output = Command::new(std::env::current_exe()?).args(args).output()?;
    anyhow::ensure!(
        output.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).with_context(|| format!("{args:?}"))
}

/// Prints one history's table; returns its seven-step rate with 256 runs at once, which the next
/// history is compared with.
fn print(finished: u64, all: &Rounds, first: Option<f64>) -> f64 {
    let rate = |rounds: &[Figures]| median(rounds, |figures| figures.per_second);
    let appends = rate(&all.appends);
    let raw = rate(&all.raw);
    println!("## {finished} finished runs in the file\n");
    println!(
        "machine: {appends:.0} durable 4 KiB appends/s, {:.0} plain batched rows/s;",
        rate(&all.rows)
    );
    println!("raw batched SQLite writes the rows of {raw:.0} seven-step runs/s;");
    let [one, seven] = STEPS.map(|steps| commit_us(all, steps) / 1000.0);
    println!(
        "a durable commit of one submission's rows by plain SQLite takes {one:.2} ms (1 step), {seven:.2} ms (7 steps)\n"
    );
    println!(
        "| steps | runs at once | runs/s | steps/s | submit to handler p50 | p99 | of the limit | memory | file |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let mut busiest = 0.0;
    for ((steps, at_once), rounds) in kinds().zip(&all.workloads) {
        let runs = rate(rounds);
        let limit = match at_once {
            1 => format!(
                "{:.2} of {} durable appends a run",
                runs / (appends / (steps + 1) as f64),
                steps + 1
            ),
            256 if steps == 7 => format!("{:.2} of raw batched SQLite", runs / raw),
            _ => String::new(),
        };
        let wait = median(rounds, |figures| figures.p50_us);
        let commit = commit_us(all, steps);
        println!(
            "| {steps} | {at_once} | {runs:.0} | {:.0} | {:.2} ms ({:.2} commits, {:.2} appends) | {:.2} ms | {limit} | {:.0} MiB | {:.0} MiB |",
            runs * steps as f64,
            wait / 1000.0,
            wait / commit,
            wait / (1e6 / appends),
            median(rounds, |figures| figures.p99_us) / 1000.0,
            median(rounds, |figures| figures.memory_mib),
            median(rounds, |figures| figures.file_mib),
        );
        if (steps, at_once) == (7, 256) {
            busiest = runs;
        }
    }
    if let Some(first) = first {
        println!(
            "\n{finished} finished runs cost {:.0} % of the rate at 7 steps, 256 at once.",
            (1.0 - busiest / first) * 100.0
        );
    }
    println!();
    busiest
}
