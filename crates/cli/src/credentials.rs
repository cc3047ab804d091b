//! Credentials by name, from the environment or from a folder of files. Nothing here writes or
//! shows one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use surefoot::files::{self, FileError, Links};
use surefoot::{CredentialError, CredentialSource, Secret};

const PREFIX: &str = "SUREFOOT_CREDENTIAL_";

/// `SUREFOOT_CREDENTIAL_<NAME>` first, then the file `<dir>/<name>`.
#[derive(Clone, Debug)]
pub(crate) struct EnvironmentAndFiles {
    dir: PathBuf,
    hosts: BTreeMap<String, Vec<String>>,
}

impl EnvironmentAndFiles {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            hosts: BTreeMap::new(),
        }
    }

    /// Binds credentials to hosts, by their names.
    pub(crate) fn bound_to(self, hosts: BTreeMap<String, Vec<String>>) -> Self {
        Self { hosts, ..self }
    }

    /// Credentials of the environment. A command can read the environment of the process that
    /// started it.
    pub(crate) fn of_environment() -> impl Iterator<Item = Secret> {
        let ours =
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with(PREFIX));
        ours.filter_map(|(_, secret)| secret.into_string().ok())
            .map(Secret::new)
    }
}

impl CredentialSource for EnvironmentAndFiles {
    fn get(&self, name: &str) -> Result<Secret, CredentialError> {
        if !is_name(name) {
            let message = format!(
                "`{name}` is not the name of a credential: letters, digits, `-`, `_` and `.`"
            );
            return Err(CredentialError(message));
        }
        match std::env::var(variable(name)) {
            Ok(secret) if !secret.is_empty() => Ok(Secret::new(secret)),
            Err(std::env::VarError::NotUnicode(_)) => Err(CredentialError(format!(
                "credential `{name}`: {} is not UTF-8 text",
                variable(name)
            ))),
            _ => from_file(name, &self.dir.join(name)),
        }
    }

    fn hosts(&self, name: &str) -> Option<&[String]> {
        self.hosts.get(name).map(Vec::as_slice)
    }
}

/// A secret as it was written into a file: without the byte order mark and the line breaks that
/// editors add.
pub(crate) fn written(text: &str) -> &str {
    text.strip_prefix('\u{feff}')
        .unwrap_or(text)
        .trim_end_matches(['\r', '\n'])
}

/// A name that stays within the folder, whatever a workflow says.
fn is_name(name: &str) -> bool {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    !name.is_empty() && !name.starts_with('.') && name.chars().all(fits)
}

fn variable(name: &str) -> String {
    format!(
        "{PREFIX}{}",
        name.to_ascii_uppercase().replace(['-', '.'], "_")
    )
}

/// The largest credential that is read.
const LARGEST: u64 = 1 << 20;

fn from_file(name: &str, path: &Path) -> Result<Secret, CredentialError> {
    let text = files::read_text(path, Links::Follow, LARGEST)
        .map_err(|error| missing(name, path, &error))?;
    let secret = written(&text);
    if secret.is_empty() {
        return Err(CredentialError(format!(
            "credential `{name}`: {} is empty: write the secret into it",
            path.display()
        )));
    }
    warn_if_open(path);
    Ok(Secret::new(secret))
}

fn missing(name: &str, path: &Path, error: &FileError) -> CredentialError {
    let variable = variable(name);
    let path = path.display();
    CredentialError(if error.is_not_found() {
        format!("there is no credential `{name}`: set {variable}, or write the secret to {path}")
    } else {
        format!(
            "credential `{name}`: cannot read {path}: {error}; make it readable, or set {variable}"
        )
    })
}

/// Secrets mounted into a container are often readable by a group, so this only warns.
fn warn_if_open(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let Ok(metadata) = path.metadata() else {
        return;
    };
    if metadata.permissions().mode() & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "others can read this credential: chmod 600 it");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source_with(files: &[(&str, &str)]) -> (tempfile::TempDir, EnvironmentAndFiles) {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            std::fs::write(dir.path().join(name), content).unwrap();
        }
        let source = EnvironmentAndFiles::new(dir.path().to_owned());
        (dir, source)
    }

    #[test]
    fn a_file_gives_its_text_without_what_editors_add() {
        let check = |content: &str, expect: &str| {
            let (_dir, source) = source_with(&[("forge-token", content)]);
            assert_eq!(
                source.get("forge-token").unwrap().expose(),
                expect,
                "{content:?}"
            );
        };
        check("s3cret\n", "s3cret");
        check("s3cret\r\n\r\n", "s3cret");
        check("\u{feff}s3cret\r\n", "s3cret");
        check("a\r\nb \u{feff}\n", "a\r\nb \u{feff}");
        let (_dir, source) = source_with(&[("forge-token", "\u{feff}\n")]);
        assert!(
            source
                .get("forge-token")
                .unwrap_err()
                .to_string()
                .contains("is empty")
        );
    }

    #[test]
    fn what_is_missing_says_what_to_set() {
        let (dir, source) = source_with(&[("empty", "\n")]);
        let check = |name: &str, expect: &str| {
            let error = source.get(name).unwrap_err().to_string();
            assert_eq!(
                error.replace(&dir.path().display().to_string(), "DIR"),
                expect,
                "{name}"
            );
        };
        check(
            "forge-token",
            "there is no credential `forge-token`: set SUREFOOT_CREDENTIAL_FORGE_TOKEN, or write the secret to DIR/forge-token",
        );
        check(
            "empty",
            "credential `empty`: DIR/empty is empty: write the secret into it",
        );
        check(
            "../etc",
            "`../etc` is not the name of a credential: letters, digits, `-`, `_` and `.`",
        );
        check(
            "..",
            "`..` is not the name of a credential: letters, digits, `-`, `_` and `.`",
        );
    }
}
