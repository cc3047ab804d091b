//! Settings: the configuration file, then the environment, then flags. Nothing else in the
//! workspace reads the environment.

mod alerts;
mod field;
mod server;
mod telemetry;
mod view;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use surefoot::files::{self, FileError, Links};
use surefoot::{AddressPolicy, AllowLists, QueueLimits, parse_duration};
use surefoot_server::AlertOptions;

use crate::args::{Global, Limits};
use crate::errors::Failure;
use crate::limits;
use crate::place::{Address, Place, PostgresTable};

use alerts::AlertsTable;
use field::{Addresses, Entries};
pub(crate) use server::{AuthTable, OidcTable, ServerTable};
pub(crate) use telemetry::TelemetryTable;
pub(crate) use view::view;

/// Settings of the program.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Address of the store.
    pub(crate) store: Place,
    /// The address as it was given, if it was. It may hold a password.
    pub(crate) address: Option<Address>,
    /// True if a flag or the environment names the store, and not the configuration file.
    pub(crate) is_store_named: bool,
    /// Data directory.
    pub(crate) data_dir: PathBuf,
    /// Runs that a worker holds at once; `None` for the engine's own default.
    pub(crate) concurrency: Option<usize>,
    /// MiB of workspaces that are in memory at once while they are stored or restored.
    pub(crate) snapshot_memory_mib: Option<usize>,
    /// The workflows and actions that a worker permits.
    pub(crate) allow: AllowLists,
    /// Environment variables that commands get besides the usual ones.
    pub(crate) pass_environment: Vec<String>,
    /// Time for which steps may continue after the first signal; `None` for the engine's default.
    pub(crate) grace: Option<Duration>,
    /// Limits that a worker gives to queues when it starts.
    pub(crate) queues: BTreeMap<String, Limits>,
    /// The folder of credential files.
    pub(crate) credentials: PathBuf,
    /// The hosts that a credential is bound to, by its name.
    pub(crate) credential_hosts: BTreeMap<String, Vec<String>>,
    /// The addresses that steps and notifiers may reach.
    pub(crate) addresses: AddressPolicy,
    /// The keys of secret parameters, if the configuration says where they are; else they are in
    /// the data directory.
    pub(crate) key_file: Option<PathBuf>,
    /// The fleet repository, a path or URL; `None` for the one in the data directory.
    pub(crate) fleet: Option<String>,
    /// Access to repositories.
    pub(crate) forge: ForgeTable,
    /// Folders below which templates may be.
    pub(crate) template_folders: Vec<PathBuf>,
    /// Options of the server.
    pub(crate) server: ServerTable,
    /// Whom it lets in.
    pub(crate) auth: AuthTable,
    /// Rules of alerts.
    pub(crate) alerts: AlertOptions,
    /// Export of traces.
    pub(crate) telemetry: TelemetryTable,
    /// Slows the shipped steps down, for people who want to watch.
    pub(crate) pace: Option<Duration>,
    /// Folder of the drill that this worker takes part in.
    pub(crate) drill: Option<PathBuf>,
}

/// The configuration file. Paths in it are relative to its own folder.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    store: Option<Address>,
    #[serde(default)]
    postgres: PostgresTable,
    #[serde(default)]
    worker: WorkerTable,
    #[serde(default)]
    queues: BTreeMap<String, Limits>,
    #[serde(default)]
    credentials: CredentialsTable,
    #[serde(default)]
    network: NetworkTable,
    #[serde(default)]
    secrets: SecretsTable,
    fleet: Option<String>,
    #[serde(default)]
    forge: ForgeTable,
    #[serde(default)]
    templates: TemplatesTable,
    #[serde(default)]
    server: ServerTable,
    #[serde(default)]
    auth: AuthTable,
    #[serde(default)]
    alerts: AlertsTable,
    #[serde(default)]
    telemetry: TelemetryTable,
}

/// `[forge]`: how repositories are reached.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ForgeTable {
    /// The credential that the forge needs, by name.
    pub(crate) credential: Option<String>,
    /// The address under which clusters reach the repositories, without the repository's name.
    pub(crate) repositories_url: Option<String>,
    /// The folder of the repositories; `None` for `repositories` in the data directory.
    pub(crate) repositories: Option<PathBuf>,
}

