//! Identity of a local forge: a mark file in its directory, created once, by which workers
//! recognise a shared forge.
//!
//! The path of a directory proves nothing: two hosts may have different directories at one path, or
//! one directory at two. The mark moves with the directory, over a mount or a rename. It also
//! contains the number that the file system gave the directory. A copy has another number, so a
//! backup restored beside the original is detected.

#![expect(
    clippy::disallowed_methods,
    reason = "its callers take it off the runtime"
)]

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use surefoot::WorkerId;
use surefoot::files::{self, FileError, Links};

use super::{ForgeError, LocalForge};

/// The mark file, in the directory of the repositories.
pub const MARK_FILE: &str = ".surefoot-forge";

/// Suffix of an unfinished mark's name.
const UNFINISHED: &str = ".new";

/// Resource of a store's local forge, required by a run that has no repository yet.
pub const LOCAL_FORGE: &str = "forge:local";

/// Prefix of the resources that are forges.
const FORGES: &str = "forge:";

/// Size limit of a mark file.
const LONGEST: u64 = 1024;

/// Identifies a local forge, at whatever path it is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForgeId(String);

impl ForgeId {
    fn new() -> Self {
        // Any unique text will do; worker ids are generated the same way.
        Self(WorkerId::new().to_string())
    }

    /// Parses the text of [`Self::as_str`]; `None` if it is not an identity.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = |letter: char| letter.is_ascii_hexdigit() || letter == '-';
        (text.len() == 36 && text.chars().all(fits)).then(|| Self(text.to_owned()))
    }

    /// The identity as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The resource required by a run whose repository is here.
    pub fn resource(&self) -> String {
        format!("{FORGES}{}", self.0)
    }

    /// The forge that holds the repository of a run with these requirements; `None` while the run
    /// has none.
    pub fn of_run(requires: &BTreeSet<String>) -> Option<Self> {
        let forges = requires.iter().filter_map(|name| name.strip_prefix(FORGES));
        forges.into_iter().find_map(Self::parse)
    }
}

impl fmt::Display for ForgeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A forge's mark as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForgeMark {
    /// The forge's identity.
    pub id: ForgeId,
    /// True if the mark was created in another directory: this one is a copy, a restored backup, or
    /// was moved to another file system.
    pub is_copied: bool,
}

impl LocalForge {
    /// Directory of the repositories.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Reads the mark of this forge; `None` if there is none yet.
    ///
    /// # Errors
    /// If the directory cannot be read, or its mark is damaged.
    pub fn mark(&self) -> Result<Option<ForgeMark>, ForgeError> {
        let path = self.mark_file();
        let text = match files::read_text(&path, Links::Refuse, LONGEST) {
            Ok(text) => text,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(FileError::TooLarge(_) | FileError::NotText) => return Err(damaged(&path)),
            Err(error) => {
                return Err(ForgeError::Io {
                    what: format!("read {}", path.display()),
                    error: error.into(),
                });
            }
        };
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        };
        let Some(id) = field("forge").and_then(ForgeId::parse) else {
            return Err(damaged(&path));
        };
        let folder = inode(&self.folder)
            .map_err(ForgeError::io(format!("look at {}", self.folder.display())))?;
        let is_copied = field("folder").is_some_and(|made_in| made_in != folder.to_string());
        Ok(Some(ForgeMark { id, is_copied }))
    }

    /// Reads the mark of this forge, or creates it. Two processes that create one concurrently get
    /// the same mark.
    ///
    /// # Errors
    /// If the directory cannot be written or read, or its mark is damaged.
    pub fn establish(&self) -> Result<ForgeMark, ForgeError> {
        let made = |path: &Path| format!("make the mark of the local forge in {}", path.display());
        fs::create_dir_all(&self.folder).map_err(ForgeError::io(made(&self.folder)))?;
        if let Some(mark) = self.mark()? {
            self.remove_unfinished_marks()
                .map_err(ForgeError::io(made(&self.folder)))?;
            return Ok(mark);
        }
        // A hard link is created completely or not at all, on network file systems too, and never
        // replaces another.
        let temporary = self
            .write_mark(&ForgeId::new())
            .map_err(ForgeError::io(made(&self.folder)))?;
        let linked = fs::hard_link(temporary.path(), self.mark_file());
        sync(&self.folder).map_err(ForgeError::io(made(&self.folder)))?;
        // Later starts only read the mark, so the remains of earlier ones go now.
        self.remove_unfinished_marks()
            .map_err(ForgeError::io(made(&self.folder)))?;
        // A failed link does not matter once another process has created the mark.
        match (self.mark()?, linked) {
            (Some(mark), _) => Ok(mark),
            (None, Err(error)) => Err(ForgeError::Io {
                what: made(&self.folder),
                error,
            }),
            (None, Ok(())) => Err(damaged(&self.mark_file())),
        }
    }

    /// Removes the remains of processes that were killed while they created a mark. A process that
    /// is still creating one finds the existing mark.
    fn remove_unfinished_marks(&self) -> io::Result<()> {
        let prefix = format!("{MARK_FILE}.");
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(&prefix) && name.ends_with(UNFINISHED) {
                remove_if_there(&self.folder.join(name.as_ref()))?;
            }
        }
        Ok(())
    }

    /// Records that the forge is in this directory from now on, even if that is a copy.
    ///
    /// # Errors
    /// If the directory cannot be written or read, or its mark is damaged.
    pub fn settle(&self) -> Result<ForgeId, ForgeError> {
        let mark = self.establish()?;
        if mark.is_copied {
            let what = || format!("write {}", self.mark_file().display());
            let temporary = self.write_mark(&mark.id).map_err(ForgeError::io(what()))?;
            let persisted = temporary
                .persist(self.mark_file())
                .map_err(|error| error.error);
            persisted
                .and_then(|_| sync(&self.folder))
                .map_err(ForgeError::io(what()))?;
        }
        Ok(mark.id)
    }

    fn mark_file(&self) -> PathBuf {
        self.folder.join(MARK_FILE)
    }

    /// A synced mark under a temporary name, removed on drop.
    fn write_mark(&self, id: &ForgeId) -> io::Result<tempfile::NamedTempFile> {
        let prefix = format!("{MARK_FILE}.");
        let mut file = tempfile::Builder::new()
            .prefix(&prefix)
            .suffix(UNFINISHED)
            .tempfile_in(&self.folder)?;
        writeln!(file, "forge {id}\nfolder {}", inode(&self.folder)?)?;
        file.as_file().sync_all()?;
        Ok(file)
    }
}

