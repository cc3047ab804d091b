//! PgBouncer in front of a cluster, in transaction mode.

use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::cluster::ScratchPostgres;
use crate::error::{ScratchError, while_doing};
use crate::ground::{Ground, free_port};
use crate::programs;
use crate::watcher::Watcher;

/// A connection pooler in front of a cluster. Killed on drop.
#[derive(Debug)]
pub struct ScratchBouncer {
    server: Child,
    _watcher: Watcher,
    _ground: Ground,
    port: u16,
}

impl ScratchBouncer {
    /// Starts it in front of a cluster, with `pool` connections to each database.
    ///
    /// # Errors
    /// If PgBouncer is not installed or does not start.
    pub fn start(cluster: &ScratchPostgres, pool: u32) -> Result<Self, ScratchError> {
        let program = programs::pgbouncer()?;
        let ground = Ground::new()?;
        let port = free_port()?;
        let folder = ground.path().display();
        let server = cluster.port();
        let conf = format!(
            "[databases]\n* = host=127.0.0.1 port={server}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir = {folder}\npool_mode = transaction\nauth_type = any\ndefault_pool_size = {pool}\n\
             max_client_conn = 500\npidfile = {folder}/pid\nlogfile = {folder}/log\n"
        )
        .replace("* = host=127.0.0.1", "* = user=postgres host=127.0.0.1");
        let conf = ground.file("pgbouncer.ini", &conf)?;
        let watcher = Watcher::start(&ground.path().join("pid"), ground.path())?;
        let mut command = ground.command(&program);
        let child = command
            .arg(conf)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let server = child.map_err(while_doing("cannot start pgbouncer"))?;
        let mut bouncer = Self {
            server,
            _watcher: watcher,
            _ground: ground,
            port,
        };
        bouncer.wait_until_up()?;
        Ok(bouncer)
    }

    fn wait_until_up(&mut self) -> Result<(), ScratchError> {
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let ended = self.server.try_wait().ok().flatten().is_some();
            if ended || begin.elapsed() > Duration::from_secs(20) {
                return Err(ScratchError("pgbouncer does not start".to_owned()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// URL of a database of the cluster through the pooler.
    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }
}

impl Drop for ScratchBouncer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
