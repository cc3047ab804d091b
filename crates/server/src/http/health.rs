//! `/healthz`: the process responds. `/readyz`: the store responds, and the claim loop is alive.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::Problem;
use crate::state::App;

/// Time limit for reading one row of the store.
const STORE_TIMEOUT: Duration = Duration::from_secs(2);

/// Age at which the claim loop counts as dead. It completes a round every second.
const CLAIM_LOOP_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) async fn healthz() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

pub(crate) async fn readyz(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let checks = [
        ("store", store_fault(&app).await),
        ("claim loop", claim_loop_fault(&app)),
        ("writes", app.client().worker_trouble()),
    ];
    let wrong: Vec<String> = checks
        .iter()
        .filter_map(|(name, check)| check.as_ref().map(|fault| format!("{name}: {fault}")))
        .collect();
    if wrong.is_empty() {
        let passed: Vec<_> = checks.iter().map(|(name, _)| *name).collect();
        return Ok(Json(json!({ "status": "ready", "checks": passed })));
    }
    Err(Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "not-ready",
        wrong.join("; "),
    ))
}

async fn store_fault(app: &App) -> Option<String> {
    match tokio::time::timeout(STORE_TIMEOUT, app.store().document("server", "secret")).await {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!("no answer within {} s", STORE_TIMEOUT.as_secs())),
    }
}

/// Always `None` on a server without a worker of its own.
fn claim_loop_fault(app: &App) -> Option<String> {
    match app
        .client()
        .worker_metrics()
        .map(surefoot::metrics::WorkerMetrics::claim_loop)
    {
        Some(None) => Some("it has ended: this process claims no more runs".to_owned()),
        Some(Some(age)) if age > CLAIM_LOOP_TIMEOUT => {
            Some(format!("no round for {} s", age.as_secs()))
        }
        _ => None,
    }
}
