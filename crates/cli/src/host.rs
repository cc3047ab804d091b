//! The worker for a command: this process if no other worker uses the store, otherwise that worker
//! until it is gone.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use surefoot::files;
use surefoot::store::RunFilter;
use surefoot::{
    AllowLists, Client, Handlers, ReservedSlots, Run, RunId, RunStatus, Store, StoreError, Worker,
    WorkerHandle, WorkerOptions,
};
use surefoot_doctor::remote_file_system;
use surefoot_telemetry::Telemetry;

use crate::app::App;
use crate::errors::{Exit, Failure};
use crate::forge::Standing;
use crate::out;
use crate::place::{Place, without_secret};
use crate::queues;
use crate::shipped;
use crate::signals::Signals;
use crate::{capacity, watchdog, workspaces};

/// A process that works when it can.
#[derive(Debug)]
pub(crate) struct Host {
    app: App,
    store: Arc<dyn Store>,
    handlers: Handlers,
    reserved: ReservedSlots,
    allow: AllowLists,
    worker: Option<WorkerHandle>,
    telemetry: Option<Telemetry>,
}

impl Host {
    pub(crate) fn new(app: &App, store: Arc<dyn Store>) -> Self {
        let handlers = shipped::handlers(&app.settings);
        Self {
            handlers,
            reserved: ReservedSlots::default(),
            allow: app.settings.allow.clone(),
            app: app.clone(),
            store,
            worker: None,
            telemetry: None,
        }
    }

    /// Adds the program's own workflow `own` with these actions, whatever the worker
    /// permits of others, with reserved slots for it.
    pub(crate) fn knowing(mut self, own: &str, more: Handlers, reserved: ReservedSlots) -> Self {
        self.allow.workflows.permit([own]);
        self.allow.actions.permit(more.actions());
        self.handlers = self.handlers.merge(more);
        self.reserved = reserved;
        self
    }

    /// A client of the worker of this process, if it is one: what is submitted by it starts at
    /// once.
    pub(crate) fn client(&self) -> Option<Client> {
        self.worker.as_ref().map(WorkerHandle::client)
    }

    /// Waits for a signal, and says meanwhile when the store cannot be written.
    pub(crate) async fn until_told(&self, signals: &mut Signals) {
        let mut trouble = None;
        loop {
            tokio::select! {
                _ = signals.next() => return,
                now = self.trouble(&mut trouble) => match now {
                    Some(reason) => out::say(&format!("the store cannot be written: {reason}; waiting for it")),
                    None => out::say("the store is available again"),
                },
            }
        }
    }

    /// Returns true if this process is the worker.
    pub(crate) fn works(&self) -> bool {
        self.worker.is_some()
    }

    /// Tries to become the worker that carries on a run. Gives `false` while another process is.
    pub(crate) async fn work(&mut self, run: RunId) -> Result<bool, Failure> {
        if self.works() {
            return Ok(true);
        }
        if self.app.is_shared() {
            self.bury().await;
            if self.others_work(run).await? {
                return Ok(false);
            }
        }
        self.join().await
    }

    /// Returns whether a worker lives elsewhere to which this process leaves the run. One that
    /// lacks what the run requires will never take it: then this host does, if it has that.
    async fn others_work(&self, run: RunId) -> Result<bool, Failure> {
        let now = self.store.now();
        let alive = self
            .store
            .workers()
            .await?
            .into_iter()
            .filter(|worker| worker.expires_at > now)
            .collect::<Vec<_>>();
        let requires = self
            .store
            .run(run)
            .await?
            .map(|run| run.requires)
            .unwrap_or_default();
        if alive.is_empty()
            || alive
                .iter()
                .any(|worker| requires.is_subset(&worker.resources))
        {
            return Ok(!alive.is_empty());
        }
        let mut ours = Standing::look(self.store.as_ref(), &self.app.settings)
            .await?
            .resources();
        ours.extend(self.app.keys()?.resources());
        Ok(!requires.is_subset(&ours))
    }

