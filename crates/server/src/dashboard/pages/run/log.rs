//! `GET /runs/{id}/log`: every line that a run logged, as plain text.

use axum::extract::{Path, Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::Value;
use surefoot::RunId;

use crate::dashboard::mask::Masker;
use crate::dashboard::visitor::Visitor;
use crate::http::Problem;
use crate::state::App;

#[derive(Deserialize)]
pub(in crate::dashboard::pages) struct Asked {
    step: Option<String>,
}

pub(in crate::dashboard::pages) async fn log(
    _visitor: Visitor,
    State(app): State<App>,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let id: RunId = id.parse().map_err(|_| crate::dashboard::pages::no_run(&id))?;
    let run = app.client().run(id).await?;
    let masker = Masker::new(run.plan.parameters(), &run.parameters);
    let mut text = String::new();
    for event in super::events(app.store(), id).await? {
        if event.kind != "step.log" || (asked.step.is_some() && asked.step != event.step) {
            continue;
        }
        for line in event.data["lines"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let step = event.step.as_deref().unwrap_or_default();
            text.push_str(&format!("{} {step} [{}] {}\n", event.at, event.data["attempt"], masker.text(line)));
        }
    }
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8"), (CACHE_CONTROL, "no-store")], text).into_response())
}
