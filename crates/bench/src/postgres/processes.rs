//! Processes of a measurement: workers that submit to themselves, and a worker with a separate
//! submitter.

use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use anyhow::Context as _;
use surefoot::{Client, Worker, WorkerOptions};
use surefoot_postgres::PostgresStore;

use crate::report::Figures;
use crate::workload::{self, Nothing, Work};

#[derive(clap::Args)]
pub(crate) struct WorkloadArgs {
    #[arg(long)]
    url: String,
    #[arg(long)]
    seconds: u64,
    #[arg(long)]
    steps: usize,
    /// Concurrent runs.
    #[arg(long)]
    at_once: usize,
    /// Only submit; a worker elsewhere executes the runs.
    #[arg(long)]
    submit_only: bool,
}

#[derive(clap::Args)]
pub(crate) struct WorkerArgs {
    #[arg(long)]
    url: String,
    /// Neither listen nor notify.
    #[arg(long)]
    poll: bool,
}

/// Submits for some seconds, to a worker in this process or elsewhere.
pub(crate) fn workload(args: &WorkloadArgs) -> anyhow::Result<Figures> {
    runtime()?.block_on(async {
        let store = Arc::new(PostgresStore::options(&args.url).open().await?);
        let work = Work {
            seconds: args.seconds,
            steps: args.steps,
            at_once: args.at_once,
        };
        if !args.submit_only {
            return workload::run(store, &work).await;
        }
        let per_second = workload::submit_all(&Client::new(store), &work).await?;
        Ok(Figures {
            per_second,
            ..Figures::default()
        })
    })
}

/// Works until its standard input ends.
pub(crate) fn worker(args: &WorkerArgs) -> anyhow::Result<Figures> {
    runtime()?.block_on(async {
        let store = PostgresStore::options(&args.url)
            .notify(!args.poll)
            .open()
            .await?;
        let nothing = Nothing::default();
        let worker = Worker::start(
            Arc::new(store),
            nothing.handlers(),
            WorkerOptions::default(),
        )
        .await?;
        tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
        worker.stop().await;
        Ok(nothing.figures())
    })
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
}

/// A load for several workers together.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) steps: usize,
    pub(super) workers: usize,
    /// Concurrent runs over all workers.
    pub(super) at_once: usize,
}

/// Runs several workers together: the sum of their rates, the latency of the slowest.
pub(super) fn together(url: &str, seconds: u64, load: Load) -> anyhow::Result<Figures> {
    let at_once = load.at_once / load.workers;
    let children = (0..load.workers).map(|_| submitter(url, seconds, load.steps, at_once, &[]));
    let children = children.collect::<anyhow::Result<Vec<_>>>()?;
    let mut all = Figures::default();
    for child in children {
        let one = figures(child)?;
        all.per_second += one.per_second;
        all.memory_mib += one.memory_mib;
        all.p50_us = all.p50_us.max(one.p50_us);
        all.p99_us = all.p99_us.max(one.p99_us);
    }
    Ok(all)
}

/// A process submits run after run and another executes them; the latency is the worker's.
pub(super) fn hand_over(url: &str, seconds: u64, poll: bool) -> anyhow::Result<Figures> {
    let worker = idle_worker(url, poll)?;
    let submitted = figures(submitter(url, seconds, 1, 1, &["--submit-only"])?)?;
    Ok(Figures {
        per_second: submitted.per_second,
        ..stop(worker)?
    })
}

/// Starts an idle worker. It ends with its input; see [`stop`].
pub(super) fn idle_worker(url: &str, poll: bool) -> anyhow::Result<Child> {
    let mut command = this(&["postgres-worker", "--url", url])?;
    if poll {
        command.arg("--poll");
    }
    Ok(command.stdin(Stdio::piped()).spawn()?)
}

/// Ends a worker and returns its figures.
pub(super) fn stop(mut worker: Child) -> anyhow::Result<Figures> {
    drop(worker.stdin.take());
    figures(worker)
}

fn submitter(
    url: &str,
    seconds: u64,
    steps: usize,
    at_once: usize,
    more: &[&str],
) -> anyhow::Result<Child> {
    let seconds = seconds.to_string();
    let steps = steps.to_string();
    let at_once = at_once.to_string();
    let args = [
        "postgres-workload",
        "--url",
        url,
        "--seconds",
        &seconds,
        "--steps",
        &steps,
        "--at-once",
        &at_once,
    ];
    Ok(this(&args)?.args(more).spawn()?)
}

/// A command that starts this program again.
fn this(args: &[&str]) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Ok(command)
}

fn figures(child: Child) -> anyhow::Result<Figures> {
    let output = child.wait_with_output()?;
    anyhow::ensure!(
        output.status.success(),
        "a process failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).context("a process printed no figures")
}
