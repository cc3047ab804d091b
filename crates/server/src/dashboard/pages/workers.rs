//! `GET /workers`: the live workers and the runs that they hold.

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use surefoot::RunStatus;
use surefoot::store::RunFilter;

use crate::dashboard::page_context::{Live, PageContext};
use crate::dashboard::view::WorkerView;
use crate::http::Problem;
use crate::state::App;

#[derive(Serialize)]
struct View {
    workers: Vec<WorkerView>,
}

/// Number of runs shown per worker.
const SHOWN: usize = 20;

pub(super) async fn workers(
    context: PageContext,
    State(app): State<App>,
) -> Result<Response, Problem> {
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
        let since = app.page_cache().held_since(app.store(), &runs).await?;
        views.push(WorkerView::new(&context, worker, &runs, &since, SHOWN));
    }
    context
        .page("workers.html", Live::any(), View { workers: views })
        .await
}
