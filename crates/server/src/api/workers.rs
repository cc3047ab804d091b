//! Workers: who is alive, and since when.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use surefoot::store::WorkerInfo;
use utoipa::ToSchema;

use super::wire::{Time, Worker};
use crate::http::Problem;
use crate::state::App;

/// A worker that is alive.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WorkerView {
    id: Worker,
    /// What people read: host and process id.
    name: String,
    version: String,
    started_at: Time,
    /// When it last renewed its lease.
    heartbeat_at: Time,
    /// When its lease ends unless it renews it.
    expires_at: Time,
    /// Runs that it holds: `GET /api/v1/runs?worker=` lists them.
    running: u64,
    /// The actions that it knows and permits.
    actions: Vec<String>,
    /// The workflows that it permits, with `*` for any characters; null permits all.
    workflows: Option<Vec<String>>,
}

/// All workers that are alive.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WorkerList {
    workers: Vec<WorkerView>,
}

impl From<WorkerInfo> for WorkerView {
    fn from(worker: WorkerInfo) -> Self {
        Self {
            id: Worker(worker.id),
            name: worker.name,
            version: worker.version,
            started_at: Time(worker.started_at),
            heartbeat_at: Time(worker.heartbeat_at),
            expires_at: Time(worker.expires_at),
            running: worker.running,
            actions: worker.actions.iter().cloned().collect(),
            workflows: worker.workflows.entries().map(<[String]>::to_vec),
        }
    }
}

/// List the workers that are alive.
#[utoipa::path(get, path = "/api/v1/workers", tag = "workers", responses((status = 200, body = WorkerList)))]
pub(crate) async fn list(State(app): State<App>) -> Result<Json<WorkerList>, Problem> {
    let workers = app
        .store()
        .workers()
        .await?
        .into_iter()
        .map(Into::into)
        .collect();
    Ok(Json(WorkerList { workers }))
}
