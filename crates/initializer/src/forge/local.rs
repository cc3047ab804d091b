//! The `local` forge: bare repositories in one directory. A repository appears there complete, with
//! its mark, or not at all.

#![expect(
    clippy::disallowed_methods,
    reason = "short calls in the folder of repositories, where no step leaves anything"
)]

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use surefoot::files;
use tempfile::TempDir;

use super::{ForgeError, Mark, escaped};
use crate::git::Git;

/// Bare repositories in a directory.
#[derive(Clone, Debug)]
pub struct LocalForge {
    pub(super) folder: PathBuf,
}

/// A repository to create.
#[derive(Clone, Debug)]
pub struct NewRepository<'a> {
    /// Its name, without `.git`.
    pub name: &'a str,
    /// Its owner.
    pub mark: Mark,
    /// The current run; the run in the mark, unless several runs may create the same repository.
    pub by: &'a str,
    /// Description for people.
    pub description: &'a str,
    /// Its visibility.
    pub visibility: Visibility,
}

/// Readers of a repository.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Visibility {
    /// Its owner.
    #[default]
    Private,
    /// Its owner's group.
    Internal,
    /// All users of the machine, and all clients of a `git daemon`.
    Public,
}

/// Origin of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// Created by this call.
    Now,
    /// Created by an earlier attempt of the same run.
    Before,
}

/// Settings of the repositories beside Git's defaults. Acknowledged data is on the disk, and no
/// clean-up outlives the push. Pushes are unpacked into loose objects: a pack is guarded by a file
/// that names the writing process, and a push killed after it kept its pack would make git refuse
/// the same pack from any other process.
const CONFIG: &str = "[core]\n\tfsync = objects,derived-metadata,reference\n\tfsyncMethod = batch\n\
[receive]\n\tunpackLimit = 100000\n[gc]\n\tautoDetach = false\n";

