//! The scene of one fault: a folder, a store, projects submitted to it, and the workers that are at
//! work on them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use surefoot::store::RunFilter;
use surefoot::{
    Client, Clock as _, Event, Run, RunId, RunStatus, Store, Submit, SystemClock, Timestamp,
    WorkerId,
};
use surefoot_initializer::process::Group;
use surefoot_scratch_postgres::SteppableClock;
use tokio::process::Command;
use tokio::runtime::Handle;

use super::count::Late;
use super::evidence;
use super::ground::Ground;
use super::ledger::{Ledger, Line, What};
use super::moves::{self, Break};
use super::sabotage::{self, Sabotage};
use super::workers::{self, Worker};
use crate::app::App;
use crate::args::Global;
use crate::config::Settings;
use crate::errors::{Failure, unusable};
use crate::place::{Address, Place};
use crate::{queues, shipped};

/// Between two looks at something that is awaited.
const LOOK: Duration = Duration::from_millis(5);

/// The longest wait for something that must happen soon.
pub(super) const SOON: Duration = Duration::from_secs(60);

/// Time within which every project must move again once the process or the database is back on its
/// host: no lease has to expire.
pub(super) const ON_THE_SAME_HOST: Duration = Duration::from_secs(1);

/// A project whose submission was acknowledged.
#[derive(Clone, Debug)]
pub(super) struct Submitted {
    pub(super) name: String,
    pub(super) run: RunId,
    /// True for a run of the shipped workflow.
    pub(super) initializes: bool,
}

/// Everything of one fault. What it started ends with it.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) folder: PathBuf,
    pub(super) ground: Arc<Ground>,
    /// As `--store` takes it.
    pub(super) address: Address,
    pub(super) store: Arc<dyn Store>,
    pub(super) ledger: Ledger,
    pub(super) projects: Vec<Submitted>,
    /// Microseconds that the store's clock is ahead of ours.
    pub(super) skew: i64,
    /// Environment variables of the first worker alone.
    pub(super) first_worker: Vec<(&'static str, OsString)>,
    began: Timestamp,
    /// Microseconds by which clocks were set meanwhile.
    stepped: i64,
    settings: Settings,
    group: Group,
    spawned: usize,
    /// Hosts beside the one whose data directory is the scene's own.
    hosts: usize,
}

/// Result of injecting a fault, before the ends of the projects are known.
#[derive(Debug, Default)]
pub(super) struct Injected {
    /// The workers that go on.
    pub(super) crew: Vec<Worker>,
    pub(super) breaks: Vec<Break>,
    /// Time within which every project must move again, if shorter than the scenario's own limit.
    pub(super) limit: Option<Duration>,
    /// Projects that are to fail.
    pub(super) doomed: Vec<String>,
    /// A worker that reports errors after its lease was over.
    pub(super) late: Option<Late>,
    /// The clock that the first worker reads.
    pub(super) _clock: Option<SteppableClock>,
    pub(super) notes: Vec<String>,
    /// Broken promises.
    pub(super) wrong: Vec<String>,
}

impl Scene {
    /// An empty scene in a folder, on a store of its own; SQLite's file is in `disk`.
    pub(super) async fn new(
        folder: &Path,
        ground: &Arc<Ground>,
        disk: &Path,
    ) -> Result<Self, Failure> {
        std::fs::create_dir_all(folder)
            .map_err(|error| unusable("make the folder", folder, &error))?;
        let address = ground.address(disk)?;
        if let Some(config) = ground.config(&name_of(folder)) {
            let data = folder.join("data");
            let written = std::fs::create_dir_all(&data)
                .and_then(|()| std::fs::write(data.join("surefoot.toml"), config));
            written.map_err(|error| unusable("write into", &data, &error))?;
        }
        let global = Global {
            store: Some(address.clone()),
            data_dir: Some(folder.join("data")),
            config: None,
            json: false,
            verbose: 0,
        };
        let settings = Settings::load(&global)?;
        let store = App {
            settings: settings.clone(),
            json: false,
            steps: Handle::current(),
            diagnostics: false,
        }
        .store()
        .await?;
        queues::configure(store.as_ref(), &settings).await?;
        let group = Group::start()
            .map_err(|error| Failure::usage(format!("cannot start a process: {error}")))?;
        Ok(Self {
            folder: folder.to_owned(),
            ground: ground.clone(),
            address,
            skew: store.now().as_micros() - SystemClock.now().as_micros(),
            first_worker: Vec::new(),
            began: store.now(),
            stepped: 0,
            store,
            ledger: Ledger::of(folder),
            projects: Vec::new(),
            settings,
            group,
            spawned: 0,
            hosts: 0,
        })
    }

