//! Reads a folder into a manifest, and finds the contents that the store lacks.
//!
//! A folder is read once to find and check everything in it: names, digests, secrets. Contents are
//! kept only while they fit into one commit. Those of a larger workspace are read again as they are
//! uploaded (`upload.rs`).

#![expect(
    clippy::disallowed_methods,
    reason = "a snapshot is made on a blocking thread"
)]

use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::manifest::{ChunkList, Entry, Kind};
use super::{CHUNK, LARGEST, LONGEST_LIST, Snapshot, at, relative};
use crate::Digest;
use crate::files::{self, Links};
use crate::mask::Mask;

/// Secrets that a workspace must not hold, because the store keeps its contents.
#[derive(Debug, thiserror::Error)]
#[error(
    "the workspace's {0} holds a secret that a step was given, and what is in the workspace is kept in the store: remove it \
     before the step ends (git takes a token from a credential helper, and needs none in its configuration)"
)]
pub(super) struct HoldsSecret(String);

/// A folder as it was read.
pub(super) struct Scanned {
    /// The snapshot, with its contents when all that the store lacks are small together.
    pub(super) snapshot: Snapshot,
    /// The contents that the store lacks, when they are not in the snapshot.
    pub(super) pieces: VecDeque<Piece>,
}

/// A content that the store may lack.
pub(super) struct Piece {
    pub(super) digest: Digest,
    pub(super) length: usize,
    pub(super) source: Source,
}

/// The place from which a content is read when it is uploaded.
pub(super) enum Source {
    File {
        path: PathBuf,
        offset: u64,
    },
    /// A part of the manifest.
    Memory(Vec<u8>),
}

struct Scan<'a> {
    root: &'a Path,
    stored: &'a BTreeSet<Digest>,
    mask: &'a Mask,
    entries: Vec<Entry>,
    needs: BTreeSet<Digest>,
    /// Contents that the store may lack, by their place in files.
    pieces: VecDeque<Piece>,
    /// The same contents themselves, as long as they are at most a chunk together.
    contents: Vec<(Digest, Vec<u8>)>,
    /// Bytes of them all.
    lacking: usize,
    /// Bytes of all files.
    size: u64,
    /// Bytes, more or less, of the entries.
    listed: usize,
}

/// Reads the folder at `root`. Contents that are in `stored` are only named. A folder that holds a
/// secret is refused.
pub(super) fn scan(root: &Path, stored: &BTreeSet<Digest>, mask: &Mask) -> io::Result<Scanned> {
    let mut scan = Scan {
        root,
        stored,
        mask,
        entries: Vec::new(),
        needs: BTreeSet::new(),
        pieces: VecDeque::new(),
        contents: Vec::new(),
        lacking: 0,
        size: 0,
        listed: 0,
    };
    scan.folder(root)?;
    let digest = scan.manifest()?;
    let is_small = scan.lacking <= CHUNK;
    Ok(Scanned {
        snapshot: Snapshot {
            digest,
            needs: scan.needs.into_iter().collect(),
            contents: scan.contents,
        },
        pieces: if is_small {
            VecDeque::new()
        } else {
            scan.pieces
        },
    })
}

