//! `GET /audit`: the audit log.

use axum::extract::{Query, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use surefoot::RunId;

use crate::audit::{self, Entry, Outcome};
use crate::dashboard::page_context::{Live, PageContext};
use crate::dashboard::text::{Moment, first_line, url};
use crate::dashboard::view::Pages;
use crate::http::Problem;
use crate::state::App;

#[derive(Deserialize)]
pub(super) struct AuditPageQuery {
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
    context: PageContext,
    State(app): State<App>,
    Query(query): Query<AuditPageQuery>,
) -> Result<Response, Problem> {
    let mut entries = audit::list(app.store(), query.after.clone(), PAGE + 1).await?;
    let more = entries.len() > PAGE;
    entries.truncate(PAGE);
    let next = match entries.last() {
        Some(last) if more => Some(format!("/audit?after={}", url(&last.id))),
        _ => None,
    };
    let first = query.after.is_some().then(|| "/audit".to_owned());
    let live = if first.is_none() {
        Live::any()
    } else {
        Live::default()
    };
    let rows = entries
        .iter()
        .map(|entry| Row::new(&context, entry))
        .collect();
    context
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
    fn new(context: &PageContext, entry: &Entry) -> Self {
        // A subject may be a run's id.
        let id = entry.subject.parse::<RunId>().ok();
        let outcome = entry.outcome.as_str();
        Self {
            id: entry.id.clone(),
            at: context.moment(entry.at),
            who: entry.actor.clone(),
            via: entry.via.clone(),
            action: entry.action.clone(),
            subject: entry.subject.clone(),
            href: id.map(|id| format!("/runs/{id}")),
            detail: detail(&entry.detail),
            outcome: context.t(&format!("audit.outcome.{outcome}"), &[]),
            tone: match entry.outcome {
                Outcome::Done => "completed",
                Outcome::Requested => "waiting",
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
            let present = fields.iter().filter(|(_, value)| !value.is_null());
            present
                .map(|(name, value)| format!("{name}: {}", plain(value)))
                .collect::<Vec<_>>()
                .join(", ")
        }
        other => plain(other),
    };
    first_line(&text, 240)
}
