//! Reads a folder into a snapshot.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{Entry, Kind, LARGEST, Snapshot, relative};
use crate::Digest;

struct Scan<'a> {
    root: &'a Path,
    stored: &'a BTreeSet<Digest>,
    entries: Vec<Entry>,
    needs: BTreeSet<Digest>,
    contents: Vec<(Digest, Vec<u8>)>,
    size: u64,
}

/// Reads the folder at `root`. Contents that are in `stored` are named, not carried.
pub(super) fn scan(root: &Path, stored: &BTreeSet<Digest>) -> io::Result<Snapshot> {
    let (entries, needs, contents) = (Vec::new(), BTreeSet::new(), Vec::new());
    let mut scan = Scan { root, stored, entries, needs, contents, size: 0 };
    scan.folder(root)?;
    let manifest = serde_json::to_vec(&scan.entries).map_err(io::Error::other)?;
    let digest = scan.keep(manifest);
    Ok(Snapshot { digest, needs: scan.needs.into_iter().collect(), contents: scan.contents })
}

impl Scan<'_> {
    fn folder(&mut self, folder: &Path) -> io::Result<()> {
        let mut children = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
        children.sort_by_key(fs::DirEntry::file_name);
        children.iter().try_for_each(|child| self.child(child))
    }

    fn child(&mut self, child: &fs::DirEntry) -> io::Result<()> {
        let (path, kind) = (child.path(), child.file_type()?);
        let name = relative(self.root, &path)?;
        if kind.is_dir() {
            self.entries.push(Entry { path: name, kind: Kind::Folder });
            return self.folder(&path);
        }
        let kind = if kind.is_symlink() {
            let target = fs::read_link(&path)?;
            let target =
                target.to_str().ok_or_else(|| io::Error::other(format!("the target of {name} is not UTF-8")))?;
            Kind::Link { target: target.to_owned() }
        } else if kind.is_file() {
            self.file(&path)?
        } else {
            // A socket or a pipe means nothing to a later process.
            return Ok(());
        };
        self.entries.push(Entry { path: name, kind });
        Ok(())
    }

    fn file(&mut self, path: &Path) -> io::Result<Kind> {
        let metadata = fs::metadata(path)?;
        self.size += metadata.len();
        if self.size > LARGEST {
            let limit = LARGEST >> 20;
            let message = format!("the workspace is larger than {limit} MiB: keep only what later steps need");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        }
        let executable = metadata.permissions().mode() & 0o100 != 0;
        Ok(Kind::File { digest: self.keep(fs::read(path)?).to_string(), executable })
    }

    fn keep(&mut self, content: Vec<u8>) -> Digest {
        let digest = Digest::of(&content);
        if self.needs.insert(digest) && !self.stored.contains(&digest) {
            self.contents.push((digest, content));
        }
        digest
    }
}
