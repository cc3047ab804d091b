//! No-op workflows on Surefoot: a number of submitters, each with one run at a time, for some
//! seconds.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use surefoot::{
    Client, Clock as _, Handlers, RunStatus, StepContext, Store, Submit, SystemClock, Timestamp,
    Worker, WorkerOptions, Workflow, handler_fn,
};
use surefoot_sqlite::SqliteStore;
use tokio::task::JoinSet;

use crate::report::{Figures, peak_memory, percentile};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Store file; created if absent.
    #[arg(long)]
    file: PathBuf,
    #[arg(long)]
    seconds: u64,
    #[arg(long)]
    steps: usize,
    /// Concurrent runs.
    #[arg(long)]
    at_once: usize,
}

/// A step that does nothing. The first step of a run records the time since the call that submitted
/// it, by the machine's clock, which all processes of a measurement share.
#[derive(Clone, Default)]
pub(crate) struct Nothing {
    waits: Arc<Mutex<Vec<f64>>>,
}

impl Nothing {
    pub(crate) fn handlers(&self) -> Handlers {
        let this = self.clone();
        let nothing = handler_fn(move |context: StepContext, _: Value| {
            if context.step_id() == "step_0"
                && let Some(submitted) = context.parameters()["at"].as_i64()
            {
                let wait = SystemClock.now().since(Timestamp::from_micros(submitted));
                this.waits
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(wait.as_secs_f64() * 1e6);
            }
            async { Ok(()) }
        });
        Handlers::new().with("nothing", nothing)
    }

    /// Median and 99th percentile of the recorded times.
    pub(crate) fn figures(&self) -> Figures {
        let mut waits =
            std::mem::take(&mut *self.waits.lock().unwrap_or_else(PoisonError::into_inner));
        waits.sort_by(f64::total_cmp);
        let p50_us = percentile(&waits, 0.5);
        let p99_us = percentile(&waits, 0.99);
        Figures {
            p50_us,
            p99_us,
            memory_mib: peak_memory(),
            ..Figures::default()
        }
    }
}

pub(crate) fn measure(args: &Args) -> anyhow::Result<Figures> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let store = Arc::new(SqliteStore::open(&args.file)?);
    let work = Work {
        seconds: args.seconds,
        steps: args.steps,
        at_once: args.at_once,
    };
    Ok(Figures {
        file_mib: size(&args.file),
        ..runtime.block_on(run(store, &work))?
    })
}

/// Work to submit, on any store.
pub(crate) struct Work {
    pub(crate) seconds: u64,
    pub(crate) steps: usize,
    /// Concurrent runs.
    pub(crate) at_once: usize,
}

pub(crate) async fn run(store: Arc<dyn Store>, work: &Work) -> anyhow::Result<Figures> {
    let nothing = Nothing::default();
    let worker = Worker::start(store, nothing.handlers(), WorkerOptions::default()).await?;
    let per_second = submit_all(&worker.client(), work).await?;
    worker.stop().await;
    Ok(Figures {
        per_second,
        ..nothing.figures()
    })
}

/// Submits runs, `at_once` at a time, and waits for each; returns the runs finished in a second.
pub(crate) async fn submit_all(client: &Client, work: &Work) -> anyhow::Result<f64> {
    let workflow = Arc::new(workflow(work.steps)?);
    let began = Instant::now();
    let until = began + Duration::from_secs(work.seconds);
    let mut submitters = JoinSet::new();
    for _ in 0..work.at_once {
        submitters.spawn(submit(client.clone(), workflow.clone(), until));
    }
    let mut runs = 0;
    while let Some(count) = submitters.join_next().await {
        runs += count??;
    }
    Ok(runs as f64 / began.elapsed().as_secs_f64())
}

fn workflow(steps: usize) -> anyhow::Result<Workflow> {
    let schema = json!({ "type": "object", "properties": { "at": { "type": "integer" } } });
    let builder = Workflow::builder("nothing").parameters(schema);
    Ok((0..steps)
        .fold(builder, |builder, n| {
            builder.step(format!("step_{n}"), "nothing")
        })
        .build()?)
}

async fn submit(client: Client, workflow: Arc<Workflow>, until: Instant) -> anyhow::Result<u64> {
    let mut runs = 0;
    while Instant::now() < until {
        let at = SystemClock.now().as_micros();
        let submitted = client
            .submit(Submit::new(workflow.clone()).parameters(json!({ "at": at })))
            .await?;
        let run = client.wait(submitted.run.id).await?;
        anyhow::ensure!(
            run.head.status == RunStatus::Completed,
            "run {} is {}",
            run.id,
            run.head.status
        );
        runs += 1;
    }
    Ok(runs)
}

fn size(file: &Path) -> f64 {
    let of = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let log = PathBuf::from(format!("{}-wal", file.display()));
    (of(file) + of(&log)) as f64 / f64::from(1 << 20)
}
