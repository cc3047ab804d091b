//! The database's file: its real path, the lock on its inode, and the check that it is still in
//! place.
//!
//! SQLite's own locks are POSIX locks, and closing any descriptor of a file drops all locks that
//! the process has on it. So a process has one descriptor beside SQLite's for each database, opened
//! before the first connection and closed after the last. The worker lock is an `flock` on it,
//! which is independent of POSIX locks on local file systems.

#![expect(
    clippy::disallowed_methods,
    reason = "runs before the store is open, on its own thread, or for microseconds"
)]

use std::collections::BTreeMap;
use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use surefoot::StoreError;

/// Databases that stores of this process have open.
static OPEN: Mutex<BTreeMap<Inode, Shared>> = Mutex::new(BTreeMap::new());

/// Identity of a file, whatever its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Inode {
    device: u64,
    number: u64,
}

impl Inode {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            number: metadata.ino(),
        }
    }
}

/// The one descriptor of a database, shared by all stores of this process.
#[derive(Debug)]
struct Shared {
    file: File,
    stores: usize,
    has_worker: bool,
}

/// An open database file. Dropped after the last connection to it.
#[derive(Debug)]
pub(crate) struct DatabaseFile {
    path: PathBuf,
    inode: Inode,
}

impl DatabaseFile {
    /// Opens the file at `path`. A missing file is created for its owner alone; SQLite gives its
    /// log the same mode.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] if it is not a regular file, or if it has other hard links.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let mut file = Self {
            path: path.to_owned(),
            inode: acquire(path)?,
        };
        file.path = std::fs::canonicalize(path).map_err(|error| cannot_open(&error))?;
        check_mount(&file.path)?;
        Ok(file)
    }

    /// The path without symbolic links, the same for every path by which the store was opened.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Tries to take the worker lock of the inode. Returns false if another store has it, in this
    /// process or another.
    pub(crate) fn try_lock(&self) -> io::Result<bool> {
        self.with(|shared| {
            let taken = !shared.has_worker && lock_inode(&shared.file, File::try_lock)?;
            shared.has_worker |= taken;
            Ok(taken)
        })
    }

    /// Returns whether a worker holds the lock. The check takes a shared lock for a moment.
    pub(crate) fn is_locked(&self) -> io::Result<bool> {
        self.with(|shared| {
            let is_free = !shared.has_worker && lock_inode(&shared.file, File::try_lock_shared)?;
            if is_free {
                shared.file.unlock()?;
            }
            Ok(!is_free)
        })
    }

    /// Releases the worker lock taken by this store.
    pub(crate) fn unlock(&self) {
        let unlocked = self.with(|shared| {
            shared.has_worker = false;
            shared.file.unlock()
        });
        if let Err(error) = unlocked {
            tracing::error!(%error, "cannot release the worker lock; it ends with this process");
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Shared) -> io::Result<T>) -> io::Result<T> {
        open_databases()
            .get_mut(&self.inode)
            .map_or_else(|| Err(ErrorKind::NotFound.into()), act)
    }
}

impl Drop for DatabaseFile {
    /// Closes the descriptor with the last store, before another can open the file.
    fn drop(&mut self) {
        let mut open = open_databases();
        let Some(shared) = open.get_mut(&self.inode) else {
            return;
        };
        shared.stores -= 1;
        if shared.stores == 0 {
            open.remove(&self.inode);
        }
    }
}

