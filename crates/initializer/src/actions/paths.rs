//! Keeps the paths that a workflow names inside the run's workspace.

#![expect(
    clippy::disallowed_methods,
    reason = "looks and makes folders; nothing that a step left is opened here"
)]

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use surefoot::StepError;
use surefoot::files::FileError;

/// Reason for which a path is refused, or could not be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum PathError {
    #[error("`{0}` leaves the workspace: give a relative path without `..`")]
    Leaves(String),
    #[error("`{0}` goes through a symbolic link: give the path that it leads to")]
    Link(String),
    #[error("`{0}` leaves the workspace through a symbolic link")]
    LinkOut(String),
    #[error("there is no `{0}` in the workspace")]
    Missing(String),
    #[error("cannot use `{path}` in the workspace: {error}")]
    Io {
        path: String,
        #[source]
        error: io::Error,
    },
}

impl PathError {
    fn io(path: &str, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing(path.to_owned()),
            _ => Self::Io {
                path: path.to_owned(),
                error,
            },
        }
    }

    /// Converts it into a step's failure: a mistake of a person is final, a disk error may be
    /// transient.
    pub(super) fn step(self) -> StepError {
        match self {
            Self::Io { .. } => StepError::from(self),
            _ => StepError::fatal(self),
        }
    }
}

/// Error for a file of the workspace that cannot be written.
pub(super) fn not_written(path: &str, error: FileError) -> StepError {
    match error {
        FileError::Io(error) => StepError::caused_by(format!("cannot write `{path}`"), error),
        error => StepError::fatal(format!("cannot write `{path}`: {error}")),
    }
}

/// Error for a file of the workspace that cannot be read.
pub(super) fn not_read(path: &str, error: FileError) -> StepError {
    match error {
        FileError::Io(error) => StepError::caused_by(format!("cannot read `{path}`"), error),
        error => StepError::fatal(format!("cannot read `{path}`: {error}")),
    }
}

/// The path below the workspace, without `.`; empty for the workspace itself.
fn relative(text: &str) -> Result<PathBuf, PathError> {
    let mut path = PathBuf::new();
    for part in Path::new(text).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::CurDir => (),
            _ => return Err(PathError::Leaves(text.to_owned())),
        }
    }
    if text.contains('\0') {
        Err(PathError::Leaves(text.to_owned()))
    } else {
        Ok(path)
    }
}

/// Real path of an existing file of the workspace; no symlink leads out of it.
pub(super) fn existing(workspace: &Path, text: &str) -> Result<PathBuf, PathError> {
    let root = workspace
        .canonicalize()
        .map_err(|error| PathError::io(".", error))?;
    let path = root
        .join(relative(text)?)
        .canonicalize()
        .map_err(|error| PathError::io(text, error))?;
    if path.starts_with(&root) {
        Ok(path)
    } else {
        Err(PathError::LinkOut(text.to_owned()))
    }
}

/// Path for writing a file: its directory is created, and no part of the path is a symlink.
pub(super) fn writable(workspace: &Path, text: &str) -> Result<PathBuf, PathError> {
    let inside = relative(text)?;
    let mut path = workspace
        .canonicalize()
        .map_err(|error| PathError::io(".", error))?;
    for part in inside.components() {
        path.push(part);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_symlink() => return Err(PathError::Link(text.to_owned())),
            Ok(_) => (),
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(PathError::io(text, error)),
        }
    }
    let path = workspace
        .canonicalize()
        .map_err(|error| PathError::io(".", error))?
        .join(inside);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| PathError::io(text, error))?;
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A workspace with a directory, a symlink to it, and symlinks out of it; beside it a file
    /// outside the workspace.
    fn workspace() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap().join("workspace");
        fs::create_dir_all(root.join("src")).unwrap();
        fs::write(folder.path().join("secret"), "").unwrap();
        symlink("src", root.join("inner")).unwrap();
        symlink("..", root.join("out")).unwrap();
        symlink(folder.path().join("secret"), root.join("file")).unwrap();
        (folder, root)
    }

    #[test]
    fn existing_paths_are_found_only_inside() {
        let (_folder, root) = workspace();
        let check = |text: &str, expect: Result<&str, &str>| match (existing(&root, text), expect) {
            (Ok(path), Ok(expect)) => {
                assert_eq!(path, root.join(expect).canonicalize().unwrap(), "{text}")
            }
            (Err(error), Err(expect)) => {
                assert!(error.to_string().contains(expect), "{text}: {error}")
            }
            (found, _) => panic!("{text}: {found:?}"),
        };
        check(".", Ok(""));
        check("", Ok(""));
        check("src", Ok("src"));
        check("./src/.", Ok("src"));
        check("inner", Ok("src"));
        check("gone", Err("there is no `gone`"));
        check("..", Err("leaves the workspace: give"));
        check("src/../..", Err("leaves the workspace: give"));
        check("/etc", Err("leaves the workspace: give"));
        check("out", Err("through a symbolic link"));
        check("out/secret", Err("through a symbolic link"));
        check("file", Err("through a symbolic link"));
    }

    #[test]
    fn writes_follow_no_link() {
        let (folder, root) = workspace();
        assert_eq!(
            writable(&root, "a/b/c.txt").unwrap(),
            root.join("a/b/c.txt")
        );
        assert!(root.join("a/b").is_dir());
        for text in ["out/x", "file", "inner/x", "../x", "/tmp/x", "a\0b"] {
            assert!(writable(&root, text).is_err(), "{text}");
        }
        assert!(!folder.path().join("x").exists());
    }
}
