//! Pushes that meet the lock of a push which is no longer alive.
//!
//! Git guards a ref by a file beside it. A push that is killed - with its worker, or by a power cut - leaves that file, and
//! git then refuses every later push to the ref until somebody removes it by hand. On a repository of this machine that
//! somebody is this module.
//!
//! Whose a lock is cannot be seen: git writes it, closes it, and renames it later. A live push holds it for milliseconds, or
//! for seconds where the disk is slow to sync. Two rules serve both: a lock that a push of ours made which is surely dead
//! (`note.rs`) need only be old enough for that push's processes to have been killed with it; any other must be older than
//! what a live push can take. Rejected: looking for processes that work in the repository - those of another user, container
//! or machine cannot be seen.

#![expect(clippy::disallowed_methods, reason = "removes one file and opens none")]

mod note;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use surefoot::{Clock, SystemClock};
use tokio::time::Instant;

use self::note::{Dead, Note, living};
use crate::git::{Git, GitError};

/// What a worker ran is killed within this when the worker dies.
const KILLED_BY_NOW: Duration = Duration::from_secs(1);
/// Older than any lock of a push that is alive; and how long a push of ours can have gone on before it made its own.
const ABANDONED: Duration = Duration::from_secs(30);
/// The file system's clock goes in steps as long as this, and git takes longer from its start to the lock.
const TICK: Duration = Duration::from_millis(10);
/// Until the lock that somebody made as late as that is abandoned, and a little more.
const PATIENCE: Duration = Duration::from_secs(35);
const WAIT: Duration = Duration::from_millis(50);

/// What a push to one branch may leave behind.
const LOCKS: [&str; 3] = ["refs/heads/main.lock", "packed-refs.lock", "HEAD.lock"];

/// Runs `git push` with these arguments. While the repository at `url` is on this machine and locked, waits for the lock,
/// and removes it once nobody can be holding it.
pub(crate) async fn push(git: &Git, url: &str, args: &[&str]) -> Result<(), GitError> {
    let Some(repository) = local(url) else {
        return git.run(args).await.map(drop);
    };
    let before = Dead::of(&repository);
    let note = Note::leave(&repository);
    let pushed = push_locally(git, &repository, args).await;
    // A push that was stopped may have left a lock: the note stays, and says so.
    if let (Some(note), Ok(()) | Err(GitError::Failed { .. })) = (note, &pushed) {
        note.take_back();
    }
    if pushed.is_ok() {
        before.into_iter().for_each(Dead::bury);
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

/// Whether a push was refused for a lock. The lock of a live push may be gone by now, and the message says all the same that its
/// file was there. That a ref cannot be locked has other reasons too, which do not pass.
fn met_lock(message: &str, is_locked: bool) -> bool {
    let says = |reason| message.contains(reason);
    says("File exists") || is_locked && (says("cannot lock ref") || says("failed to update ref"))
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
    let dead = Dead::of(repository)
        .iter()
        .map(|push| push.began)
        .collect::<Vec<_>>();
    let living = living(repository);
    for path in LOCKS.map(|lock| repository.join(lock)) {
        let made = path.metadata().and_then(|metadata| metadata.modified());
        if made.is_ok_and(|made| is_abandoned(made, now(), &dead, &living)) {
            tracing::info!(path = %path.display(), "removing the lock of a push that is no longer alive");
            // Another run may be quicker; then it is gone, which is what is wanted.
            let _ = std::fs::remove_file(&path);
        }
    }
}

/// Whether a lock of that time has no owner any more, when pushes that began at these times are surely dead, and others live.
/// One that had begun when the lock was made may be its owner; who waits for it began later.
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

        /// Locks of that age.
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
    async fn a_lock_that_nobody_can_hold_is_removed_and_the_push_goes_through() {
        let scene = Scene::new().await;
        scene.lock(ABANDONED);
        scene.push().await;
        assert_eq!(scene.notes(), 0);
    }

    #[tokio::test]
    async fn the_lock_of_a_push_of_ours_that_was_killed_is_removed_at_once() {
        let scene = Scene::new().await;
        // What a killed one leaves: a note that nobody holds.
        drop(Note::leave(&scene.remote).unwrap());
        // A process that another test has only just forked may hold it still.
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
        // A note that was held when the push began, by a process as above, is taken away by a later one.
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
        // It may be of ours that live, or of anybody.
        let _note = Note::leave(&scene.remote).unwrap();
        remove_abandoned(&scene.remote);
        assert!(LOCKS.iter().all(|lock| scene.remote.join(lock).exists()));
        let release = async {
            while scene.notes() < 2 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            LOCKS
                .iter()
                .for_each(|lock| fs::remove_file(scene.remote.join(lock)).unwrap());
        };
        tokio::join!(scene.push(), release);
    }

    #[test]
    fn a_lock_is_of_a_dead_push_that_began_shortly_before_it() {
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
        // Who waits for it, and who may have made it.
        check(1_500, Some(1_700), Some(1_200), true);
        check(2_000, Some(9_000), Some(3_000), false);
    }

    #[test]
    fn a_lock_is_met_though_it_is_gone_by_now() {
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
