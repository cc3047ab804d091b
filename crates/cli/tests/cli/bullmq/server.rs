//! A real Redis server of the test's own: a free port, a folder of its own, ended by its process id.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use crate::place::eventually;

pub(super) struct Server {
    child: Child,
    port: u16,
    arguments: Vec<String>,
    folder: tempfile::TempDir,
    password: Option<String>,
}

impl Server {
    pub(super) fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let arguments = arguments.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        let password = arguments.iter().position(|word| word == "--requirepass").map(|at| arguments[at + 1].clone());
        // The port is free now; should another take it first, this server ends at once and the next is tried.
        let (child, port) = (0..20)
            .find_map(|_| {
                let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
                let mut child = spawn(&folder, port, &arguments);
                answers(&mut child, port).then_some((child, port))
            })
            .expect("a redis-server starts");
        Self { child, port, arguments, folder, password }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Lists are given one element a line.
    pub(super) fn command(&self, words: &[&str]) -> String {
        let password = self.password.as_ref().map(|password| format!(":{password}@")).unwrap_or_default();
        let client = redis::Client::open(format!("redis://{password}127.0.0.1:{}", self.port)).unwrap();
        let mut connection = client.get_connection().unwrap();
        let mut command = redis::cmd(words[0]);
        words[1..].iter().for_each(|word| {
            command.arg(*word);
        });
        lines(&command.query(&mut connection).unwrap())
    }

    /// One line of INFO.
    pub(super) fn info(&self, name: &str) -> String {
        let info = self.command(&["INFO"]);
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_default().trim_end().to_owned()
    }

    /// kill -9, and a new server on what is on the disk.
    pub(super) fn kill_and_restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = spawn(&self.folder, self.port, &self.arguments);
        assert!(answers(&mut self.child, self.port), "it starts again");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(folder: &tempfile::TempDir, port: u16, arguments: &[String]) -> Child {
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"]).arg(folder.path()).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("redis-server is here: ./dev test installs it")
}

/// Waits until it takes connections, or has ended.
fn answers(child: &mut Child, port: u16) -> bool {
    eventually("an answer of redis-server", || match child.try_wait().unwrap() {
        Some(_) => Some(false),
        None => loaded(port).then_some(true),
    })
}

/// A server that wants a password, or still loads, answers with an error; only the last is worth waiting for.
fn loaded(port: u16) -> bool {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
    match client.get_connection().and_then(|mut connection| redis::cmd("PING").query::<String>(&mut connection)) {
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
