//! Applies one action to many runs: on a chosen set, or on all that match a filter.

use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use surefoot::state::CancelMode;
use surefoot::store::RunFilter;
use surefoot::{Run, RunId, RunStatus, StoreError};

use super::runs::expect_permitted;
use crate::audit;
use crate::auth::Actor;
use crate::state::App;

/// The action on each run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BulkAction {
    Retry,
    Cancel { undo: bool },
}

/// The runs to act on.
#[derive(Clone, Debug)]
pub(crate) enum Selection {
    Runs(Vec<RunId>),
    /// All runs that match the filter, and that were submitted before `before` if it is given. A
    /// status in the filter narrows the statuses that the action applies to.
    Matching {
        filter: RunFilter,
        before: Option<RunId>,
    },
}

/// An action on many runs.
#[derive(Clone, Debug)]
pub(crate) struct Bulk {
    pub(crate) action: BulkAction,
    pub(crate) selection: Selection,
    /// Maximum number of runs.
    pub(crate) limit: usize,
}

/// The runs that an action would apply to.
#[derive(Debug, Default)]
pub(crate) struct Preview {
    pub(crate) count: usize,
    /// True if there are more runs than were counted.
    pub(crate) more: bool,
    /// The newest of them.
    pub(crate) first: Vec<Run>,
    /// Number of chosen runs that the action does not apply to.
    pub(crate) not_applicable: usize,
}

/// The result of an action on many runs.
#[derive(Debug, Default)]
pub(crate) struct BulkResult {
    pub(crate) done: usize,
    pub(crate) refused: Vec<(RunId, String)>,
    /// The run to continue before, if runs are left.
    pub(crate) next: Option<RunId>,
}

/// Page size of listings, number of concurrent actions, and number of runs in a preview.
const PAGE: usize = 500;
const CONCURRENT_ACTIONS: usize = 32;
const PREVIEWED: usize = 10;

impl BulkAction {
    /// The statuses that the action applies to. Filtering by them avoids reading a million other
    /// runs.
    pub(crate) const fn statuses(self) -> &'static [RunStatus] {
        match self {
            Self::Retry => &[RunStatus::Failed],
            // In the order of a run's life: a run that changes status in between is found twice
            // rather than not at all.
            Self::Cancel { .. } => &[RunStatus::Queued, RunStatus::Waiting, RunStatus::Running],
        }
    }

    /// Returns true if the action applies to the run.
    fn applies_to(self, run: &Run) -> bool {
        self.statuses().contains(&run.head.status)
            && (self == Self::Retry || run.head.cancel.is_none())
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Retry => "runs.retry",
            Self::Cancel { .. } => "runs.cancel",
        }
    }
}

impl Bulk {
    /// Counts the runs that the action would apply to, up to `max`.
    pub(crate) async fn preview(&self, app: &App, max: usize) -> Result<Preview, StoreError> {
        match &self.selection {
            Selection::Runs(ids) => self.chosen(app, ids, max).await,
            Selection::Matching { filter, .. } => self.matching(app, filter, max).await,
        }
    }

    async fn chosen(&self, app: &App, ids: &[RunId], max: usize) -> Result<Preview, StoreError> {
        let mut found = Preview {
            more: ids.len() > max,
            ..Preview::default()
        };
        for id in ids.iter().take(max) {
            match app
                .store()
                .run(*id)
                .await?
                .filter(|run| self.action.applies_to(run))
            {
                Some(run) => found.add(run),
                None => found.not_applicable += 1,
            }
        }
        Ok(found)
    }

    async fn matching(
        &self,
        app: &App,
        filter: &RunFilter,
        max: usize,
    ) -> Result<Preview, StoreError> {
        let mut found = Preview::default();
        for status in self.statuses(filter) {
            let mut pages = Pages::new(RunFilter {
                status: Some(status),
                before: None,
                ..filter.clone()
            });
            let mut first = Vec::new();
            // Every status is listed, so that the runs shown are the newest of all.
            while let Some(page) = pages.next(app).await? {
                let applicable: Vec<Run> = page
                    .into_iter()
                    .filter(|run| self.action.applies_to(run))
                    .collect();
                found.count += applicable.len();
                first.extend(applicable.into_iter().take(PREVIEWED - first.len()));
                if found.count > max {
                    break;
                }
            }
            found.first.extend(first);
        }
        found.first.sort_by_key(|run| std::cmp::Reverse(run.id));
        found.first.truncate(PREVIEWED);
        (found.more, found.count) = (found.count > max, found.count.min(max));
        Ok(found)
    }

    fn statuses(&self, filter: &RunFilter) -> impl Iterator<Item = RunStatus> {
        let only = filter.status;
        self.action
            .statuses()
            .iter()
            .copied()
            .filter(move |status| only.is_none_or(|only| only == *status))
    }

