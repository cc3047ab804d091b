//! What every command starts from: the settings and how to open the store.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use surefoot::{Client, Store, WorkerOptions};
use surefoot_sqlite::SqliteStore;

use crate::args::Global;
use crate::config::Settings;
use crate::credentials::EnvironmentAndFiles;
use crate::errors::{Failure, unusable};

/// One invocation of the program.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) settings: Settings,
    /// Print data as JSON.
    pub(crate) json: bool,
    /// Diagnostics go to the error output too, so nothing may redraw it.
    pub(crate) diagnostics: bool,
}

impl App {
    pub(crate) fn new(global: &Global) -> Result<Self, Failure> {
        let diagnostics = global.verbose > 0 || std::env::var_os("RUST_LOG").is_some();
        Ok(Self { settings: Settings::load(global)?, json: global.json, diagnostics })
    }

    /// Opens the store, and makes it when there is none.
    pub(crate) fn store(&self) -> Result<Arc<dyn Store>, Failure> {
        make_dir(&self.settings.data_dir)?;
        if let Some(parent) = self.settings.store.parent() {
            make_dir(parent)?;
        }
        self.open()
    }

    /// A client of a store that must be there already: whoever only looks makes nothing.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let path = &self.settings.store;
        match path.try_exists() {
            Ok(true) => Ok(Client::new(self.open()?)),
            Ok(false) => Err(Failure::store(format!("there is no store at {}", path.display()))
                .hint("`surefoot init NAME` makes one; --data-dir or --store names another place")),
            Err(error) => Err(unusable("open the store", path, &error)),
        }
    }

    fn open(&self) -> Result<Arc<dyn Store>, Failure> {
        Ok(Arc::new(SqliteStore::open(&self.settings.store)?))
    }

    /// How a worker of this process works.
    pub(crate) fn worker_options(&self) -> WorkerOptions {
        let defaults = WorkerOptions::default();
        WorkerOptions {
            concurrency: self.settings.concurrency.unwrap_or(defaults.concurrency),
            grace: self.settings.grace.unwrap_or(defaults.grace),
            credentials: Arc::new(EnvironmentAndFiles::new(self.settings.credentials.clone())),
            workspaces: self.workspaces(),
            ..defaults
        }
    }

    /// Where runs have their workspaces.
    pub(crate) fn workspaces(&self) -> PathBuf {
        self.settings.data_dir.join("workspaces")
    }
}

fn make_dir(path: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(path).map_err(|error| {
        unusable("make the folder", path, &error).hint("--data-dir names another place for what Surefoot keeps")
    })
}

/// Who does what is asked on the command line, as the history of a run names them.
pub(crate) fn person() -> String {
    std::env::var("USER").ok().filter(|user| !user.is_empty()).unwrap_or_else(|| "the command line".to_owned())
}
