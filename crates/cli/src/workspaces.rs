//! Where the worker of this process has its workspaces. On a database, several workers of one host may share the data
//! directory, and one that was taken for dead may still write when another has its runs: each life has a folder of its own,
//! which is locked while it lasts. What dead ones left is removed by whoever starts next.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use surefoot::WorkerId;

/// This process's folder. The lock is let go of by the end of the process, however it comes.
static OWN: OnceLock<(PathBuf, File)> = OnceLock::new();

/// A folder under `all` that no other worker has, now or later.
pub(crate) fn own(all: &Path) -> io::Result<PathBuf> {
    if let Some((folder, _)) = OWN.get() {
        return Ok(folder.clone());
    }
    let made = make(all)?;
    sweep(all);
    Ok(OWN.get_or_init(|| made).0.clone())
}

fn make(all: &Path) -> io::Result<(PathBuf, File)> {
    let folder = all.join(format!("worker-{}", WorkerId::new()));
    fs::create_dir_all(&folder)?;
    let lock = File::create(folder.with_extension("lock"))?;
    lock.try_lock()?;
    Ok((folder, lock))
}

/// Removes the folders of workers that have ended. What cannot be removed now is tried again by the next worker.
fn sweep(all: &Path) {
    let locks = fs::read_dir(all).into_iter().flatten().flatten().map(|entry| entry.path());
    for path in locks.filter(|path| path.extension().is_some_and(|extension| extension == "lock")) {
        let Ok(lock) = File::open(&path) else { continue };
        if lock.try_lock().is_ok() && remove(&path.with_extension("")).is_ok() {
            let _later = fs::remove_file(&path);
        }
    }
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_dead_left_is_removed_and_what_the_living_have_is_not() {
        let all = tempfile::tempdir().unwrap();
        let (alive, _lock) = make(all.path()).unwrap();
        let (dead, lock) = make(all.path()).unwrap();
        drop(lock);
        sweep(all.path());
        assert!(alive.is_dir() && !dead.exists());
        assert_eq!(fs::read_dir(all.path()).unwrap().count(), 2, "the living one's folder and lock");
    }
}
