//! `GET /workers`: who is alive, and what each holds.

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use surefoot::RunStatus;
use surefoot::store::RunFilter;

use crate::dashboard::view::WorkerView;
use crate::dashboard::visitor::{Live, Visitor};
use crate::http::Problem;
use crate::state::App;

#[derive(Serialize)]
struct View {
    workers: Vec<WorkerView>,
}

/// Runs that a worker's table shows.
const SHOWN: usize = 20;

pub(super) async fn workers(visitor: Visitor, State(app): State<App>) -> Result<Response, Problem> {
    let workers = app.store().workers().await?;
    let mut views = Vec::with_capacity(workers.len());
    for worker in &workers {
        let filter = RunFilter {
            status: Some(RunStatus::Running),
            worker: Some(worker.id),
            limit: SHOWN,
            ..RunFilter::default()
        };
        let runs = if worker.running > 0 {
            app.store().runs(filter).await?
        } else {
            Vec::new()
        };
        let since = app.known().held_since(app.store(), &runs).await?;
        views.push(WorkerView::new(&visitor, worker, &runs, &since, SHOWN));
    }
    visitor
        .page("workers.html", Live::any(), View { workers: views })
        .await
}
