//! Runs the real git in a fixed environment: no configuration, hooks or credentials of the machine
//! or of its user, no question on a terminal, and nothing left behind by a cancel or a crash.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitStatus;

use surefoot::{AddressError, AddressPolicy, Secret, Timestamp};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use crate::process::{self, Stream};

/// Set for every git, in addition to the inherited environment.
const ENVIRONMENT: [(&str, &str); 8] = [
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_ATTR_NOSYSTEM", "1"),
    // No sample hooks in new repositories.
    ("GIT_TEMPLATE_DIR", ""),
    // ssh must not ask either; a key with a passphrase belongs into an agent.
    ("GIT_SSH_COMMAND", "ssh -o BatchMode=yes"),
    ("GIT_OPTIONAL_LOCKS", "0"),
    ("LC_ALL", "C"),
];

/// Passed to every git; these override a repository's own configuration.
const SETTINGS: [&str; 15] = [
    "safe.directory=*",
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.autocrlf=false",
    "credential.helper=",
    "init.defaultBranch=main",
    "commit.gpgSign=false",
    "gc.auto=0",
    // Without these hints, the end of git's message is the cause.
    "advice.pushUpdateRejected=false",
    // A redirect would bypass the check of the address.
    "http.followRedirects=false",
    // Only these transports: `ext::` runs commands.
    "protocol.allow=never",
    "protocol.file.allow=always",
    "protocol.http.allow=always",
    "protocol.https.allow=always",
    "protocol.ssh.allow=always",
];

/// Variable from which [`TOKEN_HELPER`] reads the token.
const TOKEN_VARIABLE: &str = "SUREFOOT_GIT_TOKEN";

/// Forges that accept a token as a password ignore the user name, or require this one.
const TOKEN_HELPER: &str = "!f() { test \"$1\" = get && printf 'username=x-access-token\\npassword=%s\\n' \"$SUREFOOT_GIT_TOKEN\"; }; f";

/// Number of lines of git's message that an error repeats.
const LINES_OF_ERROR: usize = 5;

/// Size limit of output that is kept whole: the files of the largest template, and what git writes
/// between them.
const OUTPUT_LIMIT: usize = 96 * 1024 * 1024;

/// Size limit of the end of git's error output.
const ERROR_LIMIT: usize = 64 * 1024;

/// Error of git.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// There is no git on the `PATH`.
    #[error("git is not installed: install git 2.32 or newer")]
    Missing,
    /// The system could not start it.
    #[error("cannot run git in {}: {error}", dir.display())]
    Start {
        /// Its working directory.
        dir: PathBuf,
        /// Error of the system.
        #[source]
        error: io::Error,
    },
    /// It ran and failed.
    #[error("git {command} failed ({status}): {message}")]
    Failed {
        /// The git command, such as `push`.
        command: String,
        /// Its exit status.
        status: ExitStatus,
        /// Last lines of its standard error.
        message: String,
    },
    /// It wrote more than is kept, and was stopped.
    #[error("git {0} wrote more than {most} MiB and was stopped", most = OUTPUT_LIMIT / 1024 / 1024)]
    TooMuchOutput(String),
    /// It was stopped because its step was.
    #[error("git {0} was stopped")]
    Cancelled(String),
    /// A name, reference or address that git would misinterpret.
    #[error("`{text}` is no {what} for git: {reason}")]
    Argument {
        /// The expected kind: `branch`.
        what: String,
        /// The text.
        text: String,
        /// The fault in it.
        reason: &'static str,
    },
    /// Its address is denied, or its host has none.
    #[error(transparent)]
    Address(#[from] AddressError),
}

impl GitError {
    /// Last lines of git's standard error, if it ran and failed.
    pub fn message(&self) -> &str {
        match self {
            Self::Failed { message, .. } => message,
            _ => "",
        }
    }

    /// Exit status, if git ran and returned one.
    pub fn code(&self) -> Option<i32> {
        match self {
            Self::Failed { status, .. } => status.code(),
            _ => None,
        }
    }
}

