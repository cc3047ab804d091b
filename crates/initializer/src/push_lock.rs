//! Pushes that meet the lock file of a dead push.
//!
//! Git guards a ref by a lock file beside it. A push that is killed, with its worker or by a power
//! cut, leaves that file, and git then refuses every later push to the ref until the file is
//! removed by hand. On a repository of this machine, this module removes it.
//!
//! The owner of a lock file cannot be seen: git writes it, closes it, and renames it later. A live
//! push holds it for milliseconds, or for seconds where the disk is slow to sync. There are two
//! rules. A lock of a push of ours that is certainly dead (`note.rs`) must only be old enough for
//! that push's processes to have been killed with it. Any other must be older than a live push can
//! be. Rejected: looking for processes that work in the repository, because those of another user,
//! container or machine cannot be seen.

#![expect(clippy::disallowed_methods, reason = "removes one file and opens none")]

mod note;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use surefoot::{Clock, SystemClock};
use tokio::time::Instant;

use self::note::{Dead, Note, living};
use crate::git::{Git, GitError};

/// Time within which a worker's processes are killed when it dies.
const KILLED_BY_NOW: Duration = Duration::from_secs(1);
/// Age beyond which no live push has a lock, and the longest time from a push's start to its lock.
const ABANDONED: Duration = Duration::from_secs(30);
/// Resolution of the file system's clock; git takes longer from its start to the lock.
const TICK: Duration = Duration::from_millis(10);
/// Slightly longer than it takes a lock created at the last moment to become abandoned.
const PATIENCE: Duration = Duration::from_secs(35);
const WAIT: Duration = Duration::from_millis(50);

/// Lock files that a push to one branch may leave behind.
const LOCKS: [&str; 3] = ["refs/heads/main.lock", "packed-refs.lock", "HEAD.lock"];

/// Runs `git push` with these arguments. While the repository at `url` is on this machine and
/// locked, waits for the lock, and removes it once no live process can hold it.
pub(crate) async fn push(git: &Git, url: &str, args: &[&str]) -> Result<(), GitError> {
    let Some(repository) = local(url) else {
        return git.run(args).await.map(drop);
    };
    let before = Dead::of(&repository);
    let note = Note::leave(&repository);
    let pushed = push_locally(git, &repository, args).await;
    // A stopped push may have left a lock; its note stays as evidence.
    if let (Some(note), Ok(()) | Err(GitError::Failed { .. })) = (note, &pushed) {
        note.take_back();
    }
    if pushed.is_ok() {
        for dead in before {
            dead.remove_note();
        }
    }
    pushed
}

async fn push_locally(git: &Git, repository: &Path, args: &[&str]) -> Result<(), GitError> {
    let end = Instant::now() + PATIENCE;
    loop {
        match git.run(args).await {
            Err(error)
                if met_lock(error.message(), is_locked(repository)) && Instant::now() < end =>
            {
                tokio::time::sleep(WAIT).await;
                while is_locked(repository) && Instant::now() < end {
                    remove_abandoned(repository);
                    tokio::time::sleep(WAIT).await;
                }
            }
            other => return other.map(drop),
        }
    }
}

/// Returns whether a push was refused because of a lock. The lock of a live push may be gone by
/// now, though the message still says that its file existed. A ref may fail to lock for other
/// reasons too, which are permanent.
fn met_lock(message: &str, is_locked: bool) -> bool {
    let says = |reason| message.contains(reason);
    says("File exists") || is_locked && (says("cannot lock ref") || says("failed to update ref"))
}

/// Directory of a repository on this machine.
fn local(url: &str) -> Option<PathBuf> {
    let path = Path::new(url.strip_prefix("file://").unwrap_or(url));
    path.is_absolute().then(|| path.to_owned())
}

fn is_locked(repository: &Path) -> bool {
    LOCKS.iter().any(|lock| repository.join(lock).exists())
}

fn remove_abandoned(repository: &Path) {
    let dead = Dead::of(repository)
        .iter()
        .map(|push| push.began)
        .collect::<Vec<_>>();
    let living = living(repository);
    for path in LOCKS.map(|lock| repository.join(lock)) {
        let made = path.metadata().and_then(|metadata| metadata.modified());
        if made.is_ok_and(|made| is_abandoned(made, now(), &dead, &living)) {
            tracing::info!(path = %path.display(), "removing the lock of a dead push");
            // Another run may be faster; then it is gone, as intended.
            let _ = std::fs::remove_file(&path);
        }
    }
}

