//! The same action on many runs that a filter finds.

use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use surefoot::state::CancelMode;
use surefoot::store::RunFilter;
use surefoot::{RunId, RunStatus, StoreError};

use crate::audit;
use crate::auth::Actor;
use crate::state::App;

/// What to do to each run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BulkAction {
    Retry,
    Cancel { undo: bool },
}

/// An action on many runs.
#[derive(Clone, Debug)]
pub(crate) struct Bulk {
    pub(crate) action: BulkAction,
    /// Runs of these statuses.
    pub(crate) statuses: Vec<RunStatus>,
    /// And what else must hold.
    pub(crate) filter: RunFilter,
    /// Only runs submitted before this one.
    pub(crate) before: Option<RunId>,
    /// Runs at most.
    pub(crate) limit: usize,
}

/// The runs that would be met.
#[derive(Debug, Default)]
pub(crate) struct Chosen {
    pub(crate) count: usize,
    /// There are more than were counted.
    pub(crate) more: bool,
    pub(crate) sample: Vec<RunId>,
}

/// What became of them.
#[derive(Debug, Default)]
pub(crate) struct BulkResult {
    pub(crate) done: usize,
    pub(crate) refused: Vec<(RunId, String)>,
    /// Where to go on.
    pub(crate) next: Option<RunId>,
}

/// Runs counted at most, read at a time, and acted on at a time.
const COUNTED: usize = 10_000;
const PAGE: usize = 500;
const AT_A_TIME: usize = 32;
const SAMPLE: usize = 10;

impl Bulk {
    /// Counts the runs that the action would meet.
    pub(crate) async fn preview(&self, app: &App) -> Result<Chosen, StoreError> {
        let mut chosen = Chosen::default();
        for status in &self.statuses {
            let mut filter = RunFilter { status: Some(*status), limit: PAGE, ..self.filter.clone() };
            loop {
                let page = app.store().runs(filter.clone()).await?;
                filter.before = page.last().map(|run| run.id);
                chosen.count += page.len();
                chosen.sample.extend(page.iter().map(|run| run.id).take(SAMPLE - chosen.sample.len().min(SAMPLE)));
                if chosen.count >= COUNTED {
                    chosen.more = true;
                    return Ok(chosen);
                }
                if page.len() < PAGE {
                    break;
                }
            }
        }
        Ok(chosen)
    }

    /// Does it, the newest run first.
    pub(crate) async fn apply(&self, app: &App, actor: &Actor) -> Result<BulkResult, StoreError> {
        let runs = self.find(app).await?;
        let next = (runs.len() > self.limit).then(|| runs[self.limit - 1]);
        let met = &runs[..runs.len().min(self.limit)];
        let mut entry = audit::begin(app.store(), actor, self.name(), "runs", self.detail(met.len())).await?;
        let each = stream::iter(met.to_vec()).map(|run| async move { (run, self.act(app, actor, run).await) });
        let outcomes: Vec<_> = each.buffer_unordered(AT_A_TIME).collect().await;
        let mut result = BulkResult { next, ..BulkResult::default() };
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
        for status in &self.statuses {
            let (status, before, limit) = (Some(*status), self.before, self.limit + 1);
            let filter = RunFilter { status, before, limit, ..self.filter.clone() };
            found.extend(app.store().runs(filter).await?.into_iter().map(|run| run.id));
        }
        found.sort_unstable_by(|a, b| b.cmp(a));
        // A run that moves meanwhile may be found twice.
        found.dedup();
        found.truncate(self.limit + 1);
        Ok(found)
    }

    async fn act(&self, app: &App, actor: &Actor, run: RunId) -> Result<(), StoreError> {
        let by = &actor.name;
        match self.action {
            BulkAction::Retry => app.client().retry(run, None, by).await.map(drop),
            BulkAction::Cancel { undo } => {
                let mode = if undo { CancelMode::Undo } else { CancelMode::Stop };
                app.client().cancel(run, mode, by).await.map(drop)
            }
        }
    }

    const fn name(&self) -> &'static str {
        match self.action {
            BulkAction::Retry => "runs.retry",
            BulkAction::Cancel { .. } => "runs.cancel",
        }
    }

    fn detail(&self, count: usize) -> Value {
        let filter = &self.filter;
        json!({
            "count": count,
            "undo": self.action == BulkAction::Cancel { undo: true },
            "statuses": self.statuses.iter().map(|status| status.as_str()).collect::<Vec<_>>(),
            "workflow": filter.workflow,
            "queue": filter.queue,
            "text": filter.text,
            "since": filter.since.map(|at| at.to_string()),
            "until": filter.until.map(|at| at.to_string()),
        })
    }
}
