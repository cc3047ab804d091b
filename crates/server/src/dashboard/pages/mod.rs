//! The pages, one file each: what is read from the store, and the view passed to the template.

mod alerts;
mod audit;
mod bulk;
mod new;
mod overview;
mod preferences;
mod projects;
mod queues;
mod run;
mod runs;
mod settings;
mod sign_in;
mod widget;
mod workers;

use axum::Router;
use axum::routing::{get, post};
use serde::Deserialize;
use surefoot::StoreError;

use super::{assets, live};
use crate::http::Problem;
use crate::state::App;

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/", get(overview::overview))
        .route("/live", get(live::live))
        .route("/runs", get(runs::runs))
        .route("/runs/bulk", post(bulk::preview))
        .route("/runs/bulk/apply", post(bulk::apply))
        .route("/runs/{id}", get(run::run))
        .route("/runs/{id}/log", get(run::log))
        .route("/runs/{id}/retry", post(run::retry))
        .route("/runs/{id}/cancel", post(run::cancel))
        .route("/runs/{id}/answer", post(run::answer))
        .route("/runs/{id}/link", post(run::link))
        .route("/new", get(new::form).post(new::submit))
        .route("/projects", get(projects::projects))
        .route("/queues", get(queues::queues))
        .route("/queues/{name}/pause", post(queues::pause))
        .route("/queues/{name}/resume", post(queues::resume))
        .route("/queues/{name}/limits", post(queues::limits))
        .route("/workers", get(workers::workers))
        .route("/alerts", get(alerts::alerts))
        .route("/alerts/acknowledge", post(alerts::acknowledge))
        .route("/audit", get(audit::page))
        .route("/settings", get(settings::settings))
        .route("/sign-in", get(sign_in::page))
        .route("/preferences", post(preferences::choose))
        .route("/widget/{link}", get(widget::page))
        .route("/widget/{link}/progress", get(widget::progress))
        .route("/assets/{name}", get(assets::get))
}

/// The fields of a form, in order. A name may occur several times.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct Fields(Vec<(String, String)>);

impl Fields {
    fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }

    fn all(&self, name: &str) -> Vec<String> {
        self.0
            .iter()
            .filter(|(found, _)| found == name)
            .map(|(_, value)| value.clone())
            .collect()
    }
}

/// The problem of an address with an unknown run id.
pub(super) fn no_run(id: &str) -> Problem {
    Problem::not_found(format!("there is no run {id}"))
}

/// The number of unacknowledged alerts, for the navigation.
pub(super) async fn open_alerts(app: &App) -> Result<usize, StoreError> {
    alerts::count_unacknowledged(app).await
}
