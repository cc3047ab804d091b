//! Directories for work in progress: removed when the attempt ends, or by the next attempt if it
//! was killed.

#![expect(clippy::disallowed_methods, reason = "called on a blocking thread")]

use std::path::{Path, PathBuf};
use std::{fs, io};

use tempfile::TempDir;

/// A directory that is removed on drop.
#[derive(Debug)]
pub(super) struct Scratch(TempDir);

impl Scratch {
    /// Creates a directory under `folder` for the step `key`; remains of earlier attempts of that
    /// step are removed.
    pub(super) fn new(folder: &Path, key: &str) -> io::Result<Self> {
        let prefix = format!("{}.", key.replace('/', "-"));
        fs::create_dir_all(folder)?;
        for left in fs::read_dir(folder)? {
            let left = left?;
            if left.file_name().to_string_lossy().starts_with(&prefix) {
                // Another attempt that is ending may be removing it too.
                let _ = fs::remove_dir_all(left.path());
            }
        }
        Ok(Self(
            tempfile::Builder::new()
                .prefix(&prefix)
                .tempdir_in(folder)?,
        ))
    }

    /// Creates an empty subdirectory.
    pub(super) fn sub(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.0.path().join(name);
        fs::create_dir(&path)?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_of_the_same_step_are_removed_and_others_stay() {
        let folder = tempfile::tempdir().unwrap();
        for left in ["r1-push.abc/deep", "r1-push_more.abc", "r2-push.abc"] {
            fs::create_dir_all(folder.path().join(left)).unwrap();
        }
        let scratch = Scratch::new(folder.path(), "r1/push").unwrap();
        let made = scratch.sub("x").unwrap();
        assert!(made.is_dir() && !folder.path().join("r1-push.abc").exists());
        assert!(
            folder.path().join("r1-push_more.abc").exists()
                && folder.path().join("r2-push.abc").exists()
        );
        drop(scratch);
        assert!(!made.exists());
    }
}
