//! `GET /alerts`: what has fired, and the button that says somebody has seen it.

use axum::Form;
use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use surefoot::StoreError;

use super::Fields;
use crate::alerts::{self, AcknowledgeError, Alert, AlertState};
use crate::dashboard::text::{Moment, url};
use crate::dashboard::visitor::{Live, Visitor};
use crate::http::Problem;
use crate::state::App;

#[derive(Serialize)]
struct View {
    groups: Vec<Group>,
}

#[derive(Serialize)]
struct Group {
    name: &'static str,
    rows: Vec<AlertView>,
}

/// An alert as pages show it.
#[derive(Debug, Serialize)]
pub(super) struct AlertView {
    id: String,
    title: String,
    text: String,
    state: &'static str,
    tone: &'static str,
    icon: &'static str,
    open: bool,
    since: Moment,
    until: Option<Moment>,
    by: Option<String>,
    href: Option<String>,
}

/// Alerts that are shown.
const SHOWN: usize = 200;
const PAST: usize = 50;

pub(super) async fn alerts(visitor: Visitor, State(app): State<App>) -> Result<Response, Problem> {
    let all = app.known().alerts_anew(app.store()).await?;
    let group = |name, state, most| {
        let those = all.iter().filter(|alert| alert.state == state).take(most);
        Group {
            name,
            rows: those.map(|alert| AlertView::new(&visitor, alert)).collect(),
        }
    };
    let groups = vec![
        group("open", AlertState::Firing, SHOWN),
        group("past", AlertState::Resolved, PAST),
    ];
    visitor
        .page("alerts.html", Live::any(), View { groups })
        .await
}

pub(super) async fn acknowledge(
    visitor: Visitor,
    State(app): State<App>,
    Form(fields): Form<Fields>,
) -> Result<Response, Problem> {
    let id = fields.get("id").unwrap_or_default();
    match alerts::acknowledge(&app, &visitor.actor, id).await {
        Ok(_) => Ok(visitor.done("/alerts", "done.acknowledged", &[])),
        Err(AcknowledgeError::Store(error)) => Err(error.into()),
        Err(refusal) => Ok(visitor.refused("/alerts", &refusal.to_string())),
    }
}

/// The alerts that fire, the newest first.
pub(super) async fn open(app: &App) -> Result<Vec<Alert>, StoreError> {
    let alerts = app.known().alerts(app.store()).await?;
    Ok(alerts
        .iter()
        .filter(|alert| alert.state == AlertState::Firing)
        .cloned()
        .collect())
}

/// How many of them nobody has acknowledged.
pub(super) async fn unseen(app: &App) -> Result<usize, StoreError> {
    Ok(app
        .known()
        .alerts(app.store())
        .await?
        .iter()
        .filter(|alert| alert.is_open())
        .count())
}

impl AlertView {
    pub(super) fn new(visitor: &Visitor, alert: &Alert) -> Self {
        let (state, tone, icon) = match (alert.state, &alert.acknowledged) {
            (AlertState::Resolved, _) => ("resolved", "completed", "completed"),
            (AlertState::Firing, Some(_)) => ("acknowledged", "waiting", "alert"),
            (AlertState::Firing, None) => ("open", "failed", "alert"),
        };
        Self {
            id: alert.id.clone(),
            title: title(visitor, alert),
            text: alert.text.clone(),
            open: alert.state == AlertState::Firing,
            state,
            tone,
            icon,
            since: visitor.moment(alert.fired_at),
            until: alert.resolved_at.map(|at| visitor.moment(at)),
            by: alert.acknowledged.as_ref().map(|(by, _)| by.clone()),
            href: href(alert),
        }
    }
}

/// Rules that speak of one thing in other words in each language; of the others the rule's own words are shown.
fn title(visitor: &Visitor, alert: &Alert) -> String {
    let known = visitor
        .lang()
        .try_text(&format!("alert.rule.{}", alert.rule), &[]);
    known.map_or_else(
        || alert.title.clone(),
        |rule| format!("{rule} \u{b7} {}", alert.title),
    )
}

/// What an alert is about: a run, or a queue.
fn href(alert: &Alert) -> Option<String> {
    let run = alert.run.map(|id| format!("/runs/{id}"));
    run.or_else(|| {
        alert
            .queue
            .as_ref()
            .map(|name| format!("/runs?queue={}", url(name)))
    })
}
