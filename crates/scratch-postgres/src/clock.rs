//! A wall clock that can be stepped while processes read it, by libfaketime.
//!
//! Only the wall clock is faked: a step of it does not move `CLOCK_MONOTONIC`, as on a real
//! machine.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::error::{ScratchError, while_doing};
use crate::ground::Ground;
use crate::programs;

/// Seconds for which a process keeps what it read last, so that a step takes effect within a
/// second.
const CACHE: &str = "1";

/// Prints what `faketime` gives to its command, and waits. `faketime` keeps a semaphore and a page
/// of shared memory until its command ends. Processes that share them leave none of their own
/// behind when they are killed.
const HOLD: &str = r#"printf '%s\n%s\n' "$LD_PRELOAD" "$FAKETIME_SHARED"; exec cat"#;

/// A wall clock of its own for the processes that are started with [`Self::environment`].
#[derive(Debug)]
pub struct SteppableClock {
    holder: Child,
    library: String,
    shared: String,
    offset: PathBuf,
    ground: Option<Ground>,
}

impl SteppableClock {
    /// Makes a clock for processes of this process's own user, which shows the right time at first.
    ///
    /// # Errors
    /// When `faketime` is not installed, or does not work here.
    pub fn new() -> Result<Self, ScratchError> {
        let ground = Ground::of_this_user()?;
        let mut clock = Self::on(&ground)?;
        clock.ground = Some(ground);
        Ok(clock)
    }

    /// Makes a clock for processes of the ground's user.
    pub(crate) fn on(ground: &Ground) -> Result<Self, ScratchError> {
        let mut command = ground.command(&programs::faketime()?);
        command.args(["-m", "--exclude-monotonic", "-f", "+0s", "sh", "-c", HOLD]);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut holder = command
            .spawn()
            .map_err(while_doing("cannot start faketime"))?;
        let output = holder
            .stdout
            .take()
            .ok_or_else(|| ScratchError("faketime has no output".to_owned()))?;
        let mut lines = BufReader::new(output).lines();
        let mut line = || lines.next().and_then(Result::ok).unwrap_or_default();
        let library = line();
        let shared = line();
        let clock = Self {
            holder,
            library,
            shared,
            offset: ground.path().join("clock"),
            ground: None,
        };
        if clock.library.is_empty() || clock.shared.is_empty() {
            return Err(ScratchError(
                "faketime does not work on this machine: it started no command".to_owned(),
            ));
        }
        ground.file("clock", &offset(0))?;
        Ok(clock)
    }

    /// The variables that make a process read this clock.
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        vec![
            ("LD_PRELOAD", OsString::from(&self.library)),
            ("FAKETIME_SHARED", OsString::from(&self.shared)),
            ("FAKETIME_TIMESTAMP_FILE", self.offset.clone().into()),
            ("FAKETIME_CACHE_DURATION", CACHE.into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
            // Times of files stay as they are: git compares them with each other.
            ("NO_FAKE_STAT", "1".into()),
        ]
    }

    /// Sets the clock ahead of the right time by so many seconds, or behind it. Processes follow
    /// within a second.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn set_ahead(&self, seconds: i64) -> Result<(), ScratchError> {
        // A single write over a text of the same length: no process reads half of it, and the file
        // still belongs to the processes' user.
        std::fs::OpenOptions::new()
            .write(true)
            .open(&self.offset)
            .and_then(|mut file| file.write_all(offset(seconds).as_bytes()))
            .map_err(while_doing(self.offset.display()))
    }
}

impl Drop for SteppableClock {
    fn drop(&mut self) {
        // `cat` ends with its input; `faketime` then removes what it holds.
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

/// An offset as libfaketime reads it, always of the same length.
fn offset(seconds: i64) -> String {
    format!("{seconds:+09}\n")
}

/// Puts a command on a clock.
pub(crate) fn set(command: &mut Command, clock: Option<&SteppableClock>) {
    if let Some(clock) = clock {
        command.envs(clock.environment());
    }
}