    pub(super) fn repositories(&self) -> PathBuf {
        self.folder.join("data/repositories")
    }

    /// The store's time, without the steps of its clock.
    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_micros(SystemClock.now().as_micros() + self.skew)
    }

    /// Notes that clocks are set by so much from now on.
    pub(super) fn note_step(&mut self, by: i64) {
        self.stepped = by;
    }

    /// Returns whether a time was written after the step. The scene is much shorter than the step
    /// is long.
    pub(super) fn is_stepped(&self, at: Timestamp) -> bool {
        let off = at.as_micros() - self.began.as_micros();
        (off - self.stepped).abs() < off.abs()
    }

    /// A time without the step of the clock that wrote it.
    pub(super) fn unstepped(&self, at: Timestamp) -> Timestamp {
        if self.is_stepped(at) {
            Timestamp::from_micros(at.as_micros() - self.stepped)
        } else {
            at
        }
    }

    /// Submits that many projects.
    pub(super) async fn submit(&mut self, projects: u32) -> Result<(), Failure> {
        let client = Client::new(self.store.clone());
        for number in 1..=projects {
            let name = format!("project-{number:03}");
            let submit = Submit::new(shipped::workflow())
                .parameters(json!({ "name": name }))
                .key(&name);
            let run = client.submit(submit).await?.run.id;
            self.projects.push(Submitted {
                name,
                run,
                initializes: true,
            });
        }
        Ok(())
    }

    /// This same executable, with nothing of this process's settings.
    pub(super) fn command(&self, args: &[&str]) -> Result<Command, Failure> {
        let mut command = workers::executable()?;
        command
            .args(args)
            .env("SUREFOOT_STORE", self.address.expose())
            .env("SUREFOOT_DATA_DIR", self.folder.join("data"));
        command.process_group(self.group.id()).kill_on_drop(true);
        Ok(command)
    }

    /// Starts a worker: on the one host of an embedded store, on a host of its own otherwise.
    pub(super) fn worker(&mut self) -> Result<Worker, Failure> {
        self.hosts += usize::from(!self.is_embedded());
        self.worker_on(self.hosts)
    }

    /// Starts a worker on a host that had one before.
    pub(super) fn worker_on(&mut self, host: usize) -> Result<Worker, Failure> {
        let repositories = self.repositories().display().to_string();
        self.start(host, &format!("[forge]\nrepositories = {repositories:?}\n"))
    }

    /// Starts a worker on a host of its own that does not share the folder of repositories.
    pub(super) fn worker_without_forge(&mut self) -> Result<Worker, Failure> {
        self.hosts += 1;
        self.start(self.hosts, "")
    }

    /// Each host has a data directory: the scene's own, or one beside it.
    fn start(&mut self, host: usize, config: &str) -> Result<Worker, Failure> {
        self.spawned += 1;
        let said = self.folder.join(format!("worker-{}.log", self.spawned));
        let mut command = self.command(&["worker"])?;
        if host > 0 {
            let data = self.folder.join(format!("host-{host}"));
            let config = format!(
                "{config}{}",
                self.ground
                    .config(&name_of(&self.folder))
                    .unwrap_or_default()
            );
            let written = std::fs::create_dir_all(&data)
                .and_then(|()| std::fs::write(data.join("surefoot.toml"), config));
            written.map_err(|error| unusable("write into", &data, &error))?;
            command.env("SUREFOOT_DATA_DIR", data);
        }
        if self.spawned == 1 {
            command.envs(self.first_worker.iter().map(|(name, value)| (name, value)));
        }
        Worker::start(command, host, &self.folder, said)
    }

    /// Submits another project with `surefoot submit`. Returns its result and duration.
    pub(super) async fn submit_late(&self, name: &str) -> Result<(Output, Duration), Failure> {
        let parameter = format!("name={name}");
        let mut command =
            self.command(&["submit", shipped::WORKFLOW, "-p", &parameter, "--key", name])?;
        let began = Instant::now();
        let output = tokio::time::timeout(SOON, command.output()).await;
        let output =
            output.map_err(|_| Failure::store(format!("`surefoot submit` hung for {SOON:?}")))?;
        Ok((
            output.map_err(|error| Failure::usage(format!("cannot submit: {error}")))?,
            began.elapsed(),
        ))
    }

    /// Returns true if the store permits one worker at a time.
    pub(super) fn is_embedded(&self) -> bool {
        self.ground.is_embedded()
    }

    /// Time within which every project must move again.
    pub(super) fn limit(&self) -> Duration {
        if self.is_embedded() {
            ON_THE_SAME_HOST
        } else {
            Duration::from_secs(6)
        }
    }

    /// As many workers as there are while nothing is wrong, at work for some seconds.
    pub(super) async fn crew(&mut self) -> Result<Vec<Worker>, Failure> {
        let count = if self.is_embedded() { 1 } else { 2 };
        let crew = (0..count)
            .map(|_| self.worker())
            .collect::<Result<Vec<_>, _>>()?;
        let enough = self.projects.len().max(8);
        self.until("the projects to be under way", SOON, async || {
            let begun = self
                .lines()?
                .iter()
                .filter(|line| line.what == What::Begin)
                .count();
            Ok((begun >= enough && !self.running().await.is_empty()).then_some(()))
        })
        .await?;
        Ok(crew)
    }

    /// The worker of a crew that holds the most runs.
    pub(super) async fn busiest(&self, crew: &mut Vec<Worker>) -> Result<Worker, Failure> {
        let mut most = (0, 0);
        for (index, worker) in crew.iter().enumerate() {
            most = most.max((self.held(worker.id()).await.len(), index));
        }
        if crew.is_empty() {
            Err(Failure::usage("no worker is left"))
        } else {
            Ok(crew.remove(most.1))
        }
    }

    /// The runs that a worker process holds, or held when it went; on an embedded store, every one
    /// that is held.
    pub(super) async fn held(&self, pid: u32) -> Vec<RunId> {
        let runs = self.running().await;
        if self.is_embedded() {
            return runs.iter().map(|run| run.id).collect();
        }
        let its = self.named(pid).await;
        let held = runs
            .iter()
            .filter(|run| run.head.worker.is_some_and(|worker| its.contains(&worker)));
        held.map(|run| run.id).collect()
    }

    /// Returns true if the store knows a worker process.
    pub(super) async fn knows(&self, pid: u32) -> bool {
        !self.named(pid).await.is_empty()
    }

    /// The workers that have a process's name.
    async fn named(&self, pid: u32) -> Vec<WorkerId> {
        let (workers, name) = (
            self.store.workers().await.unwrap_or_default(),
            format!(" {pid}"),
        );
        workers
            .iter()
            .filter(|info| info.name.ends_with(&name))
            .map(|info| info.id)
            .collect()
    }

    /// After a worker has gone: another in its place, and the break that this was.
    pub(super) fn replace(
        &mut self,
        crew: &mut Vec<Worker>,
        gone: Timestamp,
        running: Vec<RunId>,
    ) -> Result<Break, Failure> {
        let back = if self.is_embedded() { self.now() } else { gone };
        crew.push(self.worker()?);
        Ok(Break { back, running })
    }

    /// From now on these things go wrong, and no others.
    pub(super) fn sabotage(&self, plan: &[Sabotage]) -> Result<(), Failure> {
        sabotage::plan(&self.folder, plan)
            .map_err(|error| unusable("write into", &self.folder, &error))
    }

    /// Lets attempts go on that were to wait.
    pub(super) fn release(&self) -> Result<(), Failure> {
        sabotage::release(&self.folder)
            .map_err(|error| unusable("write into", &self.folder, &error))
    }

    pub(super) fn lines(&self) -> Result<Vec<Line>, Failure> {
        self.ledger
            .whole_lines()
            .map_err(|error| Failure::store(format!("cannot read the ledger: {error}")))
    }

    /// The whole history of a run, its times without the steps of clocks.
    pub(super) async fn history(&self, run: RunId) -> Result<Vec<Event>, Failure> {
        let mut events = evidence::history(self.store.as_ref(), run).await?;
        for event in &mut events {
            event.at = self.unstepped(event.at);
        }
        Ok(events)
    }

    /// Waits until `look` finds it.
    pub(super) async fn until<T>(
        &self,
        what: &str,
        patience: Duration,
        mut look: impl AsyncFnMut() -> Result<Option<T>, Failure>,
    ) -> Result<T, Failure> {
        let began = Instant::now();
        loop {
            if let Some(found) = look().await? {
                return Ok(found);
            }
            if began.elapsed() > patience {
                return Err(Failure::store(format!(
                    "waited {patience:?} in vain for {what}"
                )));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits for a line of the ledger after the first `seen`.
    pub(super) async fn until_line(
        &self,
        what: &str,
        seen: usize,
        is_it: impl Fn(&Line) -> bool,
    ) -> Result<Line, Failure> {
        self.until(what, SOON, async || {
            Ok(self.lines()?.into_iter().skip(seen).find(&is_it))
        })
        .await
    }

    /// Waits until every run that a break stopped has moved again.
    pub(super) async fn until_moved(&self, stopped: &Break) -> Result<(), Failure> {
        self.until("another worker to take over", SOON, async || {
            let mut histories = BTreeMap::new();
            for run in &stopped.running {
                histories.insert(*run, self.history(*run).await?);
            }
            let moved = moves::longest(std::slice::from_ref(stopped), &histories).is_some();
            Ok((moved || stopped.running.is_empty()).then_some(()))
        })
        .await
    }

    /// The runs that workers hold now. A store that is away tells nothing.
    pub(super) async fn running(&self) -> Vec<Run> {
        let filter = RunFilter {
            status: Some(RunStatus::Running),
            limit: 1000,
            ..RunFilter::default()
        };
        self.store.runs(filter).await.unwrap_or_default()
    }

    /// Waits until every project has ended, or nothing has happened for so long that nothing will.
    pub(super) async fn settle(&self, patience: Duration) {
        let mut last = (Instant::now(), String::new());
        loop {
            let filter = RunFilter {
                limit: 1000,
                ..RunFilter::default()
            };
            if let Ok(runs) = self.store.runs(filter).await {
                if runs.iter().all(|run| run.head.status.is_ended()) {
                    return;
                }
                let picture = format!(
                    "{:?}",
                    runs.iter()
                        .map(|run| (&run.head.status, &run.steps))
                        .collect::<Vec<_>>()
                );
                if picture != last.1 {
                    last = (Instant::now(), picture);
                }
            }
            if last.0.elapsed() > patience {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Kills its remaining processes and removes its schema from a given database. Its folder
    /// stays.
    pub(super) async fn end(mut self) -> Result<(), Failure> {
        self.group.end().await;
        match (self.ground.as_ref(), &self.settings.store) {
            (Ground::Theirs(_), Place::Database(options)) => {
                Ok(options.clone().drop_schema().await?)
            }
            _ => Ok(()),
        }
    }
}

/// The fault's own.
fn name_of(folder: &Path) -> String {
    folder
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