impl Scan<'_> {
    fn folder(&mut self, folder: &Path) -> io::Result<()> {
        let children =
            fs::read_dir(folder).and_then(|children| children.collect::<Result<Vec<_>, _>>());
        let mut children = children.map_err(at("read the folder", folder))?;
        children.sort_by_key(fs::DirEntry::file_name);
        children.iter().try_for_each(|child| self.child(child))
    }

    fn child(&mut self, child: &fs::DirEntry) -> io::Result<()> {
        let path = child.path();
        let kind = child.file_type().map_err(at("look at", &path))?;
        let name = relative(self.root, &path)?;
        if kind.is_dir() {
            let metadata = child.metadata().map_err(at("look at", &path))?;
            let private = is_private(&metadata);
            self.list(name, Kind::Folder { private })?;
            return self.folder(&path);
        }
        let kind = if kind.is_symlink() {
            let target = fs::read_link(&path).map_err(at("read the link", &path))?;
            let target = target
                .to_str()
                .ok_or_else(|| io::Error::other(format!("the target of {name} is not UTF-8")))?;
            Kind::Link {
                target: target.to_owned(),
            }
        } else if kind.is_file() {
            self.file(&path, &name)?
        } else {
            // A socket or a pipe means nothing to a later process.
            return Ok(());
        };
        self.list(name, kind)
    }

    fn list(&mut self, path: String, kind: Kind) -> io::Result<()> {
        self.listed += path.len() + kind.written_length();
        if self.listed > LONGEST_LIST {
            return Err(too_many());
        }
        self.entries.push(Entry { path, kind });
        Ok(())
    }

    fn file(&mut self, path: &Path, name: &str) -> io::Result<Kind> {
        let opened = files::open(path, Links::Refuse);
        let (mut file, metadata) = opened.map_err(io::Error::from).map_err(at("read", path))?;
        if metadata.len() > LARGEST.saturating_sub(self.size) {
            return Err(too_large());
        }
        let chunks = self.chunks(&mut file, path, name)?;
        let executable = metadata.permissions().mode() & 0o100 != 0;
        Ok(Kind::file(chunks, executable, is_private(&metadata)))
    }

    /// Reads a file chunk by chunk. One that is empty has an empty chunk.
    fn chunks(&mut self, file: &mut File, path: &Path, name: &str) -> io::Result<Vec<Digest>> {
        let mut chunks = Vec::new();
        let mut offset = 0;
        let mut secrets = self.mask.file_search();
        loop {
            let chunk = files::read_next(file, CHUNK).map_err(at("read", path))?;
            let length = chunk.len();
            if length == 0 && offset > 0 {
                return Ok(chunks);
            }
            self.size += length as u64;
            // It may have grown since it was looked at.
            if self.size > LARGEST {
                return Err(too_large());
            }
            if secrets.finds_in(&chunk) {
                return Err(io::Error::other(HoldsSecret(format!("file {name}"))));
            }
            let path = path.to_owned();
            chunks.push(self.keep(chunk, |_| Source::File { path, offset }));
            offset += length as u64;
            if length < CHUNK {
                return Ok(chunks);
            }
        }
    }

    /// Keeps the manifest, in chunks when it is long. Gives its digest.
    fn manifest(&mut self) -> io::Result<Digest> {
        let manifest = serde_json::to_vec(&self.entries).map_err(io::Error::other)?;
        self.entries = Vec::new();
        if self.mask.file_search().finds_in(&manifest) {
            let what = "list of names and links".to_owned();
            return Err(io::Error::other(HoldsSecret(what)));
        }
        if manifest.len() <= CHUNK {
            return Ok(self.keep(manifest, |content| Source::Memory(content.to_vec())));
        }
        let mut chunks = Vec::new();
        for chunk in manifest.chunks(CHUNK) {
            let chunk = chunk.to_vec();
            chunks.push(self.keep(chunk, |content| Source::Memory(content.to_vec())));
        }
        let list = serde_json::to_vec(&ChunkList::new(&chunks)).map_err(io::Error::other)?;
        Ok(self.keep(list, |content| Source::Memory(content.to_vec())))
    }

    /// Notes that the snapshot needs a content, and what is missing of it in the store.
    fn keep(&mut self, content: Vec<u8>, source: impl FnOnce(&[u8]) -> Source) -> Digest {
        let digest = Digest::of(&content);
        if !self.needs.insert(digest) || self.stored.contains(&digest) {
            return digest;
        }
        self.lacking += content.len();
        self.pieces.push_back(Piece {
            digest,
            length: content.len(),
            source: source(&content),
        });
        if self.lacking <= CHUNK {
            self.contents.push((digest, content));
        } else {
            self.contents = Vec::new();
        }
        digest
    }
}

fn too_large() -> io::Error {
    let limit = LARGEST >> 20;
    let message =
        format!("the workspace is larger than {limit} MiB: keep only what later steps need");
    io::Error::new(io::ErrorKind::FileTooLarge, message)
}

fn too_many() -> io::Error {
    let limit = LONGEST_LIST >> 20;
    let message = format!(
        "the list of the workspace's files is longer than {limit} MiB: keep only what later steps \
         need, or pack it"
    );
    io::Error::new(io::ErrorKind::FileTooLarge, message)
}

/// Returns whether only its owner may look into it.
fn is_private(metadata: &fs::Metadata) -> bool {
    metadata.permissions().mode() & 0o077 == 0
}
