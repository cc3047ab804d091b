//! The workflows that can be submitted by name: built-in ones, and those of a folder.
//!
//! The folder is checked every second, and a file is read again when its time or size has changed.
//! Lookups use the last state, since the folder may be on a slow network file system. An invalid
//! file is logged and shown; until it is corrected, its last valid workflow is used.

#![expect(
    clippy::disallowed_methods,
    reason = "the folder is read on a blocking thread"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use surefoot::files::{self, FileError, Links};
use surefoot::{BoxError, Handlers, PlanError, Workflow};

/// The workflows that can be submitted by name. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Workflows {
    built_in: Vec<Arc<Workflow>>,
    folder: Option<Arc<Folder>>,
    checks: Checks,
}

/// The check of each file beyond its syntax.
#[derive(Clone, Debug, Default)]
struct Checks {
    handlers: Option<Handlers>,
    /// Actions without a handler here may have one on another worker.
    has_other_workers: bool,
}

/// Why a folder of workflows cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WorkflowsError {
    /// The folder cannot be read.
    #[error("cannot read the folder of workflows {path}: {error}")]
    Folder {
        /// The folder.
        path: String,
        /// The cause.
        error: std::io::Error,
    },
    /// A file in it is not a workflow.
    #[error("{path}: {message}")]
    File {
        /// The file.
        path: String,
        /// The fault.
        message: String,
    },
}

/// A file of the folder that is not used as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadFile {
    /// Its name in the folder.
    pub(crate) file: String,
    /// The fault.
    pub(crate) message: String,
}

#[derive(Debug)]
struct Folder {
    path: PathBuf,
    checks: Checks,
    files: Mutex<Files>,
    /// True if the last attempt to read the folder failed.
    unreachable: AtomicBool,
}

/// The files of a folder, by name.
type Files = BTreeMap<String, Arc<File>>;

/// A file as it was last read.
#[derive(Debug)]
struct File {
    /// Its time and size; a change of either means that the file has changed.
    stamp: Stamp,
    /// The last valid workflow that it held.
    workflow: Option<Arc<Workflow>>,
    /// Its current fault.
    fault: Option<String>,
}

type Stamp = (Option<SystemTime>, u64);

/// Size limit of a workflow file.
const MAX_FILE_SIZE: u64 = 1 << 20;
/// Interval between checks of the folder.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

impl Workflows {
    /// A fixed set of workflows.
    pub fn new(built_in: Vec<Arc<Workflow>>) -> Self {
        Self {
            built_in,
            folder: None,
            checks: Checks::default(),
        }
    }

    /// Checks the steps of each file against these handlers, as `surefoot submit` does. With
    /// `has_other_workers`, a step whose action has no handler here is left to a worker that has
    /// one.
    #[must_use]
    pub fn checked_by(self, handlers: Handlers, has_other_workers: bool) -> Self {
        Self {
            checks: Checks {
                handlers: Some(handlers),
                has_other_workers,
            },
            ..self
        }
    }

    /// Adds the `.yaml` and `.yml` files of a folder. A workflow with the name of a built-in one
    /// replaces it.
    ///
    /// # Errors
    /// Names the first file that is not a workflow.
    pub fn with_folder(self, path: PathBuf) -> Result<Self, WorkflowsError> {
        let folder = Folder {
            path,
            checks: self.checks.clone(),
            files: Mutex::default(),
            unreachable: AtomicBool::new(false),
        };
        folder.refresh().map_err(|error| folder.unreadable(error))?;
        if let Some(BadFile { file, message }) = folder.faulty_files().into_iter().next() {
            return Err(WorkflowsError::File {
                path: folder.path.join(file).display().to_string(),
                message,
            });
        }
        Ok(Self {
            folder: Some(Arc::new(folder)),
            ..self
        })
    }

    /// The workflow of this name.
    pub fn get(&self, name: &str) -> Option<Arc<Workflow>> {
        self.iter().find(|workflow| workflow.name() == name)
    }

    /// All workflows, by name.
    pub fn iter(&self) -> std::vec::IntoIter<Arc<Workflow>> {
        let named = |workflow: Arc<Workflow>| (workflow.name().to_owned(), workflow);
        let mut all: BTreeMap<_, _> = self.built_in.iter().cloned().map(named).collect();
        if let Some(folder) = &self.folder {
            all.extend(folder.workflows().into_iter().map(named));
        }
        all.into_values().collect::<Vec<_>>().into_iter()
    }

