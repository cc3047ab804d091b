//! A process group with a watchdog in it, which kills the group when this process is gone.
//!
//! The watchdog is a shell that leads the group and reads from a pipe whose only write end is ours. The kernel closes that
//! end when we die, however we die; the watchdog then kills its own group. It is there before the command is, so no
//! command runs unwatched; and since it leads the group and we have not yet waited for it, the group's number cannot have
//! gone to strangers whenever we send a signal.
//!
//! Rejected: `PR_SET_PDEATHSIG` needs unsafe code, is Linux alone, and does not reach grandchildren.

use std::io;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, ChildStdin, Command};

/// `kill ... 0` is the shell's own group. What stops a command must not stop its watchdog.
const SCRIPT: &str = "trap '' HUP INT QUIT TERM; read -r _; kill -KILL 0";

/// A process group that others can be put into. It is killed when this is dropped, and when this process dies.
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
    /// When `/bin/sh` cannot be started.
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

    /// The group's number, for `Command::process_group`.
    pub fn id(&self) -> i32 {
        self.id.as_raw_nonzero().get()
    }

    /// A group whose members have all ended takes no signal, which is as well.
    pub(super) fn signal(&self, signal: Signal) {
        if !self.ended {
            let _ = kill_process_group(self.id, signal);
        }
    }

    /// Kills what is left of the group, the watchdog included.
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
