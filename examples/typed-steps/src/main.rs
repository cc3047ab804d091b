//! Typed steps as plain async functions, durable on one SQLite file.
//!
//! Run `cargo run -p typed-steps`, and again after a kill: it continues where it stopped.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;
use surefoot::{
    Handlers, StepContext, StepError, Submit, Worker, WorkerOptions, Workflow, handler_fn,
};
use surefoot_sqlite::SqliteStore;

#[derive(Deserialize)]
struct Order {
    item: String,
    count: u32,
}

#[derive(Serialize)]
struct Reserved {
    shelf: String,
}

async fn reserve(context: StepContext, order: Order) -> Result<Reserved, StepError> {
    context.log(format!("reserving {} {}", order.count, order.item));
    // The same key on every attempt of this step: pass it to any system where the effect must not
    // happen twice.
    let key = context.idempotency_key();
    Ok(Reserved {
        shelf: format!("B-{}", key.len()),
    })
}

async fn ship(context: StepContext, shelf: String) -> Result<String, StepError> {
    context.progress(50, format!("fetching from {shelf}"));
    Ok(format!("shipped from {shelf}"))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let workflow = Workflow::builder("order")
        .step_with("reserve", "stock.reserve", |step| {
            step.with(json!({ "item": "${{ parameters.item }}", "count": 2 }))
        })
        .step_with("ship", "stock.ship", |step| {
            step.with("${{ steps.reserve.output.shelf }}")
        })
        .build()?;
    let handlers = Handlers::new()
        .with("stock.reserve", handler_fn(reserve))
        .with("stock.ship", handler_fn(ship));

    let store = Arc::new(SqliteStore::open(Path::new("orders.db"))?);
    let worker = Worker::start(store, handlers, WorkerOptions::default()).await?;
    let client = worker.client();
    let submit = Submit::new(Arc::new(workflow))
        .parameters(json!({ "item": "boots" }))
        .key("order-1");
    let run = client.submit(submit).await?.run;
    let run = client.wait(run.id).await?;
    println!("{}: {:?}", run.head.status, run.steps[1].output);
    worker.stop().await;
    Ok(())
}
