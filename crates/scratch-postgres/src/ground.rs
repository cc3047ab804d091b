//! Base of a scratch server: a directory, a free port, and a user that is not root.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::error::{ScratchError, while_doing};

/// A directory that is removed on drop, owned by the user that runs the server.
#[derive(Debug)]
pub(crate) struct Ground {
    folder: TempDir,
    /// User and group to run as, if this process is root.
    user: Option<(u32, u32)>,
}

impl Ground {
    pub(crate) fn new() -> Result<Self, ScratchError> {
        let mut ground = Self::of_this_user()?;
        let metadata = ground
            .path()
            .metadata()
            .map_err(while_doing("cannot see the folder just made"))?;
        if metadata.uid() == 0 {
            ground.user = Some(someone()?);
        }
        ground.give(ground.path())?;
        Ok(ground)
    }

    /// A folder for processes that run as this process does.
    pub(crate) fn of_this_user() -> Result<Self, ScratchError> {
        // Not under TMPDIR: the path of a Unix socket is limited to about 100 bytes.
        let folder = tempfile::Builder::new()
            .prefix("surefoot-pg-")
            .tempdir_in("/tmp");
        let folder = folder.map_err(while_doing("cannot make a folder in /tmp"))?;
        Ok(Self { folder, user: None })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file that the server may read.
    pub(crate) fn write(&self, path: &Path, text: &str) -> Result<(), ScratchError> {
        std::fs::write(path, text).map_err(while_doing(path.display()))?;
        self.give(path)
    }

    /// Creates a file of this name in the directory, owned by the server's user.
    pub(crate) fn file(&self, name: &str, text: &str) -> Result<PathBuf, ScratchError> {
        let path = self.path().join(name);
        self.write(&path, text)?;
        Ok(path)
    }

    fn give(&self, path: &Path) -> Result<(), ScratchError> {
        let Some((user, group)) = self.user else {
            return Ok(());
        };
        chown(path, Some(user), Some(group))
            .map_err(while_doing(format!("cannot give away {}", path.display())))
    }

    /// A command that runs as the server's user, in the directory, in its own process group so that
    /// Ctrl-C reaches only this process.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.path())
            .stdin(Stdio::null())
            .process_group(0);
        command
            .env("LC_ALL", "C")
            .env_remove("PGHOST")
            .env_remove("PGPORT")
            .env_remove("PGUSER");
        command
            .env_remove("PGPASSWORD")
            .env_remove("PGDATABASE")
            .env_remove("PGSERVICE");
        if let Some((user, group)) = self.user {
            command.gid(group).uid(user);
        }
        command
    }

    /// Runs a command, which must succeed, and returns its output.
    pub(crate) fn run(&self, command: &mut Command) -> Result<String, ScratchError> {
        let Output {
            status,
            stdout,
            stderr,
        } = command.output().map_err(while_doing(format!(
            "cannot run {:?}",
            command.get_program()
        )))?;
        if status.success() {
            return Ok(String::from_utf8_lossy(&stdout).into_owned());
        }
        let stderr = String::from_utf8_lossy(&stderr);
        Err(ScratchError(format!(
            "{:?} failed ({status}): {}",
            command.get_program(),
            stderr.trim()
        )))
    }
}

/// A user that can own a cluster.
fn someone() -> Result<(u32, u32), ScratchError> {
    let users = std::fs::read_to_string("/etc/passwd").map_err(while_doing("/etc/passwd"))?;
    let find = |name: &str| {
        let fields = users
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
            .find(|fields| fields[0] == name)?;
        Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
    };
    find("postgres").or_else(|| find("nobody")).ok_or_else(|| {
        ScratchError(
            "PostgreSQL does not run as root, and there is no user postgres or nobody to run it as"
                .to_owned(),
        )
    })
}

/// No usual system service listens above this port.
const LOWEST: u16 = 20_000;

/// A port that was free a moment ago and that the kernel does not hand out to outgoing connections.
/// A port from the kernel's range could be taken while a server is down for two minutes, and the
/// server could not start again.
pub(crate) fn free_port() -> Result<u16, ScratchError> {
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    if let Some(port) = (0..100).filter_map(|_| quiet_port()).find(is_free) {
        return Ok(port);
    }
    let listener =
        TcpListener::bind(("127.0.0.1", 0)).map_err(while_doing("cannot bind to the loopback"))?;
    Ok(listener
        .local_addr()
        .map_err(while_doing("cannot see what was bound"))?
        .port())
}

/// A random port below the kernel's range, if there is one.
fn quiet_port() -> Option<u16> {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let end = range
        .split_whitespace()
        .next()?
        .parse::<u16>()
        .ok()
        .filter(|end| *end > LOWEST)?;
    let random = RandomState::new().build_hasher().finish();
    Some(LOWEST + (random % u64::from(end - LOWEST)) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_none_that_the_kernel_hands_out() {
        if quiet_port().is_none() {
            return;
        }
        // Binding to port 0 gives a port from the range that outgoing connections use.
        let handed_out = || {
            TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap()
                .port()
        };
        let lowest = (0..50).map(|_| handed_out()).min().unwrap();
        for _ in 0..50 {
            let port = free_port().unwrap();
            assert!(
                (LOWEST..lowest).contains(&port),
                "{port}, and the kernel begins at {lowest} or before"
            );
        }
    }
}
