//! State shared by all commands: the settings, and how to open the store.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use surefoot::{Client, Secret, SecretKeys, Store, WorkerOptions, Workflow};
use surefoot_initializer::process;
use surefoot_sqlite::SqliteStore;
use surefoot_telemetry::Telemetry;
use tokio::runtime::Handle;

use crate::args::Global;
use crate::config::Settings;
use crate::credentials::EnvironmentAndFiles;
use crate::errors::{Failure, unusable};
use crate::place::Place;
use crate::{capacity, key_file, out, shipped, workspaces};

/// An invocation of the program.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) settings: Settings,
    /// Print data as JSON.
    pub(crate) json: bool,
    /// The runtime for handlers.
    pub(crate) steps: Handle,
    /// Diagnostics go to the error output too, so nothing may redraw it.
    pub(crate) diagnostics: bool,
}

impl App {
    pub(crate) fn new(global: &Global, steps: &Handle) -> Result<Self, Failure> {
        let diagnostics = global.verbose > 0 || std::env::var_os("RUST_LOG").is_some();
        let settings = Settings::load(global)?;
        process::pass_environment(settings.pass_environment.clone());
        Ok(Self {
            settings,
            json: global.json,
            steps: steps.clone(),
            diagnostics,
        })
    }

    /// Opens the store, and makes it when there is none.
    pub(crate) async fn store(&self) -> Result<Arc<dyn Store>, Failure> {
        self.store_with(shipped::workflow()).await
    }

    /// The same, and lets a workflow be submitted from within the database.
    pub(crate) async fn store_with(
        &self,
        workflow: Arc<Workflow>,
    ) -> Result<Arc<dyn Store>, Failure> {
        make_dir(&self.settings.data_dir)?;
        match &self.settings.store {
            Place::File(path) => {
                path.parent().map(make_dir).transpose()?;
                Ok(Arc::new(SqliteStore::open(path)?))
            }
            Place::Database(options) => {
                let store = options.clone().open().await?;
                for warning in store.warnings() {
                    out::say(&format!("warning: {warning}"));
                }
                store.publish(&workflow).await?;
                Ok(Arc::new(store))
            }
        }
    }

    /// Makes the data directory when there is none.
    pub(crate) fn make_data_dir(&self) -> Result<(), Failure> {
        make_dir(&self.settings.data_dir)
    }

    /// Opens a client of an existing store. Read-only commands create nothing.
    pub(crate) async fn client(&self) -> Result<Client, Failure> {
        match &self.settings.store {
            Place::File(path) => match path.try_exists() {
                Ok(true) => Ok(Client::new(Arc::new(SqliteStore::open(path)?))),
                Ok(false) => Err(Failure::store(format!(
                    "there is no store at {}",
                    path.display()
                ))
                .hint("`surefoot init NAME` makes one; --data-dir or --store names another place")),
                Err(error) => Err(unusable("open the store", path, &error)),
            },
            Place::Database(options) => Ok(Client::new(Arc::new(
                options.clone().migrate(false).open().await?,
            ))),
        }
    }

    /// Returns true if several workers may use the store.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self.settings.store, Place::Database(_))
    }

    /// Returns the options of a worker in this process.
    pub(crate) fn worker_options(&self) -> Result<WorkerOptions, Failure> {
        let defaults = WorkerOptions::default();
        let all = self.workspaces();
        let (name, workspaces) = if self.is_shared() {
            let own = workspaces::own(&all)
                .map_err(|error| unusable("make a folder in", &all, &error))?;
            (format!("{} {}", host_name(), std::process::id()), own)
        } else {
            (defaults.name.clone(), all)
        };
        Ok(WorkerOptions {
            name,
            concurrency: capacity::slots(self.settings.concurrency.unwrap_or(defaults.concurrency)),
            grace: self.grace(),
            snapshot_memory: self
                .settings
                .snapshot_memory_mib
                .map_or(defaults.snapshot_memory, |mib| mib.saturating_mul(1 << 20)),
            credentials: Arc::new(
                EnvironmentAndFiles::new(self.settings.credentials.clone())
                    .bound_to(self.settings.credential_hosts.clone()),
            ),
            secrets: self.secrets(),
            keys: Some(self.keys()?),
            workspaces,
            announce: Some(workspaces::announce),
            handler_runtime: Some(self.steps.clone()),
            ..defaults
        })
    }

    /// The keys of secret parameters. In the data directory they are made when there are none; a
    /// file that the configuration names is shared with other hosts, and only read.
    pub(crate) fn keys(&self) -> Result<SecretKeys, Failure> {
        match &self.settings.key_file {
            Some(path) => key_file::read(path, false),
            None => {
                self.make_data_dir()?;
                key_file::read(&self.settings.data_dir.join("secret.key"), true)
            }
        }
    }

    /// A client that submits runs of this workflow; its keys are read when there is something to
    /// encrypt.
    pub(crate) fn submitter(
        &self,
        store: Arc<dyn Store>,
        workflow: &Workflow,
    ) -> Result<Client, Failure> {
        let keys = if workflow.has_secret_parameters() {
            Some(self.keys()?)
        } else {
            None
        };
        Ok(Client::new(store).with_keys(keys))
    }

    /// Returns the secrets of this process that no step may write: a command can read its arguments
    /// and environment.
    fn secrets(&self) -> Vec<Secret> {
        let of_store = match (&self.settings.store, &self.settings.address) {
            (Place::Database(options), Some(address)) => address.secrets(options),
            _ => Vec::new(),
        };
        EnvironmentAndFiles::of_environment()
            .chain(of_store)
            .collect()
    }

    /// Returns the exporter of traces, if configured.
    pub(crate) fn telemetry(&self) -> Result<Option<Telemetry>, Failure> {
        let credentials = EnvironmentAndFiles::new(self.settings.credentials.clone());
        let instance = format!("{} {}", host_name(), std::process::id());
        let options = self.settings.telemetry.options(instance, &credentials)?;
        let started = options.map(Telemetry::start).transpose();
        started.map_err(|error| Failure::usage(error.to_string()).within("telemetry"))
    }

    /// Returns the time for which steps may continue after a stop.
    pub(crate) fn grace(&self) -> Duration {
        self.settings
            .grace
            .unwrap_or(WorkerOptions::default().grace)
    }

    /// Returns the folder of the workspaces.
    pub(crate) fn workspaces(&self) -> PathBuf {
        self.settings.data_dir.join("workspaces")
    }
}

/// This machine, as people call it.
pub(crate) fn host_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// Makes a folder for this user alone: stores and workspaces hold what other users must not read.
fn make_dir(path: &Path) -> Result<(), Failure> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| {
            unusable("make the folder", path, &error)
                .hint("--data-dir names another place for what Surefoot keeps")
        })
}

/// Returns the actor for actions on the command line, as the history of a run names it.
pub(crate) fn person() -> String {
    std::env::var("USER")
        .ok()
        .filter(|user| !user.is_empty())
        .unwrap_or_else(|| "the command line".to_owned())
}
