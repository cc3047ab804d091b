//! `GET /audit`: what people and tokens did.

use axum::extract::{Query, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use surefoot::RunId;

use crate::audit::{self, Entry, Outcome};
use crate::dashboard::text::{Moment, first_line, url};
use crate::dashboard::view::Pages;
use crate::dashboard::visitor::{Live, Visitor};
use crate::http::Problem;
use crate::state::App;

#[derive(Deserialize)]
pub(super) struct Asked {
    after: Option<String>,
}

#[derive(Serialize)]
struct View {
    rows: Vec<Row>,
    pages: Pages,
}

#[derive(Serialize)]
struct Row {
    id: String,
    at: Moment,
    who: String,
    via: String,
    action: String,
    subject: String,
    href: Option<String>,
    detail: String,
    outcome: String,
    tone: &'static str,
    reason: Option<String>,
}

const PAGE: usize = 100;

pub(super) async fn page(
    visitor: Visitor,
    State(app): State<App>,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let mut entries = audit::list(app.store(), asked.after.clone(), PAGE + 1).await?;
    let more = entries.len() > PAGE;
    entries.truncate(PAGE);
    let next = entries
        .last()
        .filter(|_| more)
        .map(|last| format!("/audit?after={}", url(&last.id)));
    let first = asked.after.is_some().then(|| "/audit".to_owned());
    let live = if first.is_none() {
        Live::any()
    } else {
        Live::default()
    };
    let rows = entries
        .iter()
        .map(|entry| Row::new(&visitor, entry))
        .collect();
    visitor
        .page(
            "audit.html",
            live,
            View {
                rows,
                pages: Pages { first, next },
            },
        )
        .await
}

impl Row {
    fn new(visitor: &Visitor, entry: &Entry) -> Self {
        // A subject may be a run's id.
        let id = entry.subject.parse::<RunId>().ok();
        let outcome = entry.outcome.as_str();
        Self {
            id: entry.id.clone(),
            at: visitor.moment(entry.at),
            who: entry.actor.clone(),
            via: entry.via.clone(),
            action: entry.action.clone(),
            subject: entry.subject.clone(),
            href: id.map(|id| format!("/runs/{id}")),
            detail: detail(&entry.detail),
            outcome: visitor.t(&format!("audit.outcome.{outcome}"), &[]),
            tone: match entry.outcome {
                Outcome::Done => "completed",
                Outcome::Asked => "waiting",
                Outcome::Refused(_) => "failed",
            },
            reason: entry.outcome.reason().map(|reason| first_line(reason, 200)),
        }
    }
}

fn detail(detail: &Value) -> String {
    let plain = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    let text = match detail {
        Value::Null => String::new(),
        Value::Object(fields) => {
            let said = fields.iter().filter(|(_, value)| !value.is_null());
            said.map(|(name, value)| format!("{name}: {}", plain(value)))
                .collect::<Vec<_>>()
                .join(", ")
        }
        other => plain(other),
    };
    first_line(&text, 240)
}
