//! No-op workflows on Surefoot: a number of submitters, each with one run at a time, for some seconds.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use surefoot::{Client, Handlers, RunStatus, StepContext, Store, Submit, Worker, WorkerOptions, Workflow, handler_fn};
use surefoot_sqlite::SqliteStore;
use tokio::task::JoinSet;

use crate::report::{Figures, peak_memory, percentile};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The store file; made when there is none.
    #[arg(long)]
    file: PathBuf,
    #[arg(long)]
    seconds: u64,
    #[arg(long)]
    steps: usize,
    /// Runs under way at once.
    #[arg(long)]
    at_once: usize,
}

/// Does nothing; the first step notes how long ago its run was submitted: from the call to the handler's first line.
#[derive(Clone)]
struct Nothing {
    base: Instant,
    waits: Arc<Mutex<Vec<f64>>>,
}

impl Nothing {
    fn handlers(&self) -> Handlers {
        let this = self.clone();
        let nothing = handler_fn(move |context: StepContext, _: Value| {
            if let Some(submitted) = context.parameters()["at"].as_f64().filter(|_| context.step_id() == "step_0") {
                let wait = this.base.elapsed().as_secs_f64() * 1e6 - submitted;
                this.waits.lock().unwrap_or_else(PoisonError::into_inner).push(wait);
            }
            async { Ok(()) }
        });
        Handlers::new().with("nothing", nothing)
    }
}

pub(crate) fn measure(args: &Args) -> anyhow::Result<Figures> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let store = Arc::new(SqliteStore::open(&args.file)?);
    let work = Work { seconds: args.seconds, steps: args.steps, at_once: args.at_once };
    Ok(Figures { file_mib: size(&args.file), ..runtime.block_on(run(store, &work))? })
}

/// What is to be done, on whatever store.
pub(crate) struct Work {
    pub(crate) seconds: u64,
    pub(crate) steps: usize,
    /// Runs under way at once.
    pub(crate) at_once: usize,
}

pub(crate) async fn run(store: Arc<dyn Store>, work: &Work) -> anyhow::Result<Figures> {
    let nothing = Nothing { base: Instant::now(), waits: Arc::default() };
    let worker = Worker::start(store, nothing.handlers(), WorkerOptions::default()).await?;
    let workflow = Arc::new(workflow(work.steps)?);
    let until = Instant::now() + Duration::from_secs(work.seconds);
    let mut submitters = JoinSet::new();
    let began = Instant::now();
    for _ in 0..work.at_once {
        submitters.spawn(submit(worker.client(), workflow.clone(), nothing.base, until));
    }
    let mut runs = 0;
    while let Some(count) = submitters.join_next().await {
        runs += count??;
    }
    let per_second = runs as f64 / began.elapsed().as_secs_f64();
    worker.stop().await;
    let mut waits = std::mem::take(&mut *nothing.waits.lock().unwrap_or_else(PoisonError::into_inner));
    waits.sort_by(f64::total_cmp);
    Ok(Figures {
        per_second,
        p50_us: percentile(&waits, 0.5),
        p99_us: percentile(&waits, 0.99),
        memory_mib: peak_memory(),
        file_mib: 0.0,
    })
}

fn workflow(steps: usize) -> anyhow::Result<Workflow> {
    let schema = json!({ "type": "object", "properties": { "at": { "type": "number" } } });
    let builder = Workflow::builder("nothing").parameters(schema);
    Ok((0..steps).fold(builder, |builder, n| builder.step(format!("step_{n}"), "nothing")).build()?)
}

async fn submit(client: Client, workflow: Arc<Workflow>, base: Instant, until: Instant) -> anyhow::Result<u64> {
    let mut runs = 0;
    while Instant::now() < until {
        let at = base.elapsed().as_secs_f64() * 1e6;
        let submitted = client.submit(Submit::new(workflow.clone()).parameters(json!({ "at": at }))).await?;
        let run = client.wait(submitted.run.id).await?;
        anyhow::ensure!(run.head.status == RunStatus::Completed, "run {} is {}", run.id, run.head.status);
        runs += 1;
    }
    Ok(runs)
}

fn size(file: &Path) -> f64 {
    let of = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let log = PathBuf::from(format!("{}-wal", file.display()));
    (of(file) + of(&log)) as f64 / f64::from(1 << 20)
}
