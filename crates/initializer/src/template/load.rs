//! Loads a template: a built-in one by name, a directory, or any Git URL.

#![expect(
    clippy::disallowed_methods,
    reason = "a folder is walked on a blocking thread"
)]

use std::fs;
use std::path::{Path, PathBuf};

use surefoot::AddressPolicy;
use surefoot::files::{self, Links};

use super::limits::Gauge;
use super::{
    Content, Entry, ForeignTemplate, RenderError, Template, TemplateError, builtin, builtin_names,
    remote,
};
use crate::git::GitError;

/// Source of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Comes with Surefoot.
    Builtin(String),
    /// A directory of this machine.
    Folder(PathBuf),
    /// A Git repository, at a branch, tag or commit; at its HEAD by default.
    Git {
        /// Anything that `git fetch` accepts.
        url: String,
        /// The branch, tag or commit.
        reference: Option<String>,
    },
}

impl Source {
    /// Parses the text of a person: a built-in name, else an existing directory, else a Git URL.
    ///
    /// # Errors
    /// If it is none of these; names the built-in templates.
    pub fn parse(text: &str, reference: Option<&str>) -> Result<Self, TemplateError> {
        let builtin = builtin_names().any(|name| name == text);
        let reference_of = || reference.map(str::to_owned);
        if let Some(path) = file_url(text) {
            return Ok(Self::Git {
                url: path,
                reference: reference_of(),
            });
        }
        let folder = Path::new(text);
        match reference {
            None if builtin => Ok(Self::Builtin(text.to_owned())),
            Some(_) if builtin => Err(TemplateError(format!(
                "`{text}` is a built-in template: it has no ref"
            ))),
            None if folder.is_dir() && !is_bare(folder) => Ok(Self::Folder(folder.to_owned())),
            _ if folder.is_dir() || is_git_url(text) => Ok(Self::Git {
                url: address(text),
                reference: reference_of(),
            }),
            _ => Err(TemplateError(format!(
                "`{text}` is not a template: name a built-in one ({}), a folder or a Git URL",
                builtin_names().collect::<Vec<_>>().join(", ")
            ))),
        }
    }
}

impl Source {
    /// Its path on this machine; `None` for a built-in or remote template.
    pub fn local(&self) -> Option<PathBuf> {
        match self {
            Self::Builtin(_) => None,
            Self::Folder(folder) => std::path::absolute(folder).ok(),
            Self::Git { url, .. } => Some(PathBuf::from(url)).filter(|path| path.is_absolute()),
        }
    }

    /// The same, at another path.
    pub(super) fn at(self, path: PathBuf) -> Self {
        match self {
            Self::Git { reference, .. } => Self::Git {
                url: path.display().to_string(),
                reference,
            },
            _ => Self::Folder(path),
        }
    }
}