fn inode(folder: &Path) -> io::Result<u64> {
    fs::metadata(folder).map(|metadata| metadata.ino())
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn damaged(path: &Path) -> ForgeError {
    let error = io::Error::other(
        "it is damaged: put it back from a backup, or remove it to give the folder a new identity",
    );
    ForgeError::Io {
        what: format!("read the mark of the local forge, {}", path.display()),
        error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_survives_restarts_and_moves_of_its_folder() {
        let place = tempfile::tempdir().unwrap();
        let here = place.path().join("here");
        let there = place.path().join("there");
        assert_eq!(
            LocalForge::new(&here).mark().unwrap(),
            None,
            "looking makes nothing"
        );
        assert!(!here.exists());
        let made = LocalForge::new(&here).establish().unwrap();
        assert_eq!(LocalForge::new(&here).establish().unwrap(), made);
        fs::rename(&here, &there).unwrap();
        assert_eq!(LocalForge::new(&there).mark().unwrap(), Some(made.clone()));
        assert!(!made.is_copied);
        assert_ne!(
            LocalForge::new(&here).establish().unwrap().id,
            made.id,
            "a new folder is a new forge"
        );
        assert_eq!(
            fs::read_dir(&there).unwrap().count(),
            1,
            "nothing is left beside the mark"
        );
    }

    #[test]
    fn processes_that_make_a_mark_at_once_have_the_same() {
        let place = tempfile::tempdir().unwrap();
        let together = std::sync::Barrier::new(8);
        let establish = || {
            together.wait();
            LocalForge::new(place.path()).establish().unwrap()
        };
        let marks = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(establish)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect::<Vec<_>>()
        });
        assert!(marks.iter().all(|mark| *mark == marks[0]), "{marks:?}");
    }

    #[test]
    fn a_mark_that_a_killed_process_left_unfinished_is_removed() {
        let place = tempfile::tempdir().unwrap();
        let forge = LocalForge::new(place.path());
        let made = forge.establish().unwrap();
        fs::write(place.path().join(".surefoot-forge.abc.new"), "").unwrap();
        fs::create_dir(place.path().join("shop.git")).unwrap();
        assert_eq!(forge.establish().unwrap(), made);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2);
    }

    #[test]
    fn creating_a_mark_removes_the_unfinished_one_of_a_killed_process() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join(".surefoot-forge.abc.new"), "").unwrap();
        LocalForge::new(place.path()).establish().unwrap();
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_copy_is_noticed_and_may_be_settled() {
        let place = tempfile::tempdir().unwrap();
        let original = place.path().join("original");
        let copy = place.path().join("copy");
        let made = LocalForge::new(&original).establish().unwrap();
        fs::create_dir(&copy).unwrap();
        fs::copy(original.join(MARK_FILE), copy.join(MARK_FILE)).unwrap();
        let copied = LocalForge::new(&copy);
        assert_eq!(
            copied.establish().unwrap(),
            ForgeMark {
                id: made.id.clone(),
                is_copied: true
            }
        );
        assert_eq!(copied.settle().unwrap(), made.id);
        assert!(!copied.mark().unwrap().unwrap().is_copied);
    }

    #[test]
    fn an_invalid_mark_is_refused_and_left() {
        let place = tempfile::tempdir().unwrap();
        let forge = LocalForge::new(place.path());
        for text in ["", "forge", "forge ../../x\n", &"x".repeat(5000)] {
            fs::write(forge.mark_file(), text).unwrap();
            assert!(
                forge
                    .establish()
                    .unwrap_err()
                    .to_string()
                    .contains("damaged"),
                "{text}"
            );
        }
        fs::remove_file(forge.mark_file()).unwrap();
        std::os::unix::fs::symlink("/dev/zero", forge.mark_file()).unwrap();
        assert!(
            forge
                .establish()
                .unwrap_err()
                .to_string()
                .contains("not a file")
        );
    }
}
