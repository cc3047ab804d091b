//! Runs node programs that tests talk to (`tests/node/`). `./dev test` installs their packages.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// Longer than a script takes to start on a machine that is busy with other tests.
pub(crate) const TEST_TIMEOUT: Duration = Duration::from_secs(120);

/// A script that runs until it is dropped.
pub(crate) struct Node {
    /// The first line printed: an address or a port.
    pub(crate) first_line: String,
    lines: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Node {
    pub(crate) async fn start(script: &str, environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new("node");
        command
            .arg(installed_script(script))
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command
            .kill_on_drop(true)
            .spawn()
            .expect("node is installed: `./dev test` sees to it");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first_line = tokio::time::timeout(TEST_TIMEOUT, lines.next_line())
            .await
            .expect("it starts")
            .unwrap();
        let first_line =
            first_line.expect("it starts: `./dev test` installs what it needs into target/node");
        Self {
            first_line,
            lines,
            _child: child,
        }
    }

    /// The next line printed, which is JSON.
    pub(crate) async fn next(&mut self) -> Value {
        let line = tokio::time::timeout(TEST_TIMEOUT, self.lines.next_line())
            .await
            .expect("it prints a line")
            .unwrap();
        serde_json::from_str(&line.expect("it still runs")).unwrap()
    }

    /// Returns true if the script prints nothing for this long.
    pub(crate) async fn is_silent(&mut self, time: Duration) -> bool {
        match tokio::time::timeout(time, self.lines.next_line()).await {
            Err(_) => true,
            Ok(line) => line.unwrap().map_or_else(|| panic!("it ended"), |_| false),
        }
    }
}

/// Copies the script into the folder that holds its packages, where node finds them.
fn installed_script(script: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("../../target/node");
    assert!(
        folder.join("node_modules").is_dir(),
        "run `./dev test`, which installs {}",
        folder.display()
    );
    let place = folder.join(script);
    let draft = tempfile::NamedTempFile::new_in(&folder).unwrap();
    std::fs::copy(root.join("tests/node").join(script), draft.path()).unwrap();
    // The rename is atomic, since another test may start the same script.
    draft.persist(&place).unwrap();
    place
}
