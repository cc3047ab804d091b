//! A folder of its own for each test, and the binary run in it.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use surefoot_sqlite::SqliteStore;
use tempfile::TempDir;

/// A folder with a data directory in it.
pub(crate) struct Place {
    dir: TempDir,
}

/// Result of a command.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A command that still runs. It is killed when the test is done with it.
pub(crate) struct Live {
    child: Child,
    said: Arc<Mutex<String>>,
    listener: Option<JoinHandle<()>>,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// Asks the store itself.
    pub(crate) fn ask<T>(&self, question: impl AsyncFnOnce(Arc<SqliteStore>) -> T) -> T {
        let store = Arc::new(SqliteStore::open(&self.data().join("surefoot.db")).unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(question(store))
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The command, with nothing of the tester's own settings.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_surefoot"));
        command
            .args(args)
            .current_dir(self.path())
            .env_clear()
            .stdin(Stdio::null());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
            .env("HOME", self.path())
            .env("USER", "tester")
            .env("SUREFOOT_DATA_DIR", self.data());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.ran(self.command(args))
    }

    pub(crate) fn ran(&self, mut command: Command) -> Ran {
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| self.redact(&String::from_utf8_lossy(bytes));
        Ran {
            status: status(output.status),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// Runs a command that must succeed, and gives its JSON as it is.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let output = self.command(args).arg("--json").output().unwrap();
        assert!(
            output.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).unwrap()
    }

    pub(crate) fn start(&self, args: &[&str]) -> Live {
        self.started(self.command(args))
    }

    pub(crate) fn started(&self, mut command: Command) -> Live {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = Arc::default();
        let listener = Some(listen(child.stderr.take().unwrap(), &said));
        Live {
            child,
            said,
            listener,
        }
    }

    /// Waits until the run with this key is as `wanted`, and gives it.
    pub(crate) fn until(&self, key: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(&format!("run {key}"), || {
            let output = self.command(&["show", key, "--json"]).output().unwrap();
            serde_json::from_slice::<Value>(&output.stdout)
                .ok()
                .filter(|run| wanted(run))
        })
    }

    /// Waits until a worker lives on the store.
    pub(crate) fn until_worker(&self) {
        let lock = self.data().join("surefoot.db.worker-lock");
        eventually("a worker", || {
            std::fs::read_to_string(&lock)
                .ok()
                .filter(|pid| !pid.trim().is_empty())
        });
    }

    /// Ids, times and paths differ from run to run.
    fn redact(&self, text: &str) -> String {
        let text = text.replace(&self.path().display().to_string(), "[dir]");
        text.split_inclusive(|letter: char| " \n(),;:\"'`".contains(letter))
            .map(redact_word)
            .collect()
    }
}

fn redact_word(word: &str) -> String {
    let bare = word.trim_end_matches(|letter: char| " \n(),;:\"'`".contains(letter));
    let is_id = bare.len() == 36
        && bare
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    if is_id {
        word.replace(bare, "[id]")
    } else {
        word.to_owned()
    }
}

/// The exit status; a signal that ended the process is a negative number.
fn status(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status
        .code()
        .unwrap_or_else(|| -status.signal().unwrap_or(0))
}

/// Waits for something to be there, and fails loudly when it never is.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "{what} did not come to be"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Takes down what is said, as it is said.
fn listen(stderr: ChildStderr, said: &Arc<Mutex<String>>) -> JoinHandle<()> {
    let said = said.clone();
    std::thread::spawn(move || {
        let mut stderr = BufReader::new(stderr);
        let mut line = Vec::new();
        while stderr
            .read_until(b'\n', &mut line)
            .is_ok_and(|length| length > 0)
        {
            said.lock()
                .unwrap()
                .push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    })
}

impl Live {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has said this on its error output.
    pub(crate) fn until_said(&self, words: &str) {
        eventually(words, || {
            self.said.lock().unwrap().contains(words).then_some(())
        });
    }

    /// Waits until it is the worker of the store.
    pub(crate) fn until_worker(&self, place: &Place) {
        let (lock, id) = (
            place.data().join("surefoot.db.worker-lock"),
            self.child.id().to_string(),
        );
        eventually("this worker", || {
            std::fs::read_to_string(&lock)
                .ok()
                .filter(|pid| pid.trim() == id)
        });
    }

    pub(crate) fn signal(&self, signal: &str) {
        let done = Command::new("kill")
            .args([signal, &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(done.success());
    }

    /// Waits for its end, and gives its exit status and error output.
    pub(crate) fn end(mut self) -> (i32, String) {
        self.listener.take().unwrap().join().unwrap();
        let said = std::mem::take(&mut *self.said.lock().unwrap());
        (status(self.child.wait().unwrap()), said)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A workflow whose second step waits until the file `go` is in the test's folder.
pub(crate) fn gated(place: &Place) -> PathBuf {
    let go = place.path().join("go").display().to_string();
    place.write(
        "gated.yaml",
        &format!(
            "workflow: gated\nsteps:\n  - {{ id: first, action: command.run, with: {{ shell: 'echo first >> ../../ledger' }} }}\n  \
             - id: second\n    action: command.run\n    with: {{ shell: 'until test -e {go}; do sleep 0.05; done; echo done' }}\n"
        )
        .replace("../../ledger", &place.path().join("ledger").display().to_string()),
    )
}

/// Returns true if the step at `position` has this status.
pub(crate) fn step_is(run: &Value, position: usize, status: &str) -> bool {
    run["steps"][position]["status"] == status
}
