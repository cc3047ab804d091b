//! A data directory, the real binary on it, and the traces that it leaves.

pub(crate) mod node;
pub(crate) mod port;
pub(crate) mod server;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use surefoot::{Clock as _, SystemClock, Timestamp};

/// Timeout after which a test reports that something hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A user's directory: the data directory, and other files of a test.
pub(crate) struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// The binary, without the settings of the person running the tests.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_surefoot"));
        command
            .args(args)
            .current_dir(self.folder.path())
            .env_clear()
            .stdin(Stdio::null());
        // The location of programs that it starts depends on the machine.
        command.envs(
            ["PATH", "SUREFOOT_PG_BIN"]
                .into_iter()
                .filter_map(|name| Some((name, std::env::var_os(name)?))),
        );
        command
            .env("HOME", self.folder.path())
            .env("USER", "tester")
            .env("SUREFOOT_DATA_DIR", self.data());
        command
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        let output = self.command(args).output().expect("the binary starts");
        if std::env::var_os("SUREFOOT_TEST_SHOW").is_some() {
            eprintln!("{args:?}: {}\n{}", output.status, text(&output));
        }
        output
    }

    /// Runs it to its end, which must have exit status `status`.
    pub(crate) fn expect(&self, status: i32, args: &[&str]) -> Output {
        let output = self.run(args);
        assert_eq!(
            output.status.code(),
            Some(status),
            "{args:?}\n{}",
            text(&output)
        );
        output
    }

    /// Runs it and parses its output as JSON.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let output = self.expect(0, args);
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{args:?}: {error}\n{}", text(&output)))
    }

    /// Starts it without waiting for its end.
    pub(crate) fn start(&self, command: &mut Command) -> Started {
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        Started(Some(child))
    }
}

impl Place {
    /// Starts it with the command's own standard error.
    pub(crate) fn start_quietly(&self, command: &mut Command) -> Started {
        Started(Some(
            command
                .stdout(Stdio::null())
                .spawn()
                .expect("the binary starts"),
        ))
    }
}

/// A process that is killed on drop.
pub(crate) struct Started(Option<Child>);

impl Started {
    /// kill -9.
    pub(crate) fn kill(mut self) {
        let mut child = self.0.take().expect("started once");
        child.kill().expect("it can be killed");
        child.wait().expect("it is gone");
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.as_ref().expect("started").id()
    }

    pub(crate) fn signal(&self, signal: &str) {
        assert!(
            Command::new("kill")
                .args([signal, &self.id().to_string()])
                .status()
                .expect("kill runs")
                .success()
        );
    }

    pub(crate) fn finish(mut self) -> Output {
        self.0
            .take()
            .expect("started once")
            .wait_with_output()
            .expect("it ends")
    }

    /// Fails if the process has ended, with its output.
    pub(crate) fn expect_alive(&mut self) {
        let ended = self
            .0
            .as_mut()
            .expect("started")
            .try_wait()
            .expect("it can be asked");
        let Some(status) = ended else { return };
        let output = self
            .0
            .take()
            .expect("started once")
            .wait_with_output()
            .expect("it has ended");
        panic!("it has ended with {status}: {}", text(&output));
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Waits until `look` returns a value.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub(crate) fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The lines of a file that may not exist yet. An unfinished last line is left out.
pub(crate) fn lines(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_inclusive('\n')
        .filter_map(|line| line.strip_suffix('\n'))
        .map(str::to_owned)
        .collect()
}

/// Current time, by the clock that `date` in a step prints.
pub(crate) fn now() -> Timestamp {
    SystemClock.now()
}

/// Parses the output of `date +%s%N`.
pub(crate) fn stamped(nanoseconds: &str) -> Timestamp {
    let nanoseconds: i64 = nanoseconds.parse().expect("nanoseconds");
    Timestamp::from_micros(nanoseconds / 1000)
}

/// Median of several measurements, so that a moment in which the machine was busy spoils at most
/// one.
pub(crate) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// A zombie that was not reaped yet counts as dead.
pub(crate) fn is_alive(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    !status.is_empty() && !status.contains("State:\tZ")
}

pub(crate) fn git(folder: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(["-c", "safe.directory=*"])
        .args(args)
        .output()
        .expect("git runs");
    assert!(
        output.status.success(),
        "git {args:?} in {}: {}",
        folder.display(),
        text(&output)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Pseudo-random numbers, repeatable by their seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}
