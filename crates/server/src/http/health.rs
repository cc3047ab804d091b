//! `/healthz`: the process answers. `/readyz`: the store can be reached, and the claim loop lives.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::Problem;
use crate::state::App;

/// A store that takes longer for one row is not there.
const STORE: Duration = Duration::from_secs(2);

/// The claim loop goes around every second; one that has not for this long is dead, or as good as.
const CLAIMS: Duration = Duration::from_secs(10);

pub(crate) async fn healthz() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

pub(crate) async fn readyz(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let checks = [
        ("store", store(&app).await),
        ("claim loop", claims(&app)),
        ("writes", writes(&app)),
    ];
    let wrong: Vec<String> = checks
        .iter()
        .filter_map(|(name, check)| check.as_ref().err().map(|why| format!("{name}: {why}")))
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

async fn store(app: &App) -> Result<(), String> {
    match tokio::time::timeout(STORE, app.store().document("server", "secret")).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", STORE.as_secs())),
    }
}

/// A server without a worker of its own has no claim loop to look after.
fn claims(app: &App) -> Result<(), String> {
    match app
        .client()
        .worker_measures()
        .map(surefoot::measures::WorkerMeasures::claim_loop)
    {
        Some(None) => Err("it has ended: this process takes no runs any more".to_owned()),
        Some(Some(age)) if age > CLAIMS => {
            Err(format!("it has not gone around for {} s", age.as_secs()))
        }
        _ => Ok(()),
    }
}

fn writes(app: &App) -> Result<(), String> {
    app.client().worker_trouble().map_or(Ok(()), Err)
}
