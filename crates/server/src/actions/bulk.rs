//! The same action on many runs: on chosen ones, or on all that a filter finds.

use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use surefoot::state::CancelMode;
use surefoot::store::RunFilter;
use surefoot::{Run, RunId, RunStatus, StoreError};

use super::runs::expect_permitted;
use crate::audit;
use crate::auth::Actor;
use crate::state::App;

/// What to do to each run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BulkAction {
    Retry,
    Cancel { undo: bool },
}

/// To which runs.
#[derive(Clone, Debug)]
pub(crate) enum Which {
    These(Vec<RunId>),
    /// All that the filter finds, submitted before a run if one is given. A status of the filter narrows those that the
    /// action is for.
    Matching {
        filter: RunFilter,
        before: Option<RunId>,
    },
}

/// An action on many runs.
#[derive(Clone, Debug)]
pub(crate) struct Bulk {
    pub(crate) action: BulkAction,
    pub(crate) which: Which,
    /// Runs at most.
    pub(crate) limit: usize,
}

/// The runs that would be met.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) count: usize,
    /// There are more than were counted.
    pub(crate) more: bool,
    /// The first of them.
    pub(crate) first: Vec<Run>,
    /// Chosen ones that the action is not for.
    pub(crate) others: usize,
}

/// What became of them.
#[derive(Debug, Default)]
pub(crate) struct BulkResult {
    pub(crate) done: usize,
    pub(crate) refused: Vec<(RunId, String)>,
    /// Where to go on.
    pub(crate) next: Option<RunId>,
}

/// Runs read at a time, acted on at a time, and shown before.
const PAGE: usize = 500;
const AT_A_TIME: usize = 32;
const FIRST: usize = 10;

impl BulkAction {
    /// The statuses of the runs that it is for, so that a million others are not looked at.
    pub(crate) const fn statuses(self) -> &'static [RunStatus] {
        match self {
            Self::Retry => &[RunStatus::Failed],
            // In the order in which runs move on: one that moves meanwhile is seen twice rather than not at all.
            Self::Cancel { .. } => &[RunStatus::Queued, RunStatus::Waiting, RunStatus::Running],
        }
    }

    /// Whether it makes sense for a run.
    fn fits(self, run: &Run) -> bool {
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
    /// Counts the runs that the action would meet, up to `most`.
    pub(crate) async fn preview(&self, app: &App, most: usize) -> Result<Found, StoreError> {
        match &self.which {
            Which::These(ids) => self.chosen(app, ids, most).await,
            Which::Matching { filter, .. } => self.matching(app, filter, most).await,
        }
    }

    async fn chosen(&self, app: &App, ids: &[RunId], most: usize) -> Result<Found, StoreError> {
        let mut found = Found {
            more: ids.len() > most,
            ..Found::default()
        };
        for id in ids.iter().take(most) {
            match app
                .store()
                .run(*id)
                .await?
                .filter(|run| self.action.fits(run))
            {
                Some(run) => found.add(run),
                None => found.others += 1,
            }
        }
        Ok(found)
    }

    async fn matching(
        &self,
        app: &App,
        wanted: &RunFilter,
        most: usize,
    ) -> Result<Found, StoreError> {
        let mut found = Found::default();
        for status in self.statuses(wanted) {
            let mut pages = Pages::new(RunFilter {
                status: Some(status),
                before: None,
                ..wanted.clone()
            });
            let mut first = Vec::new();
            // Each status is looked at once, so that those shown are the newest of all.
            while let Some(page) = pages.next(app).await? {
                let fitting: Vec<Run> = page
                    .into_iter()
                    .filter(|run| self.action.fits(run))
                    .collect();
                found.count += fitting.len();
                first.extend(fitting.into_iter().take(FIRST - first.len()));
                if found.count > most {
                    break;
                }
            }
            found.first.extend(first);
        }
        found.first.sort_by_key(|run| std::cmp::Reverse(run.id));
        found.first.truncate(FIRST);
        (found.more, found.count) = (found.count > most, found.count.min(most));
        Ok(found)
    }

    fn statuses(&self, wanted: &RunFilter) -> impl Iterator<Item = RunStatus> {
        let only = wanted.status;
        self.action
            .statuses()
            .iter()
            .copied()
            .filter(move |status| only.is_none_or(|only| only == *status))
    }

    /// Does it, the newest run first.
    pub(crate) async fn apply(&self, app: &App, actor: &Actor) -> Result<BulkResult, StoreError> {
        let runs = self.find(app).await?;
        let next = (runs.len() > self.limit).then(|| runs[self.limit - 1]);
        let met = &runs[..runs.len().min(self.limit)];
        let mut entry = audit::begin(
            app.store(),
            actor,
            self.action.name(),
            "runs",
            self.detail(met.len()),
        )
        .await?;
        let each = stream::iter(met.to_vec())
            .map(|run| async move { (run, self.act(app, actor, run).await) });
        let outcomes: Vec<_> = each.buffer_unordered(AT_A_TIME).collect().await;
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

    /// The runs to meet, and one more when there are more, the newest first over all statuses.
    async fn find(&self, app: &App) -> Result<Vec<RunId>, StoreError> {
        let mut found = Vec::new();
        match &self.which {
            Which::These(ids) => {
                for id in ids.iter().take(self.limit) {
                    let run = app
                        .store()
                        .run(*id)
                        .await?
                        .filter(|run| self.action.fits(run));
                    found.extend(run.map(|run| run.id));
                }
            }
            Which::Matching {
                filter: wanted,
                before,
            } => {
                for status in self.statuses(wanted) {
                    let filter = RunFilter {
                        status: Some(status),
                        before: *before,
                        ..wanted.clone()
                    };
                    found.extend(self.fitting(app, filter).await?);
                }
            }
        }
        found.sort_unstable_by(|a, b| b.cmp(a));
        // A run that moves meanwhile may be found twice.
        found.dedup();
        found.truncate(self.limit + 1);
        Ok(found)
    }

    /// The newest runs of a status to meet, and one more. There may be many before them that are being cancelled already.
    async fn fitting(&self, app: &App, filter: RunFilter) -> Result<Vec<RunId>, StoreError> {
        let (mut pages, mut found) = (Pages::new(filter), Vec::new());
        while found.len() <= self.limit
            && let Some(page) = pages.next(app).await?
        {
            found.extend(
                page.iter()
                    .filter(|run| self.action.fits(run))
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
        if let Which::Matching { filter, .. } = &self.which {
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

/// The runs that a filter finds, page by page.
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

impl Found {
    fn add(&mut self, run: Run) {
        self.count += 1;
        if self.first.len() < FIRST {
            self.first.push(run);
        }
    }
}
