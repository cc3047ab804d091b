//! Workspaces: a run's folder, kept with the commit that completes a step and restored for the next.
//!
//! A snapshot is a manifest - JSON, one entry a path, sorted - and the contents of the files, each addressed by its SHA-256.
//! What is missing or damaged is an error, never an empty folder.

mod restore;
mod scan;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::mask::Mask;
use crate::{Digest, StepError, Store, files};

/// A workspace as a completed step left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The digest of the manifest.
    pub digest: Digest,
    /// Every content that the snapshot needs, the manifest included: the store keeps them while the run's details stay.
    pub needs: Vec<Digest>,
    /// Those contents that the run's store may not have yet.
    pub contents: Vec<(Digest, Vec<u8>)>,
}

/// The contents of one snapshot may not be larger: they pass through one commit.
const LARGEST: u64 = 256 << 20;

/// Between two tries to read while the store is away.
const AWAY: Duration = Duration::from_millis(200);

/// One path of a manifest.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    /// Relative, with `/`.
    path: String,
    #[serde(flatten)]
    kind: Kind,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
enum Kind {
    Folder {
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        private: bool,
    },
    File {
        digest: String,
        executable: bool,
        /// Only its owner may look into it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        private: bool,
    },
    Link {
        target: String,
    },
}

/// The folder of one run while a worker holds it.
#[derive(Clone)]
pub(crate) struct Folder {
    path: PathBuf,
    store: Arc<dyn Store>,
    mask: Mask,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// What the folder holds; `None` when nobody knows: another worker was here, or an attempt failed half-way.
    holds: Option<Base>,
    /// Whether the present attempt has opened it.
    opened: bool,
    /// Contents that the store has.
    stored: BTreeSet<Digest>,
}

/// What a folder was made from: a snapshot, or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Base(Option<Digest>);

/// The folder of one run, while one step runs.
#[derive(Clone)]
pub(crate) struct Workspace {
    folder: Folder,
    base: Base,
}

impl Folder {
    pub(crate) fn new(path: PathBuf, store: Arc<dyn Store>, mask: Mask) -> Self {
        Self {
            path,
            store,
            mask,
            state: Arc::default(),
        }
    }

    /// The workspace of a step that begins from the snapshot `base`.
    pub(crate) fn at(&self, base: Option<Digest>) -> Workspace {
        Workspace {
            folder: self.clone(),
            base: Base(base),
        }
    }

    /// A new attempt begins: it trusts nothing that an earlier one may have left half-done.
    pub(crate) async fn begin(&self) {
        self.state.lock().await.opened = false;
    }

    /// The workspace as the step that now completes left it; `None` when the step did not open it.
    ///
    /// # Errors
    /// Fatal when it holds a secret or is too large: another attempt would leave it so as well.
    pub(crate) async fn snapshot(&self) -> Result<Option<Snapshot>, StepError> {
        let mut state = self.state.lock().await;
        if !state.opened {
            return Ok(None);
        }
        let (path, stored, mask) = (self.path.clone(), state.stored.clone(), self.mask.clone());
        let snapshot = blocking(move || scan::scan(&path, &stored, &mask))
            .await
            .map_err(|error| {
                let holds_secret = error
                    .get_ref()
                    .is_some_and(|why| why.is::<scan::HoldsSecret>());
                let is_too_large = error.kind() == io::ErrorKind::FileTooLarge;
                if holds_secret || is_too_large {
                    StepError::fatal(error)
                } else {
                    StepError::from(error)
                }
            })?;
        state.opened = false;
        state.holds = Some(Base(Some(snapshot.digest)));
        state.stored.extend(&snapshot.needs);
        Ok(Some(snapshot))
    }

    /// Removes the folder: the run is about to end. What was in it is in the store.
    pub(crate) async fn remove(&self) {
        // Most runs have none; a look is cheaper than a task of its own. It opens nothing.
        if !self.path.exists() {
            return;
        }
        self.state.lock().await.holds = None;
        let path = self.path.clone();
        if let Err(error) = blocking(move || restore::remove(&path)).await {
            tracing::warn!(%error, path = %self.path.display(), "cannot remove the workspace of a run that ends");
        }
    }
}

impl Workspace {
    /// The folder, made to hold what the step's base holds.
    pub(crate) async fn open(&self) -> io::Result<PathBuf> {
        let mut state = self.folder.state.lock().await;
        if !state.opened {
            if state.holds != Some(self.base) {
                self.restore(&mut state).await?;
            }
            state.opened = true;
        }
        // From here on the folder holds what the step makes of it; only a snapshot says what that is.
        state.holds = None;
        Ok(self.folder.path.clone())
    }

    async fn restore(&self, state: &mut State) -> io::Result<()> {
        let path = self.folder.path.clone();
        blocking(move || restore::empty(&path)).await?;
        let Some(manifest_digest) = self.base.0 else {
            return Ok(());
        };
        let manifest = self.content(manifest_digest).await?;
        let entries: Vec<Entry> = serde_json::from_slice(&manifest)
            .map_err(|error| damaged(manifest_digest, &error.to_string()))?;
        state.stored.insert(manifest_digest);
        for entry in entries {
            let content = match &entry.kind {
                Kind::File { digest, .. } => {
                    let digest = digest
                        .parse()
                        .map_err(|error: String| damaged(manifest_digest, &error))?;
                    state.stored.insert(digest);
                    self.content(digest).await?
                }
                _ => Vec::new(),
            };
            let path = self.folder.path.clone();
            blocking(move || restore::entry(&path, &entry, &content)).await?;
        }
        Ok(())
    }

    /// While the store is away the attempt waits: it is not the step that fails. Its lease bounds that, for the handler ends
    /// with it.
    async fn content(&self, digest: Digest) -> io::Result<Vec<u8>> {
        let content = loop {
            match self.folder.store.blob(digest).await {
                Err(error) if error.is_outage() => tokio::time::sleep(AWAY).await,
                answer => break answer.map_err(io::Error::other)?,
            }
        };
        let content = content.ok_or_else(|| damaged(digest, "it is missing from the store"))?;
        if Digest::of(&content) != digest {
            return Err(damaged(digest, "its content does not match its digest"));
        }
        Ok(content)
    }
}

fn damaged(digest: Digest, reason: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the workspace's snapshot is damaged: {digest}: {reason}"),
    )
}

/// Says what could not be done to which path: the system's own error does not.
fn at<'a>(what: &'a str, path: &'a Path) -> impl Fn(io::Error) -> io::Error + 'a {
    move |error| {
        io::Error::new(
            error.kind(),
            PathError {
                what: format!("{what} {}", path.display()),
                error,
            },
        )
    }
}

/// An error of the system, with what could not be done.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what}: {error}")]
struct PathError {
    what: String,
    #[source]
    error: io::Error,
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    files::blocking(work).await?
}

/// A path of the folder as the manifest writes it.
fn relative(root: &Path, path: &Path) -> io::Result<String> {
    let inside = path.strip_prefix(root).map_err(io::Error::other)?;
    let text = inside.to_str().ok_or_else(|| {
        io::Error::other(format!(
            "the workspace has a file whose name is not UTF-8: {}",
            inside.display()
        ))
    })?;
    Ok(text.to_owned())
}
