//! Makes a folder hold what a snapshot says.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use super::{Entry, Kind};

/// An empty folder at `path`, whatever was there.
pub(super) fn empty(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::create_dir_all(path)
}

/// Writes one entry below `root`. Entries come in order: a folder before what is in it.
pub(super) fn entry(root: &Path, entry: &Entry, content: &[u8]) -> io::Result<()> {
    let path = below(root, &entry.path)?;
    match &entry.kind {
        Kind::Folder => fs::create_dir(&path),
        Kind::Link { target } => symlink(target, &path),
        Kind::File { executable, .. } => {
            fs::write(&path, content)?;
            let mode = if *executable { 0o755 } else { 0o644 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))
        }
    }
}

/// A manifest is data from a database: it is not trusted to stay below the folder.
fn below(root: &Path, path: &str) -> io::Result<PathBuf> {
    let inside = Path::new(path);
    let plain = inside.components().all(|part| matches!(part, Component::Normal(_)));
    let parent_is_folder = || {
        let parents = inside.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty());
        parents.map(|parent| root.join(parent)).all(|parent| parent.symlink_metadata().is_ok_and(|it| it.is_dir()))
    };
    if plain && !path.is_empty() && parent_is_folder() {
        return Ok(root.join(inside));
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, format!("a snapshot names a path outside its folder: {path}")))
}
