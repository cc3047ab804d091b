//! Retrying or cancelling many runs: first a page that says how many it would be and shows some, then the deed.

use axum::Form;
use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use surefoot::store::RunFilter;
use surefoot::{RunId, Timestamp};

use super::Fields;
use super::runs::Asked;
use crate::actions::{Bulk, BulkAction, Which};
use crate::dashboard::view::{RunRow, parse_ids};
use crate::dashboard::visitor::{Live, Visitor, redirect};
use crate::http::Problem;
use crate::state::App;

#[derive(Serialize)]
struct View {
    action: &'static str,
    scope: &'static str,
    filter: String,
    /// What came later than this is not met, and a relative time counts from here.
    until: i64,
    back: String,
    ids: Vec<String>,
    fits: usize,
    others: usize,
    more: bool,
    limit: usize,
    rows: Vec<RunRow>,
}

/// What a form orders, and the list that it was made on.
struct Order {
    bulk: Bulk,
    asked: Asked,
    until: Timestamp,
}

/// Runs that are dealt with at once.
const LIMIT: usize = 1000;

pub(super) async fn preview(
    visitor: Visitor,
    State(app): State<App>,
    Form(fields): Form<Fields>,
) -> Result<Response, Problem> {
    let order = Order::read(&fields, &visitor);
    let back = order.asked.address(None);
    let chosen: Option<&[RunId]> = match &order.bulk.which {
        Which::These(ids) => Some(ids),
        Which::Matching { .. } => None,
    };
    if chosen.is_some_and(<[RunId]>::is_empty) {
        return Ok(redirect(
            &back,
            Some(("failed", &visitor.t("done.bulk.nothing", &[]))),
        ));
    }
    let found = order.bulk.preview(&app, LIMIT).await?;
    let view = View {
        action: order.word(),
        scope: if chosen.is_some() {
            "chosen"
        } else {
            "matching"
        },
        filter: order.asked.query(None),
        until: order.until.as_micros(),
        back,
        ids: chosen
            .unwrap_or_default()
            .iter()
            .map(RunId::to_string)
            .collect(),
        fits: found.count,
        others: found.others,
        more: found.more,
        limit: LIMIT,
        rows: found
            .first
            .iter()
            .map(|run| RunRow::new(&visitor, run))
            .collect(),
    };
    visitor.page("bulk.html", Live::default(), view).await
}

pub(super) async fn apply(
    visitor: Visitor,
    State(app): State<App>,
    Form(fields): Form<Fields>,
) -> Result<Response, Problem> {
    let order = Order::read(&fields, &visitor);
    let result = order.bulk.apply(&app, &visitor.actor).await?;
    let mut text = visitor.t(
        &format!("done.bulk.{}", order.word()),
        &[("count", &result.done.to_string())],
    );
    if let Some((_, reason)) = result.refused.last() {
        let count = result.refused.len().to_string();
        text.push(' ');
        text.push_str(&visitor.t("done.bulk.failed", &[("count", &count), ("reason", reason)]));
    }
    let tone = if result.refused.is_empty() {
        "completed"
    } else {
        "failed"
    };
    Ok(redirect(&order.asked.address(None), Some((tone, &text))))
}

impl Order {
    fn read(fields: &Fields, visitor: &Visitor) -> Self {
        let asked = Asked::parse(fields.get("filter").unwrap_or_default());
        // What was confirmed is what was shown, however long the person looked at it.
        let shown = fields
            .get("until")
            .and_then(|micros| micros.parse().ok())
            .map(Timestamp::from_micros);
        let until = shown.map_or(visitor.now, |shown| shown.min(visitor.now));
        let action = match fields.get("action") {
            Some("cancel") => BulkAction::Cancel {
                undo: fields.get("undo") == Some("yes"),
            },
            _ => BulkAction::Retry,
        };
        let which = match fields.get("scope") {
            Some("matching") => {
                let filter = RunFilter {
                    until: Some(until),
                    ..asked.filter(until, visitor.zone())
                };
                Which::Matching {
                    filter,
                    before: None,
                }
            }
            _ => Which::These(parse_ids(&fields.all("run"))),
        };
        Self {
            bulk: Bulk {
                action,
                which,
                limit: LIMIT,
            },
            asked,
            until,
        }
    }

    const fn word(&self) -> &'static str {
        match self.bulk.action {
            BulkAction::Retry => "retry",
            BulkAction::Cancel { .. } => "cancel",
        }
    }
}