impl LocalForge {
    /// The forge with its repositories in `folder`.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
        }
    }

    /// Path of the repository of that name.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.git"))
    }

    /// Address for `git clone` on this machine.
    pub fn url(&self, name: &str) -> String {
        format!("file://{}", escaped(&self.path(name)))
    }

    /// Creates a repository, or adopts one that an earlier attempt with the same mark created.
    ///
    /// # Errors
    /// [`ForgeError::Taken`] if a repository or anything else is there without the mark.
    pub async fn create(&self, new: &NewRepository<'_>) -> Result<Created, ForgeError> {
        let target = self.path(new.name);
        if self.is_ours(new.name, &new.mark).await? {
            return Ok(Created::Before);
        }
        fs::create_dir_all(&self.folder)
            .map_err(ForgeError::io(format!("create {}", self.folder.display())))?;
        self.discard_leftovers(new).await?;
        let making = self.temporary(&format!(".{}.{}.", new.name, new.by))?;
        fill(making.path(), new).await?;
        match fs::rename(making.path(), &target) {
            Ok(()) => {
                sync(&self.folder)
                    .map_err(ForgeError::io(format!("sync {}", self.folder.display())))?;
                Ok(Created::Now)
            }
            // Another attempt was faster. If it has the same mark, even on another machine, its
            // repository is as good.
            Err(_) if target.symlink_metadata().is_ok() => {
                self.is_ours(new.name, &new.mark).await?;
                Ok(Created::Before)
            }
            Err(error) => Err(ForgeError::Io {
                what: format!("create {}", target.display()),
                error,
            }),
        }
    }

    /// A directory beside the repositories, removed on drop. Attempts never share one, not even
    /// those of a worker that lost its lease and its successor, so whatever is renamed into place
    /// is complete.
    fn temporary(&self, prefix: &str) -> Result<TempDir, ForgeError> {
        let folder = tempfile::Builder::new()
            .prefix(prefix)
            .suffix(".new")
            .tempdir_in(&self.folder);
        folder.map_err(ForgeError::io(format!(
            "create a folder in {}",
            self.folder.display()
        )))
    }

    /// Removes the remains of killed attempts. Each is moved away first: then an attempt that is
    /// still alive cannot rename a half-removed directory into place.
    async fn discard_leftovers(&self, new: &NewRepository<'_>) -> Result<(), ForgeError> {
        let prefix = format!(".{}.{}.", new.name, new.by);
        let names = names(&self.folder)
            .map_err(ForgeError::io(format!("read {}", self.folder.display())))?;
        for name in names
            .iter()
            .filter(|name| name.starts_with(&prefix) && name.ends_with(".new"))
        {
            let trash = self.temporary(&prefix)?;
            // It may have been renamed into place, or removed, meanwhile.
            let _ = fs::rename(self.folder.join(name), trash.path().join("left"));
            empty(trash.path()).await;
        }
        Ok(())
    }

    /// Returns whether the repository exists with the mark.
    ///
    /// # Errors
    /// [`ForgeError::Taken`] if it exists without the mark.
    pub async fn is_ours(&self, name: &str, mark: &Mark) -> Result<bool, ForgeError> {
        let path = self.path(name);
        match path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => {
                return Err(ForgeError::Io {
                    what: format!("look at {}", path.display()),
                    error,
                });
            }
            Ok(_) if !path.join("HEAD").is_file() || !path.join("config").is_file() => {
                let text = "is there already and is not a Git repository: it was left as it is; move it away, or choose another name";
                return Err(ForgeError::Taken(format!("{} {text}", path.display())));
            }
            Ok(_) => {}
        }
        match Mark::read(&path).await? {
            Some(found) if found == *mark => Ok(true),
            Some(found) if found.project == mark.project => Err(ForgeError::Taken(format!(
                "the repository {} was made by run {}, which was for the same project: it was left as it is; \
                 `surefoot cancel {1} --undo --wait` takes back what that run made, then `surefoot retry {} --wait` goes on here",
                path.display(),
                found.run,
                mark.run
            ))),
            Some(found) => Err(ForgeError::Taken(format!(
                "the repository {} belongs to {found}: it was left as it is; choose another name",
                path.display()
            ))),
            None => Err(ForgeError::Taken(format!(
                "the repository {} is there already and was not made by Surefoot: {}; it was left as it is; choose another name, or move it away",
                path.display(),
                seems_to_be_of(&path).await
            ))),
        }
    }

    /// Removes a branch that this run pushed, if no other commit is on top of it.
    ///
    /// # Errors
    /// [`ForgeError::Taken`] without the mark; [`ForgeError::InUse`] if the branch has moved on
    /// from `commit`.
    pub async fn remove_branch(
        &self,
        name: &str,
        mark: &Mark,
        branch: &str,
        commit: &str,
    ) -> Result<(), ForgeError> {
        if !self.is_ours(name, mark).await? {
            return Ok(());
        }
        let path = self.path(name);
        let reference = format!("refs/heads/{branch}");
        let git = Git::new(&path);
        let found = git
            .run(&["for-each-ref", "--format=%(objectname)", &reference])
            .await?;
        match found.trim() {
            "" => Ok(()),
            found if found == commit => Ok(git
                .run(&["update-ref", "-d", &reference, commit])
                .await
                .map(drop)?),
            _ => Err(strangers(&path, &reference)),
        }
    }

    /// Removes a repository that has the mark and no branch, tag or other ref any more. Returns
    /// whether it existed.
    ///
    /// # Errors
    /// [`ForgeError::Taken`] without the mark; [`ForgeError::InUse`] if it has commits.
    pub async fn remove(&self, name: &str, mark: &Mark) -> Result<bool, ForgeError> {
        let path = self.path(name);
        let leaving = self.folder.join(format!(".{name}.{}.old", mark.run));
        let gone = self.folder.join(format!(".{name}.{}.gone", mark.run));
        // Repositories that an earlier attempt decided to remove are removed; without a decision,
        // the repository comes back.
        remove_all(&gone).await?;
        if leaving.exists() && !path.exists() {
            fs::rename(&leaving, &path)
                .map_err(ForgeError::io(format!("put {} back", path.display())))?;
        }
        if !self.is_ours(name, mark).await? {
            return Ok(false);
        }
        no_refs(&path).await?;
        fs::rename(&path, &leaving)
            .map_err(ForgeError::io(format!("remove {}", path.display())))?;
        // A push in progress may have arrived between the check and the rename.
        if let Err(error) = no_refs(&leaving).await {
            fs::rename(&leaving, &path)
                .map_err(ForgeError::io(format!("put {} back", path.display())))?;
            return Err(error);
        }
        fs::rename(&leaving, &gone)
            .map_err(ForgeError::io(format!("remove {}", path.display())))?;
        remove_all(&gone).await?;
        sync(&self.folder).map_err(ForgeError::io(format!("sync {}", self.folder.display())))?;
        Ok(true)
    }
}