/// `[templates]`: which of this machine's folders may be templates.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct TemplatesTable {
    #[serde(default)]
    folders: Vec<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WorkerTable {
    concurrency: Option<usize>,
    grace: Option<String>,
    snapshot_memory_mib: Option<usize>,
    #[serde(default)]
    pass_environment: Vec<String>,
    workflows: Option<Entries>,
    actions: Option<Entries>,
}

/// `[secrets]`: what secret parameters are encrypted with.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretsTable {
    key_file: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct CredentialsTable {
    dir: Option<PathBuf>,
    #[serde(default)]
    hosts: BTreeMap<String, Vec<String>>,
}

/// `[network]`: the addresses that steps and notifiers may reach.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct NetworkTable {
    #[serde(default)]
    allow: Vec<Addresses>,
    #[serde(default)]
    deny: Vec<Addresses>,
}

impl NetworkTable {
    fn policy(&self) -> AddressPolicy {
        let ranges = |list: &[Addresses]| list.iter().map(|addresses| addresses.0).collect();
        AddressPolicy {
            allow: ranges(&self.allow),
            deny: ranges(&self.deny),
        }
    }
}

impl Settings {
    /// Reads the configuration file, if there is one, and lets the environment and flags have the
    /// last word.
    pub(crate) fn load(global: &Global) -> Result<Self, Failure> {
        let data_dir = absolute(
            global
                .data_dir
                .as_deref()
                .unwrap_or(Path::new("surefoot-data")),
        )?;
        let default = data_dir.join("surefoot.toml");
        let path = absolute(global.config.as_deref().unwrap_or(&default))?;
        let file = read(&path, global.config.is_some())?;
        let base = path.parent().unwrap_or(Path::new("/"));
        check_queues(&file.queues, &path)?;
        let addresses = file.network.policy();
        check_url("fleet", file.fleet.as_deref(), &path)?;
        check_url(
            "forge.repositories_url",
            file.forge.repositories_url.as_deref(),
            &path,
        )?;
        Ok(Self {
            store: store(global, &file, base, &data_dir, &path)?,
            address: global.store.clone().or(file.store),
            is_store_named: global.store.is_some(),
            concurrency: file.worker.concurrency,
            snapshot_memory_mib: file.worker.snapshot_memory_mib,
            allow: field::lists(file.worker.workflows.as_ref(), file.worker.actions.as_ref()),
            pass_environment: passed(file.worker.pass_environment),
            grace: file
                .worker
                .grace
                .as_deref()
                .map(|text| grace(text, &path))
                .transpose()?,
            queues: file.queues,
            credentials: file
                .credentials
                .dir
                .map_or_else(|| data_dir.join("credentials"), |dir| base.join(dir)),
            credential_hosts: file.credentials.hosts,
            key_file: file.secrets.key_file.map(|path| base.join(path)),
            fleet: file.fleet.map(|fleet| address(&fleet, base)),
            forge: file.forge.within(base),
            template_folders: file
                .templates
                .folders
                .iter()
                .map(|folder| base.join(folder))
                .collect(),
            server: file.server.within(base),
            auth: file.auth.within(base),
            alerts: file
                .alerts
                .options(base, &addresses)
                .map_err(|failure| failure.within(&path.display().to_string()))?,
            telemetry: file.telemetry.within_environment(),
            pace: pace()?,
            drill: std::env::var_os("SUREFOOT_DRILL").map(PathBuf::from),
            data_dir,
            addresses,
        })
    }
}

impl ForgeTable {
    /// A path is relative to the configuration file.
    fn within(self, base: &Path) -> Self {
        Self {
            repositories: self.repositories.map(|folder| base.join(folder)),
            ..self
        }
    }
}

impl Settings {
    /// Applies the flags for the worker, which take precedence.
    pub(crate) fn work(
        &mut self,
        concurrency: Option<usize>,
        grace: Option<Duration>,
    ) -> Result<(), Failure> {
        if concurrency == Some(0) {
            return Err(Failure::usage(
                "--concurrency is 0: a worker holds at least 1 run",
            ));
        }
        self.concurrency = concurrency.or(self.concurrency);
        self.grace = grace.or(self.grace);
        Ok(())
    }
}

