//! Workspaces: a run's folder, kept with the commit that completes a step and restored for the
//! next.
//!
//! A snapshot is a manifest and the contents of the files, each addressed by its SHA-256. What is
//! missing or damaged is an error, never an empty folder.
//!
//! No more than a few chunks of a workspace are in memory at once, however large it is: see
//! [`SnapshotMemory`]. What is small goes with the commit that completes the step; of a larger one,
//! all but the last chunk is uploaded before, chunk by chunk.

mod content;
mod manifest;
mod memory;
mod restore;
mod scan;
mod upload;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::Mutex;

pub(crate) use self::memory::{Reservation, SnapshotMemory};
pub(crate) use self::upload::Upload;

use self::content::Content;
use self::manifest::{ChunkList, Entry};
use crate::mask::Mask;
use crate::{Digest, StepError, Store, files};

/// The largest content of a snapshot, and the most bytes that one call takes to a store or brings
/// back.
///
/// A way to a database that carries 100 KiB/s still carries one within the time that a store gives
/// to an operation.
pub const CHUNK: usize = 1 << 20;

/// A workspace as a completed step left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The digest of the manifest.
    pub digest: Digest,
    /// Every content that the snapshot needs, the manifest included: the store keeps them while the
    /// run's details stay.
    pub needs: Vec<Digest>,
    /// Those contents that the run's store may not have yet: [`CHUNK`] bytes in all at most. Others
    /// were uploaded before, by [`Store::put_blobs`].
    pub contents: Vec<(Digest, Vec<u8>)>,
}

/// The files of one workspace may not be larger together.
const LARGEST: u64 = 256 << 20;

/// The list of a workspace's files may not be longer. It is in memory as a whole: some 170,000
/// paths of 60 letters.
const LONGEST_LIST: usize = 32 << 20;

/// The folder of one run while a worker holds it.
#[derive(Clone)]
pub(crate) struct Folder {
    path: PathBuf,
    store: Arc<dyn Store>,
    mask: Mask,
    memory: SnapshotMemory,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Snapshot that the folder was made from; `None` if unknown: another worker used it, or an
    /// attempt failed part-way.
    holds: Option<Base>,
    /// True if the present attempt has opened it.
    opened: bool,
    /// Contents that the store has.
    stored: BTreeSet<Digest>,
}

/// Origin of a folder: a snapshot, or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Base(Option<Digest>);

/// The folder of one run, while one step runs.
#[derive(Clone)]
pub(crate) struct Workspace {
    folder: Folder,
    base: Base,
}

impl Folder {
    pub(crate) fn new(
        path: PathBuf,
        store: Arc<dyn Store>,
        mask: Mask,
        memory: SnapshotMemory,
    ) -> Self {
        Self {
            path,
            store,
            mask,
            memory,
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
    /// Waits for memory.
    ///
    /// # Errors
    /// Fatal when it holds a secret or is too large: another attempt would leave it so as well.
    pub(crate) async fn snapshot(&self) -> Result<Option<Upload>, StepError> {
        let state = self.state.lock().await;
        if !state.opened {
            return Ok(None);
        }
        let reservation = self.memory.window().await?;
        let path = self.path.clone();
        let stored = state.stored.clone();
        let mask = self.mask.clone();
        let scanned = blocking(move || scan::scan(&path, &stored, &mask))
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
        Ok(Some(Upload {
            folder: self.clone(),
            snapshot: scanned.snapshot,
            pieces: scanned.pieces,
            reservation,
        }))
    }

    /// The store has, or is about to get, what the folder holds.
    async fn hold(&self, snapshot: &Snapshot) {
        let mut state = self.state.lock().await;
        state.opened = false;
        state.holds = Some(Base(Some(snapshot.digest)));
        state.stored.extend(&snapshot.needs);
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
        // From here on the folder holds what the step makes of it; only a snapshot says what that
        // is.
        state.holds = None;
        Ok(self.folder.path.clone())
    }

    async fn restore(&self, state: &mut State) -> io::Result<()> {
        let path = self.folder.path.clone();
        blocking(move || restore::empty(&path)).await?;
        let Some(digest) = self.base.0 else {
            return Ok(());
        };
        let _memory = self.folder.memory.window().await?;
        for entry in self.manifest(digest, &mut state.stored).await? {
            self.restore_entry(entry, digest, &mut state.stored).await?;
        }
        Ok(())
    }

    async fn restore_entry(
        &self,
        entry: Entry,
        manifest: Digest,
        stored: &mut BTreeSet<Digest>,
    ) -> io::Result<()> {
        let digests = entry.kind.contents(manifest)?;
        let path = self.folder.path.clone();
        let Some(mut file) = blocking(move || restore::entry(&path, &entry)).await? else {
            return Ok(());
        };
        for digest in digests {
            let mut content = self.content(digest);
            while let Some(part) = content.next().await? {
                file = blocking(move || file.append(&part).map(|()| file)).await?;
            }
            stored.insert(digest);
        }
        Ok(())
    }

    /// The entries of a snapshot.
    async fn manifest(
        &self,
        digest: Digest,
        stored: &mut BTreeSet<Digest>,
    ) -> io::Result<Vec<Entry>> {
        let damaged = |error: serde_json::Error| damaged(digest, &error.to_string());
        let mut list = self.content(digest).whole(LARGEST).await?;
        stored.insert(digest);
        if ChunkList::is_in(&list) {
            let chunks: ChunkList = serde_json::from_slice(&list).map_err(damaged)?;
            list = Vec::new();
            for chunk in chunks.digests(digest)? {
                let left = LARGEST.saturating_sub(list.len() as u64);
                list.extend(self.content(chunk).whole(left).await?);
                stored.insert(chunk);
            }
        }
        serde_json::from_slice(&list).map_err(damaged)
    }

    fn content(&self, digest: Digest) -> Content<'_> {
        Content::new(self.folder.store.as_ref(), digest)
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
