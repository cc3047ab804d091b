//! Retrying or cancelling many runs: first a page that says how many it would be and shows some, then the deed.

use axum::Form;
use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use surefoot::state::CancelMode;
use surefoot::store::RunFilter;
use surefoot::{Run, RunId, RunStatus, StoreError};

use super::Fields;
use super::runs::Asked;
use crate::actions;
use crate::dashboard::view::{RunRow, parse_ids};
use crate::dashboard::visitor::{Live, Visitor, redirect};
use crate::http::Problem;
use crate::state::App;

#[derive(Serialize)]
struct View {
    action: &'static str,
    scope: &'static str,
    filter: String,
    back: String,
    ids: Vec<String>,
    fits: usize,
    others: usize,
    more: bool,
    limit: usize,
    rows: Vec<RunRow>,
}

/// What is to be done to which runs.
struct Order {
    action: Action,
    /// The chosen ones; `None` for all that match.
    chosen: Option<Vec<RunId>>,
    asked: Asked,
    undo: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Retry,
    Cancel,
}

/// Runs that are dealt with at once, and looked at at a time.
const LIMIT: usize = 1000;
const PAGE: usize = 200;
const SHOWN: usize = 10;

pub(super) async fn preview(
    visitor: Visitor,
    State(app): State<App>,
    Form(fields): Form<Fields>,
) -> Result<Response, Problem> {
    let order = Order::read(&fields);
    let back = order.asked.address(None);
    if order.chosen.as_ref().is_some_and(Vec::is_empty) {
        return Ok(redirect(&back, Some(("failed", &visitor.t("done.bulk.nothing", &[])))));
    }
    let found = order.find(&app, &visitor).await?;
    let view = View {
        action: order.action.word(),
        scope: if order.chosen.is_some() { "chosen" } else { "matching" },
        filter: order.asked.query(None),
        back,
        ids: order.chosen.iter().flatten().map(RunId::to_string).collect(),
        fits: found.fits.len(),
        others: found.others,
        more: found.more,
        limit: LIMIT,
        rows: found.fits.iter().take(SHOWN).map(|run| RunRow::new(&visitor, run)).collect(),
    };
    visitor.page("bulk.html", Live::default(), view).await
}

pub(super) async fn apply(
    visitor: Visitor,
    State(app): State<App>,
    Form(fields): Form<Fields>,
) -> Result<Response, Problem> {
    let order = Order::read(&fields);
    let found = order.find(&app, &visitor).await?;
    let (mut done, mut refused, mut reason) = (0_usize, 0_usize, String::new());
    for run in &found.fits {
        match order.carry_out(&app, &visitor, run.id).await {
            Ok(()) => done += 1,
            Err(error @ (StoreError::Rule(_) | StoreError::NoRun(_))) => {
                refused += 1;
                reason = error.to_string();
            }
            Err(error) => return Err(error.into()),
        }
    }
    let mut text = visitor.t(&format!("done.bulk.{}", order.action.word()), &[("count", &done.to_string())]);
    if refused > 0 {
        text.push(' ');
        text.push_str(&visitor.t("done.bulk.failed", &[("count", &refused.to_string()), ("reason", &reason)]));
    }
    let tone = if refused > 0 { "failed" } else { "completed" };
    Ok(redirect(&order.asked.address(None), Some((tone, &text))))
}

#[derive(Default)]
struct Found {
    fits: Vec<Run>,
    others: usize,
    /// There are more than are dealt with at once.
    more: bool,
}

impl Action {
    const fn word(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Cancel => "cancel",
        }
    }

    /// Whether it makes sense for a run.
    fn fits(self, run: &Run) -> bool {
        match self {
            Self::Retry => run.head.status == RunStatus::Failed,
            Self::Cancel => !run.head.status.is_ended() && run.head.cancel.is_none(),
        }
    }

    /// The statuses of the runs for which it makes sense, so that a million others are not looked at.
    const fn statuses(self) -> &'static [RunStatus] {
        match self {
            Self::Retry => &[RunStatus::Failed],
            // In the order in which runs move on: one that moves meanwhile is seen twice rather than not at all.
            Self::Cancel => &[RunStatus::Queued, RunStatus::Waiting, RunStatus::Running],
        }
    }
}

impl Order {
    fn read(fields: &Fields) -> Self {
        let chosen = fields.get("scope") != Some("matching");
        let ids = fields.all("run");
        Self {
            action: if fields.get("action") == Some("cancel") { Action::Cancel } else { Action::Retry },
            chosen: chosen.then(|| parse_ids(&ids)),
            asked: Asked::parse(fields.get("filter").unwrap_or_default()),
            undo: fields.get("undo") == Some("yes"),
        }
    }

    async fn find(&self, app: &App, visitor: &Visitor) -> Result<Found, StoreError> {
        match &self.chosen {
            Some(ids) => self.chosen(app, ids).await,
            None => self.matching(app, visitor).await,
        }
    }

    async fn chosen(&self, app: &App, ids: &[RunId]) -> Result<Found, StoreError> {
        let mut found = Found { more: ids.len() > LIMIT, ..Found::default() };
        for id in ids.iter().take(LIMIT) {
            match app.store().run(*id).await? {
                Some(run) if self.action.fits(&run) => found.fits.push(run),
                _ => found.others += 1,
            }
        }
        Ok(found)
    }

    async fn matching(&self, app: &App, visitor: &Visitor) -> Result<Found, StoreError> {
        let wanted = self.asked.filter(visitor.now);
        let mut found = Found::default();
        let statuses = self.action.statuses().iter().filter(|status| wanted.status.is_none_or(|only| only == **status));
        for status in statuses {
            let mut filter = RunFilter { status: Some(*status), limit: PAGE, before: None, ..wanted.clone() };
            loop {
                let page = app.store().runs(filter.clone()).await?;
                filter.before = page.last().map(|run| run.id);
                let ends = page.len() < PAGE;
                for run in page {
                    if found.fits.iter().all(|other| other.id != run.id) && self.action.fits(&run) {
                        found.fits.push(run);
                    }
                }
                if found.fits.len() > LIMIT {
                    found.fits.truncate(LIMIT);
                    found.more = true;
                    return Ok(found);
                }
                if ends {
                    break;
                }
            }
        }
        Ok(found)
    }

    async fn carry_out(&self, app: &App, visitor: &Visitor, id: RunId) -> Result<(), StoreError> {
        match self.action {
            Action::Retry => actions::retry(app, &visitor.actor, id, None).await.map(drop),
            Action::Cancel => {
                let mode = if self.undo { CancelMode::Undo } else { CancelMode::Stop };
                actions::cancel(app, &visitor.actor, id, mode).await.map(drop)
            }
        }
    }
}
