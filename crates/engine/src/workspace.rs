//! Workspaces: a run's folder, kept with the commit that completes a step and restored for the next.
//!
//! A snapshot is a manifest - one line a path - and the contents of the files, each addressed by its SHA-256. What is
//! missing or damaged is an error, never an empty folder.

use std::path::PathBuf;

use crate::Digest;

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

/// The folder of one run, while one step runs.
#[derive(Clone)]
pub(crate) struct Workspace;

impl Workspace {
    pub(crate) async fn open(&self) -> std::io::Result<PathBuf> {
        Err(std::io::Error::other("not yet"))
    }
}
