//! Starts servers of other vendors for the tests (`crates/server/tests/node/`). `./dev test`
//! installs what they need.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use serde_json::Value;

use super::PATIENCE;

/// A script that runs until this is dropped.
pub(crate) struct Node {
    child: Child,
    lines: Receiver<String>,
}

impl Node {
    /// Starts a script; returns once it listens.
    pub(crate) fn start(script: &str, environment: &[(&str, &str)]) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let folder = root.join("target/node");
        assert!(
            folder.join("node_modules").is_dir(),
            "run `./dev test`, which installs {}",
            folder.display()
        );
        // A script finds its packages in its own directory, and another test may start the same
        // script, so each gets a copy there.
        let placed = folder.join(format!("{}-{script}", std::process::id()));
        std::fs::copy(root.join("crates/server/tests/node").join(script), &placed).expect("copied");
        let mut command = Command::new("node");
        command
            .arg(&placed)
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command
            .spawn()
            .expect("node is installed: `./dev test` sees to it");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let (send, lines) = channel();
        std::thread::spawn(move || {
            output
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| send.send(line))
        });
        let node = Self { child, lines };
        node.line();
        let _ = std::fs::remove_file(placed);
        node
    }

    fn line(&self) -> String {
        self.lines
            .recv_timeout(PATIENCE)
            .expect("it says something")
    }

    /// The next line that it prints, which is JSON.
    pub(crate) fn next(&self) -> Value {
        serde_json::from_str(&self.line()).expect("JSON")
    }

    /// Returns whether it has printed nothing more.
    pub(crate) fn is_silent(&self) -> bool {
        self.lines.try_recv().is_err()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
