//! Pushes the first commit of a project, once. Its content, date and author are functions of the
//! run, and its message names the run, so that a later attempt recognises what an earlier one
//! pushed.

use std::path::Path;

use surefoot::Timestamp;

use crate::commit::{self, Commit};
use crate::git::{Git, GitError};
use crate::push_lock;
use crate::template::Entry;

const BRANCH: &str = "refs/heads/main";
const SEEN: &str = "refs/surefoot/main";

/// The first commit of a project.
pub(super) struct FirstCommit<'a> {
    pub(super) project: &'a str,
    pub(super) run: &'a str,
    pub(super) at: Timestamp,
    /// Name and version of the template.
    pub(super) template: &'a str,
    pub(super) files: &'a [Entry],
}

impl FirstCommit<'_> {
    /// The commit as `git fast-import` reads it.
    pub(super) fn stream(&self) -> Vec<u8> {
        let Self {
            project,
            run,
            template,
            ..
        } = self;
        let message = format!(
            "Initialise {project}\n\nSurefoot-Project: {project}\nSurefoot-Run: {run}\nSurefoot-Template: {template}\n"
        );
        Commit {
            message: &message,
            at: self.at,
            parent: None,
            removed: &[],
            files: self.files,
        }
        .stream()
    }
}

/// State of a project's repository.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// No commit on the main branch.
    Nothing,
    /// The commit of this run, with or without others on top of it.
    Ours(String),
    /// A history that this run did not begin.
    Strangers,
}

/// Facts of a commit in the repository.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) commit: String,
    pub(super) tree: String,
    pub(super) template: String,
    pub(super) files: Vec<String>,
}

/// A repository to work in, and the one to push to.
pub(super) struct Push {
    git: Git,
    remote: String,
}

impl Push {
    /// `scratch` is an empty directory.
    pub(super) async fn new(scratch: &Path, remote: impl Into<String>) -> Result<Self, GitError> {
        let git = Git::new(scratch);
        git.run(&["init", "--quiet", "--bare"]).await?;
        Ok(Self {
            git,
            remote: remote.into(),
        })
    }

    /// Looks for a commit that an earlier attempt of the run may have pushed.
    pub(super) async fn look(&self, run: &str) -> Result<Found, GitError> {
        match self
            .git
            .run(&[
                "fetch",
                "--quiet",
                "--no-tags",
                &self.remote,
                &format!("+{BRANCH}:{SEEN}"),
            ])
            .await
        {
            Err(error) if error.message().contains("couldn't find remote ref") => {
                return Ok(Found::Nothing);
            }
            other => drop(other?),
        }
        let roots = [
            "log",
            "--max-parents=0",
            "--format=%H %(trailers:key=Surefoot-Run,valueonly,separator=%x20)",
            SEEN,
        ];
        let roots = self.git.run(&roots).await?;
        let ours = roots
            .lines()
            .find_map(|line| line.split_once(' ').filter(|(_, runs)| runs.trim() == run));
        Ok(ours.map_or(Found::Strangers, |(commit, _)| {
            Found::Ours(commit.to_owned())
        }))
    }

    /// Creates the commit of [`FirstCommit::stream`] locally.
    pub(super) async fn import(&self, stream: &[u8]) -> Result<String, GitError> {
        commit::import(&self.git, stream).await
    }

    /// Pushes the commit, provided that there is no main branch yet.
    pub(super) async fn push(&self, commit: &str) -> Result<(), GitError> {
        let lease = format!("--force-with-lease={BRANCH}:");
        let args = [
            "push",
            "--quiet",
            &lease,
            &self.remote,
            &format!("{commit}:{BRANCH}"),
        ];
        push_lock::push(&self.git, &self.remote, &args).await
    }

