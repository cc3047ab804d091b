//! Reads a folder into a snapshot.

#![expect(
    clippy::disallowed_methods,
    reason = "a snapshot is made on a blocking thread"
)]

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{Entry, Kind, LARGEST, Snapshot, at, relative};
use crate::Digest;
use crate::files::{self, FileError, Links};
use crate::mask::Mask;

/// What a workspace may not hold, for its contents are kept in the store.
#[derive(Debug, thiserror::Error)]
#[error(
    "the workspace's {0} holds a secret that a step was given, and what is in the workspace is kept in the store: remove it \
     before the step ends (git takes a token from a credential helper, and needs none in its configuration)"
)]
pub(super) struct HoldsSecret(String);

struct Scan<'a> {
    root: &'a Path,
    stored: &'a BTreeSet<Digest>,
    mask: &'a Mask,
    entries: Vec<Entry>,
    needs: BTreeSet<Digest>,
    contents: Vec<(Digest, Vec<u8>)>,
    size: u64,
}

/// Reads the folder at `root`. Contents that are in `stored` are named, not carried. One that holds a secret is refused.
pub(super) fn scan(root: &Path, stored: &BTreeSet<Digest>, mask: &Mask) -> io::Result<Snapshot> {
    let (entries, needs, contents) = (Vec::new(), BTreeSet::new(), Vec::new());
    let mut scan = Scan {
        root,
        stored,
        mask,
        entries,
        needs,
        contents,
        size: 0,
    };
    scan.folder(root)?;
    let manifest = serde_json::to_vec(&scan.entries).map_err(io::Error::other)?;
    if mask.file_search().finds_in(&manifest) {
        return Err(io::Error::other(HoldsSecret(
            "list of names and links".to_owned(),
        )));
    }
    let digest = scan.keep(manifest);
    Ok(Snapshot {
        digest,
        needs: scan.needs.into_iter().collect(),
        contents: scan.contents,
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
            self.entries.push(Entry {
                path: name,
                kind: Kind::Folder {
                    private: is_private(&metadata),
                },
            });
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
        self.entries.push(Entry { path: name, kind });
        Ok(())
    }

    fn file(&mut self, path: &Path, name: &str) -> io::Result<Kind> {
        let metadata = fs::symlink_metadata(path).map_err(at("look at", path))?;
        let left = LARGEST.saturating_sub(self.size);
        let content = match files::read(path, Links::Refuse, left) {
            Err(FileError::TooLarge(_)) => return Err(too_large()),
            content => content.map_err(io::Error::from).map_err(at("read", path))?,
        };
        self.size += content.len() as u64;
        let executable = metadata.permissions().mode() & 0o100 != 0;
        if self.mask.file_search().finds_in(&content) {
            return Err(io::Error::other(HoldsSecret(format!("file {name}"))));
        }
        let digest = self.keep(content).to_string();
        Ok(Kind::File {
            digest,
            executable,
            private: is_private(&metadata),
        })
    }

    fn keep(&mut self, content: Vec<u8>) -> Digest {
        let digest = Digest::of(&content);
        if self.needs.insert(digest) && !self.stored.contains(&digest) {
            self.contents.push((digest, content));
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

/// Whether only its owner may look into it.
fn is_private(metadata: &fs::Metadata) -> bool {
    metadata.permissions().mode() & 0o077 == 0
}
