//! `git.clone`, `git.commit` and `git.push`: the real git on a repository in the workspace.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use surefoot::{AddressError, AddressPolicy, Outcome, Output, StepContext, StepError, StepHandler};

use super::blocking;
use super::fields::Fields;
use super::paths::{self, PathError};
use crate::git::{Git, GitError, argument, token_host};
use crate::process;

const CLONE: Fields = Fields {
    required: &["url"],
    one_of: &[],
    optional: &["ref", "path", "credential"],
};
const COMMIT: Fields = Fields {
    required: &["message"],
    one_of: &[],
    optional: &["path", "author"],
};
const PUSH: Fields = Fields {
    required: &[],
    one_of: &[],
    optional: &["path", "remote", "branch", "credential"],
};

/// Marks a commit as made by a step, so that a later attempt recognises it.
const TRAILER: &str = "Surefoot-Step";

const USUAL_AUTHOR: (&str, &str) = ("Surefoot", "surefoot@localhost");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CloneInput {
    url: String,
    /// A branch, a tag or a commit; the remote's HEAD by default.
    r#ref: Option<String>,
    /// The workspace itself by default.
    #[serde(default)]
    path: String,
    /// Name of a credential: a token for an `https` address.
    credential: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CommitInput {
    message: String,
    #[serde(default)]
    path: String,
    /// `Name <address>`.
    author: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PushInput {
    #[serde(default)]
    path: String,
    #[serde(default = "origin")]
    remote: String,
    /// The current branch by default.
    branch: Option<String>,
    credential: Option<String>,
}

fn origin() -> String {
    "origin".to_owned()
}

/// Clones from addresses that the policy allows.
pub(super) struct GitClone(pub(super) AddressPolicy);
pub(super) struct GitCommit;
/// Pushes to addresses that the policy allows.
pub(super) struct GitPush(pub(super) AddressPolicy);

#[async_trait]
impl StepHandler for GitClone {
    async fn run(&self, context: StepContext) -> Result<Outcome, StepError> {
        let input: CloneInput = context.input()?;
        let workspace = context.workspace().await?;
        let inside = workspace.clone();
        let path = input.path.clone();
        let folder = blocking(move || empty_folder(&inside, &path)).await?;
        let url = argument("repository address", &input.url).map_err(failed)?;
        let git = git(&context, &workspace, &folder)?
            .reaching(url, &self.0)
            .await
            .map_err(failed)?;
        let git = authorised(&context, git, url, input.credential.as_deref())?;
        git.run(&["clone", "--quiet", "--no-hardlinks", "--", url, "."])
            .await
            .map_err(failed)?;
        if let Some(name) = &input.r#ref {
            let name = argument("reference", name).map_err(failed)?;
            // The `--` makes it a reference, even if there is a file of that name.
            git.run(&["checkout", "--quiet", name, "--"])
                .await
                .map_err(failed)?;
        }
        let branch = one_line(&git, &["branch", "--show-current"]).await?;
        let commit = head(&git).await?;
        Ok(Output::new(json!({ "path": input.path, "commit": commit, "branch": branch }))?.into())
    }

    fn check(&self, with: &Value) -> Result<(), String> {
        CLONE.check(with)
    }
}

#[async_trait]
impl StepHandler for GitCommit {
    async fn run(&self, context: StepContext) -> Result<Outcome, StepError> {
        let input: CommitInput = context.input()?;
        let (name, address) = input.author.as_deref().map_or(Ok(USUAL_AUTHOR), author)?;
        let git = repository(&context, &input.path).await?.identity(
            name,
            address,
            context.run_created_at(),
        );
        git.run(&["add", "--all"]).await.map_err(failed)?;
        let parent = head(&git).await?;
        let nothing = match parent {
            Some(_) => git
                .test(&["diff", "--cached", "--quiet"])
                .await
                .map_err(failed)?,
            None => git.run(&["ls-files"]).await.map_err(failed)?.is_empty(),
        };
        if nothing {
            return unchanged(&context, &git, parent).await;
        }
        let trailer = format!("{TRAILER}: {}", context.idempotency_key());
        let arguments = [
            "commit",
            "--quiet",
            "--cleanup=whitespace",
            "--trailer",
            &trailer,
            "--file=-",
        ];
        git.run_with_input(&arguments, input.message.as_bytes())
            .await
            .map_err(failed)?;
        Ok(Output::new(json!({ "commit": head(&git).await?, "changed": true }))?.into())
    }

    fn check(&self, with: &Value) -> Result<(), String> {
        COMMIT.check(with)
    }
}

#[async_trait]
impl StepHandler for GitPush {
    async fn run(&self, context: StepContext) -> Result<Outcome, StepError> {
        let input: PushInput = context.input()?;
        let remote = argument("remote", &input.remote).map_err(failed)?;
        let git = repository(&context, &input.path).await?;
        let branch = match input.branch {
            Some(branch) => branch,
            None => one_line(&git, &["branch", "--show-current"]).await?,
        };
        if branch.is_empty() {
            return Err(StepError::fatal(
                "no branch is checked out: name one with `branch`",
            ));
        }
        let target = format!("refs/heads/{branch}");
        if !git
            .test(&["check-ref-format", &target])
            .await
            .map_err(failed)?
        {
            return Err(StepError::fatal(format!(
                "`{branch}` is not a valid branch name"
            )));
        }
        let url = address(&git, remote).await?;
        let git = git.reaching(&url, &self.0).await.map_err(failed)?;
        let git = authorised(&context, git, &url, input.credential.as_deref())?;
        push(&git, remote, &target).await.map_err(failed)?;
        Ok(
            Output::new(
                json!({ "remote": remote, "branch": branch, "commit": head(&git).await? }),
            )?
            .into(),
        )
    }

    fn check(&self, with: &Value) -> Result<(), String> {
        PUSH.check(with)
    }
}

/// Pushes what is checked out, unless the branch contains it already: an interrupted attempt may
/// have pushed it, and other people may have pushed on top of it since.
async fn push(git: &Git, remote: &str, target: &str) -> Result<(), GitError> {
    match git
        .run(&["push", "--quiet", "--", remote, &format!("HEAD:{target}")])
        .await
    {
        Err(error) if is_behind(error.message()) => {
            git.run(&["fetch", "--quiet", "--no-tags", "--", remote, target])
                .await?;
            let is_there = git
                .test(&["merge-base", "--is-ancestor", "HEAD", "FETCH_HEAD"])
                .await?;
            if is_there { Ok(()) } else { Err(error) }
        }
        other => other.map(drop),
    }
}

fn is_behind(message: &str) -> bool {
    ["(fetch first)", "(non-fast-forward)"]
        .iter()
        .any(|reason| message.contains(reason))
}

/// Nothing to commit: an earlier attempt of this step has done it, or there were no changes.
async fn unchanged(
    context: &StepContext,
    git: &Git,
    head: Option<String>,
) -> Result<Outcome, StepError> {
    let Some(commit) = head else {
        return Err(StepError::fatal(
            "there is nothing to commit: the folder is empty",
        ));
    };
    let format = format!("--format=%(trailers:key={TRAILER},valueonly)");
    let keys = git
        .run(&["show", "--no-patch", &format, "HEAD"])
        .await
        .map_err(failed)?;
    let ours = keys
        .lines()
        .any(|key| key.trim() == context.idempotency_key());
    Ok(Output::new(json!({ "commit": commit, "changed": ours }))?.into())
}

/// `Ada Lovelace <ada@example.org>`.
fn author(text: &str) -> Result<(&str, &str), StepError> {
    let parts = text
        .trim()
        .strip_suffix('>')
        .and_then(|text| text.split_once('<'));
    parts
        .map(|(name, address)| (name.trim(), address.trim()))
        .filter(|(name, address)| {
            !name.is_empty() && !address.is_empty() && !text.contains(['\n', '\0'])
        })
        .ok_or_else(|| {
            StepError::fatal(format!(
                "the author `{text}` is not written as `Name <address>`"
            ))
        })
}

/// Git in a repository of the workspace. It does not search the directories around the workspace.
async fn repository(context: &StepContext, path: &str) -> Result<Git, StepError> {
    let workspace = context.workspace().await?;
    let folder = paths::existing(&workspace, path).map_err(PathError::step)?;
    git(context, &workspace, &folder)
}

fn git(context: &StepContext, workspace: &Path, folder: &Path) -> Result<Git, StepError> {
    let around = workspace
        .canonicalize()?
        .parent()
        .map(Path::to_owned)
        .unwrap_or_default();
    Ok(Git::new(folder)
        .env("GIT_CEILING_DIRECTORIES", around)
        .cancelled_by(context.cancellation()))
}

#[expect(clippy::disallowed_methods, reason = "called on a blocking thread")]
fn empty_folder(workspace: &Path, path: &str) -> Result<PathBuf, StepError> {
    let folder = paths::writable(workspace, path).map_err(PathError::step)?;
    std::fs::create_dir_all(&folder)?;
    if std::fs::read_dir(&folder)?.next().is_some() {
        let shown = if path.is_empty() {
            "the workspace"
        } else {
            path
        };
        return Err(StepError::fatal(format!(
            "{shown} is not empty: clone into a folder of its own with `path`"
        )));
    }
    Ok(folder)
}

fn authorised(
    context: &StepContext,
    git: Git,
    url: &str,
    credential: Option<&str>,
) -> Result<Git, StepError> {
    let Some(credential) = credential else {
        return Ok(git);
    };
    let parsed = reqwest::Url::parse(token_host(url).map_err(failed)?).map_err(StepError::fatal)?;
    let host = parsed
        .host_str()
        .unwrap_or_default()
        .trim_start_matches('[')
        .trim_end_matches(']');
    git.token(url, &context.credential_for(credential, host)?)
        .map_err(failed)
}

/// Address of a remote, which may be an address itself.
async fn address(git: &Git, remote: &str) -> Result<String, StepError> {
    match one_line(git, &["config", "--get", &format!("remote.{remote}.url")]).await {
        Ok(url) => Ok(url),
        Err(_) => Ok(remote.to_owned()),
    }
}

/// The commit that is checked out; none in an empty repository.
async fn head(git: &Git) -> Result<Option<String>, StepError> {
    match git
        .run(&["rev-parse", "--quiet", "--verify", "HEAD^{commit}"])
        .await
    {
        Ok(id) => Ok(Some(id.trim().to_owned())),
        Err(error) if error.code() == Some(1) => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

async fn one_line(git: &Git, args: &[&str]) -> Result<String, StepError> {
    Ok(git.run(args).await.map_err(failed)?.trim().to_owned())
}

/// A mistake of a person is final; an error of git may be transient.
fn failed(error: GitError) -> StepError {
    match error {
        error if process::meets_shortage(&error) => StepError::shortage(error),
        GitError::Argument { .. }
        | GitError::Missing
        | GitError::Address(AddressError::Denied { .. }) => StepError::fatal(error),
        _ => StepError::from(error),
    }
}
