//! A cluster: start, stop, crash, and the other things that tests do to it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::clock::{self, SteppableClock};
use crate::data_directory;
use crate::error::{ScratchError, while_doing};
use crate::ground::{Ground, free_port};
use crate::programs;
use crate::watcher::Watcher;

/// Time limit for a server to start, crash recovery included, or to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// Time limit for remains of a killed server, or of closed sessions, to disappear.
const LINGER: Duration = Duration::from_secs(10);

/// Ports to try: another process may take a port before the server binds it.
const PORTS: usize = 5;

/// A cluster. Killed on drop, and its directory removed.
#[derive(Debug)]
pub struct ScratchPostgres {
    // Fields are dropped in this order.
    server: Mutex<Option<Child>>,
    _watcher: Watcher,
    clock: Option<SteppableClock>,
    ground: Ground,
    programs: PathBuf,
    port: u16,
    /// Password of the superuser, if TCP connections need one.
    password: Option<String>,
    databases: AtomicU32,
}

/// Options of a cluster. The defaults are Debian's, except that connections from the loopback need
/// no password.
#[derive(Clone, Debug, Default)]
pub struct ScratchOptions {
    /// Lines for `postgresql.conf`, such as `fsync = off`.
    pub settings: Vec<String>,
    /// Password of the superuser; TCP connections without it are refused (SCRAM).
    pub password: Option<String>,
    /// Certificate and key as PEM; the server offers TLS.
    pub certificate: Option<(String, String)>,
    /// The server's wall clock can be stepped; that needs `faketime`.
    pub has_steppable_clock: bool,
}

/// Way of stopping a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// `pg_ctl stop -m fast`: sessions end, a checkpoint is written.
    Fast,
    /// `pg_ctl stop -m immediate`: every process ends at once, and the next start recovers.
    Immediate,
    /// `kill -9` of the server and every backend: a crash.
    Kill,
}

impl ScratchPostgres {
    /// Creates a cluster and starts it.
    ///
    /// # Errors
    /// If PostgreSQL is not installed or does not start.
    pub fn start() -> Result<Self, ScratchError> {
        Self::with_settings(&[])
    }

    /// Like [`Self::start`], with lines for `postgresql.conf` such as `fsync = off`.
    ///
    /// # Errors
    /// If PostgreSQL is not installed or does not start.
    pub fn with_settings(settings: &[&str]) -> Result<Self, ScratchError> {
        let settings = settings.iter().map(|line| (*line).to_owned()).collect();
        Self::with(ScratchOptions {
            settings,
            ..ScratchOptions::default()
        })
    }

    /// Creates a cluster with these options and starts it.
    ///
    /// # Errors
    /// If PostgreSQL is not installed or does not start.
    pub fn with(options: ScratchOptions) -> Result<Self, ScratchError> {
        let programs = programs::postgres()?;
        let ground = Ground::new()?;
        let port = free_port()?;
        let data = ground.path().join("data");
        data_directory::create(&ground, &programs, &data)?;
        configure(&ground, &options)?;
        let watcher = Watcher::start(&data.join("postmaster.pid"), ground.path())?;
        let clock = options
            .has_steppable_clock
            .then(|| SteppableClock::on(&ground))
            .transpose()?;
        let mut cluster = Self {
            server: Mutex::new(None),
            _watcher: watcher,
            clock,
            ground,
            programs,
            port,
            password: options.password,
            databases: AtomicU32::new(0),
        };
        cluster.start_somewhere()?;
        if let Some(password) = &cluster.password {
            cluster.psql(
                "postgres",
                &format!(
                    "ALTER USER postgres PASSWORD '{}'",
                    password.replace('\'', "''")
                ),
            )?;
            cluster.accept()?;
        }
        Ok(cluster)
    }

