//! What a person does to a run. Each answers by going back to the run's page, which says what became of it.

use std::time::Duration;

use axum::Form;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use surefoot::state::{Answer, CancelMode};
use surefoot::{RunId, StoreError};

use crate::actions;
use crate::auth::links;
use crate::dashboard::pages::{Fields, no_run};
use crate::dashboard::visitor::{Visitor, redirect};
use crate::http::Problem;
use crate::state::App;

/// A link holds no longer than a month.
const LONGEST: u64 = 31 * 24;

pub(in crate::dashboard::pages) async fn retry(
    visitor: Visitor,
    State(app): State<App>,
    Path(id): Path<String>,
    Form(fields): Form<Fields>,
) -> Result<Response, Problem> {
    let id = id.parse().map_err(|_| no_run(&id))?;
    let from = fields.get("from").filter(|step| !step.is_empty());
    let done = actions::retry(&app, &visitor.actor, id, from).await;
    Ok(said(&visitor, id, "done.retried", done.map(drop)))
}

pub(in crate::dashboard::pages) async fn cancel(
    visitor: Visitor,
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
    let done = actions::cancel(&app, &visitor.actor, id, mode).await;
    Ok(said(
        &visitor,
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
    visitor: Visitor,
    State(app): State<App>,
    Path(id): Path<String>,
    Form(fields): Form<Fields>,
) -> Result<Response, Problem> {
    let id = id.parse().map_err(|_| no_run(&id))?;
    let place = format!("/runs/{id}");
    let answer: Answer = match fields.get("answer").unwrap_or_default().parse() {
        Ok(answer) => answer,
        Err(reason) => return Ok(visitor.refused(&place, &reason)),
    };
    let note = fields
        .get("note")
        .map(str::trim)
        .filter(|note| !note.is_empty());
    let step = fields.get("step").unwrap_or_default();
    let done = actions::answer(&app, &visitor.actor, id, step, answer, note).await;
    Ok(said(&visitor, id, "done.answered", done.map(drop)))
}

/// Makes a link to the run's progress. The page that shows it has it in its address.
pub(in crate::dashboard::pages) async fn link(
    visitor: Visitor,
    State(app): State<App>,
    Path(id): Path<String>,
    Form(fields): Form<Fields>,
) -> Result<Response, Problem> {
    let id = id.parse().map_err(|_| no_run(&id))?;
    app.client().run(id).await?;
    let hours = fields
        .get("hours")
        .and_then(|hours| hours.parse().ok())
        .unwrap_or(24)
        .clamp(1, LONGEST);
    let link = links::sign(
        app.auth().secret(),
        id,
        visitor.now + Duration::from_secs(hours * 3600),
    );
    let detail = serde_json::json!({ "hours": hours });
    crate::audit::record(&app, &visitor.actor, "run.link", &id.to_string(), detail).await?;
    Ok(redirect(&format!("/runs/{id}?link={link}"), None))
}

/// What the rules refuse is said to the person; what went wrong is a problem.
fn said(visitor: &Visitor, id: RunId, key: &str, done: Result<(), StoreError>) -> Response {
    let place = format!("/runs/{id}");
    match done {
        Ok(()) => visitor.done(&place, key, &[]),
        Err(StoreError::Rule(refusal)) => visitor.refused(&place, &refusal.to_string()),
        Err(StoreError::NotPermitted(refusal)) => {
            visitor.refused(&place, &visitor.not_permitted(&refusal))
        }
        Err(error) => Problem::from(error).into_response(),
    }
}