/// Returns whether a lock of that time has no owner any more, given the start times of pushes that
/// are certainly dead and of live ones. A push that had started when the lock was created may be
/// its owner; pushes that wait for it started later.
fn is_abandoned(
    made: SystemTime,
    now: SystemTime,
    dead: &[SystemTime],
    living: &[SystemTime],
) -> bool {
    let age = now.duration_since(made).unwrap_or_default();
    let may_own = |began: &SystemTime| made.duration_since(*began).is_ok_and(|after| after >= TICK);
    let is_of = |began: &SystemTime| {
        made.duration_since(*began)
            .is_ok_and(|after| after <= ABANDONED)
    };
    age >= ABANDONED
        || age >= KILLED_BY_NOW && dead.iter().any(is_of) && !living.iter().any(may_own)
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(SystemClock.now().as_micros().unsigned_abs())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    struct Scene {
        _folder: tempfile::TempDir,
        remote: PathBuf,
        git: Git,
    }

    impl Scene {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let remote = folder.path().join("remote");
            let scratch = folder.path().join("scratch");
            fs::create_dir(&remote).unwrap();
            fs::create_dir(&scratch).unwrap();
            Git::new(&remote)
                .run(&["init", "--quiet", "--bare"])
                .await
                .unwrap();
            let git = Git::new(&scratch).identity("a", "a@example.org", SystemClock.now());
            git.run(&["init", "--quiet", "--initial-branch=main"])
                .await
                .unwrap();
            git.run(&["commit", "--quiet", "--allow-empty", "-m", "first"])
                .await
                .unwrap();
            Self {
                _folder: folder,
                remote,
                git,
            }
        }

        /// Creates lock files of that age.
        fn lock(&self, age: Duration) {
            for lock in LOCKS {
                File::create(self.remote.join(lock))
                    .unwrap()
                    .set_modified(now() - age)
                    .unwrap();
            }
        }

        async fn push(&self) {
            let url = format!("file://{}", self.remote.display());
            push(
                &self.git,
                &url,
                &["push", "--quiet", &url, "HEAD:refs/heads/main"],
            )
            .await
            .unwrap();
            let pushed = Git::new(&self.remote)
                .run(&["rev-parse", "refs/heads/main"])
                .await
                .unwrap();
            assert_eq!(pushed, self.git.run(&["rev-parse", "HEAD"]).await.unwrap());
            assert!(!is_locked(&self.remote));
        }

        fn notes(&self) -> usize {
            let names = fs::read_dir(&self.remote)
                .unwrap()
                .map(|entry| entry.unwrap().file_name());
            names
                .filter(|name| name.to_string_lossy().contains("surefoot"))
                .count()
        }
    }

    #[tokio::test]
    async fn a_lock_of_no_live_process_is_removed_and_the_push_succeeds() {
        let scene = Scene::new().await;
        scene.lock(ABANDONED);
        scene.push().await;
        assert_eq!(scene.notes(), 0);
    }

    #[tokio::test]
    async fn the_lock_of_a_push_of_ours_that_was_killed_is_removed_at_once() {
        let scene = Scene::new().await;
        // The remains of a killed push: a note without a holder.
        drop(Note::leave(&scene.remote).unwrap());
        // A process that another test has just forked may still hold it.
        let deadline = Instant::now() + Duration::from_secs(60);
        while Dead::of(&scene.remote).is_empty() {
            assert!(
                Instant::now() < deadline,
                "the note is not seen to be of a dead push"
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        scene.lock(Duration::ZERO);
        let began = Instant::now();
        scene.push().await;
        assert!(began.elapsed() < ABANDONED / 2, "{:?}", began.elapsed());
        // A note that was held when the push began, by a process as above, is removed by a later
        // push.
        for _ in 0..20 {
            if scene.notes() > 0 {
                scene.push().await;
            }
        }
        assert_eq!(scene.notes(), 0);
    }

    #[tokio::test]
    async fn the_lock_of_a_live_push_is_left_until_it_is_done() {
        let scene = Scene::new().await;
        scene.lock(KILLED_BY_NOW * 2);
        // It may belong to a live push of ours, or to a foreign one.
        let _note = Note::leave(&scene.remote).unwrap();
        remove_abandoned(&scene.remote);
        assert!(LOCKS.iter().all(|lock| scene.remote.join(lock).exists()));
        let release = async {
            while scene.notes() < 2 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            for lock in LOCKS {
                fs::remove_file(scene.remote.join(lock)).unwrap();
            }
        };
        tokio::join!(scene.push(), release);
    }

    #[test]
    fn a_lock_is_assigned_to_a_dead_push_that_began_shortly_before() {
        let check = |age: u64, dead_began: Option<u64>, living_began: Option<u64>, expect: bool| {
            let now = now();
            let ago = |millis| now - Duration::from_millis(millis);
            let [dead, living] = [dead_began, living_began]
                .map(|began| began.map(ago).into_iter().collect::<Vec<_>>());
            assert_eq!(
                is_abandoned(ago(age), now, &dead, &living),
                expect,
                "{age} ms old, dead: {dead_began:?}, living: {living_began:?}"
            );
        };
        check(500, Some(700), None, false);
        check(1_500, Some(1_700), None, true);
        check(1_500, Some(1_400), None, false);
        check(1_500, Some(3_600_000), None, false);
        check(1_500, None, None, false);
        check(29_000, None, None, false);
        check(31_000, None, None, true);
        // The start times of a waiting push and of a possible owner.
        check(1_500, Some(1_700), Some(1_200), true);
        check(2_000, Some(9_000), Some(3_000), false);
    }

    #[test]
    fn a_released_lock_still_counts_as_met() {
        let file = "error: cannot lock ref 'refs/heads/main': Unable to create '/r/refs/heads/main.lock': File exists.";
        let moved = "error: cannot lock ref 'refs/heads/main': is at 1 but expected 2";
        assert!(met_lock(file, true) && met_lock(file, false) && met_lock(moved, true));
        assert!(!met_lock(moved, false) && !met_lock("error: the disk is full", true));
    }

    #[test]
    fn only_a_path_of_this_machine_is_local() {
        assert_eq!(local("file:///a/b.git"), Some(PathBuf::from("/a/b.git")));
        assert_eq!(local("/a/b.git"), Some(PathBuf::from("/a/b.git")));
        assert_eq!(local("ssh://git@example.org/b.git"), None);
        assert_eq!(local("git@example.org:b.git"), None);
    }
}
