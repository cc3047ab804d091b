//! Alerts, and their acknowledgement.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::extract::{Body, Query};
use super::wire::{Id, Line, Time};
use crate::alerts::{self, Alert, AlertState};
use crate::auth::Actor;
use crate::http::Problem;
use crate::state::App;

/// An alert.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AlertView {
    /// The rule and the subject.
    id: String,
    rule: String,
    /// The object of the alert: a run's id, a queue, or `store`.
    subject: String,
    title: String,
    text: String,
    run: Option<Id>,
    queue: Option<String>,
    state: AlertWord,
    fired_at: Time,
    resolved_at: Option<Time>,
    acknowledged_by: Option<String>,
    acknowledged_at: Option<Time>,
}

/// The state of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AlertWord {
    /// The fact still holds.
    Firing,
    /// The fact no longer holds.
    Resolved,
}

impl From<AlertState> for AlertWord {
    fn from(state: AlertState) -> Self {
        match state {
            AlertState::Firing => Self::Firing,
            AlertState::Resolved => Self::Resolved,
        }
    }
}

impl From<Alert> for AlertView {
    fn from(alert: Alert) -> Self {
        let (by, at) = alert.acknowledged.unzip();
        Self {
            id: alert.id,
            rule: alert.rule.to_string(),
            subject: alert.subject,
            title: alert.title,
            text: alert.text,
            run: alert.run.map(Id),
            queue: alert.queue,
            state: alert.state.into(),
            fired_at: Time(alert.fired_at),
            resolved_at: alert.resolved_at.map(Time),
            acknowledged_by: by,
            acknowledged_at: at.map(Time),
        }
    }
}

/// Selects alerts.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AlertQuery {
    /// Only alerts in this state. Default: all of the last seven days.
    state: Option<AlertWord>,
}

/// Alerts, latest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AlertList {
    alerts: Vec<AlertView>,
}

/// List the alerts that fire, and those resolved in the last seven days.
#[utoipa::path(
    get, path = "/api/v1/alerts", tag = "alerts", params(AlertQuery), responses((status = 200, body = AlertList))
)]
pub(crate) async fn list(
    State(app): State<App>,
    Query(query): Query<AlertQuery>,
) -> Result<Json<AlertList>, Problem> {
    let mut alerts: Vec<AlertView> = alerts::list(app.store())
        .await?
        .into_iter()
        .map(Into::into)
        .collect();
    alerts.retain(|alert| query.state.is_none_or(|state| alert.state == state));
    Ok(Json(AlertList { alerts }))
}

/// The alert to acknowledge.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Acknowledge {
    /// The alert's id. It is not part of the path because it contains slashes.
    id: Line,
}

/// Acknowledge an alert. The first acknowledgement stays.
#[utoipa::path(
    post, path = "/api/v1/alerts/acknowledge", tag = "alerts", request_body = Acknowledge,
    responses((status = 200, body = AlertView))
)]
pub(crate) async fn acknowledge(
    State(app): State<App>,
    actor: Actor,
    Body(request): Body<Acknowledge>,
) -> Result<Json<AlertView>, Problem> {
    Ok(Json(
        alerts::acknowledge(&app, &actor, &request.id.0)
            .await?
            .into(),
    ))
}