fn open_databases() -> MutexGuard<'static, BTreeMap<Inode, Shared>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts another store on the file at `path`, which is opened only if no store of this process has
/// it open.
fn acquire(path: &Path) -> Result<Inode, StoreError> {
    let mut open = open_databases();
    match std::fs::metadata(path) {
        Ok(metadata) => {
            let inode = check(&metadata)?;
            if let Some(shared) = open.get_mut(&inode) {
                shared.stores += 1;
                return Ok(inode);
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(cannot_open(&error)),
    }
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path);
    let file = file.map_err(|error| cannot_open(&error))?;
    let inode = check(&file.metadata().map_err(|error| cannot_open(&error))?)?;
    // An entry exists only if the file was just moved to this path: then the older descriptor stays
    // open too.
    match open.get_mut(&inode) {
        Some(shared) => {
            std::mem::forget(file);
            shared.stores += 1;
        }
        None => drop(open.insert(
            inode,
            Shared {
                file,
                stores: 1,
                has_worker: false,
            },
        )),
    }
    Ok(inode)
}

/// Refuses a file that cannot be a database for one worker only.
fn check(metadata: &Metadata) -> Result<Inode, StoreError> {
    if !metadata.is_file() {
        return Err(StoreError::Unusable(
            "it is not a regular file: give the path of a file".to_owned(),
        ));
    }
    if metadata.nlink() > 1 {
        return Err(StoreError::Unusable(format!(
            "it has {} names (hard links), and each would get a log of its own: remove all but one \
             (`find DIRECTORY -samefile FILE` shows them), or copy the file",
            metadata.nlink()
        )));
    }
    Ok(Inode::of(metadata))
}

/// Refuses a file that is a mount point: as with a hard link, its log would not be the log of the
/// other path.
#[cfg(target_os = "linux")]
fn check_mount(path: &Path) -> Result<(), StoreError> {
    use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
    let attributes =
        statx(CWD, path, AtFlags::empty(), StatxFlags::TYPE).map(|file| file.stx_attributes);
    // Kernels before 5.8 do not report this.
    if attributes.is_ok_and(|attributes| attributes.contains(StatxAttributes::MOUNT_ROOT)) {
        let message =
            "it is mounted as a single file, without the log beside it: mount its folder instead";
        return Err(StoreError::Unusable(message.to_owned()));
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn check_mount(_path: &Path) -> Result<(), StoreError> {
    Ok(())
}

fn cannot_open(error: &io::Error) -> StoreError {
    StoreError::Unavailable(match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            format!(
                "the store cannot be written: see the permissions of its file and folder ({error})"
            )
        }
        _ => format!(
            "the store's file cannot be opened: see that it and its folder are there ({error})"
        ),
    })
}

/// Takes an `flock`. It is left out on a file system that turns it into a POSIX lock, since that
/// would block every connection: there the lock file alone separates workers.
fn lock_inode(file: &File, take: impl Fn(&File) -> Result<(), TryLockError>) -> io::Result<bool> {
    if makes_posix_locks(file)? {
        return Ok(true);
    }
    match take(file) {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// `f_type` of statfs(2) for file systems on which an `flock` may become a POSIX lock: NFS, SMB
/// (three), 9P, AFS, Ceph.
#[cfg(target_os = "linux")]
const NETWORK: [u32; 7] = [
    0x6969,
    0x517b,
    0xff53_4d42,
    0xfe53_4d42,
    0x0102_1997,
    0x5346_414f,
    0x00c3_6400,
];

#[cfg(target_os = "linux")]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the numbers have 32 bits"
)]
fn makes_posix_locks(file: &File) -> io::Result<bool> {
    Ok(NETWORK.contains(&(rustix::fs::fstatfs(file)?.f_type as u32)))
}

#[cfg(not(target_os = "linux"))]
fn makes_posix_locks(_file: &File) -> io::Result<bool> {
    Ok(true)
}

/// Files of an open store, which must stay in place: data written to a removed file is lost, and
/// SQLite does not notice.
#[derive(Debug)]
pub(crate) struct Presence {
    files: Vec<(PathBuf, Inode)>,
}

impl Presence {
    /// Records the file and, with a write-ahead log, the log and its index. A connection is open,
    /// so both exist and stay.
    ///
    /// # Errors
    /// If one of them does not exist, or the file was replaced since it was opened.
    pub(crate) fn note(file: &DatabaseFile, has_log: bool) -> Result<Self, StoreError> {
        let mut files = vec![(file.path.clone(), file.inode)];
        let beside = if has_log {
            ["-wal", "-shm"].as_slice()
        } else {
            &[]
        };
        for end in beside {
            let path = with_end(&file.path, end);
            let metadata =
                std::fs::metadata(&path).map_err(|error| removed(&path, Some(&error)))?;
            files.push((path, Inode::of(&metadata)));
        }
        let presence = Self { files };
        presence.check()?;
        Ok(presence)
    }

    /// Checks that each file is still in place, at a cost of about a microsecond each.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if one was removed, moved or replaced.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        Self::check_files(&self.files)
    }

    /// Checks only the database's file.
    pub(crate) fn check_database(&self) -> Result<(), StoreError> {
        Self::check_files(self.files.get(..1).unwrap_or_default())
    }

    fn check_files(files: &[(PathBuf, Inode)]) -> Result<(), StoreError> {
        for (path, inode) in files {
            match std::fs::metadata(path) {
                Ok(metadata) if Inode::of(&metadata) == *inode => {}
                Ok(_) => return Err(removed(path, None)),
                Err(error) => return Err(removed(path, Some(&error))),
            }
        }
        Ok(())
    }
}

/// Path of a file beside the database, with its name plus `end`.
pub(crate) fn with_end(database: &Path, end: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(end);
    name.into()
}

fn removed(path: &Path, error: Option<&io::Error>) -> StoreError {
    let path = path.display();
    let what = match error {
        None => format!("{path} was replaced while the store was open"),
        Some(error) if error.kind() == ErrorKind::NotFound => {
            format!("{path} was removed while the store was open")
        }
        Some(error) => format!("{path} cannot be looked at while the store is open ({error})"),
    };
    StoreError::Unavailable(format!(
        "{what}: nothing is accepted; stop the processes that use the store, put its files or a backup in place, \
         and start again"
    ))
}
