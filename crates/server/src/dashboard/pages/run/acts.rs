//! Actions on a run. Each redirects to the run's page, which shows the result.

use std::time::Duration;

use axum::Form;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use surefoot::state::{Answer, CancelMode};
use surefoot::{RunId, StoreError};

use crate::actions::{self, LINK_LIFETIME, MAX_LINK_LIFETIME};
use crate::dashboard::page_context::{PageContext, redirect};
use crate::dashboard::pages::{Fields, no_run};
use crate::http::Problem;
use crate::state::App;

const HOUR: u64 = 3600;

pub(in crate::dashboard::pages) async fn retry(
    context: PageContext,
    State(app): State<App>,
    Path(id): Path<String>,
    Form(fields): Form<Fields>,
) -> Result<Response, Problem> {
    let id = id.parse().map_err(|_| no_run(&id))?;
    let from = fields.get("from").filter(|step| !step.is_empty());
    let done = actions::retry(&app, &context.actor, id, from).await;
    Ok(respond(&context, id, "done.retried", done.map(drop)))
}

pub(in crate::dashboard::pages) async fn cancel(
    context: PageContext,
    State(app): State<App>,
    Path(id): Path<String>,
    Form(fields): Form<Fields>,
) -> Result<Response, Problem> {
    let id = id.parse().map_err(|_| no_run(&id))?;
    let undo = fields.get("undo") == Some("yes");
    let mode = if undo {
        CancelMode::Undo
    } else {
        CancelMode::Stop
    };
    let done = actions::cancel(&app, &context.actor, id, mode).await;
    Ok(respond(
        &context,
        id,
        if undo {
            "done.undone"
        } else {
            "done.cancelled"
        },
        done.map(drop),
    ))
}

pub(in crate::dashboard::pages) async fn answer(
    context: PageContext,
    State(app): State<App>,
    Path(id): Path<String>,
    Form(fields): Form<Fields>,
) -> Result<Response, Problem> {
    let id = id.parse().map_err(|_| no_run(&id))?;
    let page = format!("/runs/{id}");
    let answer: Answer = match fields.get("answer").unwrap_or_default().parse() {
        Ok(answer) => answer,
        Err(reason) => return Ok(context.refused(&page, &reason)),
    };
    let note = fields
        .get("note")
        .map(str::trim)
        .filter(|note| !note.is_empty());
    let step = fields.get("step").unwrap_or_default();
    let done = actions::answer(&app, &context.actor, id, step, answer, note).await;
    Ok(respond(&context, id, "done.answered", done.map(drop)))
}

/// Creates a link to the run's progress. The address of the page that shows it contains it.
pub(in crate::dashboard::pages) async fn link(
    context: PageContext,
    State(app): State<App>,
    Path(id): Path<String>,
    Form(fields): Form<Fields>,
) -> Result<Response, Problem> {
    let id = id.parse().map_err(|_| no_run(&id))?;
    let hours = fields
        .get("hours")
        .and_then(|hours| hours.parse::<u64>().ok())
        .unwrap_or(LINK_LIFETIME.as_secs() / HOUR)
        .clamp(1, MAX_LINK_LIFETIME.as_secs() / HOUR);
    let lifetime = Duration::from_secs(hours * HOUR);
    let (link, _) = actions::link(&app, &context.actor, id, lifetime).await?;
    Ok(redirect(&format!("/runs/{id}?link={link}"), None))
}

/// Refusals by a rule are shown to the person; other errors become problems.
fn respond(context: &PageContext, id: RunId, key: &str, done: Result<(), StoreError>) -> Response {
    let page = format!("/runs/{id}");
    match done {
        Ok(()) => context.done(&page, key, &[]),
        Err(StoreError::Rule(refusal)) => context.refused(&page, &refusal.to_string()),
        Err(StoreError::NotPermitted(refusal)) => {
            context.refused(&page, &context.not_permitted(&refusal))
        }
        Err(error) => Problem::from(error).into_response(),
    }
}
