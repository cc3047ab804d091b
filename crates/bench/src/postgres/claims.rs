//! Latency of a claim, of one run out of a thousand queued ones and of none, over any history.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use surefoot::store::{ClaimRequest, NewWorker};
use surefoot::{AllowList, Client, Store, Submit, Worker, WorkerId, WorkerOptions, Workflow};
use surefoot_postgres::PostgresStore;

use super::Rounds;
use crate::report::{Figures, median, percentile};
use crate::workload::Nothing;

/// Queued runs.
const WAITING: usize = 1000;

/// Timed claims of each kind.
const CLAIMS: usize = 200;

/// Measures the latency of claims of one run each, and of claims that find nothing.
pub(super) fn measure(url: &str) -> anyhow::Result<(Figures, Figures)> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let store: Arc<dyn Store> = Arc::new(PostgresStore::options(url).open().await?);
        let empty = timed(store.as_ref(), 0).await?;
        let client = Client::new(store.clone());
        let workflow = Arc::new(
            Workflow::builder("claimed")
                .step("step_0", "nothing")
                .build()?,
        );
        for _ in 0..WAITING {
            client
                .submit(Submit::new(workflow.clone()).parameters(json!({})))
                .await?;
        }
        let claims = timed(store.as_ref(), 1).await?;
        finish(store).await?;
        Ok((claims, empty))
    })
}

/// Times claims by a newly registered worker; each must return `runs` runs.
async fn timed(store: &dyn Store, runs: usize) -> anyhow::Result<Figures> {
    let id = WorkerId::new();
    let actions = Arc::new(BTreeSet::from(["nothing".to_owned()]));
    let name = "claims".to_owned();
    let version = "bench".to_owned();
    let lease = Duration::from_secs(60);
    store
        .register_worker(NewWorker {
            id,
            name,
            lease,
            version,
            actions: actions.clone(),
            workflows: AllowList::default(),
            resources: Arc::default(),
        })
        .await?;
    let mut times = Vec::with_capacity(CLAIMS);
    for _ in 0..CLAIMS {
        let began = Instant::now();
        let claimed = store
            .claim(ClaimRequest {
                worker: id,
                limit: 1,
                actions: actions.clone(),
                workflows: AllowList::default(),
                resources: Arc::default(),
            })
            .await?;
        times.push(began.elapsed().as_secs_f64() * 1e6);
        anyhow::ensure!(
            claimed.runs.len() == runs,
            "a claim brought {} runs and not {runs}",
            claimed.runs.len()
        );
    }
    // Hands back the claimed runs.
    store.deregister_worker(id).await?;
    times.sort_by(f64::total_cmp);
    let p50_us = percentile(&times, 0.5);
    let p99_us = percentile(&times, 0.99);
    Ok(Figures {
        p50_us,
        p99_us,
        ..Figures::default()
    })
}

/// Executes the queued runs, so that the next measurement finds none.
async fn finish(store: Arc<dyn Store>) -> anyhow::Result<()> {
    let worker = Worker::start(
        store.clone(),
        Nothing::default().handlers(),
        WorkerOptions::default(),
    )
    .await?;
    while store
        .queues()
        .await?
        .iter()
        .any(|queue| queue.queued + queue.running > 0)
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    worker.stop().await;
    Ok(())
}

pub(super) fn print(all: &Rounds) {
    let figure = |rounds: &[Figures], of: fn(&Figures) -> f64| median(rounds, of) / 1000.0;
    println!(
        "a claim of one run of {WAITING} that wait: p50 {:.2} ms, p99 {:.2} ms; one that finds nothing: p50 {:.2} ms",
        figure(&all.claims, |figures| figures.p50_us),
        figure(&all.claims, |figures| figures.p99_us),
        figure(&all.empty_claims, |figures| figures.p50_us),
    );
}
