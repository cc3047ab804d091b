//! Ends a server when the process that started it ends, however it ends: a shell waits until the
//! other end of a pipe is closed.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::error::{ScratchError, while_doing};

/// The shell. Once this is dropped, or this process is gone, it kills every process whose id is in
/// the pid file, with their children, and removes the directory.
#[derive(Debug)]
pub(crate) struct Watcher(Child);

/// `$1` is the pid file, `$2` the directory. A server's children end with it; busy ones are killed
/// by session.
const SCRIPT: &str = r#"
read -r _
if [ -f "$1" ]; then
    server=$(head -n 1 "$1")
    children=$(cat "/proc/$server/task/$server/children" 2>/dev/null)
    kill -9 $server $children 2>/dev/null
    tries=0
    while [ -d "/proc/$server" ] && [ $tries -lt 100 ]; do sleep 0.05; tries=$((tries + 1)); done
fi
rm -rf "$2"
"#;

impl Watcher {
    pub(crate) fn start(pid_file: &Path, folder: &Path) -> Result<Self, ScratchError> {
        let mut command = Command::new("sh");
        command
            .args(["-c", SCRIPT, "surefoot-scratch-postgres"])
            .arg(pid_file)
            .arg(folder);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        command
            .spawn()
            .map(Self)
            .map_err(while_doing("cannot start a shell"))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // Remains are left: there is no way to report them.
        let _ = self.0.wait();
    }
}
