//! Pushes that meet the lock of a push which is no longer alive.
//!
//! Git guards a ref by a file beside it. A push that is killed - with its worker, or by a power cut - leaves that file, and
//! git then refuses every later push to the ref until somebody removes it by hand. On a repository of this machine that
//! somebody is this module: a live push holds the file for milliseconds, so one that is a second old has no owner.

use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use surefoot::{Clock, SystemClock};

use crate::git::{Git, GitError};

/// Older than any lock of a push that is alive.
const ABANDONED: Duration = Duration::from_secs(1);
const WAIT: Duration = Duration::from_millis(50);
const TRIES: u32 = 60;

/// What a push to one branch may leave behind.
const LOCKS: [&str; 3] = ["refs/heads/main.lock", "packed-refs.lock", "HEAD.lock"];

/// Runs `git push` with these arguments. While the repository at `url` is on this machine and locked, waits for the lock,
/// and removes it once nobody can be holding it.
pub(crate) async fn push(git: &Git, url: &str, args: &[&str]) -> Result<(), GitError> {
    for _ in 0..TRIES {
        match (git.run(args).await, local(url)) {
            (Err(error), Some(repository)) if meets_lock(error.message()) && is_locked(&repository) => {
                remove_abandoned(&repository);
                tokio::time::sleep(WAIT).await;
            }
            (other, _) => return other.map(drop),
        }
    }
    git.run(args).await.map(drop)
}

fn meets_lock(message: &str) -> bool {
    ["cannot lock ref", "failed to update ref", "File exists"].iter().any(|reason| message.contains(reason))
}

/// The folder of a repository on this machine.
fn local(url: &str) -> Option<PathBuf> {
    let path = Path::new(url.strip_prefix("file://").unwrap_or(url));
    path.is_absolute().then(|| path.to_owned())
}

fn is_locked(repository: &Path) -> bool {
    LOCKS.iter().any(|lock| repository.join(lock).exists())
}

fn remove_abandoned(repository: &Path) {
    for path in LOCKS.map(|lock| repository.join(lock)) {
        if age(&path).is_some_and(|age| age >= ABANDONED) {
            tracing::info!(path = %path.display(), "removing the lock of a push that is no longer alive");
            // Another run may be quicker; then it is gone, which is what is wanted.
            let _ = std::fs::remove_file(&path);
        }
    }
}

fn age(path: &Path) -> Option<Duration> {
    let written = path.metadata().ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    let now = Duration::from_micros(SystemClock.now().as_micros().unsigned_abs());
    now.checked_sub(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lock_that_nobody_holds_is_removed_and_the_push_goes_through() {
        let folder = tempfile::tempdir().unwrap();
        let (remote, scratch) = (folder.path().join("remote"), folder.path().join("scratch"));
        std::fs::create_dir(&remote).unwrap();
        std::fs::create_dir(&scratch).unwrap();
        Git::new(&remote).run(&["init", "--quiet", "--bare"]).await.unwrap();
        let git = Git::new(&scratch).identity("a", "a@example.org", SystemClock.now());
        git.run(&["init", "--quiet", "--initial-branch=main"]).await.unwrap();
        git.run(&["commit", "--quiet", "--allow-empty", "-m", "first"]).await.unwrap();
        for lock in LOCKS {
            std::fs::write(remote.join(lock), "").unwrap();
        }
        let url = format!("file://{}", remote.display());
        push(&git, &url, &["push", "--quiet", &url, "HEAD:refs/heads/main"]).await.unwrap();
        let pushed = Git::new(&remote).run(&["rev-parse", "refs/heads/main"]).await.unwrap();
        assert_eq!(pushed, git.run(&["rev-parse", "HEAD"]).await.unwrap());
        assert!(!is_locked(&remote));
    }

    #[test]
    fn only_a_path_of_this_machine_is_local() {
        assert_eq!(local("file:///a/b.git"), Some(PathBuf::from("/a/b.git")));
        assert_eq!(local("/a/b.git"), Some(PathBuf::from("/a/b.git")));
        assert_eq!(local("ssh://git@example.org/b.git"), None);
        assert_eq!(local("git@example.org:b.git"), None);
    }
}
