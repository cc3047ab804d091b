//! Reads a content from the store, part by part, and checks it against its digest.

use std::io;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::{CHUNK, damaged};
use crate::{Digest, Store};

/// Between two tries to read while the store is away.
const AWAY: Duration = Duration::from_millis(200);

/// A content that is being read.
pub(super) struct Content<'a> {
    store: &'a dyn Store,
    digest: Digest,
    hash: Sha256,
    offset: u64,
    is_whole: bool,
}

impl<'a> Content<'a> {
    pub(super) fn new(store: &'a dyn Store, digest: Digest) -> Self {
        Self {
            store,
            digest,
            hash: Sha256::new(),
            offset: 0,
            is_whole: false,
        }
    }

    /// The next part; `None` when the content was given whole. The last part is given only when the
    /// digest is right.
    pub(super) async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.is_whole {
            return Ok(None);
        }
        let part = self.read().await?;
        let part = part.ok_or_else(|| damaged(self.digest, "it is missing from the store"))?;
        self.hash.update(&part);
        self.offset += part.len() as u64;
        // No content of this build goes on after a full part, so most are read by one call.
        self.is_whole = Digest::from_bytes(self.hash.clone().finalize().into()) == self.digest;
        if !self.is_whole && part.len() < CHUNK {
            let reason = "its content does not match its digest";
            return Err(damaged(self.digest, reason));
        }
        Ok(Some(part))
    }

    /// All of it, when it is no larger than `limit`.
    pub(super) async fn whole(mut self, limit: u64) -> io::Result<Vec<u8>> {
        let mut whole = Vec::new();
        while let Some(part) = self.next().await? {
            whole.extend(part);
            if whole.len() as u64 > limit {
                return Err(damaged(self.digest, "it is larger than any that was made"));
            }
        }
        Ok(whole)
    }

    /// While the store is away the attempt waits: it is not the step that fails. Its lease bounds
    /// that, for the handler ends with it.
    async fn read(&self) -> io::Result<Option<Vec<u8>>> {
        loop {
            match self.store.blob_part(self.digest, self.offset).await {
                Err(error) if error.is_outage() => tokio::time::sleep(AWAY).await,
                answer => return answer.map_err(io::Error::other),
            }
        }
    }
}