    /// Checks the folder periodically, on a blocking thread.
    pub(crate) async fn watch(&self) {
        let Some(folder) = &self.folder else { return };
        loop {
            tokio::time::sleep(CHECK_INTERVAL).await;
            let folder = folder.clone();
            if let Err(error) = tokio::task::spawn_blocking(move || folder.refresh_or_warn()).await
            {
                tracing::error!(%error, "failed to check the folder of workflows");
            }
        }
    }

    /// The files of the folder that are not used as they stand.
    pub(crate) fn faulty_files(&self) -> Vec<BadFile> {
        self.folder
            .as_ref()
            .map(|folder| folder.faulty_files())
            .unwrap_or_default()
    }
}

impl Folder {
    /// Reads the folder. If it cannot be read, the last state stays.
    fn refresh_or_warn(&self) {
        let refreshed = self.refresh();
        let was_unreachable = self.unreachable.swap(refreshed.is_err(), Ordering::Relaxed);
        if let Err(error) = refreshed
            && !was_unreachable
        {
            tracing::warn!(error = %self.unreadable(error), "keeping the workflows that were read last");
        }
    }

    fn unreadable(&self, error: std::io::Error) -> WorkflowsError {
        WorkflowsError::Folder {
            path: self.path.display().to_string(),
            error,
        }
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refresh(&self) -> Result<(), std::io::Error> {
        let before = self.files().clone();
        let mut files = Files::new();
        for (name, stamp) in self.list()? {
            let previous = before.get(&name);
            let file = match previous.filter(|file| file.stamp == stamp) {
                Some(same) => same.clone(),
                None => self.read(&name, stamp, previous),
            };
            files.insert(name, file);
        }
        *self.files() = files;
        Ok(())
    }

    fn read(&self, name: &str, stamp: Stamp, previous: Option<&Arc<File>>) -> Arc<File> {
        let file = File::read(
            &self.path.join(name),
            &self.checks,
            stamp,
            previous.and_then(|file| file.workflow.clone()),
        );
        if let Some(fault) = &file.fault {
            tracing::warn!(file = name, fault, "a workflow file cannot be used");
        }
        Arc::new(file)
    }

    fn list(&self) -> Result<BTreeMap<String, Stamp>, std::io::Error> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_workflow =
                !name.starts_with('.') && (name.ends_with(".yaml") || name.ends_with(".yml"));
            // A file that has just disappeared is skipped. Links are followed, since mounted
            // configuration consists of links.
            if let (true, Ok(data)) = (is_workflow, fs::metadata(entry.path()))
                && data.is_file()
            {
                found.insert(name, (data.modified().ok(), data.len()));
            }
        }
        Ok(found)
    }

    fn workflows(&self) -> Vec<Arc<Workflow>> {
        in_use(&self.files()).0
    }

    fn faulty_files(&self) -> Vec<BadFile> {
        in_use(&self.files()).1
    }
}

/// The workflows in use, and the files that are not used as they stand. If two files hold workflows
/// of the same name, the first one is used for as long as it exists.
fn in_use(files: &Files) -> (Vec<Arc<Workflow>>, Vec<BadFile>) {
    let mut workflows = Vec::new();
    let mut bad = Vec::new();
    let mut seen = BTreeMap::new();
    for (name, file) in files {
        let mut fault = file.fault.clone();
        if let Some(workflow) = &file.workflow {
            match seen.get(workflow.name()) {
                Some(first) => {
                    fault.get_or_insert(format!(
                        "the workflow {} is in {first} already",
                        workflow.name()
                    ));
                }
                None => {
                    seen.insert(workflow.name(), name);
                    workflows.push(workflow.clone());
                }
            }
        }
        bad.extend(fault.map(|message| BadFile {
            file: name.clone(),
            message,
        }));
    }
    (workflows, bad)
}

impl File {
    fn read(path: &Path, checks: &Checks, stamp: Stamp, before: Option<Arc<Workflow>>) -> Self {
        match read(path, checks) {
            Ok(workflow) => Self {
                stamp,
                workflow: Some(Arc::new(workflow)),
                fault: None,
            },
            Err(fault) => Self {
                stamp,
                workflow: before,
                fault: Some(fault.to_string()),
            },
        }
    }
}

fn read(path: &Path, checks: &Checks) -> Result<Workflow, BoxError> {
    let text =
        files::read_text(path, Links::Follow, MAX_FILE_SIZE).map_err(|error| match error {
            FileError::TooLarge(_) => "is larger than a workflow can be".to_owned(),
            error => format!("cannot be read: {error}"),
        })?;
    let workflow = Workflow::from_yaml(&text)?;
    checks.check(&workflow)?;
    Ok(workflow)
}