/// The variables that the configuration file passes to commands, and those of
/// `SUREFOOT_WORKER_PASS_ENVIRONMENT`.
fn passed(mut names: Vec<String>) -> Vec<String> {
    let more = std::env::var("SUREFOOT_WORKER_PASS_ENVIRONMENT").unwrap_or_default();
    names.extend(
        more.split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map(str::to_owned),
    );
    names
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path)
        .map_err(|error| Failure::usage(format!("cannot use the path {}: {error}", path.display())))
}

/// The largest configuration file that is read.
const LARGEST: u64 = 1 << 20;

fn read(path: &Path, named: bool) -> Result<File, Failure> {
    let text = match files::read_text(path, Links::Follow, LARGEST) {
        Ok(text) => text,
        // Without a file the defaults hold. What stands in the way of the whole folder is said when
        // the store is opened.
        Err(FileError::Io(error)) if !named => {
            tracing::debug!(path = %path.display(), %error, "no configuration file");
            return Ok(File::default());
        }
        Err(error) => {
            return Err(Failure::usage(format!(
                "cannot read the configuration file {}: {error}",
                path.display()
            )));
        }
    };
    toml::from_str(&text).map_err(|error| Failure::usage(syntax(path, &text, &error)))
}

/// `file:line:column: message`, as for workflow files.
fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> String {
    let start = error.span().map_or(0, |span| span.start.min(text.len()));
    let before = text.get(..start).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before
        .chars()
        .rev()
        .take_while(|letter| *letter != '\n')
        .count()
        + 1;
    format!("{}:{line}:{column}: {}", path.display(), error.message())
}

fn store(
    global: &Global,
    file: &File,
    base: &Path,
    data_dir: &Path,
    config: &Path,
) -> Result<Place, Failure> {
    let here = absolute(Path::new("."))?;
    let read =
        |address: &Address, base| Place::read(address.expose(), base, &file.postgres, config);
    match (&global.store, &file.store) {
        (Some(address), _) => read(address, &here),
        (None, Some(address)) => read(address, base),
        (None, None) => Ok(Place::File(data_dir.join("surefoot.db"))),
    }
}

/// A path is relative to the configuration file; a URL, or `user@host:path`, stays as it is.
fn address(text: &str, base: &Path) -> String {
    if text.contains(':') {
        text.to_owned()
    } else {
        base.join(text).display().to_string()
    }
}

