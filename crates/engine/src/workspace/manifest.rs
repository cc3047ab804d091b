//! The manifest of a snapshot: JSON, one entry a path, sorted, with the digests of each file's
//! contents.
//!
//! A file of up to [`CHUNK`] bytes is one content, a larger one several. So is the manifest itself:
//! one that is larger is kept in chunks too, and its place is taken by a list of them. Snapshots of
//! earlier builds have contents of any size.

use std::io;

use serde::{Deserialize, Serialize};

use super::damaged;
use crate::Digest;

/// An entry of a manifest: one path.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Relative, with `/`.
    pub(super) path: String,
    #[serde(flatten)]
    pub(super) kind: Kind,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub(super) enum Kind {
    Folder {
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        private: bool,
    },
    File {
        /// The digest of a content that is the whole file.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digest: Option<String>,
        /// The digests of the contents that make the file, in order.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        chunks: Vec<String>,
        executable: bool,
        /// Only its owner may look into it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        private: bool,
    },
    Link {
        target: String,
    },
}

/// The content that a snapshot names when its manifest is stored in chunks.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ChunkList {
    /// The digests of the contents that make the manifest, in order.
    chunks: Vec<String>,
}

impl Kind {
    pub(super) fn file(chunks: Vec<Digest>, executable: bool, private: bool) -> Self {
        let mut chunks: Vec<String> = chunks.iter().map(Digest::to_string).collect();
        let digest = if chunks.len() == 1 {
            chunks.pop()
        } else {
            None
        };
        Self::File {
            digest,
            chunks,
            executable,
            private,
        }
    }

    /// Its length in a manifest without the path, more or less.
    pub(super) fn written_length(&self) -> usize {
        match self {
            Self::Folder { .. } => 30,
            Self::File { chunks, .. } => 120 + 67 * chunks.len(),
            Self::Link { target } => 40 + target.len(),
        }
    }

    /// The digests of a file's contents, in order.
    pub(super) fn contents(&self, manifest: Digest) -> io::Result<Vec<Digest>> {
        match self {
            Self::File { digest, chunks, .. } => {
                if digest.is_none() && chunks.is_empty() {
                    return Err(damaged(manifest, "a file has no content"));
                }
                parse(manifest, digest.iter().chain(chunks))
            }
            Self::Folder { .. } | Self::Link { .. } => Ok(Vec::new()),
        }
    }
}

impl ChunkList {
    pub(super) fn new(chunks: &[Digest]) -> Self {
        Self {
            chunks: chunks.iter().map(Digest::to_string).collect(),
        }
    }

    /// Returns whether a content is a list of chunks. A manifest is a JSON array.
    pub(super) fn is_in(content: &[u8]) -> bool {
        content.first() == Some(&b'{')
    }

    pub(super) fn digests(&self, within: Digest) -> io::Result<Vec<Digest>> {
        parse(within, &self.chunks)
    }
}

/// The digests in `texts`, which stand in the content `within`.
fn parse<'a>(
    within: Digest,
    texts: impl IntoIterator<Item = &'a String>,
) -> io::Result<Vec<Digest>> {
    texts
        .into_iter()
        .map(|text| {
            text.parse()
                .map_err(|error: String| damaged(within, &error))
        })
        .collect()
}
