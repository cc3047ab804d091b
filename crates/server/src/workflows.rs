//! The workflows that can be submitted by name: those that are shipped, and those of a folder.
//!
//! The folder is looked at on each use, and a file is read again when its time or size has changed. What is wrong with a
//! file is logged and shown; until it is mended, the file counts as it last was.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use surefoot::Workflow;

/// The workflows that can be submitted by name. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Workflows {
    shipped: Vec<Arc<Workflow>>,
    folder: Option<Arc<Folder>>,
}

/// Why a folder of workflows cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WorkflowsError {
    /// The folder cannot be read.
    #[error("cannot read the folder of workflows {path}: {error}")]
    Folder {
        /// The folder.
        path: String,
        /// Why not.
        error: std::io::Error,
    },
    /// A file in it is no workflow.
    #[error("{path}: {message}")]
    File {
        /// The file.
        path: String,
        /// What is wrong with it.
        message: String,
    },
}

/// A file of the folder that does not count as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadFile {
    /// Its name in the folder.
    pub(crate) file: String,
    /// What is wrong with it.
    pub(crate) message: String,
}

#[derive(Debug)]
struct Folder {
    path: PathBuf,
    files: Mutex<BTreeMap<String, File>>,
}

/// A file as it was read.
#[derive(Debug)]
struct File {
    /// Its time and size: another one means that it has changed.
    stamp: Stamp,
    /// The last workflow that it held.
    workflow: Option<Arc<Workflow>>,
    /// What is wrong with it now.
    wrong: Option<String>,
}

type Stamp = (Option<SystemTime>, u64);

/// A larger file is no workflow.
const LARGEST: u64 = 1 << 20;

impl Workflows {
    /// These, always.
    pub fn new(shipped: Vec<Arc<Workflow>>) -> Self {
        Self { shipped, folder: None }
    }

    /// Also those of a folder's `.yaml` and `.yml` files. One with the name of a shipped one takes its place.
    ///
    /// # Errors
    /// Names the first file that is no workflow.
    pub fn with_folder(self, path: PathBuf) -> Result<Self, WorkflowsError> {
        let folder = Folder { path, files: Mutex::default() };
        folder.refresh().map_err(|error| folder.unreadable(error))?;
        if let Some(BadFile { file, message }) = folder.wrong().into_iter().next() {
            return Err(WorkflowsError::File { path: folder.path.join(file).display().to_string(), message });
        }
        Ok(Self { folder: Some(Arc::new(folder)), ..self })
    }

    /// The one of this name.
    pub fn get(&self, name: &str) -> Option<Arc<Workflow>> {
        self.iter().find(|workflow| workflow.name() == name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> std::vec::IntoIter<Arc<Workflow>> {
        let named = |workflow: Arc<Workflow>| (workflow.name().to_owned(), workflow);
        let mut all: BTreeMap<_, _> = self.shipped.iter().cloned().map(named).collect();
        if let Some(folder) = &self.folder {
            folder.look();
            all.extend(folder.workflows().into_iter().map(named));
        }
        all.into_values().collect::<Vec<_>>().into_iter()
    }

    /// Files of the folder that do not count as they are.
    pub(crate) fn wrong(&self) -> Vec<BadFile> {
        self.folder.as_ref().map(|folder| folder.wrong()).unwrap_or_default()
    }
}

impl Folder {
    /// A folder that is away for now changes nothing.
    fn look(&self) {
        if let Err(error) = self.refresh() {
            tracing::warn!(error = %self.unreadable(error), "the workflows stay as they were");
        }
    }

    fn unreadable(&self, error: std::io::Error) -> WorkflowsError {
        WorkflowsError::Folder { path: self.path.display().to_string(), error }
    }

    fn refresh(&self) -> Result<(), std::io::Error> {
        let found = self.list()?;
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.retain(|name, _| found.contains_key(name));
        for (name, stamp) in found {
            if files.get(&name).is_none_or(|file| file.stamp != stamp) {
                let before = files.remove(&name).and_then(|file| file.workflow);
                let file = File::read(&self.path.join(&name), stamp, before);
                if let Some(wrong) = &file.wrong {
                    tracing::warn!(file = name, wrong, "a workflow file cannot be used");
                }
                files.insert(name, file);
            }
        }
        twice(&mut files);
        Ok(())
    }

    fn list(&self) -> Result<BTreeMap<String, Stamp>, std::io::Error> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_workflow = !name.starts_with('.') && (name.ends_with(".yaml") || name.ends_with(".yml"));
            // A file that is gone meanwhile is not there; links are followed, as mounted configuration has them.
            if let (true, Ok(data)) = (is_workflow, fs::metadata(entry.path()))
                && data.is_file()
            {
                found.insert(name, (data.modified().ok(), data.len()));
            }
        }
        Ok(found)
    }

    fn workflows(&self) -> Vec<Arc<Workflow>> {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.values().filter_map(|file| file.workflow.clone()).collect()
    }

    fn wrong(&self) -> Vec<BadFile> {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let bad = |(file, state): (&String, &File)| {
            state.wrong.clone().map(|message| BadFile { file: file.clone(), message })
        };
        files.iter().filter_map(bad).collect()
    }
}

/// Two files with workflows of the same name: the first one counts.
fn twice(files: &mut BTreeMap<String, File>) {
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    for (name, file) in files {
        let Some(workflow) = &file.workflow else { continue };
        match seen.get(workflow.name()) {
            Some(first) => {
                file.wrong = Some(format!("the workflow {} is in {first} already", workflow.name()));
                file.workflow = None;
            }
            None => drop(seen.insert(workflow.name().to_owned(), name.clone())),
        }
    }
}

impl File {
    fn read(path: &Path, stamp: Stamp, before: Option<Arc<Workflow>>) -> Self {
        match read(path, stamp.1) {
            Ok(workflow) => Self { stamp, workflow: Some(Arc::new(workflow)), wrong: None },
            Err(wrong) => Self { stamp, workflow: before, wrong: Some(wrong) },
        }
    }
}

fn read(path: &Path, size: u64) -> Result<Workflow, String> {
    if size > LARGEST {
        return Err("is larger than a workflow can be".to_owned());
    }
    let text = fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
    Workflow::from_yaml(&text).map_err(|error| error.to_string())
}