/// Decodes `file:///a%20b` to the path `/a b`, as git does. `None` for one with a host.
fn file_url(text: &str) -> Option<String> {
    let mut rest = text
        .strip_prefix("file://")
        .filter(|path| path.starts_with('/'))?
        .as_bytes();
    let mut path = Vec::new();
    while let [first, tail @ ..] = rest {
        let escaped = tail
            .get(..2)
            .and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        let byte = if *first == b'%' { escaped } else { None };
        path.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8(path).ok()
}

/// Makes a relative path absolute, because git runs in another directory.
fn address(text: &str) -> String {
    let folder = Path::new(text);
    match std::path::absolute(folder) {
        Ok(path) if folder.is_dir() => path.display().to_string(),
        _ => text.to_owned(),
    }
}

pub(super) fn is_bare(folder: &Path) -> bool {
    folder.join("HEAD").is_file() && folder.join("objects").is_dir()
}

/// Recognises `https://host/path`, `ssh://...`, `user@host:path`. A transport helper
/// (`ext::sh -c ...`) runs commands, and is not accepted.
fn is_git_url(text: &str) -> bool {
    let has_scheme = ["https://", "http://", "ssh://"]
        .iter()
        .any(|scheme| text.starts_with(scheme));
    let is_scp = text.split_once(':').is_some_and(|(host, path)| {
        host.contains('@')
            && !host.starts_with('-')
            && !host.contains('/')
            && !path.is_empty()
            && !path.starts_with(':')
    });
    has_scheme || is_scp
}

/// Loads a template. `scratch` is an empty directory for its use; `addresses` are those that a URL
/// may lead to.
///
/// # Errors
/// [`LoadError::Git`] if a remote repository cannot be read, which may be transient; any other
/// error is permanent.
pub async fn load(
    source: Source,
    scratch: &Path,
    addresses: &AddressPolicy,
) -> Result<Template, LoadError> {
    let template = match source {
        Source::Builtin(name) => {
            let unknown = || TemplateError(format!("there is no built-in template `{name}`"));
            builtin(&name).ok_or_else(unknown)??
        }
        Source::Folder(folder) => {
            let reading = files::blocking(move || load_folder(&folder));
            reading
                .await
                .map_err(|error| TemplateError(error.to_string()))??
        }
        Source::Git { url, reference } => {
            remote::load(&url, reference.as_deref(), scratch, addresses).await?
        }
    };
    Ok(template.of_project()?)
}

/// Reason for which a template could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It cannot be used.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// Nothing that may be used here has that name.
    #[error(transparent)]
    Unknown(TemplateError),
    /// It is another tool's.
    #[error(transparent)]
    Foreign(#[from] ForeignTemplate),
    /// The values that were given do not fit it.
    #[error(transparent)]
    Values(TemplateError),
    /// The process that renders it could not do its work, for now.
    #[error("cannot render the template: {0}")]
    Process(std::io::Error),
    /// Its repository cannot be read, for now or for ever.
    #[error("cannot read the template's repository: {0}")]
    Git(#[from] GitError),
}

impl From<RenderError> for LoadError {
    fn from(error: RenderError) -> Self {
        match error {
            RenderError::Template(error) => Self::Template(error),
            RenderError::Process(error) => Self::Process(error),
        }
    }
}

/// Loads the template of a directory. Its own `.git` at the top is left out; an empty directory
/// gets a `.gitkeep`.
///
/// # Errors
/// Names the file that cannot be read, is neither file, directory nor symlink, or exceeds a limit.
pub fn load_folder(folder: &Path) -> Result<Template, TemplateError> {
    let entries = read_folder(folder)?;
    Template::new(folder.display().to_string(), None, entries)
}

fn read_folder(folder: &Path) -> Result<Vec<Entry>, TemplateError> {
    let mut walk = Walk {
        entries: Vec::new(),
        gauge: Gauge::default(),
    };
    walk.folder(folder, "")?;
    Ok(walk.entries)
}

struct Walk {
    entries: Vec<Entry>,
    gauge: Gauge,
}

impl Walk {
    fn folder(&mut self, folder: &Path, prefix: &str) -> Result<(), TemplateError> {
        let failed = |error: std::io::Error| unreadable(folder, &error);
        let mut empty = true;
        for child in fs::read_dir(folder).map_err(failed)? {
            let child = child.map_err(failed)?;
            let name = child.file_name();
            let name = name.to_str().ok_or_else(|| {
                TemplateError::at(&child.path().display().to_string(), "its name is not UTF-8")
            })?;
            empty = false;
            if prefix.is_empty() && name == ".git" {
                continue;
            }
            self.child(&child.path(), format!("{prefix}{name}"))?;
        }
        if empty && !prefix.is_empty() {
            self.push(format!("{prefix}.gitkeep"), 0, || {
                Ok(Content::File {
                    bytes: Vec::new(),
                    executable: false,
                })
            })?;
        }
        Ok(())
    }

    fn child(&mut self, at: &Path, path: String) -> Result<(), TemplateError> {
        let failed = |error: std::io::Error| unreadable(at, &error);
        let metadata = fs::symlink_metadata(at).map_err(failed)?;
        if metadata.is_dir() {
            return self.folder(at, &format!("{path}/"));
        }
        if metadata.is_file() {
            let executable = is_executable(&metadata);
            let read = || {
                files::read(at, Links::Refuse, metadata.len()).map_err(|error| failed(error.into()))
            };
            return self.push(path, metadata.len(), || {
                Ok(Content::File {
                    bytes: read()?,
                    executable,
                })
            });
        }
        if !metadata.is_symlink() {
            return Err(TemplateError::at(
                &path,
                "is neither a file, a folder nor a symbolic link",
            ));
        }
        let target = fs::read_link(at).map_err(failed)?;
        let target = target
            .to_str()
            .ok_or_else(|| TemplateError::at(&path, "its target is not UTF-8"))?
            .to_owned();
        self.push(path, 0, || Ok(Content::Symlink { target }))
    }

    /// The size is checked before the bytes are read.
    fn push(
        &mut self,
        path: String,
        size: u64,
        read: impl FnOnce() -> Result<Content, TemplateError>,
    ) -> Result<(), TemplateError> {
        self.gauge.add(&path, size)?;
        self.entries.push(Entry {
            path,
            content: read()?,
        });
        Ok(())
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> TemplateError {
    TemplateError(format!(
        "cannot read the template's {}: {error}",
        path.display()
    ))
}

#[cfg(unix)]
fn is_executable(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o100 != 0
}

#[cfg(not(unix))]
fn is_executable(_: &fs::Metadata) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::super::testing::{file, symlink};
    use super::*;

    #[test]
    fn a_source_is_a_builtin_a_folder_or_a_url() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        let git = |url: &str, reference: Option<&str>| Source::Git {
            url: url.to_owned(),
            reference: reference.map(str::to_owned),
        };
        let check = |text: &str, reference: Option<&str>, expect: Option<Source>| {
            assert_eq!(
                Source::parse(text, reference).ok(),
                expect,
                "{text} at {reference:?}"
            );
        };
        check(
            "rust-service",
            None,
            Some(Source::Builtin("rust-service".to_owned())),
        );
        check("rust-service", Some("v1"), None);
        check(path, None, Some(Source::Folder(folder.path().to_owned())));
        check(path, Some("v1"), Some(git(path, Some("v1"))));
        check(
            "https://host/t.git",
            Some("v1"),
            Some(git("https://host/t.git", Some("v1"))),
        );
        check("git@host:t.git", None, Some(git("git@host:t.git", None)));
        check(
            "file:///a%20b/t.git",
            Some("v1"),
            Some(git("/a b/t.git", Some("v1"))),
        );
        check("file://host/t.git", None, None);
        for text in [
            "no-such",
            "./no/such",
            "ext::sh -c true",
            "-u@host:x",
            "u@host::x",
            "",
        ] {
            check(text, None, None);
        }
        assert!(
            Source::parse("no-such", None)
                .unwrap_err()
                .0
                .contains("rust-service")
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_is_read_with_modes_links_and_empty_folders_but_without_its_git() {
        use std::os::unix::fs::{PermissionsExt, symlink as link};
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        for path in [".git", "bin", "empty/deep", "sub/.github"] {
            fs::create_dir_all(at(path)).unwrap();
        }
        fs::write(at(".git/config"), "secret").unwrap();
        fs::write(at("bin/run"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(at("bin/run"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(at("sub/.github/a"), "a").unwrap();
        link("bin/run", at("run")).unwrap();
        let run = Content::File {
            bytes: b"#!/bin/sh\n".to_vec(),
            executable: true,
        };
        let expect = [
            Entry {
                path: "bin/run".to_owned(),
                content: run,
            },
            file("empty/deep/.gitkeep", ""),
            symlink("run", "bin/run"),
            file("sub/.github/a", "a"),
        ];
        assert_eq!(load_folder(folder.path()).unwrap().entries, expect);
    }

    #[cfg(unix)]
    #[test]
    fn special_files_are_refused_and_links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc", folder.path().join("etc")).unwrap();
        assert_eq!(
            load_folder(folder.path()).unwrap().entries,
            [symlink("etc", "/etc")]
        );
        let socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
        assert!(load_folder(folder.path()).unwrap_err().0.contains("socket"));
        drop(socket);
    }
}