    /// Becomes a worker, beside others where the store allows it; gives `false` where it does not
    /// and another is.
    pub(crate) async fn join(&mut self) -> Result<bool, Failure> {
        if self.telemetry.is_none() {
            self.telemetry = self.app.telemetry()?;
        }
        let observer = self.telemetry.as_ref().map(Telemetry::observer);
        let forge = Standing::establish(self.store.as_ref(), &self.app.settings).await?;
        let resources = Arc::new(forge.resources());
        let options = WorkerOptions {
            observer,
            resources,
            reserved: self.reserved.clone(),
            allow: self.allow.clone(),
            ..self.app.worker_options()?
        };
        let temporary = self.app.workspaces().join("tmp");
        let left_behind = files::blocking(move || workspaces::entries(&temporary))
            .await
            .unwrap_or_default();
        match Worker::start(self.store.clone(), self.handlers.clone(), options).await {
            Ok(worker) => {
                self.worker = Some(worker);
                self.report_shortage();
                self.report_remote_store().await;
            }
            Err(StoreError::InUse(_)) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        if let Some((warning, advice)) = forge.warning(&self.app.settings) {
            out::say(&format!("warning: {warning}; {advice}"));
        }
        if self.app.is_shared() {
            self.bury().await;
        } else {
            // This is the one worker of the store: what was there before it came was left by one
            // that was killed.
            let _next_time = files::blocking(move || {
                left_behind
                    .iter()
                    .try_for_each(|left| workspaces::remove(left))
            })
            .await;
        }
        queues::configure(self.store.as_ref(), &self.app.settings).await?;
        Ok(true)
    }

    /// Reports that limits of this process allow fewer runs at once than it is to hold.
    fn report_shortage(&self) {
        let wanted = self
            .app
            .settings
            .concurrency
            .unwrap_or(WorkerOptions::default().concurrency);
        if let Some(shortage) = capacity::shortage(wanted) {
            out::say(&format!("this worker holds {shortage}"));
        }
    }

    /// Warns if the store's file is on a file system where another machine may not see this
    /// worker's lock.
    async fn report_remote_store(&self) {
        let Place::File(path) = &self.app.settings.store else {
            return;
        };
        let path = path.clone();
        let look = move || remote_file_system(&path, "the store");
        let Ok(Some(finding)) = files::blocking(look).await else {
            return;
        };
        let advice = finding.advice.unwrap_or_default();
        out::say(&format!(
            "warning: the store is on {}; its lock may not hold on other machines; {advice}",
            finding.found
        ));
    }

    /// Reclaims the runs of dead workers on this host at once, without waiting for their leases.
    async fn bury(&self) {
        for worker in workspaces::dead(&self.app.workspaces()) {
            if let Err(error) = self.store.reclaim_worker(worker).await {
                tracing::warn!(%error, %worker, "cannot end the lease of a dead worker: it runs out by itself");
            }
        }
    }

    /// The unfinished runs besides `own` that a worker carries on: what a line of text can hold of
    /// them. To be asked before it begins, for what is short would have ended meanwhile.
    pub(crate) async fn others(&self, own: Option<RunId>) -> Result<Vec<Run>, Failure> {
        let mut others: BTreeMap<RunId, Run> = BTreeMap::new();
        // In the order in which runs move on, so that one that moves meanwhile is seen twice rather
        // than not at all.
        for status in [RunStatus::Queued, RunStatus::Waiting, RunStatus::Running] {
            let filter = RunFilter {
                status: Some(status),
                limit: MANY,
                ..RunFilter::default()
            };
            others.extend(
                self.store
                    .runs(filter)
                    .await?
                    .into_iter()
                    .map(|run| (run.id, run)),
            );
        }
        Ok(others
            .into_values()
            .filter(|run| Some(run.id) != own)
            .collect())
    }

    /// Stops the worker: running steps get the grace period. A second signal cuts it short, and a
    /// third ends all waiting.
    pub(crate) async fn stop(&mut self, signals: &mut Signals) {
        let Some(worker) = self.worker.take() else {
            return;
        };
        watchdog::end_within(self.app.grace() + STOP_AT_MOST);
        let abort = worker.abort();
        let mut stopping = pin!(worker.stop());
        let asked_again = tokio::select! {
            unwritten = &mut stopping => {
                say_unwritten(unwritten);
                false
            }
            _ = signals.next() => true,
        };
        if asked_again {
            abort();
            tokio::select! {
                unwritten = stopping => say_unwritten(unwritten),
                _ = signals.next() => {}
            }
            return;
        }
        if let Some(telemetry) = self.telemetry.take() {
            tokio::select! {
                () = telemetry.stop() => {}
                _ = signals.next() => {}
            }
        }
    }

    /// Number of runs active on this worker.
    pub(crate) fn running(&self) -> usize {
        self.worker.as_ref().map_or(0, WorkerHandle::running)
    }

    /// Time for which steps may continue after a stop.
    pub(crate) fn grace(&self) -> String {
        surefoot::format_duration(self.app.grace())
    }

    /// Waits until the store can no longer be written, or can be again; for ever when this process
    /// is not the worker.
    pub(crate) async fn trouble(&self, known: &mut Option<String>) -> Option<String> {
        let Some(worker) = &self.worker else {
            return std::future::pending().await;
        };
        let mut trouble = worker.trouble();
        match trouble.wait_for(|now| now != known).await {
            Ok(now) => known.clone_from(&now),
            Err(_) => return std::future::pending().await,
        }
        known.clone()
    }
}

/// The time that a stopping process takes beyond the grace period at most: handlers end, results
/// are written, requests answered and traces sent. `docs/operations.md` names it.
const STOP_AT_MOST: Duration = Duration::from_secs(18);

/// Reports the runs whose last results the store did not take.
fn say_unwritten(runs: usize) {
    if runs > 0 {
        let s = if runs == 1 { "" } else { "s" };
        out::say(&format!(
            "the store did not take the results of {runs} run{s} in time: their steps run again, with the same idempotency key"
        ));
    }
}

/// More runs than a person wants to read of in one line; beyond, the number is said to be at least
/// this.
const MANY: usize = 100;

/// `3 other runs: shop, blog, 0198...`.
pub(crate) fn named(runs: &[Run]) -> String {
    let name = |run: &Run| run.key.clone().unwrap_or_else(|| run.id.to_string());
    let some = runs.iter().take(3).map(name).collect::<Vec<_>>().join(", ");
    let more = if runs.len() > 3 { ", ..." } else { "" };
    let (least, s) = (
        if runs.len() >= MANY { "at least " } else { "" },
        if runs.len() == 1 { "" } else { "s" },
    );
    format!("{least}{} unfinished run{s}: {some}{more}", runs.len())
}

/// The command that was given, to be given again.
pub(crate) fn same_command() -> String {
    let words = std::env::args()
        .skip(1)
        .map(|word| quote(&without_secret(&word)));
    std::iter::once("surefoot".to_owned())
        .chain(words)
        .collect::<Vec<_>>()
        .join(" ")
}

fn quote(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:=+,@%".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// End of a followed run for this process.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It has ended.
    Ended(Box<Run>),
    /// This process was told to stop first.
    Stopped(Exit),
}
