//! Uploads the contents of a snapshot that is too large for one commit, a few at a time.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::memory::Reservation;
use super::scan::{Piece, Source};
use super::{CHUNK, Folder, Snapshot, at, blocking};
use crate::Digest;
use crate::files::{self, Links};

/// Contents that are uploaded in one call at most.
const BATCH: usize = 1024;

/// Contents with their digests.
pub(crate) type Contents = Vec<(Digest, Vec<u8>)>;

/// A snapshot on its way to the store.
pub(crate) struct Upload {
    pub(super) folder: Folder,
    pub(super) snapshot: Snapshot,
    /// Contents that are still to be read.
    pub(super) pieces: VecDeque<Piece>,
    pub(super) reservation: Reservation,
}

impl Upload {
    /// The next contents that the store must have before the commit; `None` when all that is left
    /// goes with the commit.
    ///
    /// # Errors
    /// A file was changed since the workspace was scanned.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Arc<Contents>>> {
        let batch = self.next_batch();
        if batch.is_empty() {
            return Ok(None);
        }
        let contents = blocking(move || batch.into_iter().map(read).collect()).await?;
        if self.pieces.is_empty() {
            self.snapshot.contents = contents;
            return Ok(None);
        }
        Ok(Some(Arc::new(contents)))
    }

    /// The snapshot for the commit, and the memory that it takes until it is committed.
    pub(crate) async fn finish(mut self) -> (Snapshot, Reservation) {
        self.folder.hold(&self.snapshot).await;
        let contents = self.snapshot.contents.iter();
        let size = contents.map(|(_, content)| content.len()).sum();
        self.reservation.shrink_to(size);
        (self.snapshot, self.reservation)
    }

    fn next_batch(&mut self) -> Vec<Piece> {
        let mut batch = Vec::new();
        let mut size = 0;
        while let Some(piece) = self.pieces.front() {
            size += piece.length;
            if batch.len() == BATCH || !batch.is_empty() && size > CHUNK {
                break;
            }
            batch.extend(self.pieces.pop_front());
        }
        batch
    }
}

/// The content of a piece: what was found to be free of secrets, and nothing else.
fn read(piece: Piece) -> io::Result<(Digest, Vec<u8>)> {
    match piece.source {
        Source::Memory(content) => Ok((piece.digest, content)),
        Source::File { path, offset } => {
            let content = files::read_part(&path, Links::Refuse, offset, piece.length);
            let content = content
                .map_err(io::Error::from)
                .map_err(at("read", &path))?;
            if Digest::of(&content) == piece.digest {
                return Ok((piece.digest, content));
            }
            let message = format!(
                "{} changed while the workspace was stored, after the step had ended: let no process \
                 of the step go on",
                path.display()
            );
            Err(io::Error::other(message))
        }
    }
}