async fn fill(path: &Path, new: &NewRepository<'_>) -> Result<(), ForgeError> {
    Git::new(path)
        .run(&[
            "init",
            "--quiet",
            "--bare",
            "--initial-branch=main",
            "--object-format=sha1",
        ])
        .await?;
    write_facts(path, new).map_err(ForgeError::io(format!("write into {}", path.display())))
}

fn write_facts(path: &Path, new: &NewRepository<'_>) -> io::Result<()> {
    let mut config = File::options().append(true).open(path.join("config"))?;
    config.write_all(CONFIG.as_bytes())?;
    config.write_all(new.mark.config().as_bytes())?;
    config.sync_all()?;
    let description = if new.description.is_empty() {
        new.name
    } else {
        new.description
    };
    fs::write(
        path.join("description"),
        format!("{}\n", description.replace('\n', " ")),
    )?;
    if new.visibility == Visibility::Public {
        fs::write(path.join("git-daemon-export-ok"), "")?;
    }
    set_mode(path, new.visibility)?;
    for file in ["description", "HEAD"] {
        sync(&path.join(file))?;
    }
    sync(path)
}

#[cfg(unix)]
fn set_mode(path: &Path, visibility: Visibility) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = match visibility {
        Visibility::Private => 0o700,
        Visibility::Internal => 0o750,
        Visibility::Public => 0o755,
    };
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn set_mode(_: &Path, _: Visibility) -> io::Result<()> {
    Ok(())
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    fs::read_dir(folder)?
        .map(|child| Ok(child?.file_name().to_string_lossy().into_owned()))
        .collect()
}

/// A rename, or a new file's name, survives a power cut once its directory is synced.
fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Removes a directory on a blocking thread: a repository may be large.
async fn remove_dir_all(path: &Path) -> io::Result<()> {
    let path = path.to_owned();
    files::blocking(move || fs::remove_dir_all(path)).await?
}

async fn remove_all(path: &Path) -> Result<(), ForgeError> {
    match remove_dir_all(path).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ForgeError::Io {
            what: format!("remove {}", path.display()),
            error,
        }),
        _ => Ok(()),
    }
}

/// Removes a directory, with retries while a surviving process still writes into it. Remains are
/// left to the next attempt.
async fn empty(folder: &Path) {
    for _ in 0..500 {
        match remove_dir_all(folder).await {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            _ => return,
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Refuses if there is any ref: the run's own branch was removed before.
async fn no_refs(path: &Path) -> Result<(), ForgeError> {
    let refs = Git::new(path)
        .run(&["for-each-ref", "--count=1", "--format=%(refname)"])
        .await?;
    match refs.lines().next() {
        Some(reference) => Err(strangers(path, reference)),
        None => Ok(()),
    }
}

fn strangers(path: &Path, reference: &str) -> ForgeError {
    ForgeError::InUse(format!(
        "the repository {} has people's commits in it, on {reference}: it was left as it is; remove it by hand if it is not needed",
        path.display()
    ))
}

/// The likely owner of a repository without a mark.
async fn seems_to_be_of(path: &Path) -> String {
    let last = [
        "log",
        "--all",
        "-1",
        "--date=short",
        "--format=its last commit is by %an <%ae> of %ad",
    ];
    match Git::new(path).run(&last).await {
        Ok(text) if !text.trim().is_empty() => text.trim().to_owned(),
        Ok(_) => "it is empty and says nothing of its owner".to_owned(),
        Err(error) => format!("git cannot read it ({error})"),
    }
}

#[cfg(test)]
mod tests;
