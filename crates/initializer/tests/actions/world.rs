//! A worker on a store in memory, and helpers that run a workflow on it and read the result.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use surefoot::{
    AddressPolicy, Client, CredentialError, CredentialSource, Event, Handlers, Run, Secret, Store,
    Submit, SystemClock, Worker, WorkerHandle, WorkerOptions, Workflow,
};
use surefoot_initializer::actions::handlers_within;
use surefoot_store_tests::MemoryStore;

/// Long enough for a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    store: Arc<dyn Store>,
    handlers: Handlers,
    worker: Option<WorkerHandle>,
}

/// Credentials, and the hosts that each is bound to.
struct Credentials(BTreeMap<&'static str, (&'static str, Option<Vec<String>>)>);

impl CredentialSource for Credentials {
    fn get(&self, name: &str) -> Result<Secret, CredentialError> {
        let secret = self.0.get(name).map(|(secret, _)| Secret::new(*secret));
        secret.ok_or_else(|| CredentialError(format!("no credential `{name}`")))
    }

    fn hosts(&self, name: &str) -> Option<&[String]> {
        self.0.get(name)?.1.as_deref()
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::within(&AddressPolicy::default()).await
    }

    pub(crate) async fn within(addresses: &AddressPolicy) -> Self {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Arc::new(SystemClock)).one_worker());
        let mut world = Self {
            folder: tempfile::tempdir().unwrap(),
            store,
            handlers: handlers_within(addresses),
            worker: None,
        };
        world.start().await;
        world
    }

    /// Starts the worker. It has the credential `forge`, bound to no host, `bound` for this
    /// machine, and `elsewhere` for another.
    async fn start(&mut self) {
        let options = WorkerOptions {
            workspaces: self.folder.path().join("workspaces"),
            grace: Duration::ZERO,
            credentials: Arc::new(Credentials(BTreeMap::from([
                ("forge", ("hunter2-token", None)),
                (
                    "bound",
                    ("hunter2-bound", Some(vec!["127.0.0.1".to_owned()])),
                ),
                (
                    "elsewhere",
                    ("hunter2-elsewhere", Some(vec!["git.example".to_owned()])),
                ),
            ]))),
            ..WorkerOptions::default()
        };
        self.worker = Some(
            Worker::start(self.store.clone(), self.handlers.clone(), options)
                .await
                .unwrap(),
        );
    }

    pub(crate) async fn restart(&mut self) {
        self.worker.take().unwrap().stop().await;
        self.start().await;
    }

    pub(crate) fn client(&self) -> Client {
        self.worker.as_ref().unwrap().client()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Submits a workflow of these steps, as YAML without indent. No step is retried unless it says
    /// so.
    pub(crate) async fn submit(&self, steps: &str) -> Run {
        let yaml = format!("workflow: test\nsteps:\n{steps}");
        let workflow = Workflow::from_yaml(&yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
        for step in workflow.steps() {
            self.handlers
                .get(&step.action)
                .unwrap()
                .check(&step.with)
                .unwrap();
        }
        self.client()
            .submit(Submit::new(Arc::new(workflow)))
            .await
            .unwrap()
            .run
    }

    pub(crate) async fn run(&self, steps: &str) -> Run {
        let run = self.submit(steps).await;
        self.wait(&run).await
    }

    pub(crate) async fn wait(&self, run: &Run) -> Run {
        let ended = tokio::time::timeout(PATIENCE, self.client().wait(run.id)).await;
        ended
            .unwrap_or_else(|_| panic!("the run did not end"))
            .unwrap()
    }

    /// Runs a workflow that must complete, and returns the output of its last step.
    pub(crate) async fn output(&self, steps: &str) -> Value {
        let run = self.run(steps).await;
        assert_eq!(
            run.head.status.to_string(),
            "completed",
            "{:?}",
            run.head.error
        );
        run.steps.last().unwrap().output.clone().unwrap_or_default()
    }

    /// Runs a workflow that must fail, and returns its last step's error and attempts.
    pub(crate) async fn failure(&self, steps: &str) -> (String, u32) {
        let run = self.run(steps).await;
        assert_eq!(run.head.status.to_string(), "failed");
        let step = run.steps.iter().find(|step| step.error.is_some()).unwrap();
        (step.error.clone().unwrap(), step.attempt)
    }

    pub(crate) async fn events(&self, run: &Run, kind: &str) -> Vec<Event> {
        let events = self.store.events(run.id, 0, 10_000).await.unwrap();
        events
            .into_iter()
            .filter(|event| event.kind == kind)
            .collect()
    }

    /// Waits until the run has an event of that kind.
    pub(crate) async fn until(&self, run: &Run, kind: &str) {
        let mut watch = self.client().watch(run.id, 0);
        let seen = async {
            while let Some(event) = watch.next().await.unwrap() {
                if event.kind == kind {
                    return;
                }
            }
            panic!("the run ended without {kind}");
        };
        tokio::time::timeout(PATIENCE, seen)
            .await
            .unwrap_or_else(|_| panic!("no {kind}"));
    }

    pub(crate) async fn log(&self, run: &Run) -> Vec<String> {
        let lines = |event: Event| {
            let lines = event.data["lines"].as_array().unwrap().clone();
            lines
                .into_iter()
                .map(|line| line.as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        self.events(run, "step.log")
            .await
            .into_iter()
            .flat_map(lines)
            .collect()
    }
}

/// Waits until a file exists and is not empty, and returns its words.
pub(crate) async fn words(file: &Path) -> Vec<String> {
    until(&format!("{}", file.display()), || {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        text.ends_with('\n')
            .then(|| text.split_whitespace().map(str::to_owned).collect())
    })
    .await
}

/// Waits until `look` returns a value.
pub(crate) async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let seen = async {
        loop {
            if let Some(seen) = look() {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, seen)
        .await
        .unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// Processes of a group that are no zombies.
pub(crate) fn group(id: &str) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().into_string().ok());
    pids.filter(|pid| pid.parse::<u32>().is_ok() && group_of(pid).as_deref() == Some(id))
        .collect()
}

/// Group of a process that is no zombie.
pub(crate) fn group_of(pid: &str) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // `pid (name) state parent group ...`; the name may contain anything.
    let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
    (!matches!(fields[0], "Z" | "X")).then(|| fields[2].to_owned())
}
