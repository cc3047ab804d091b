//! The fleet repository: the one repository that many runs push to concurrently, each in its
//! project's directory.
//!
//! Each attempt fetches the head, builds one commit on top of it and pushes that without force, so
//! no commit is ever lost: a slower run tries again on the new head.

mod edited;

use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::time::Duration;

use surefoot::{Secret, Timestamp};

use super::claims;
use super::manifests::{folder, is_marked};
use crate::commit::Commit;
use crate::git::{Git, GitError};
use crate::push_lock;
use crate::template::{Content, Entry};

/// The branch that Flux reads.
const BRANCH: &str = "refs/heads/main";
/// With as many concurrent runs as attempts, each gets its turn.
const TRIES: u32 = 100;
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// A fleet repository.
#[derive(Clone, Debug)]
pub struct Fleet {
    url: String,
    token: Option<Secret>,
}

/// A run's change of the fleet.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// The project that owns the directory.
    pub project: &'a str,
    /// The run: the ownership mark.
    pub run: &'a str,
    /// Date of the commit.
    pub at: Timestamp,
    /// Wanted content of the directory.
    pub files: &'a [Entry],
}

/// Result of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Head of the fleet that contains the change.
    pub commit: String,
    /// True if this call made the commit, and not an earlier attempt.
    pub new: bool,
    /// Number of earlier attempts.
    pub conflicts: u32,
}

/// Reason for which the fleet was not changed.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// The project's directory belongs to another run; it was left as it is. Retrying does not
    /// help.
    #[error("{0}")]
    Taken(String),
    /// Other runs were faster every time.
    #[error("{TRIES} pushes to the fleet repository were overtaken by others: try again")]
    Busy,
    /// Git failed.
    #[error("fleet repository: {0}")]
    Git(#[from] GitError),
}

/// Result of a withdrawal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Withdrawn {
    /// The commit that removes the files; `None` if there was none to remove.
    pub commit: Option<String>,
    /// Files of the run that people have changed since: they stay.
    pub kept: Vec<String>,
}

/// Target of a project's files.
#[derive(Clone, Copy)]
enum Wanted<'a> {
    There,
    /// Removed, except those that differ from what the run wrote, in the fleet's commit `written`
    /// if that is known.
    Gone {
        written: Option<&'a str>,
    },
}

impl Wanted<'_> {
    async fn plan<'a>(
        self,
        git: &Git,
        head: Option<&str>,
        change: &Change<'a>,
    ) -> Result<Plan<'a>, FleetError> {
        match (self, ours(git, head, change).await, head) {
            (Self::There, found, _) => {
                let mut stale = found?;
                stale.retain(|path| !change.files.iter().any(|file| file.path == *path));
                unclaimed(git, head, change).await?;
                Ok(Plan {
                    files: change.files,
                    removed: stale,
                    kept: Vec::new(),
                })
            }
            (Self::Gone { written }, Ok(files), Some(head)) => {
                let (removed, kept) = edited::split(git, head, written, change, files).await;
                Ok(Plan {
                    files: &[],
                    removed,
                    kept,
                })
            }
            (Self::Gone { .. }, Ok(_), None)
            | (Self::Gone { .. }, Err(FleetError::Taken(_)), _) => Ok(Plan::default()),
            (Self::Gone { .. }, Err(error), _) => Err(error),
        }
    }
}

/// Effect of a change on the fleet's head.
#[derive(Default)]
struct Plan<'a> {
    /// Files to add on top of it.
    files: &'a [Entry],
    /// Files to remove from it.
    removed: Vec<String>,
    /// Files that would be removed if people had not changed them.
    kept: Vec<String>,
}