impl Checks {
    fn check(&self, workflow: &Workflow) -> Result<(), PlanError> {
        let Some(handlers) = &self.handlers else {
            return Ok(());
        };
        let mut faults = handlers.faults(workflow);
        let fault = faults.find(|fault| {
            !(self.has_other_workers && matches!(fault, PlanError::UnknownAction { .. }))
        });
        fault.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;

    use super::*;

    fn write(folder: &Path, file: &str, workflow: &str, title: &str) {
        let text = format!(
            "workflow: {workflow}\ntitle: {title}\nsteps:\n  - {{ id: one, action: sleep }}\n"
        );
        fs::write(folder.join(file), text).unwrap();
    }

    fn title(workflows: &Workflows, name: &str) -> Option<String> {
        workflows
            .get(name)
            .map(|workflow| workflow.title().to_owned())
    }

    #[tokio::test]
    async fn files_are_read_again_when_they_change() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "a.yaml", "a", "as it was");
        let workflows = Workflows::default()
            .with_folder(dir.path().to_owned())
            .unwrap();
        let watching = workflows.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { watching.watch().await });
        let until = async |expect: Option<&str>, fault: usize| {
            let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
            while (
                title(&workflows, "a").as_deref(),
                workflows.faulty_files().len(),
            ) != (expect, fault)
            {
                assert!(
                    tokio::time::Instant::now() < deadline,
                    "{expect:?}: {:?}",
                    workflows.faulty_files()
                );
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        until(Some("as it was"), 0).await;
        write(dir.path(), "a.yaml", "a", "as it is now");
        until(Some("as it is now"), 0).await;
        fs::write(dir.path().join("a.yaml"), "no workflow").unwrap();
        until(Some("as it is now"), 1).await;
        fs::remove_file(dir.path().join("a.yaml")).unwrap();
        until(None, 0).await;
    }

    #[test]
    fn steps_are_checked_by_their_handlers() {
        struct Picky;

        #[async_trait::async_trait]
        impl surefoot::StepHandler for Picky {
            async fn run(
                &self,
                _: surefoot::StepContext,
            ) -> Result<surefoot::Outcome, surefoot::StepError> {
                unreachable!("nothing is run")
            }

            fn check(&self, with: &serde_json::Value) -> Result<(), String> {
                match with["good"] {
                    serde_json::Value::Bool(true) => Ok(()),
                    _ => Err("field good is missing".to_owned()),
                }
            }
        }

        let dir = tempfile::tempdir().unwrap();
        let picky = Handlers::new().with("picky", Picky);
        let read = |steps: &str, has_other_workers: bool| {
            fs::write(
                dir.path().join("w.yaml"),
                format!("workflow: w\nsteps:\n{steps}"),
            )
            .unwrap();
            let workflows = Workflows::default().checked_by(picky.clone(), has_other_workers);
            let read = workflows.with_folder(dir.path().to_owned());
            read.map(drop).map_err(|error| {
                let text = error.to_string();
                text.split_once("w.yaml: ").unwrap().1.to_owned()
            })
        };
        let good = "  - { id: a, action: picky, with: { good: true } }\n";
        let bad = "  - { id: b, action: picky }\n";
        let unknown = "  - { id: c, action: strange }\n";
        let refused = |text: &str| Err(text.to_owned());
        assert_eq!(read(good, false), Ok(()));
        assert_eq!(
            read(bad, true),
            refused("step b (picky): field good is missing")
        );
        let strange = "step c: there is no action `strange`";
        assert_eq!(read(unknown, false), refused(strange));
        assert_eq!(read(unknown, true), Ok(()));
        let both = format!("{unknown}{bad}");
        assert_eq!(
            read(&both, true),
            refused("step b (picky): field good is missing")
        );
    }

    #[test]
    fn the_second_of_two_files_is_used_once_the_first_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "a.yaml", "w", "first");
        let workflows = Workflows::default()
            .with_folder(dir.path().to_owned())
            .unwrap();
        let folder = workflows.folder.as_ref().unwrap();
        write(dir.path(), "b.yaml", "w", "second");
        folder.refresh_or_warn();
        assert_eq!(title(&workflows, "w").as_deref(), Some("first"));
        assert_eq!(
            workflows
                .faulty_files()
                .iter()
                .map(|bad| bad.file.as_str())
                .collect::<Vec<_>>(),
            ["b.yaml"]
        );
        fs::remove_file(dir.path().join("a.yaml")).unwrap();
        folder.refresh_or_warn();
        assert_eq!(
            (title(&workflows, "w").as_deref(), workflows.faulty_files()),
            (Some("second"), Vec::new())
        );
    }
}