/// Refuses an external text that git could interpret as an option, or with characters that no name
/// has. `what` names it in the error.
///
/// # Errors
/// [`GitError::Argument`].
pub fn argument<'a>(what: &str, text: &'a str) -> Result<&'a str, GitError> {
    let refuse = |reason| {
        Err(GitError::Argument {
            what: what.to_owned(),
            text: text.to_owned(),
            reason,
        })
    };
    match text {
        "" => refuse("it is empty"),
        _ if text.starts_with('-') => refuse("it begins with `-`"),
        _ if text.chars().any(char::is_control) => refuse("it has a control character in it"),
        _ => Ok(text),
    }
}

/// Git in one directory.
#[derive(Clone)]
pub struct Git {
    dir: PathBuf,
    env: Vec<(String, OsString)>,
    settings: Vec<String>,
    cancel: CancellationToken,
}

impl fmt::Debug for Git {
    /// Leaves out the environment, which may contain a credential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Git({})", self.dir.display())
    }
}

impl Git {
    /// Git in the directory `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            env: Vec::new(),
            settings: Vec::new(),
            cancel: CancellationToken::new(),
        }
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Adds a setting, as with `-c`.
    #[must_use]
    pub fn setting(mut self, setting: impl Into<String>) -> Self {
        self.settings.push(setting.into());
        self
    }

    /// The same git in another directory.
    #[must_use]
    pub fn in_folder(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = dir.into();
        self
    }

    /// Sets author, committer and date: with the same content and parent they give the same commit.
    #[must_use]
    pub fn identity(self, name: &str, email: &str, at: Timestamp) -> Self {
        let date = format!("@{} +0000", at.as_micros().div_euclid(1_000_000));
        self.env("GIT_AUTHOR_NAME", name)
            .env("GIT_AUTHOR_EMAIL", email)
            .env("GIT_AUTHOR_DATE", &date)
            .env("GIT_COMMITTER_NAME", name)
            .env("GIT_COMMITTER_EMAIL", email)
            .env("GIT_COMMITTER_DATE", &date)
    }

    /// Uses a token for the host of an `http` or `https` address only. The token is in git's
    /// environment, and not among its arguments, which every user of the machine can read.
    ///
    /// # Errors
    /// [`GitError::Argument`] if the address is of another kind.
    pub fn token(mut self, url: &str, token: &Secret) -> Result<Self, GitError> {
        let host = token_host(url)?;
        self.settings
            .push(format!("credential.{host}.helper={TOKEN_HELPER}"));
        Ok(self.env(TOKEN_VARIABLE, token.expose()))
    }

    /// Checks the addresses of a remote's host, and makes git connect over HTTP to exactly those. A
    /// local path has no host, and is left as it is.
    ///
    /// # Errors
    /// [`GitError::Address`] if the policy denies an address, or the host has none.
    pub async fn reaching(
        mut self,
        url: &str,
        addresses: &AddressPolicy,
    ) -> Result<Self, GitError> {
        let Some(Remote {
            host,
            port,
            is_http,
        }) = remote(url)
        else {
            return Ok(self);
        };
        let found = addresses.resolve(&host, port).await?;
        if is_http && host.parse::<IpAddr>().is_err() {
            let list: Vec<String> = found
                .iter()
                .map(|address| bracketed(address.ip()))
                .collect();
            self.settings.push(format!(
                "http.curloptResolve={host}:{port}:{}",
                list.join(",")
            ));
        }
        Ok(self)
    }

    /// Stops git with TERM when `cancel` fires. Without it, dropping the future kills git.
    #[must_use]
    pub fn cancelled_by(mut self, cancel: &CancellationToken) -> Self {
        self.cancel = cancel.clone();
        self
    }

    /// Runs git, and returns its standard output, with invalid UTF-8 replaced.
    ///
    /// # Errors
    /// If git is missing, fails or is stopped.
    pub async fn run(&self, args: &[&str]) -> Result<String, GitError> {
        Ok(text(&self.output(args, None).await?))
    }

    /// Like [`Self::run`], with `input` as standard input.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn run_with_input(&self, args: &[&str], input: &[u8]) -> Result<String, GitError> {
        Ok(text(&self.output(args, Some(input)).await?))
    }

    /// Like [`Self::run`], with the raw output.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn run_bytes(&self, args: &[&str]) -> Result<Vec<u8>, GitError> {
        self.output(args, None).await
    }

    /// Like [`Self::run_bytes`], with `input` as standard input.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn run_bytes_with_input(
        &self,
        args: &[&str],
        input: &[u8],
    ) -> Result<Vec<u8>, GitError> {
        self.output(args, Some(input)).await
    }

    /// Returns whether git ends with 0 (true) or 1 (false), as `merge-base --is-ancestor` and
    /// `diff --quiet` do.
    ///
    /// # Errors
    /// As [`Self::run`], for any other end.
    pub async fn test(&self, args: &[&str]) -> Result<bool, GitError> {
        match self.output(args, None).await {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some(1) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Git's version, such as `2.47.3`.
    ///
    /// # Errors
    /// [`GitError::Missing`] if there is no git.
    pub async fn version(&self) -> Result<String, GitError> {
        let line = self.run(&["--version"]).await?;
        Ok(line.trim().trim_start_matches("git version ").to_owned())
    }

    async fn output(&self, args: &[&str], input: Option<&[u8]>) -> Result<Vec<u8>, GitError> {
        let mut out = Vec::new();
        let ended = self.stream(args, input, |piece| {
            if out.len() + piece.len() > OUTPUT_LIMIT {
                return ControlFlow::Break(());
            }
            out.extend_from_slice(piece);
            ControlFlow::Continue(())
        });
        match ended.await? {
            ControlFlow::Continue(()) => Ok(out),
            ControlFlow::Break(()) => Err(GitError::TooMuchOutput(
                args.first().copied().unwrap_or_default().to_owned(),
            )),
        }
    }

    /// Runs git, and passes its standard output on as it arrives. A `Break` stops git and is
    /// returned.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn stream(
        &self,
        args: &[&str],
        input: Option<&[u8]>,
        mut on_output: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, GitError> {
        let stop = self.cancel.child_token();
        let mut flow = ControlFlow::Continue(());
        let mut err = Vec::new();
        let mut command = self.command(args);
        let ended = process::run(&mut command, input, &stop, |stream, piece| match stream {
            Stream::Out if flow.is_break() => {}
            Stream::Out => {
                flow = on_output(piece);
                if flow.is_break() {
                    stop.cancel();
                }
            }
            Stream::Err => keep_end(&mut err, piece),
        });
        let ended = ended.await.map_err(|error| self.not_started(error))?;
        let command = args.first().copied().unwrap_or_default().to_owned();
        if flow.is_break() {
            return Ok(flow);
        }
        if ended.cancelled {
            return Err(GitError::Cancelled(command));
        }
        if !ended.status.success() {
            return Err(GitError::Failed {
                command,
                status: ended.status,
                message: last_lines(&err),
            });
        }
        Ok(flow)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("git");
        process::allow_environment(&mut command, &["SSH_AUTH_SOCK"]);
        command.current_dir(&self.dir).envs(ENVIRONMENT);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        for setting in SETTINGS
            .into_iter()
            .chain(self.settings.iter().map(String::as_str))
        {
            command.args(["-c", setting]);
        }
        command.args(args);
        command
    }

    /// A missing directory gives the same system error as a missing git.
    fn not_started(&self, error: io::Error) -> GitError {
        if error.kind() == io::ErrorKind::NotFound && self.dir.is_dir() {
            return GitError::Missing;
        }
        GitError::Start {
            dir: self.dir.clone(),
            error,
        }
    }
}

/// Scheme and host of an address that takes a token.
///
/// # Errors
/// [`GitError::Argument`] if the address is not `http` or `https`.
pub(crate) fn token_host(url: &str) -> Result<&str, GitError> {
    http_host(url).ok_or_else(|| GitError::Argument {
        what: "address that takes a token".to_owned(),
        text: url.to_owned(),
        reason: "it is not of http or https",
    })
}

/// `https://git.example.org/team/shop.git` is on `https://git.example.org`.
fn http_host(url: &str) -> Option<&str> {
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"))?;
    let host = rest.split(['/', '?', '#']).next()?;
    // A user name in the address would become part of the setting's name.
    let fits = !host.is_empty() && !host.contains(['@', '=', '*', '\n']);
    fits.then(|| &url[..url.len() - rest.len() + host.len()])
}

/// The host of a remote's address.
#[derive(Debug, PartialEq)]
struct Remote {
    host: String,
    port: u16,
    is_http: bool,
}

/// Parses `https://host:port/path`, `ssh://user@host/path` and `user@host:path`; a path and a
/// `file://` have no host.
fn remote(url: &str) -> Option<Remote> {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (
            scheme.to_ascii_lowercase(),
            rest.split(['/', '?', '#', '\\']).next()?,
        ),
        // `ext::command` names a transport, which git refuses by itself.
        None if url.contains("::") && !url.contains('[') => return None,
        None => (
            "scp".to_owned(),
            url.split_once(':')
                .map(|(host, _)| host)
                .filter(|host| !host.contains('/'))?,
        ),
    };
    let default = match scheme.as_str() {
        "http" => 80,
        "https" => 443,
        "file" => return None,
        _ => 22,
    };
    let authority = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let (host, port) = match authority
        .strip_prefix('[')
        .and_then(|six| six.split_once(']'))
    {
        Some((six, port)) => (six, port.strip_prefix(':')),
        None => authority
            .split_once(':')
            .map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    let port = port.and_then(|port| port.parse().ok()).unwrap_or(default);
    (!host.is_empty()).then(|| Remote {
        host: host.to_owned(),
        port,
        is_http: scheme.starts_with("http"),
    })
}

fn bracketed(address: IpAddr) -> String {
    if address.is_ipv6() {
        format!("[{address}]")
    } else {
        address.to_string()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Appends a piece, and drops the beginning of a text that has become too long.
fn keep_end(kept: &mut Vec<u8>, piece: &[u8]) {
    kept.extend_from_slice(piece);
    if kept.len() > 2 * ERROR_LIMIT {
        kept.drain(..kept.len() - ERROR_LIMIT);
    }
}

fn last_lines(err: &[u8]) -> String {
    let text = text(err);
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
        .collect();
    lines[lines.len().saturating_sub(LINES_OF_ERROR)..].join("\n")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const AT: Timestamp = Timestamp::from_micros(1_790_000_000_000_000);

    async fn repository() -> (tempfile::TempDir, Git) {
        let folder = tempfile::tempdir().unwrap();
        let git = Git::new(folder.path()).identity("Ada", "ada@example.org", AT);
        git.run(&["init", "--quiet"]).await.unwrap();
        (folder, git)
    }

    async fn commit(folder: &std::path::Path, git: &Git) -> String {
        std::fs::write(folder.join("a.txt"), "a\n").unwrap();
        git.run(&["add", "--all"]).await.unwrap();
        git.run(&["commit", "--quiet", "-m", "first"])
            .await
            .unwrap();
        git.run(&["rev-parse", "HEAD"])
            .await
            .unwrap()
            .trim()
            .to_owned()
    }

    #[tokio::test]
    async fn the_same_content_gives_the_same_commit() {
        let (one, first) = repository().await;
        let (other, second) = repository().await;
        let id = commit(one.path(), &first).await;
        assert_eq!(id.len(), 40);
        assert_eq!(id, commit(other.path(), &second).await);
        assert_eq!(
            first
                .run(&["show", "-s", "--format=%an %cd", "--date=unix"])
                .await
                .unwrap(),
            "Ada 1790000000\n"
        );
        assert_eq!(
            first.run(&["branch", "--show-current"]).await.unwrap(),
            "main\n"
        );
    }

    #[tokio::test]
    async fn hooks_of_the_repository_do_not_run() {
        use std::os::unix::fs::PermissionsExt;
        let (folder, git) = repository().await;
        let hook = folder.path().join(".git/hooks/pre-commit");
        std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
        std::fs::write(&hook, "#!/bin/sh\nexit 1\n").unwrap();
        std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
        commit(folder.path(), &git).await;
    }

    #[tokio::test]
    async fn a_failure_says_what_git_said() {
        let (_folder, git) = repository().await;
        let error = git
            .run(&["rev-parse", "--verify", "nothing"])
            .await
            .unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("git rev-parse failed (exit status: 128): fatal: "),
            "{text}"
        );
        assert_eq!(error.code(), Some(128));
    }

    #[tokio::test]
    async fn a_transport_that_runs_commands_is_refused() {
        let (folder, git) = repository().await;
        let marker = folder.path().join("ran");
        let url = format!("ext::sh -c touch% {}", marker.display());
        let error = git
            .run(&["ls-remote", "--", &url])
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("not allowed") && !marker.exists(), "{error}");
    }

    #[tokio::test]
    async fn input_and_tests_and_bytes() {
        let (folder, git) = repository().await;
        let id = git
            .run_with_input(&["hash-object", "-w", "--stdin"], b"\xff\n")
            .await
            .unwrap();
        assert_eq!(
            git.run_bytes(&["cat-file", "blob", id.trim()])
                .await
                .unwrap(),
            b"\xff\n"
        );
        commit(folder.path(), &git).await;
        assert!(git.test(&["diff", "--quiet"]).await.unwrap());
        std::fs::write(folder.path().join("a.txt"), "b\n").unwrap();
        assert!(!git.test(&["diff", "--quiet"]).await.unwrap());
        assert!(
            git.test(&["diff", "--quiet", "no-such-thing"])
                .await
                .is_err()
        );
        assert!(git.version().await.unwrap().starts_with('2'));
    }

    #[tokio::test]
    async fn output_is_read_against_a_limit_as_it_comes() {
        let (_folder, git) = repository().await;
        let endless = ["-c", "alias.endless=!yes; true", "endless"];
        assert!(matches!(
            git.run(&endless).await,
            Err(GitError::TooMuchOutput(_))
        ));
        let mut taken = 0;
        let stopped = git.stream(&endless, None, |piece| {
            taken += piece.len();
            if taken > 1000 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        assert!(stopped.await.unwrap().is_break());
        assert!(taken < 1000 + 64 * 1024, "{taken}");
        let complains = [
            "-c",
            "alias.complain=!yes oops | head -c 10000000 >&2; exit 1",
            "complain",
        ];
        let error = git.run(&complains).await.unwrap_err();
        assert!(
            error.message().ends_with("oops") && error.message().len() < 100,
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_missing_git_is_distinguished_from_a_missing_folder() {
        let folder = tempfile::tempdir().unwrap();
        let nowhere = Git::new(folder.path())
            .env("PATH", folder.path())
            .version()
            .await
            .unwrap_err();
        assert_eq!(
            nowhere.to_string(),
            "git is not installed: install git 2.32 or newer"
        );
        let gone = Git::new(folder.path().join("gone"))
            .version()
            .await
            .unwrap_err()
            .to_string();
        assert!(
            gone.starts_with("cannot run git in ") && gone.contains("gone"),
            "{gone}"
        );
    }

    #[tokio::test]
    async fn a_cancel_stops_git() {
        let (folder, git) = repository().await;
        let cancel = CancellationToken::new();
        let git = git.cancelled_by(&cancel);
        let wait = git.run(&["-c", "alias.wait=!touch started; sleep 1000", "wait"]);
        let stop = async {
            while !folder.path().join("started").exists() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            cancel.cancel();
        };
        let (ended, ()) = tokio::join!(wait, stop);
        assert!(matches!(ended, Err(GitError::Cancelled(_))), "{ended:?}");
    }

    #[tokio::test]
    async fn a_token_is_given_to_its_host_alone() {
        let (_folder, git) = repository().await;
        let git = git
            .token("https://git.example.org/a.git", &Secret::new("hunter2"))
            .unwrap();
        let ask = async |host: &str| {
            let question = format!("protocol=https\nhost={host}\n\n");
            git.run_with_input(&["credential", "fill"], question.as_bytes())
                .await
        };
        let answer = ask("git.example.org").await.unwrap();
        assert!(
            answer.contains("username=x-access-token\npassword=hunter2\n"),
            "{answer}"
        );
        assert!(ask("other.example.org").await.is_err());
    }

    #[test]
    fn the_host_of_a_remote_is_found() {
        let check = |url: &str, expect: Option<(&str, u16, bool)>| {
            let expect = expect.map(|(host, port, is_http)| Remote {
                host: host.to_owned(),
                port,
                is_http,
            });
            assert_eq!(remote(url), expect, "{url}");
        };
        check(
            "https://git.example/team/shop.git",
            Some(("git.example", 443, true)),
        );
        check(
            "HTTP://ann:pass@git.example:8080/x",
            Some(("git.example", 8080, true)),
        );
        check("http://[::1]:81/x", Some(("::1", 81, true)));
        check(
            "ssh://git@git.example:2222/x",
            Some(("git.example", 2222, false)),
        );
        check(
            "git@git.example:team/shop.git",
            Some(("git.example", 22, false)),
        );
        check("file:///srv/x.git", None);
        check("/srv/x.git", None);
        check("./a:b/x", None);
        check("ext::true", None);
    }

    #[tokio::test]
    async fn a_denied_address_is_not_reached() {
        let folder = tempfile::tempdir().unwrap();
        let policy = AddressPolicy::default();
        for url in [
            "http://169.254.169.254/x.git",
            "git@169.254.169.254:x.git",
            "http://[::ffff:a9fe:a9fe]/x",
        ] {
            let error = Git::new(folder.path())
                .reaching(url, &policy)
                .await
                .unwrap_err();
            assert!(
                matches!(error, GitError::Address(AddressError::Denied { .. })),
                "{url}: {error}"
            );
        }
        let git = Git::new(folder.path())
            .reaching("http://localhost:8080/x.git", &policy)
            .await
            .unwrap();
        let pinned = git
            .settings
            .iter()
            .any(|setting| setting.starts_with("http.curloptResolve=localhost:8080:"));
        assert!(pinned, "{:?}", git.settings);
        assert!(
            Git::new(folder.path())
                .reaching("/srv/x.git", &policy.public_only())
                .await
                .is_ok()
        );
    }

    #[test]
    fn tokens_are_for_http() {
        let check = |url: &str, expect: Option<&str>| assert_eq!(http_host(url), expect, "{url}");
        check(
            "https://git.example.org/team/shop.git",
            Some("https://git.example.org"),
        );
        check("http://127.0.0.1:3000", Some("http://127.0.0.1:3000"));
        check("https://user@git.example.org/x", None);
        check("git@git.example.org:x", None);
        check("file:///x", None);
    }

    #[test]
    fn arguments_that_git_would_misread_are_refused() {
        let check = |text: &str, expect: bool| {
            assert_eq!(argument("branch", text).is_ok(), expect, "{text:?}")
        };
        check("main", true);
        check("feature/x", true);
        check("", false);
        check("--upload-pack=evil", false);
        check("a\nb", false);
        let error = argument("branch", "-x").unwrap_err().to_string();
        assert_eq!(error, "`-x` is no branch for git: it begins with `-`");
    }
}