impl Fleet {
    /// The fleet repository at a path or URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            token: None,
        }
    }

    /// Returns whether it is behind HTTP, where a token gives access.
    pub fn takes_token(&self) -> bool {
        ["https://", "http://"]
            .iter()
            .any(|scheme| self.url.starts_with(scheme))
    }

    /// Sets a token for its host.
    #[must_use]
    pub fn token(mut self, token: Secret) -> Self {
        self.token = Some(token);
        self
    }

    /// Its URL or path.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Writes the project's files into the fleet, unless they are there already. `scratch` is an
    /// empty directory.
    ///
    /// # Errors
    /// [`FleetError::Taken`] if the project's directory there does not have this run's mark, or if
    /// another file of the fleet has one of the objects.
    pub async fn publish(
        &self,
        scratch: &Path,
        change: Change<'_>,
        log: &(dyn Fn(String) + Send + Sync),
    ) -> Result<Published, FleetError> {
        let message = format!(
            "{}: deploy it\n\nSurefoot-Project: {0}\nSurefoot-Run: {}\n",
            change.project, change.run
        );
        Ok(self
            .change(scratch, change, &message, Wanted::There, log)
            .await?
            .0)
    }

    /// Removes this run's files from the fleet, except those that people have changed since: files
    /// that differ from the commit `written` of the fleet, or from the files of the change if that
    /// commit is unavailable.
    ///
    /// # Errors
    /// If the fleet cannot be reached.
    pub async fn withdraw(
        &self,
        scratch: &Path,
        change: Change<'_>,
        written: Option<&str>,
        log: &(dyn Fn(String) + Send + Sync),
    ) -> Result<Withdrawn, FleetError> {
        let message = format!(
            "{}: take it out\n\nSurefoot-Project: {0}\nSurefoot-Run: {}\n",
            change.project, change.run
        );
        let git = self.open(scratch).await?;
        let written = match written {
            Some(commit) => self.fetch_commit(&git, commit).await.then_some(commit),
            None => None,
        };
        let (published, kept) = self
            .change(scratch, change, &message, Wanted::Gone { written }, log)
            .await?;
        Ok(Withdrawn {
            commit: published.new.then_some(published.commit),
            kept,
        })
    }

    /// Files of the change that are missing or different in the fleet's head.
    ///
    /// # Errors
    /// If the fleet cannot be reached.
    pub async fn missing(
        &self,
        scratch: &Path,
        files: &[Entry],
    ) -> Result<Vec<String>, FleetError> {
        let git = self.open(scratch).await?;
        let head = self.fetch(&git).await?;
        let mut missing = Vec::new();
        for file in files {
            let found = match &head {
                Some(head) => git
                    .run_bytes(&["cat-file", "blob", &format!("{head}:{}", file.path)])
                    .await
                    .ok(),
                None => None,
            };
            if !matches!(&file.content, Content::File { bytes, .. } if found.as_ref() == Some(bytes))
            {
                missing.push(file.path.clone());
            }
        }
        Ok(missing)
    }

    async fn open(&self, scratch: &Path) -> Result<Git, FleetError> {
        let mut git = Git::new(scratch);
        if let Some(token) = &self.token {
            git = git.token(&self.url, token)?;
        }
        git.run(&["init", "--quiet", "--bare"]).await?;
        Ok(git)
    }

    /// Returns whether a commit of the fleet could be fetched. Some servers serve only the heads of
    /// branches.
    async fn fetch_commit(&self, git: &Git, commit: &str) -> bool {
        git.run(&[
            "fetch",
            "--quiet",
            "--depth=1",
            "--no-tags",
            &self.url,
            commit,
        ])
        .await
        .is_ok()
    }

    /// Retries until the wanted commit on top of the head is pushed, or the head needs none. Also
    /// returns the kept files.
    async fn change(
        &self,
        scratch: &Path,
        change: Change<'_>,
        message: &str,
        wanted: Wanted<'_>,
        log: &(dyn Fn(String) + Send + Sync),
    ) -> Result<(Published, Vec<String>), FleetError> {
        let git = self.open(scratch).await?;
        for conflicts in 0..TRIES {
            let head = self.fetch(&git).await?;
            let Plan {
                files,
                removed,
                kept,
            } = wanted.plan(&git, head.as_deref(), &change).await?;
            if files.is_empty() && removed.is_empty() {
                return Ok((
                    Published {
                        commit: head.unwrap_or_default(),
                        new: false,
                        conflicts,
                    },
                    kept,
                ));
            }
            let commit = Commit {
                message,
                at: change.at,
                parent: head.as_deref(),
                removed: &removed,
                files,
            };
            let commit = commit.make(&git).await?;
            if let Some(head) = head
                && tree(&git, &head).await? == tree(&git, &commit).await?
            {
                return Ok((
                    Published {
                        commit: head,
                        new: false,
                        conflicts,
                    },
                    kept,
                ));
            }
            if self.push(&git, &commit).await? {
                return Ok((
                    Published {
                        commit,
                        new: true,
                        conflicts,
                    },
                    kept,
                ));
            }
            log(format!(
                "another run pushed to the fleet repository first (try {}): trying again on top of it",
                conflicts + 1
            ));
            tokio::time::sleep(wait(conflicts)).await;
        }
        Err(FleetError::Busy)
    }

    /// The fleet's head; `None` if it has no commit yet.
    async fn fetch(&self, git: &Git) -> Result<Option<String>, GitError> {
        let refspec = format!("+{BRANCH}:refs/surefoot/head");
        match git
            .run(&[
                "fetch",
                "--quiet",
                "--depth=1",
                "--no-tags",
                &self.url,
                &refspec,
            ])
            .await
        {
            Ok(_) => Ok(Some(
                git.run(&["rev-parse", "refs/surefoot/head"])
                    .await?
                    .trim()
                    .to_owned(),
            )),
            Err(error) if error.message().contains("couldn't find remote ref") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns whether the push succeeded; false if another one was faster.
    async fn push(&self, git: &Git, commit: &str) -> Result<bool, GitError> {
        match push_lock::push(
            git,
            &self.url,
            &["push", "--quiet", &self.url, &format!("{commit}:{BRANCH}")],
        )
        .await
        {
            Ok(()) => Ok(true),
            Err(error) if overtaken(error.message()) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Recognises a lost race, as opposed to a server's own refusal.
fn overtaken(message: &str) -> bool {
    let reasons = [
        "(fetch first)",
        "(non-fast-forward)",
        "cannot lock ref",
        "failed to update ref",
        "reference already exists",
    ];
    reasons.iter().any(|reason| message.contains(reason))
}

/// Files of the project's directory, all of which have the run's mark.
async fn ours(
    git: &Git,
    head: Option<&str>,
    change: &Change<'_>,
) -> Result<Vec<String>, FleetError> {
    let Some(head) = head else {
        return Ok(Vec::new());
    };
    let folder = format!("{}/", folder(change.project));
    let listing = git
        .run(&["ls-tree", "-r", "-z", "--name-only", head, "--", &folder])
        .await?;
    let paths = listing
        .split('\0')
        .filter(|path| !path.is_empty())
        .map(str::to_owned)
        .collect::<Vec<_>>();
    let mut marked = Vec::new();
    for path in &paths {
        let content = git
            .run(&["cat-file", "blob", &format!("{head}:{path}")])
            .await?;
        if is_marked(&content, change.run) {
            marked.push(path.clone());
        }
    }
    if marked.is_empty() && !paths.is_empty() {
        return Err(FleetError::Taken(format!(
            "the fleet repository has a folder {folder} that is not this run's (its {} bears another mark, or none): \
             it was left as it is; choose another name, or remove it {}",
            paths[0], "there"
        )));
    }
    Ok(marked)
}

/// Refuses a change with an object that another file of the fleet has: two files that describe one
/// object fight over it, and the second one can make Flux refuse the whole fleet.
async fn unclaimed(git: &Git, head: Option<&str>, change: &Change<'_>) -> Result<(), FleetError> {
    let Some(head) = head else { return Ok(()) };
    match claims::conflict(git, head, change.project, change.files).await? {
        None => Ok(()),
        Some(claims::Conflict { path, object }) => Err(FleetError::Taken(format!(
            "{path} of the fleet repository has the {object} already, which the project {} needs for itself: nothing was \
             changed; choose another name for the project or its environment, or remove that file",
            change.project
        ))),
    }
}

async fn tree(git: &Git, commit: &str) -> Result<String, GitError> {
    git.run(&["rev-parse", &format!("{commit}^{{tree}}")]).await
}

/// Increases with every conflict, with jitter, so that runs that collided once do not collide
/// again.
fn wait(conflicts: u32) -> Duration {
    let longest = Duration::from_millis(20)
        .saturating_mul(1 << conflicts.min(6))
        .min(LONGEST_WAIT);
    let random = RandomState::new().hash_one(conflicts) % 1000;
    longest.mul_f64(0.1 + 0.9 * (random as f64 / 1000.0))
}

#[cfg(test)]
mod tests;
