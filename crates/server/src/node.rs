//! Starts the servers of other makes that tests talk to (`tests/node/`), with node. `./dev test` installs what they need.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// Longer than a machine that is busy with other tests takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A script that runs until this is dropped.
pub(crate) struct Node {
    /// The first line that it printed: its address or port.
    pub(crate) said: String,
    lines: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Node {
    pub(crate) async fn start(script: &str, environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new("node");
        command
            .arg(placed(script))
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command
            .kill_on_drop(true)
            .spawn()
            .expect("node is installed: `./dev test` sees to it");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = tokio::time::timeout(PATIENCE, lines.next_line())
            .await
            .expect("it starts")
            .unwrap();
        let said = said.expect("it starts: `./dev test` installs what it needs into target/node");
        Self {
            said,
            lines,
            _child: child,
        }
    }

    /// The next line that it prints, which is JSON.
    pub(crate) async fn next(&mut self) -> Value {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line())
            .await
            .expect("it says something")
            .unwrap();
        serde_json::from_str(&line.expect("it still runs")).unwrap()
    }

    /// Whether it prints nothing for this long.
    pub(crate) async fn is_silent(&mut self, time: Duration) -> bool {
        match tokio::time::timeout(time, self.lines.next_line()).await {
            Err(_) => true,
            Ok(line) => line.unwrap().map_or_else(|| panic!("it ended"), |_| false),
        }
    }
}

/// A script finds its packages in the folder that it is in.
fn placed(script: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("../../target/node");
    assert!(
        folder.join("node_modules").is_dir(),
        "run `./dev test`, which installs {}",
        folder.display()
    );
    let (place, draft) = (
        folder.join(script),
        tempfile::NamedTempFile::new_in(&folder).unwrap(),
    );
    std::fs::copy(root.join("tests/node").join(script), draft.path()).unwrap();
    // Another test may start the same script: there is always a whole one.
    draft.persist(&place).unwrap();
    place
}
