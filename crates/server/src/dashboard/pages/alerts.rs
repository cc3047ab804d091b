//! `GET /alerts`: what has fired, and the button that says somebody has seen it.

use axum::Form;
use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;
use surefoot::document::{Document, DocumentFilter};
use surefoot::{RunId, StoreError, Timestamp};

use super::Fields;
use crate::alerts::AcknowledgeError;
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

/// Alerts that are looked at.
const LOOKED_AT: usize = 200;
const PAST: usize = 50;

pub(super) async fn alerts(visitor: Visitor, State(app): State<App>) -> Result<Response, Problem> {
    let all = list(&app).await?;
    let (open, past): (Vec<_>, Vec<_>) = all.iter().partition(|alert| is_open(alert));
    let views = |alerts: &[&Document], most: usize| {
        alerts.iter().take(most).map(|alert| AlertView::new(&visitor, alert)).collect::<Vec<_>>()
    };
    let groups =
        vec![Group { name: "open", rows: views(&open, LOOKED_AT) }, Group { name: "past", rows: views(&past, PAST) }];
    visitor.page("alerts.html", Live::any(), View { groups }).await
}

pub(super) async fn acknowledge(
    visitor: Visitor,
    State(app): State<App>,
    Form(fields): Form<Fields>,
) -> Result<Response, Problem> {
    let id = fields.get("id").unwrap_or_default();
    match crate::alerts::acknowledge(&app, &visitor.actor, id).await {
        Ok(_) => Ok(visitor.done("/alerts", "done.acknowledged", &[])),
        Err(AcknowledgeError::Store(error)) => Err(error.into()),
        Err(refusal) => Ok(visitor.refused("/alerts", &refusal.to_string())),
    }
}

async fn list(app: &App) -> Result<Vec<Document>, StoreError> {
    let filter = DocumentFilter { kind: "alert".to_owned(), after: None, descending: true, limit: LOOKED_AT };
    let mut alerts = app.store().documents(filter).await?;
    alerts.sort_by_key(|alert| std::cmp::Reverse(alert.data["fired_at"].as_i64()));
    Ok(alerts)
}

/// The alerts that have fired and not resolved, the newest first.
pub(super) async fn open(app: &App) -> Result<Vec<Document>, StoreError> {
    let mut alerts = list(app).await?;
    alerts.retain(is_open);
    Ok(alerts)
}

/// How many of them nobody has acknowledged.
pub(super) async fn unseen(app: &App) -> Result<usize, StoreError> {
    Ok(open(app).await?.iter().filter(|alert| alert.data["acknowledged_by"].is_null()).count())
}

fn is_open(alert: &Document) -> bool {
    alert.data["resolved_at"].is_null()
}

impl AlertView {
    pub(super) fn new(visitor: &Visitor, alert: &Document) -> Self {
        let data = &alert.data;
        let text = |name: &str| data[name].as_str().unwrap_or_default().to_owned();
        let time = |name: &str| data[name].as_i64().map(|micros| visitor.moment(Timestamp::from_micros(micros)));
        let by = data["acknowledged_by"].as_str().map(str::to_owned);
        let state = match (is_open(alert), &by) {
            (false, _) => "resolved",
            (true, Some(_)) => "acknowledged",
            (true, None) => "open",
        };
        let (tone, icon) = match state {
            "resolved" => ("completed", "completed"),
            "acknowledged" => ("waiting", "alert"),
            _ => ("failed", "alert"),
        };
        Self {
            id: alert.id.clone(),
            title: title(visitor, &text("rule"), &text("title")),
            text: text("text"),
            open: state != "resolved",
            state,
            tone,
            icon,
            since: time("fired_at").unwrap_or_else(|| visitor.moment(alert.updated_at)),
            until: time("resolved_at"),
            by,
            href: href(data),
        }
    }
}

/// Rules that speak of one thing in other words in each language; of the others the rule's own words are shown.
fn title(visitor: &Visitor, rule: &str, said: &str) -> String {
    let known = visitor.lang().try_text(&format!("alert.rule.{rule}"), &[]);
    known.map_or_else(|| said.to_owned(), |rule| format!("{rule} \u{b7} {said}"))
}

/// What an alert is about: a run, or a queue.
fn href(data: &Value) -> Option<String> {
    let run = data["run"].as_str().and_then(|id| id.parse::<RunId>().ok()).map(|id| format!("/runs/{id}"));
    run.or_else(|| data["queue"].as_str().map(|name| format!("/runs?queue={}", url(name))))
}