    /// Facts of a commit that was created or found.
    pub(super) async fn facts(&self, commit: &str) -> Result<Facts, GitError> {
        let format =
            "--format=%T%n%(trailers:key=Surefoot-Template,valueonly,unfold,separator=%x20)";
        let shown = self
            .git
            .run(&["show", "--no-patch", format, commit])
            .await?;
        let mut lines = shown.lines();
        let mut line = || lines.next().unwrap_or_default().trim().to_owned();
        let tree = line();
        let template = line();
        let listing = self
            .git
            .run(&["ls-tree", "-r", "-z", "--name-only", commit])
            .await?;
        let files = listing
            .split('\0')
            .filter(|path| !path.is_empty())
            .map(str::to_owned)
            .collect();
        Ok(Facts {
            commit: commit.to_owned(),
            tree,
            template,
            files,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::testing::file;

    struct Scene(tempfile::TempDir);

    impl Scene {
        async fn new() -> Self {
            let scene = Self(tempfile::tempdir().unwrap());
            Git::new(scene.sub("remote"))
                .run(&["init", "--quiet", "--bare"])
                .await
                .unwrap();
            scene
        }

        fn sub(&self, name: &str) -> std::path::PathBuf {
            let path = self.0.path().join(name);
            std::fs::create_dir(&path).unwrap();
            path
        }

        fn remote(&self) -> String {
            self.0.path().join("remote").display().to_string()
        }

        async fn attempt(&self, name: &str) -> Push {
            Push::new(&self.sub(name), self.remote()).await.unwrap()
        }

        async fn remote_git(&self, args: &[&str]) -> String {
            Git::new(self.remote())
                .run(args)
                .await
                .unwrap()
                .trim()
                .to_owned()
        }
    }

    fn first(files: &[Entry]) -> FirstCommit<'_> {
        FirstCommit {
            project: "shop",
            run: "r1",
            at: Timestamp::from_micros(1_790_000_000_000_000),
            template: "t sha256:1",
            files,
        }
    }

    #[tokio::test]
    async fn two_attempts_make_the_same_commit() {
        let one = Scene::new().await;
        let two = Scene::new().await;
        let files = [file("a", "1"), file("b/c", "2")];
        let mut commits = Vec::new();
        for scene in [&one, &two] {
            let push = scene.attempt("a").await;
            let commit = push.import(&first(&files).stream()).await.unwrap();
            push.push(&commit).await.unwrap();
            assert_eq!(scene.remote_git(&["rev-parse", "main"]).await, commit);
            commits.push(commit);
        }
        assert_eq!(commits[0], commits[1]);
    }

    #[tokio::test]
    async fn an_attempt_interrupted_anywhere_is_completed_by_the_next() {
        for reached in 0..4 {
            let scene = Scene::new().await;
            let files = [file("a", "1")];
            let killed = scene.attempt("killed").await;
            if reached >= 1 {
                assert_eq!(killed.look("r1").await.unwrap(), Found::Nothing);
            }
            let commit = if reached >= 2 {
                Some(killed.import(&first(&files).stream()).await.unwrap())
            } else {
                None
            };
            if reached >= 3 {
                killed.push(commit.as_deref().unwrap()).await.unwrap();
            }
            let next = scene.attempt("next").await;
            let commit = match next.look("r1").await.unwrap() {
                Found::Ours(commit) => commit,
                found => {
                    assert_eq!((found, reached < 3), (Found::Nothing, true));
                    let commit = next.import(&first(&files).stream()).await.unwrap();
                    next.push(&commit).await.unwrap();
                    commit
                }
            };
            assert_eq!(
                scene.remote_git(&["rev-list", "--all"]).await,
                commit,
                "one commit, reached {reached}"
            );
            let facts = next.facts(&commit).await.unwrap();
            assert_eq!(
                (facts.template.as_str(), facts.files),
                ("t sha256:1", vec!["a".to_owned()])
            );
            assert_eq!(
                facts.tree,
                scene.remote_git(&["rev-parse", "main^{tree}"]).await
            );
        }
    }

    #[tokio::test]
    async fn a_main_branch_that_is_there_is_never_pushed_over() {
        let scene = Scene::new().await;
        let push = scene.attempt("a").await;
        let commit = push
            .import(&first(&[file("a", "1")]).stream())
            .await
            .unwrap();
        let zombie = scene.attempt("zombie").await;
        let other = zombie
            .import(&first(&[file("a", "newer")]).stream())
            .await
            .unwrap();
        push.push(&commit).await.unwrap();
        assert!(zombie.push(&other).await.is_err());
        assert_eq!(
            zombie.look("r1").await.unwrap(),
            Found::Ours(commit.clone())
        );
        assert_eq!(zombie.look("r2").await.unwrap(), Found::Strangers);
        assert_eq!(scene.remote_git(&["rev-parse", "main"]).await, commit);
    }

    #[tokio::test]
    async fn our_commit_is_found_below_later_commits() {
        let scene = Scene::new().await;
        let push = scene.attempt("a").await;
        let ours = push
            .import(&first(&[file("a", "1")]).stream())
            .await
            .unwrap();
        push.push(&ours).await.unwrap();
        let git =
            Git::new(scene.remote()).identity("Ada", "ada@example.org", Timestamp::from_micros(0));
        let tree = scene.remote_git(&["rev-parse", "main^{tree}"]).await;
        let theirs = git
            .run(&["commit-tree", "-p", &ours, "-m", "more", &tree])
            .await
            .unwrap();
        git.run(&["update-ref", BRANCH, theirs.trim()])
            .await
            .unwrap();
        assert_eq!(
            scene.attempt("b").await.look("r1").await.unwrap(),
            Found::Ours(ours)
        );
    }
}
