//! Actions on one run: retry, cancel, answer, share a link.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use surefoot::RunId;
use surefoot::state::CancelMode;
use utoipa::ToSchema;

use crate::actions::{self, LINK_LIFETIME, MAX_LINK_LIFETIME};
use crate::api::extract::{Body, OptionalBody, Segment};
use crate::api::view::RunDetail;
use crate::api::wire::{AnswerWord, Id, Line, Note, Time};
use crate::auth::Actor;
use crate::http::Problem;
use crate::state::App;

/// The step to retry from.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Retry {
    /// Repeat this step and all after it. Default: the step that failed.
    from: Option<Line>,
}

/// Retry a failed run.
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

/// Checks that the run has such a step. An unknown step is an error in the request, whatever the
/// state of the run.
async fn expect_step(app: &App, id: RunId, parameter: &str, step: &str) -> Result<(), Problem> {
    let run = app.client().run(id).await?;
    if run.plan.position(step).is_some() {
        return Ok(());
    }
    let steps = run
        .plan
        .steps()
        .iter()
        .map(|plan| plan.id.as_str())
        .collect::<Vec<_>>()
        .join(", ");
    Err(Problem::unprocessable(
        parameter,
        format!("run {id} has no step `{step}`: it has {steps}"),
    ))
}

/// The mode of a cancel.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cancel {
    /// Also undo what the run created, and nothing else.
    #[serde(default)]
    undo: bool,
}

/// Cancel a run. A run held by a worker ends a moment later.
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
    /// A comment, kept in the run's history.
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

/// The lifetime of a link.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewLink {
    /// In seconds, at most 31 days. Default: one day.
    #[schema(minimum = 1, maximum = 2_678_400)]
    seconds: Option<u64>,
}

/// A link to a run's progress, valid without sign-in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Link {
    /// A page that may be embedded in a frame.
    url: String,
    /// The progress as a JSON document, used by the widget's script.
    progress_url: String,
    expires_at: Time,
}

/// Create a signed, expiring, read-only link to a run's progress.
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
    let seconds = new.seconds.unwrap_or(LINK_LIFETIME.as_secs());
    let max = MAX_LINK_LIFETIME.as_secs();
    if !(1..=max).contains(&seconds) {
        return Err(Problem::invalid(
            "seconds",
            format!("{seconds} is not between 1 and {max}"),
        ));
    }
    let lifetime = Duration::from_secs(seconds);
    let (link, expires_at) = actions::link(&app, &actor, id.0, lifetime).await?;
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
