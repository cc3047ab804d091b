//! Retrying or cancelling many runs: a preview with their number and some examples, then the
//! action.

use axum::Form;
use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use surefoot::store::RunFilter;
use surefoot::{RunId, Timestamp};

use super::Fields;
use super::runs::RunsQuery;
use crate::actions::{Bulk, BulkAction, Selection};
use crate::dashboard::page_context::{Live, PageContext, redirect};
use crate::dashboard::view::{RunRow, parse_ids};
use crate::http::Problem;
use crate::state::App;

#[derive(Serialize)]
struct View {
    action: &'static str,
    scope: &'static str,
    filter: String,
    /// Excludes runs submitted later; relative times count from here.
    until: i64,
    back: String,
    ids: Vec<String>,
    fits: usize,
    others: usize,
    more: bool,
    limit: usize,
    rows: Vec<RunRow>,
}

/// The requested action, and the list from which it was requested.
struct BulkForm {
    bulk: Bulk,
    query: RunsQuery,
    until: Timestamp,
}

/// Limit of runs per action.
const MAX_RUNS: usize = 1000;

pub(super) async fn preview(
    context: PageContext,
    State(app): State<App>,
    Form(fields): Form<Fields>,
) -> Result<Response, Problem> {
    let form = BulkForm::read(&fields, &context);
    let back = form.query.address(None);
    let chosen: Option<&[RunId]> = match &form.bulk.selection {
        Selection::Runs(ids) => Some(ids),
        Selection::Matching { .. } => None,
    };
    if chosen.is_some_and(<[RunId]>::is_empty) {
        return Ok(redirect(
            &back,
            Some(("failed", &context.t("done.bulk.nothing", &[]))),
        ));
    }
    let found = form.bulk.preview(&app, MAX_RUNS).await?;
    let view = View {
        action: form.action_word(),
        scope: if chosen.is_some() {
            "chosen"
        } else {
            "matching"
        },
        filter: form.query.query(None),
        until: form.until.as_micros(),
        back,
        ids: chosen
            .unwrap_or_default()
            .iter()
            .map(RunId::to_string)
            .collect(),
        fits: found.count,
        others: found.not_applicable,
        more: found.more,
        limit: MAX_RUNS,
        rows: found
            .first
            .iter()
            .map(|run| RunRow::new(&context, run))
            .collect(),
    };
    context.page("bulk.html", Live::default(), view).await
}

pub(super) async fn apply(
    context: PageContext,
    State(app): State<App>,
    Form(fields): Form<Fields>,
) -> Result<Response, Problem> {
    let form = BulkForm::read(&fields, &context);
    let result = form.bulk.apply(&app, &context.actor).await?;
    let mut text = context.t(
        &format!("done.bulk.{}", form.action_word()),
        &[("count", &result.done.to_string())],
    );
    if let Some((_, reason)) = result.refused.last() {
        let count = result.refused.len().to_string();
        text.push(' ');
        text.push_str(&context.t("done.bulk.failed", &[("count", &count), ("reason", reason)]));
    }
    let tone = if result.refused.is_empty() {
        "completed"
    } else {
        "failed"
    };
    Ok(redirect(&form.query.address(None), Some((tone, &text))))
}

impl BulkForm {
    fn read(fields: &Fields, context: &PageContext) -> Self {
        let query = RunsQuery::parse(fields.get("filter").unwrap_or_default());
        // The action applies to the runs that were shown, however long the person looked at them.
        let shown = fields
            .get("until")
            .and_then(|micros| micros.parse().ok())
            .map(Timestamp::from_micros);
        let until = shown.map_or(context.now, |shown| shown.min(context.now));
        let action = match fields.get("action") {
            Some("cancel") => BulkAction::Cancel {
                undo: fields.get("undo") == Some("yes"),
            },
            _ => BulkAction::Retry,
        };
        let selection = match fields.get("scope") {
            Some("matching") => {
                let filter = RunFilter {
                    until: Some(until),
                    ..query.filter(until, context.zone())
                };
                Selection::Matching {
                    filter,
                    before: None,
                }
            }
            _ => Selection::Runs(parse_ids(&fields.all("run"))),
        };
        Self {
            bulk: Bulk {
                action,
                selection,
                limit: MAX_RUNS,
            },
            query,
            until,
        }
    }

    const fn action_word(&self) -> &'static str {
        match self.bulk.action {
            BulkAction::Retry => "retry",
            BulkAction::Cancel { .. } => "cancel",
        }
    }
}
