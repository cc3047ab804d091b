//! A real Redis server of the test's own: a free port, a folder of its own, ended by its process
//! id.

use std::process::{Child, Command, Stdio};

use crate::place::eventually;
use crate::port::free_port;

pub(super) struct Server {
    process: Process,
    port: u16,
    arguments: Vec<String>,
    folder: tempfile::TempDir,
    password: Option<String>,
}

impl Server {
    pub(super) fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let arguments = arguments
            .iter()
            .map(|&word| word.to_owned())
            .collect::<Vec<_>>();
        let password = arguments
            .iter()
            .position(|word| word == "--requirepass")
            .map(|at| arguments[at + 1].clone());
        let port = free_port();
        Self {
            process: Process::start(&folder, port, &arguments),
            port,
            arguments,
            folder,
            password,
        }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Lists are given one element a line.
    pub(super) fn command(&self, words: &[&str]) -> String {
        let password = self
            .password
            .as_ref()
            .map(|password| format!(":{password}@"))
            .unwrap_or_default();
        let client =
            redis::Client::open(format!("redis://{password}127.0.0.1:{}", self.port)).unwrap();
        let mut connection = client.get_connection().unwrap();
        let mut command = redis::cmd(words[0]);
        for word in &words[1..] {
            command.arg(*word);
        }
        lines(&command.query(&mut connection).unwrap())
    }

    /// Reads a line of INFO.
    pub(super) fn info(&self, name: &str) -> String {
        let info = self.command(&["INFO"]);
        let line = info
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_default().trim_end().to_owned()
    }

    /// kill -9, and a new server on what is on the disk.
    pub(super) fn kill_and_restart(&mut self) {
        self.process.end();
        self.process = Process::start(&self.folder, self.port, &self.arguments);
    }
}

/// Killed when the test is done with it.
struct Process(Child);

impl Process {
    /// Returns once it takes connections.
    fn start(folder: &tempfile::TempDir, port: u16, arguments: &[String]) -> Self {
        let mut command = Command::new("redis-server");
        command
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"])
            .arg(folder.path())
            .args(arguments);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut process = Self(
            command
                .spawn()
                .expect("redis-server is here: ./dev test installs it"),
        );
        eventually("an answer of redis-server", || {
            assert!(
                process.0.try_wait().unwrap().is_none(),
                "redis-server ends at once"
            );
            loaded(port).then_some(())
        });
        process
    }

    fn end(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// A server that wants a password, or still loads, answers with an error; only the last is worth
/// waiting for.
fn loaded(port: u16) -> bool {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
    match client
        .get_connection()
        .and_then(|mut connection| redis::cmd("PING").query::<String>(&mut connection))
    {
        Ok(_) => true,
        Err(error) => error.code() == Some("NOAUTH"),
    }
}

fn lines(value: &redis::Value) -> String {
    match value {
        redis::Value::Array(items) => items.iter().map(lines).collect::<Vec<_>>().join("\n"),
        other => redis::from_redis_value_ref(other).unwrap_or_default(),
    }
}
