//! What people do to one run: retry, cancel, answer, give others a link to it.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use surefoot::RunId;
use surefoot::state::CancelMode;
use utoipa::ToSchema;

use crate::api::extract::{Body, OptionalBody, Segment};
use crate::api::view::RunDetail;
use crate::api::wire::{AnswerWord, Id, Line, Note, Time};
use crate::auth::{Actor, links};
use crate::http::Problem;
use crate::state::App;
use crate::{actions, audit};

/// From where to run again.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Retry {
    /// Run this step and all after it again; the step that failed when left out.
    from: Option<Line>,
}

/// Run a failed run again.
#[utoipa::path(
    post, path = "/api/v1/runs/{id}/retry", tag = "runs",
    params(("id" = Id, Path, description = "The run")), request_body = Option<Retry>,
    responses((status = 200, body = RunDetail))
)]
pub(crate) async fn retry(
    State(app): State<App>,
    actor: Actor,
    Segment(id): Segment<Id>,
    OptionalBody(retry): OptionalBody<Retry>,
) -> Result<Json<RunDetail>, Problem> {
    let from = retry.from.as_ref().map(|step| step.0.as_str());
    if let Some(step) = from {
        expect_step(&app, id.0, "from", step).await?;
    }
    let run = actions::retry(&app, &actor, id.0, from).await?;
    Ok(Json(RunDetail::of(&run, None)))
}

/// That the run has such a step: one that it has not is a mistake in what was sent, whatever becomes of the run.
async fn expect_step(app: &App, id: RunId, parameter: &str, step: &str) -> Result<(), Problem> {
    let run = app.client().run(id).await?;
    if run.plan.position(step).is_some() {
        return Ok(());
    }
    let known = run
        .plan
        .steps()
        .iter()
        .map(|plan| plan.id.as_str())
        .collect::<Vec<_>>()
        .join(", ");
    Err(Problem::unprocessable(
        parameter,
        format!("run {id} has no step `{step}`: it has {known}"),
    ))
}

/// How to cancel.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cancel {
    /// Also take back what the run made, and only that.
    #[serde(default)]
    undo: bool,
}

/// Cancel a run. One that a worker holds ends a moment later.
#[utoipa::path(
    post, path = "/api/v1/runs/{id}/cancel", tag = "runs",
    params(("id" = Id, Path, description = "The run")), request_body = Option<Cancel>,
    responses((status = 200, body = RunDetail))
)]
pub(crate) async fn cancel(
    State(app): State<App>,
    actor: Actor,
    Segment(id): Segment<Id>,
    OptionalBody(cancel): OptionalBody<Cancel>,
) -> Result<Json<RunDetail>, Problem> {
    let mode = if cancel.undo {
        CancelMode::Undo
    } else {
        CancelMode::Stop
    };
    let run = actions::cancel(&app, &actor, id.0, mode).await?;
    Ok(Json(RunDetail::of(&run, None)))
}

/// An answer to a step that waits for a person.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Answer {
    /// The step.
    step: Line,
    answer: AnswerWord,
    /// Why: kept in the run's history.
    note: Option<Note>,
}

/// Answer a step that waits for a person.
#[utoipa::path(
    post, path = "/api/v1/runs/{id}/answer", tag = "runs",
    params(("id" = Id, Path, description = "The run")), request_body = Answer,
    responses((status = 200, body = RunDetail))
)]
pub(crate) async fn answer(
    State(app): State<App>,
    actor: Actor,
    Segment(id): Segment<Id>,
    Body(answer): Body<Answer>,
) -> Result<Json<RunDetail>, Problem> {
    expect_step(&app, id.0, "step", &answer.step.0).await?;
    let note = answer.note.as_ref().map(|note| note.0.as_str());
    let run = actions::answer(
        &app,
        &actor,
        id.0,
        &answer.step.0,
        answer.answer.into(),
        note,
    )
    .await?;
    Ok(Json(RunDetail::of(&run, None)))
}

/// How long a link holds.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewLink {
    /// In seconds: a day when left out, 31 days at most.
    #[schema(minimum = 1, maximum = 2_678_400)]
    seconds: Option<u64>,
}

/// A link to a run's progress, for those who are not signed in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Link {
    /// A page that may stand in a frame.
    url: String,
    /// The same as a document: what the widget's module reads.
    progress_url: String,
    expires_at: Time,
}

const DAY: u64 = 24 * 3600;
const LONGEST_LINK: u64 = 31 * DAY;

/// Make a signed, expiring, read-only link to a run's progress.
#[utoipa::path(
    post, path = "/api/v1/runs/{id}/link", tag = "runs",
    params(("id" = Id, Path, description = "The run")), request_body = Option<NewLink>,
    responses((status = 201, body = Link))
)]
pub(crate) async fn link(
    State(app): State<App>,
    actor: Actor,
    Segment(id): Segment<Id>,
    OptionalBody(new): OptionalBody<NewLink>,
) -> Result<(StatusCode, Json<Link>), Problem> {
    let seconds = new.seconds.unwrap_or(DAY);
    if !(1..=LONGEST_LINK).contains(&seconds) {
        return Err(Problem::invalid(
            "seconds",
            format!("{seconds} is not between 1 and {LONGEST_LINK}"),
        ));
    }
    let run = app.client().run(id.0).await?;
    let expires_at = app.store().now() + Duration::from_secs(seconds);
    let detail = json!({ "expires_at": expires_at.to_string() });
    audit::record(&app, &actor, "run.link", &run.id.to_string(), detail).await?;
    let link = links::sign(app.auth().secret(), run.id, expires_at);
    let url = format!("{}/widget/{link}", app.public_url());
    let progress_url = format!("{url}/progress");
    Ok((
        StatusCode::CREATED,
        Json(Link {
            url,
            progress_url,
            expires_at: Time(expires_at),
        }),
    ))
}