    /// Applies the action, starting with the newest run.
    pub(crate) async fn apply(&self, app: &App, actor: &Actor) -> Result<BulkResult, StoreError> {
        let runs = self.find(app).await?;
        let next = (runs.len() > self.limit).then(|| runs[self.limit - 1]);
        let selected = &runs[..runs.len().min(self.limit)];
        let mut entry = audit::begin(
            app.store(),
            actor,
            self.action.name(),
            "runs",
            self.detail(selected.len()),
        )
        .await?;
        let each = stream::iter(selected.to_vec())
            .map(|run| async move { (run, self.act(app, actor, run).await) });
        let outcomes: Vec<_> = each.buffer_unordered(CONCURRENT_ACTIONS).collect().await;
        let mut result = BulkResult {
            next,
            ..BulkResult::default()
        };
        for (run, outcome) in outcomes {
            match outcome {
                Ok(()) => result.done += 1,
                Err(error) => result.refused.push((run, error.to_string())),
            }
        }
        entry.detail["done"] = result.done.into();
        entry.outcome = audit::Outcome::Done;
        audit::finish(app.store(), &entry).await;
        Ok(result)
    }

    /// The ids of the runs to act on, newest first over all statuses, plus one more if there are
    /// more.
    async fn find(&self, app: &App) -> Result<Vec<RunId>, StoreError> {
        let mut found = Vec::new();
        match &self.selection {
            Selection::Runs(ids) => {
                for id in ids.iter().take(self.limit) {
                    let run = app
                        .store()
                        .run(*id)
                        .await?
                        .filter(|run| self.action.applies_to(run));
                    found.extend(run.map(|run| run.id));
                }
            }
            Selection::Matching { filter, before } => {
                for status in self.statuses(filter) {
                    let filter = RunFilter {
                        status: Some(status),
                        before: *before,
                        ..filter.clone()
                    };
                    found.extend(self.applicable(app, filter).await?);
                }
            }
        }
        found.sort_unstable_by(|a, b| b.cmp(a));
        // A run that changed status in between may be found twice.
        found.dedup();
        found.truncate(self.limit + 1);
        Ok(found)
    }

    /// The newest runs of one status that the action applies to, plus one more. They may be
    /// preceded by many runs that are being cancelled already.
    async fn applicable(&self, app: &App, filter: RunFilter) -> Result<Vec<RunId>, StoreError> {
        let mut pages = Pages::new(filter);
        let mut found = Vec::new();
        while found.len() <= self.limit
            && let Some(page) = pages.next(app).await?
        {
            found.extend(
                page.iter()
                    .filter(|run| self.action.applies_to(run))
                    .map(|run| run.id),
            );
        }
        Ok(found)
    }

    async fn act(&self, app: &App, actor: &Actor, run: RunId) -> Result<(), StoreError> {
        let by = &actor.name;
        if self.action != (BulkAction::Cancel { undo: false }) {
            expect_permitted(app, actor, run).await?;
        }
        match self.action {
            BulkAction::Retry => app.client().retry(run, None, by).await.map(drop),
            BulkAction::Cancel { undo } => {
                let mode = if undo {
                    CancelMode::Undo
                } else {
                    CancelMode::Stop
                };
                app.client().cancel(run, mode, by).await.map(drop)
            }
        }
    }

    fn detail(&self, count: usize) -> Value {
        let mut detail =
            json!({ "count": count, "undo": self.action == BulkAction::Cancel { undo: true } });
        if let Selection::Matching { filter, .. } = &self.selection {
            detail["statuses"] = self
                .statuses(filter)
                .map(|status| status.as_str())
                .collect();
            detail["workflow"] = json!(filter.workflow);
            detail["queue"] = json!(filter.queue);
            detail["text"] = json!(filter.text);
            detail["worker"] = json!(filter.worker.map(|worker| worker.to_string()));
            detail["failed_since"] = json!(filter.failed_since.map(|at| at.to_string()));
            detail["since"] = json!(filter.since.map(|at| at.to_string()));
            detail["until"] = json!(filter.until.map(|at| at.to_string()));
        }
        detail
    }
}

/// The runs that match a filter, page by page.
struct Pages {
    filter: RunFilter,
    ended: bool,
}

impl Pages {
    fn new(filter: RunFilter) -> Self {
        Self {
            filter: RunFilter {
                limit: PAGE,
                ..filter
            },
            ended: false,
        }
    }

    async fn next(&mut self, app: &App) -> Result<Option<Vec<Run>>, StoreError> {
        if self.ended {
            return Ok(None);
        }
        let page = app.store().runs(self.filter.clone()).await?;
        self.ended = page.len() < PAGE;
        self.filter.before = page.last().map(|run| run.id);
        Ok(Some(page))
    }
}

impl Preview {
    fn add(&mut self, run: Run) {
        self.count += 1;
        if self.first.len() < PREVIEWED {
            self.first.push(run);
        }
    }
}