    /// Creates a synchronous standby: every later commit of this cluster waits for it.
    ///
    /// # Errors
    /// If it cannot be created or does not follow.
    pub fn synchronous_standby(&self, name: &str) -> Result<Self, ScratchError> {
        let ground = Ground::new()?;
        let port = free_port()?;
        let data = ground.path().join("data");
        let mut backup = ground.command(&self.programs.join("pg_basebackup"));
        let primary = format!(
            "host=127.0.0.1 port={} user=postgres application_name={name}",
            self.port
        );
        backup.args([
            "--no-sync",
            "--write-recovery-conf",
            "--wal-method=stream",
            "--checkpoint=fast",
        ]);
        ground.run(
            backup
                .arg("--dbname")
                .arg(primary)
                .arg("--pgdata")
                .arg(&data),
        )?;
        let conf = data.join("postgresql.conf");
        let given = std::fs::read_to_string(&conf).map_err(while_doing(conf.display()))?;
        let socket = ground.path().display();
        let own = format!("unix_socket_directories = '{socket}'\nsynchronous_standby_names = ''\n");
        ground.write(&conf, &format!("{given}\n{own}"))?;
        let watcher = Watcher::start(&data.join("postmaster.pid"), ground.path())?;
        let programs = self.programs.clone();
        let password = self.password.clone();
        let databases = AtomicU32::new(0);
        let mut standby = Self {
            server: Mutex::new(None),
            _watcher: watcher,
            clock: None,
            ground,
            programs,
            port,
            password,
            databases,
        };
        standby.start_somewhere()?;
        self.psql(
            "postgres",
            &format!("ALTER SYSTEM SET synchronous_standby_names = '{name}'"),
        )?;
        self.psql("postgres", "SELECT pg_reload_conf()")?;
        let followed = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
        let begin = Instant::now();
        while self.psql("postgres", followed)? != "1" {
            if begin.elapsed() > PATIENCE {
                return Err(ScratchError("the standby does not follow".to_owned()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(standby)
    }

    /// Promotes a standby. Returns once it accepts writes.
    ///
    /// # Errors
    /// If it is not a standby, or is not promoted.
    pub fn promote(&self) -> Result<(), ScratchError> {
        match self
            .psql("postgres", "SELECT pg_promote(true, 60)")?
            .as_str()
        {
            "t" => Ok(()),
            _ => Err(ScratchError("the standby was not promoted".to_owned())),
        }
    }

    /// Retries with another port: this one was free before `initdb`, which takes seconds.
    fn start_somewhere(&mut self) -> Result<(), ScratchError> {
        for _ in 1..PORTS {
            match self.start_again() {
                Err(error) if error.0.contains("Address already in use") => {
                    self.port = free_port()?
                }
                done => return done,
            }
        }
        self.start_again()
    }

    /// A cluster shared by all tests of a process; each test uses a [`Self::fresh_database`].
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<ScratchPostgres> = OnceLock::new();
        SHARED.get_or_init(|| {
            Self::start().unwrap_or_else(|error| panic!("no PostgreSQL to test with: {error}"))
        })
    }

    /// Port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Data directory.
    pub fn data(&self) -> PathBuf {
        self.ground.path().join("data")
    }

    /// URL of the database `postgres` for the superuser.
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// URL of a database for the superuser.
    pub fn url_of(&self, database: &str) -> String {
        self.url_with(database, "postgres", self.password.as_deref())
    }

    /// URL of a database for a user. The parts are inserted without escaping.
    pub fn url_with(&self, database: &str, user: &str, password: Option<&str>) -> String {
        let password = password
            .map(|password| format!(":{password}"))
            .unwrap_or_default();
        format!(
            "postgres://{user}{password}@127.0.0.1:{}/{database}",
            self.port
        )
    }

    /// Creates an empty database and returns its URL.
    ///
    /// # Errors
    /// If the server is not running.
    pub fn fresh_database(&self) -> Result<String, ScratchError> {
        let name = format!("scratch_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        // Autovacuum, or a session that has just ended, may still be in the copied database.
        lingering("is being accessed by other users", || {
            self.psql("postgres", &format!("CREATE DATABASE {name}"))
                .map(|_| self.url_of(&name))
        })
    }

    /// Executes a statement as the superuser, over the Unix socket, which works while TCP is
    /// refused. Returns rows as lines with columns separated by `|`.
    ///
    /// # Errors
    /// If the server is not running or refuses the statement.
    pub fn psql(&self, database: &str, statement: &str) -> Result<String, ScratchError> {
        let mut psql = self.ground.command(&self.programs.join("psql"));
        psql.args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            "postgres",
        ]);
        psql.arg("-h")
            .arg(self.ground.path())
            .arg("-p")
            .arg(self.port.to_string());
        psql.args(["-d", database, "-c", statement]);
        self.ground
            .run(&mut psql)
            .map(|rows| rows.trim_end().to_owned())
    }

    /// Returns whether a program of PostgreSQL's is with its server.
    pub fn has_program(&self, name: &str) -> bool {
        self.programs.join(name).exists()
    }

    /// A program of PostgreSQL, such as `pgbench`, ready to run as the cluster's user.
    pub fn program(&self, name: &str) -> Command {
        let mut command = self.ground.command(&self.programs.join(name));
        command
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", "postgres");
        command
    }

    /// Starts a stopped or killed server again, with the same data and port. Returns once it
    /// accepts connections.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start_again(&self) -> Result<(), ScratchError> {
        // A backend forked just before its server was killed lives on for a moment.
        lingering("is still in use", || self.try_start())
    }

    fn try_start(&self) -> Result<(), ScratchError> {
        let mut server = self.server();
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.ground.path().join("log"));
        let log = log.map_err(while_doing("cannot open the server's log"))?;
        let before = log.metadata().map_or(0, |metadata| metadata.len());
        let mut command = self.ground.command(&self.programs.join("postgres"));
        command
            .arg("-D")
            .arg(self.data())
            .arg("-p")
            .arg(self.port.to_string());
        command.stdout(Stdio::null()).stderr(log);
        clock::set(&mut command, self.clock.as_ref());
        let child = command
            .spawn()
            .map_err(while_doing("cannot start postgres"))?;
        *server = Some(child);
        drop(server);
        self.wait_until_up(before)
    }

