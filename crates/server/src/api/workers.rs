//! Live workers.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use surefoot::store::WorkerInfo;
use utoipa::ToSchema;

use super::wire::{Time, Worker};
use crate::http::Problem;
use crate::state::App;

/// A live worker.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WorkerView {
    id: Worker,
    /// Display name: host and process id.
    name: String,
    version: String,
    started_at: Time,
    /// Time of the last heartbeat.
    heartbeat_at: Time,
    /// Time at which its lease expires unless renewed.
    expires_at: Time,
    /// Number of runs held; list them with `GET /api/v1/runs?worker=`.
    running: u64,
    /// The actions that it knows and permits.
    actions: Vec<String>,
    /// The workflows that it permits, with `*` for any characters; null permits all.
    workflows: Option<Vec<String>>,
}

/// All live workers.
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

/// List the live workers.
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
