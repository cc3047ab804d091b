//! Makes a folder hold what a snapshot says.

#![expect(
    clippy::disallowed_methods,
    reason = "a folder is restored on a blocking thread"
)]

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use super::at;
use super::manifest::{Entry, Kind};

/// An empty folder at `path`, whatever was there.
pub(super) fn empty(path: &Path) -> io::Result<()> {
    remove(path)?;
    fs::create_dir_all(path).map_err(at("make the folder", path))
}

/// Removes the folder, if there is one. What a step protected from being written (Go's module cache
/// does) is no obstacle.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(path)?;
            fs::remove_dir_all(path)
        }
        removed => removed,
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(at("remove the folder", path)(error))
        }
        _ => Ok(()),
    }
}

/// Lets the owner into the folder and all folders below it, and change them.
fn open_up(folder: &Path) -> io::Result<()> {
    let mode = fs::symlink_metadata(folder)
        .map_err(at("look at", folder))?
        .permissions()
        .mode();
    fs::set_permissions(folder, Permissions::from_mode(mode | 0o700))
        .map_err(at("open up", folder))?;
    for child in fs::read_dir(folder).map_err(at("read the folder", folder))? {
        let child = child.map_err(at("read the folder", folder))?;
        // A link may point outside the workspace.
        if child
            .file_type()
            .map_err(at("look at", &child.path()))?
            .is_dir()
        {
            open_up(&child.path())?;
        }
    }
    Ok(())
}

/// A file that is being restored, and its path.
pub(super) struct OpenFile(File, PathBuf);

impl OpenFile {
    /// Writes the next part of the file.
    pub(super) fn append(&mut self, part: &[u8]) -> io::Result<()> {
        self.0.write_all(part).map_err(at("restore", &self.1))
    }
}

/// Makes one entry below `root`; a file is still empty. Entries come in order: a folder before what
/// is in it.
pub(super) fn entry(root: &Path, entry: &Entry) -> io::Result<Option<OpenFile>> {
    let path = below(root, &entry.path)?;
    let made = match &entry.kind {
        Kind::Folder { private } => DirBuilder::new()
            .mode(if *private { 0o700 } else { 0o755 })
            .create(&path)
            .map(|()| None),
        Kind::Link { target } => symlink(target, &path).map(|()| None),
        Kind::File {
            executable,
            private,
            ..
        } => {
            let mode = if *executable { 0o755 } else { 0o644 };
            file(&path, if *private { mode & 0o700 } else { mode }).map(Some)
        }
    };
    let made = made.map_err(at("restore", &path))?;
    Ok(made.map(|file| OpenFile(file, path)))
}

/// Creates a file with its final mode, so that a private file is at no time readable by others.
fn file(path: &Path, mode: u32) -> io::Result<File> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    // The process's umask may have taken something from it.
    file.set_permissions(Permissions::from_mode(mode))?;
    Ok(file)
}

/// A manifest is data from a database: it is not trusted to stay below the folder.
fn below(root: &Path, path: &str) -> io::Result<PathBuf> {
    let inside = Path::new(path);
    let plain = inside
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    let parent_is_folder = || {
        let parents = inside
            .ancestors()
            .skip(1)
            .filter(|parent| !parent.as_os_str().is_empty());
        parents
            .map(|parent| root.join(parent))
            .all(|parent| parent.symlink_metadata().is_ok_and(|it| it.is_dir()))
    };
    if plain && !path.is_empty() && parent_is_folder() {
        return Ok(root.join(inside));
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidData,
        format!("a snapshot names a path outside its folder: {path}"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn protected_folders_are_opened_up_and_links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("in/side");
        let outside = folder.path().join("out");
        fs::create_dir_all(&inside).unwrap();
        fs::create_dir(&outside).unwrap();
        symlink(&outside, inside.join("link")).unwrap();
        for path in [&inside, &outside, &folder.path().join("in")] {
            fs::set_permissions(path, Permissions::from_mode(0o555)).unwrap();
        }
        open_up(&folder.path().join("in")).unwrap();
        assert_eq!((mode(&inside), mode(&outside)), (0o755, 0o555));
        remove(&folder.path().join("in")).unwrap();
        remove(&folder.path().join("in")).unwrap();
        assert!(outside.is_dir());
    }

    #[test]
    fn what_is_the_owners_alone_stays_so() {
        let folder = tempfile::tempdir().unwrap();
        let make = |path: &str, kind: Kind| {
            entry(
                folder.path(),
                &Entry {
                    path: path.to_owned(),
                    kind,
                },
            )
            .unwrap()
        };
        let file = |executable, private| Kind::file(Vec::new(), executable, private);
        make("keys", Kind::Folder { private: true });
        make("keys/id", file(false, true));
        make("keys/run", file(true, true));
        make("all", file(false, false));
        let modes =
            ["keys", "keys/id", "keys/run", "all"].map(|path| mode(&folder.path().join(path)));
        assert_eq!(modes, [0o700, 0o600, 0o700, 0o644]);
    }

    #[test]
    fn a_path_that_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let one = Entry {
            path: "twice".to_owned(),
            kind: Kind::file(Vec::new(), false, false),
        };
        entry(folder.path(), &one).unwrap();
        let error = entry(folder.path(), &one).err().unwrap().to_string();
        assert!(
            error.starts_with("cannot restore") && error.contains("/twice: "),
            "{error}"
        );
    }
}