/// Refuses passwords in these URLs: they are committed to repositories, shown on pages and passed
/// to git.
fn check_url(field: &str, url: Option<&str>, path: &Path) -> Result<(), Failure> {
    let Some((scheme, rest)) = url.and_then(|url| url.split_once("://")) else {
        return Ok(());
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // Behind HTTP a token may stand in the user's place. A password with a `/` in it looks like a
    // port that is no number.
    let is_secret = match authority.rsplit_once('@') {
        Some((person, _)) => person.contains(':') || scheme.starts_with("http"),
        None => {
            rest.contains('@')
                && authority
                    .split(':')
                    .skip(1)
                    .any(|port| port.parse::<u16>().is_err())
        }
    };
    if !is_secret {
        return Ok(());
    }
    let message = format!(
        "{}: {field}: the address has a password or a user's name in it, and would be published",
        path.display()
    );
    Err(Failure::usage(message).hint(
        "write the address without it, and the token into a credential that `credential` under [forge] names; it is read when a \
         step needs it",
    ))
}

/// Limits are read again when a worker starts; what is wrong with them is said before anything is
/// written.
fn check_queues(queues: &BTreeMap<String, Limits>, path: &Path) -> Result<(), Failure> {
    for (name, limits) in queues {
        limits::apply(limits, &mut QueueLimits::default())
            .map_err(|failure| failure.within(&format!("{}: queues.{name}", path.display())))?;
    }
    Ok(())
}

fn grace(text: &str, path: &Path) -> Result<Duration, Failure> {
    parse_duration(text)
        .map_err(|message| Failure::usage(format!("{}: worker.grace: {message}", path.display())))
}

fn pace() -> Result<Option<Duration>, Failure> {
    let Ok(text) = std::env::var("SUREFOOT_PACE") else {
        return Ok(None);
    };
    parse_duration(&text)
        .map(Some)
        .map_err(|message| Failure::usage(format!("SUREFOOT_PACE: {message}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(config: &str) -> Result<Settings, String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("surefoot.toml"), config).unwrap();
        let data_dir = Some(dir.path().to_owned());
        let global = Global {
            store: None,
            data_dir,
            config: None,
            json: false,
            verbose: 0,
        };
        Settings::load(&global).map_err(|failure| {
            failure
                .to_string()
                .replace(&dir.path().display().to_string(), "DIR")
        })
    }

    #[test]
    fn every_field_is_read() {
        let settings = load(
            "store = 'sqlite:runs.db'\nfleet = 'fleet.git'\n[worker]\nconcurrency = 4\ngrace = '3s'\n[credentials]\ndir = 'keys'\n\
             [forge]\ncredential = 'token'\n[templates]\nfolders = ['own', '/srv/templates']\n\
             [queues.project-initialization]\nconcurrency = 3\nrate = '5/1s'\n",
        )
        .unwrap();
        assert!(
            matches!(&settings.store, Place::File(path) if path.ends_with("runs.db") && path.is_absolute())
        );
        assert_eq!(
            (settings.concurrency, settings.grace),
            (Some(4), Some(Duration::from_secs(3)))
        );
        assert!(settings.credentials.ends_with("keys"));
        assert!(settings.fleet.unwrap().ends_with("/fleet.git"));
        assert_eq!(settings.forge.credential.as_deref(), Some("token"));
        let folders = &settings.template_folders;
        assert!(
            folders[0].is_absolute()
                && folders[0].ends_with("own")
                && folders[1] == Path::new("/srv/templates")
        );
        assert_eq!(
            settings.queues["project-initialization"]
                .concurrency
                .as_ref()
                .unwrap()
                .0,
            "3"
        );
    }

    #[test]
    fn what_the_documentation_shows_is_understood() {
        let mut blocks = 0;
        for page in [
            include_str!("../../../docs/authentication.md"),
            include_str!("../../../docs/alerts.md"),
            include_str!("../../../docs/operations.md"),
            include_str!("../../../docs/postgresql.md"),
        ] {
            for block in page.split("```toml\n").skip(1) {
                let text = block.split("```").next().unwrap();
                load(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
                blocks += 1;
            }
        }
        assert!(blocks >= 8, "{blocks}");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let check = |config: &str, expect: &str| {
            let error = load(config).unwrap_err();
            assert!(error.starts_with(expect), "{error}");
        };
        check(
            "[worker]\nconcurency = 4\n",
            "error: DIR/surefoot.toml:2:1: unknown field `concurency`",
        );
        check("store = \n", "error: DIR/surefoot.toml:1:");
        check(
            "[server]\ntrusted_proxies = ['proxy']\n",
            "error: DIR/surefoot.toml:2:19: `proxy` is not an address or network",
        );
        check(
            "[alerts.notifiers.mail]\nkind = 'email'\nhost = 'm'\nfrom = 'a@b.example'\nto = ['c@b.example']\n\
             security = 'none'\nuser = 'ann'\npassword = 'mail'\n",
            "error: DIR/surefoot.toml: alerts.notifiers.mail: security is none, and the password",
        );
        check(
            "[worker]\ngrace = 'soon'\n",
            "error: DIR/surefoot.toml: worker.grace: `soon` is not a duration",
        );
        let published = "the address has a password or a user's name in it, and would be published";
        for url in [
            "https://me:s3cr3t@h/f.git",
            "https://s3cr3t@h/f.git",
            "ssh://git:s3cr3t@h/f.git",
            "https://me:s3/cr3t@h/f",
        ] {
            for (field, config) in [
                ("fleet", format!("fleet = '{url}'\n")),
                (
                    "forge.repositories_url",
                    format!("[forge]\nrepositories_url = '{url}'\n"),
                ),
            ] {
                check(
                    &config,
                    &format!("error: DIR/surefoot.toml: {field}: {published}\nhint: "),
                );
                assert!(!load(&config).unwrap_err().contains("s3"));
            }
        }
        for url in [
            "https://h:8443/@team/f.git",
            "ssh://git@h:22/f.git",
            "git@h:f.git",
            "http://[::1]:80/f.git",
            "f.git",
        ] {
            load(&format!("fleet = '{url}'\n")).unwrap();
        }
        check(
            "store = 'mysql://x'\n",
            "error: `mysql://x` is not a store that this build knows",
        );
    }
}
