//! `GET /alerts`: the alerts, with buttons to acknowledge them.

use axum::Form;
use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use surefoot::StoreError;

use super::Fields;
use crate::alerts::{self, AcknowledgeError, Alert, AlertState};
use crate::dashboard::page_context::{Live, PageContext};
use crate::dashboard::text::{Moment, url};
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

/// An alert as shown on pages.
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

/// Number of alerts shown.
const SHOWN_FIRING: usize = 200;
const SHOWN_RESOLVED: usize = 50;

pub(super) async fn alerts(
    context: PageContext,
    State(app): State<App>,
) -> Result<Response, Problem> {
    let all = app.page_cache().reload_alerts(app.store()).await?;
    let group = |name, state, max| {
        let selected = all.iter().filter(|alert| alert.state == state).take(max);
        Group {
            name,
            rows: selected
                .map(|alert| AlertView::new(&context, alert))
                .collect(),
        }
    };
    let groups = vec![
        group("open", AlertState::Firing, SHOWN_FIRING),
        group("past", AlertState::Resolved, SHOWN_RESOLVED),
    ];
    context
        .page("alerts.html", Live::any(), View { groups })
        .await
}

pub(super) async fn acknowledge(
    context: PageContext,
    State(app): State<App>,
    Form(fields): Form<Fields>,
) -> Result<Response, Problem> {
    let id = fields.get("id").unwrap_or_default();
    match alerts::acknowledge(&app, &context.actor, id).await {
        Ok(_) => Ok(context.done("/alerts", "done.acknowledged", &[])),
        Err(AcknowledgeError::Store(error)) => Err(error.into()),
        Err(refusal) => Ok(context.refused("/alerts", &refusal.to_string())),
    }
}

/// The firing alerts, newest first.
pub(super) async fn open(app: &App) -> Result<Vec<Alert>, StoreError> {
    let alerts = app.page_cache().alerts(app.store()).await?;
    Ok(alerts
        .iter()
        .filter(|alert| alert.state == AlertState::Firing)
        .cloned()
        .collect())
}

/// The number of alerts that are not acknowledged.
pub(super) async fn count_unacknowledged(app: &App) -> Result<usize, StoreError> {
    Ok(app
        .page_cache()
        .alerts(app.store())
        .await?
        .iter()
        .filter(|alert| alert.is_open())
        .count())
}

impl AlertView {
    pub(super) fn new(context: &PageContext, alert: &Alert) -> Self {
        let (state, tone, icon) = match (alert.state, &alert.acknowledged) {
            (AlertState::Resolved, _) => ("resolved", "completed", "completed"),
            (AlertState::Firing, Some(_)) => ("acknowledged", "waiting", "alert"),
            (AlertState::Firing, None) => ("open", "failed", "alert"),
        };
        Self {
            id: alert.id.clone(),
            title: title(context, alert),
            text: alert.text.clone(),
            open: alert.state == AlertState::Firing,
            state,
            tone,
            icon,
            since: context.moment(alert.fired_at),
            until: alert.resolved_at.map(|at| context.moment(at)),
            by: alert.acknowledged.as_ref().map(|(by, _)| by.clone()),
            href: href(alert),
        }
    }
}

/// The title in the reader's language, for rules with a translation; otherwise the alert's own
/// title.
fn title(context: &PageContext, alert: &Alert) -> String {
    let rule = context
        .lang()
        .try_text(&format!("alert.rule.{}", alert.rule), &[]);
    rule.map_or_else(
        || alert.title.clone(),
        |rule| format!("{rule} \u{b7} {}", alert.title),
    )
}

/// The page of the run or queue concerned.
fn href(alert: &Alert) -> Option<String> {
    let run = alert.run.map(|id| format!("/runs/{id}"));
    run.or_else(|| {
        alert
            .queue
            .as_ref()
            .map(|name| format!("/runs?queue={}", url(name)))
    })
}
