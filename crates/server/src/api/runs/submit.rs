//! `POST /api/v1/runs`.

use axum::Json;
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::{Map, Value};
use surefoot::Submit;
use utoipa::ToSchema;

use crate::actions;
use crate::api::extract::Body;
use crate::api::view::RunDetail;
use crate::api::wire::{Line, Time};
use crate::auth::Actor;
use crate::http::Problem;
use crate::state::App;

/// A run to submit.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Submission {
    /// The workflow's name.
    workflow: Line,
    /// The workflow's parameters.
    #[serde(default)]
    #[schema(value_type = Object)]
    parameters: Map<String, Value>,
    /// An idempotency key: repeating the request returns the same run. May also be sent as the
    /// header `Idempotency-Key`.
    key: Option<Line>,
    /// Runs with a higher priority start first. Default: 0.
    #[serde(default)]
    priority: i32,
    /// Runs with the same value share the queue's concurrency per key.
    concurrency_key: Option<Line>,
    /// The earliest start.
    at: Option<Time>,
}

/// Submit a run.
///
/// Responds 201 with the run once it is durable; 200 with the existing run if the same request was
/// submitted before; 409 if the key belongs to a run with other parameters, or if a value that must
/// be unique is taken; 422 if a parameter does not fit the workflow's schema, or names a template
/// that cannot be used.
#[utoipa::path(
    post, path = "/api/v1/runs", tag = "runs",
    params(("Idempotency-Key" = Option<Line>, Header, description = "The key, when the body has none")),
    request_body = Submission,
    responses(
        (status = 201, body = RunDetail, description = "The run, submitted"),
        (status = 200, body = RunDetail, description = "The run that the same request submitted before"),
    )
)]
pub(crate) async fn submit(
    State(app): State<App>,
    actor: Actor,
    headers: HeaderMap,
    Body(submission): Body<Submission>,
) -> Result<Response, Problem> {
    let name = submission.workflow.0.as_str();
    let unknown = || Problem::unprocessable("workflow", format!("there is no workflow `{name}`"));
    let workflow = app.workflows().get(name).ok_or_else(unknown)?;
    let mut submit = Submit::new(workflow)
        .parameters(submission.parameters.into())
        .priority(submission.priority);
    if let Some(key) = key(&headers, submission.key)? {
        submit = submit.key(key.0);
    }
    if let Some(key) = submission.concurrency_key {
        submit = submit.concurrency_key(key.0);
    }
    if let Some(at) = submission.at {
        submit = submit.at(at.0);
    }
    let submitted = actions::submit(&app, &actor, submit).await?;
    let status = if submitted.existing {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    let location = format!("/api/v1/runs/{}", submitted.run.id);
    Ok((
        status,
        [(LOCATION, location)],
        Json(RunDetail::of(&submitted.run, None)),
    )
        .into_response())
}

fn key(headers: &HeaderMap, key: Option<Line>) -> Result<Option<Line>, Problem> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(key);
    };
    let invalid = |detail: String| Problem::invalid("Idempotency-Key", detail);
    let text =
        std::str::from_utf8(value.as_bytes()).map_err(|_| invalid("is not UTF-8".to_owned()))?;
    let header = Line::parse(text.to_owned()).map_err(|error| invalid(error.to_string()))?;
    match key {
        Some(key) if key != header => Err(invalid(format!(
            "is not the key of the body, `{}`: give one of them",
            key.0
        ))),
        _ => Ok(Some(header)),
    }
}