    /// Waits until the server accepts connections. The error quotes the log written since the
    /// start.
    fn wait_until_up(&self, log_before: u64) -> Result<(), ScratchError> {
        let begin = Instant::now();
        loop {
            let asked = self.psql("postgres", "SELECT 1");
            let Err(refused) = asked else { return Ok(()) };
            let ended = self
                .server()
                .as_mut()
                .and_then(|child| child.try_wait().ok().flatten());
            if ended.is_some() || begin.elapsed() > PATIENCE {
                let log = std::fs::read(self.ground.path().join("log")).unwrap_or_default();
                let log = log
                    .get(usize::try_from(log_before).unwrap_or(0)..)
                    .map(String::from_utf8_lossy);
                let why = end_of(&log.unwrap_or_default());
                return Err(ScratchError(format!(
                    "postgres does not start: {refused}\n{why}"
                )));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Stops the server.
    ///
    /// # Errors
    /// If it is not running or does not stop.
    pub fn stop(&self, how: Stop) -> Result<(), ScratchError> {
        let Some(mut child) = self.server().take() else {
            return Err(ScratchError("the server is not running".to_owned()));
        };
        match how {
            Stop::Fast => signal("-INT", &[child.id()])?,
            Stop::Immediate => signal("-QUIT", &[child.id()])?,
            Stop::Kill => self.kill(child.id())?,
        }
        child
            .wait()
            .map_err(while_doing("cannot wait for the server"))?;
        Ok(())
    }

    /// Kills the backends too: they would live on for a moment, and a new server refuses to start
    /// beside them.
    fn kill(&self, server: u32) -> Result<(), ScratchError> {
        let list = std::fs::read_to_string(format!("/proc/{server}/task/{server}/children"))
            .unwrap_or_default();
        let children: Vec<u32> = list
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .collect();
        signal("-KILL", &[server])?;
        // Some have ended already.
        let _ = signal("-KILL", &children);
        let begin = Instant::now();
        let lives = |pid: &u32| std::path::Path::new(&format!("/proc/{pid}")).exists();
        while children.iter().any(lives) && begin.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
        // A crash leaves the pid file. Without this the next start could mistake another process
        // with the same id for the old server.
        let _ = std::fs::remove_file(self.data().join("postmaster.pid"));
        Ok(())
    }

    /// Sets the server's wall clock ahead of the right time by so many seconds, or behind it.
    /// Returns once the server shows it.
    ///
    /// # Errors
    /// When it was started without a steppable clock, or does not follow.
    pub fn set_clock_ahead(&self, seconds: i64) -> Result<(), ScratchError> {
        let Some(clock) = &self.clock else {
            return Err(ScratchError(
                "the server's clock cannot be stepped: it was started on the machine's own"
                    .to_owned(),
            ));
        };
        clock.set_ahead(seconds)?;
        let begin = Instant::now();
        // The two clocks are read some time apart.
        let follows = format!(
            "SELECT abs(extract(epoch FROM clock_timestamp()) - {} - ({seconds})) < 60",
            seconds_since_epoch()
        );
        while self.psql("postgres", &follows)? != "t" {
            if begin.elapsed() > LINGER {
                return Err(ScratchError(
                    "the server's clock does not follow faketime".to_owned(),
                ));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Stops the server and starts it again.
    ///
    /// # Errors
    /// If it does not stop or start.
    pub fn restart(&self, how: Stop) -> Result<(), ScratchError> {
        self.stop(how)?;
        self.start_again()
    }

    /// Refuses TCP connections from now on, and ends the existing ones.
    ///
    /// # Errors
    /// If the server is not running.
    pub fn refuse(&self) -> Result<(), ScratchError> {
        self.allow("reject")?;
        self.end_sessions()
    }

    /// Accepts TCP connections again.
    ///
    /// # Errors
    /// If the server is not running.
    pub fn accept(&self) -> Result<(), ScratchError> {
        self.allow(if self.password.is_some() {
            "scram-sha-256"
        } else {
            "trust"
        })
    }

    fn allow(&self, method: &str) -> Result<(), ScratchError> {
        let rules = format!("local all all trust\nhost all all 127.0.0.1/32 {method}\n");
        self.ground
            .write(&self.data().join("pg_hba.conf"), &rules)?;
        self.psql("postgres", "SELECT pg_reload_conf()").map(drop)
    }

    /// Ends every session but this one (`pg_terminate_backend`).
    ///
    /// # Errors
    /// If the server is not running.
    pub fn end_sessions(&self) -> Result<(), ScratchError> {
        let statement = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                         WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
        self.psql("postgres", statement).map(drop)
    }

    fn server(&self) -> MutexGuard<'_, Option<Child>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ScratchPostgres {
    fn drop(&mut self) {
        if self.server().is_some() {
            // The watcher kills what this leaves.
            let _ = self.stop(Stop::Kill);
        }
    }
}

/// Repeats an operation while it fails for the given transient reason.
fn lingering<T>(
    why: &str,
    mut attempt: impl FnMut() -> Result<T, ScratchError>,
) -> Result<T, ScratchError> {
    let begin = Instant::now();
    loop {
        match attempt() {
            Err(error) if error.0.contains(why) && begin.elapsed() < LINGER => {
                std::thread::sleep(Duration::from_millis(100));
            }
            done => return done,
        }
    }
}

/// The machine's own wall clock.
fn seconds_since_epoch() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

/// Last lines of a log, which hold the reason of a failure.
fn end_of(log: &str) -> String {
    const SHOWN: usize = 10;
    let lines = log.trim().lines().collect::<Vec<_>>();
    lines[lines.len().saturating_sub(SHOWN)..].join("\n")
}

/// Writes the server's settings. The port is passed at start.
fn configure(ground: &Ground, options: &ScratchOptions) -> Result<(), ScratchError> {
    let conf = ground.path().join("data/postgresql.conf");
    let socket = ground.path().display();
    let mut ours = format!(
        "listen_addresses = '127.0.0.1'\nunix_socket_directories = '{socket}'\nfsync = on\n\
         max_connections = 200\nlog_min_messages = warning\npassword_encryption = 'scram-sha-256'\n"
    );
    if let Some((certificate, key)) = &options.certificate {
        ground.file("server.crt", certificate)?;
        let key = ground.file("server.key", key)?;
        let only_ours = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&key, only_ours).map_err(while_doing(key.display()))?;
        ours += &format!(
            "ssl = on\nssl_cert_file = '{socket}/server.crt'\nssl_key_file = '{socket}/server.key'\n"
        );
    }
    let given = std::fs::read_to_string(&conf).map_err(while_doing(conf.display()))?;
    ground.write(
        &conf,
        &format!("{given}\n{ours}{}\n", options.settings.join("\n")),
    )
}

fn signal(signal: &str, pids: &[u32]) -> Result<(), ScratchError> {
    if pids.is_empty() {
        return Ok(());
    }
    let status = Command::new("kill")
        .arg(signal)
        .args(pids.iter().map(u32::to_string))
        .stderr(Stdio::null())
        .status();
    let status = status.map_err(while_doing("cannot run kill"))?;
    if status.success() {
        Ok(())
    } else {
        Err(ScratchError(format!("cannot send {signal} to {pids:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_meanwhile_is_given_up() {
        let mut cluster = ScratchPostgres::start().unwrap();
        cluster.stop(Stop::Fast).unwrap();
        let taken = cluster.port;
        // If this fails, another process holds the port, which serves as well.
        let _somebody = std::net::TcpListener::bind(("127.0.0.1", taken));
        cluster.start_somewhere().unwrap();
        assert_ne!(cluster.port, taken);
        assert_eq!(
            cluster.psql("postgres", "SHOW port").unwrap(),
            cluster.port.to_string()
        );
    }
}
