//! A process group with a watchdog in it, which kills the group when this process is gone.
//!
//! The watchdog is a shell that leads the group and reads from a pipe. This process has the only
//! write end, which the kernel closes when the process dies, however it dies; the watchdog then
//! kills its own group. It starts before the command, so no command runs unwatched. It leads the
//! group and is not reaped before the end, so the group's number cannot have been reused when a
//! signal is sent.
//!
//! Rejected: `PR_SET_PDEATHSIG` needs unsafe code, exists only on Linux, and does not reach
//! grandchildren.

use std::io;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, ChildStdin, Command};

/// `kill ... 0` is the shell's own group. A signal that stops a command must not stop its watchdog.
const SCRIPT: &str = "trap '' HUP INT QUIT TERM; read -r _; kill -KILL 0";

/// A process group that commands can join. It is killed on drop, and when this process dies.
pub struct Group {
    watchdog: Child,
    _lifeline: Option<ChildStdin>,
    id: Pid,
    ended: bool,
}

impl Group {
    /// Starts the watchdog, which leads the group.
    ///
    /// # Errors
    /// If `/bin/sh` cannot be started.
    pub fn start() -> io::Result<Self> {
        let mut watchdog = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "surefoot-watchdog"])
            .env_clear()
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let id = watchdog
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw);
        let id = id.ok_or_else(|| io::Error::other("the watchdog of a command ended at once"))?;
        Ok(Self {
            _lifeline: watchdog.stdin.take(),
            watchdog,
            id,
            ended: false,
        })
    }

    /// Number of the group, for `Command::process_group`.
    pub fn id(&self) -> i32 {
        self.id.as_raw_nonzero().get()
    }

    /// Sends a signal. An error means that all members have ended, which is fine.
    pub(super) fn signal(&self, signal: Signal) {
        if !self.ended {
            let _ = kill_process_group(self.id, signal);
        }
    }

    /// Kills the rest of the group, including the watchdog.
    pub async fn end(&mut self) {
        self.signal(Signal::KILL);
        self.ended = self.watchdog.wait().await.is_ok();
    }
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Group({})", self.id())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}
