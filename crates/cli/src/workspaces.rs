//! Workspaces of the worker in this process.
//!
//! With PostgreSQL, several workers of a host may share the data directory, and one that lost its
//! lease may still write while another has its runs. So each worker id has its own folder, locked
//! while it is in use. The next worker to start removes the folders of dead ones.
//!
//! The lock says for sure that a process is gone, which the database can only guess when a lease
//! runs out: what the dead ones of this host held need not wait for that.

#![expect(
    clippy::disallowed_methods,
    reason = "a folder is taken before the worker starts"
)]

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use surefoot::WorkerId;
use surefoot::files::{self, Links};

/// The largest lock file that is read: a line for each life of a worker.
const LARGEST_LOCK: u64 = 1 << 20;

/// This process's folder. The lock is let go of by the end of the process, however it comes.
static OWN: OnceLock<(PathBuf, File)> = OnceLock::new();

/// The workers of this host that were found dead.
static DEAD: Mutex<Vec<WorkerId>> = Mutex::new(Vec::new());

/// A folder under `all` that no other worker has, now or later.
pub(crate) fn own(all: &Path) -> io::Result<PathBuf> {
    if let Some((folder, _)) = OWN.get() {
        return Ok(folder.clone());
    }
    let made = make(all)?;
    let dead = sweep(all);
    DEAD.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .extend(dead);
    Ok(OWN.get_or_init(|| made).0.clone())
}

/// Writes down that this process is this worker. What cannot be written is found out when the lease
/// runs out.
pub(crate) fn announce(worker: WorkerId) {
    if let Some((_, lock)) = OWN.get() {
        let _unknown = sign(lock, worker);
    }
}

/// Takes the workers of this host that are surely gone, once each.
pub(crate) fn dead(all: &Path) -> Vec<WorkerId> {
    let mut dead = std::mem::take(&mut *DEAD.lock().unwrap_or_else(PoisonError::into_inner));
    dead.extend(sweep(all));
    dead
}

/// The lock is held before it has the name by which others find it: one that starts at the same
/// time would otherwise try it in between, and hold it.
fn make(all: &Path) -> io::Result<(PathBuf, File)> {
    fs::create_dir_all(all)?;
    let folder = all.join(format!("worker-{}", WorkerId::new()));
    let unnamed = folder.with_extension("starting");
    let lock = File::create(&unnamed)?;
    lock.try_lock()?;
    fs::rename(&unnamed, folder.with_extension("lock"))?;
    fs::create_dir(&folder)?;
    Ok((folder, lock))
}

/// With the host's name: a data directory may be shared over a network, where locks mean less.
fn sign(mut lock: &File, worker: WorkerId) -> io::Result<()> {
    lock.write_all(format!("{worker} {}\n", host()).as_bytes())
}

fn host() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// Removes the folders of workers that have ended, and tells who they were. What cannot be removed
/// now is tried again by the next worker.
fn sweep(all: &Path) -> Vec<WorkerId> {
    let locks = fs::read_dir(all)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let mut dead = Vec::new();
    for path in locks.filter(|path| {
        path.extension()
            .is_some_and(|extension| extension == "lock")
    }) {
        let Ok((lock, _)) = files::open(&path, Links::Refuse) else {
            continue;
        };
        if lock.try_lock().is_err() {
            continue;
        }
        dead.extend(signed(
            &files::read_text(&path, Links::Refuse, LARGEST_LOCK).unwrap_or_default(),
        ));
        if remove(&path.with_extension("")).is_ok() {
            let _later = fs::remove_file(&path);
        }
    }
    dead
}

/// The workers of this host that signed a lock.
fn signed(text: &str) -> Vec<WorkerId> {
    let here = host();
    let lines = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(_, host)| *host == here);
    lines
        .filter_map(|(worker, _)| worker.parse().ok())
        .collect()
}

/// Entries of a folder; none when it cannot be read.
pub(crate) fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect()
}

/// Removes a folder, if there is one.
pub(crate) fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn what_the_dead_left_is_removed_and_what_the_living_have_is_not() {
        let all = tempfile::tempdir().unwrap();
        let (alive, _lock) = make(all.path()).unwrap();
        let (dead, lock) = make(all.path()).unwrap();
        let ours = WorkerId::new();
        let other = WorkerId::new();
        sign(&lock, ours).unwrap();
        (&lock)
            .write_all(format!("{other} elsewhere\n").as_bytes())
            .unwrap();
        drop(lock);
        let mut found = sweep(all.path());
        let deadline = Instant::now() + Duration::from_secs(60);
        // A process that another test has only just forked may hold the lock still.
        while found.is_empty() {
            assert!(Instant::now() < deadline, "the dead one is not found");
            std::thread::sleep(Duration::from_millis(2));
            found = sweep(all.path());
        }
        assert_eq!(found, [ours]);
        assert!(alive.is_dir() && !dead.exists());
        assert_eq!(
            fs::read_dir(all.path()).unwrap().count(),
            2,
            "the living one's folder and lock"
        );
    }

    #[test]
    fn of_many_that_start_at_once_each_has_its_own_and_none_counts_as_dead() {
        const MANY: usize = 16;
        let all = tempfile::tempdir().unwrap();
        let together = std::sync::Barrier::new(MANY);
        let start = || {
            together.wait();
            (0..20)
                .map(|_| (make(all.path()).unwrap(), sweep(all.path())))
                .collect::<Vec<_>>()
        };
        let made = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..MANY).map(|_| scope.spawn(start)).collect();
            threads
                .into_iter()
                .flat_map(|thread| thread.join().unwrap())
                .collect::<Vec<_>>()
        });
        assert!(
            made.iter()
                .all(|((folder, _), dead)| folder.is_dir() && dead.is_empty())
        );
        assert_eq!(fs::read_dir(all.path()).unwrap().count(), 2 * made.len());
    }
}
