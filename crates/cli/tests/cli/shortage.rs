//! Resources that the worker itself lacks: steps wait for them, and spend no attempt.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use serde_json::Value;

use crate::place::{Live, Place, eventually};

/// A user that no other process of this machine has: the limit on processes counts those of the
/// user.
const USER: u32 = 61_573;

const ONE: &str = "workflow: one\nsteps:\n  - { id: one, action: command.run, retry: { attempts: 1 }, \
                   with: { argv: [echo, done] } }\n";

/// The command as the user of its own, where this test may choose: the superuser has no limit on
/// processes. That user may not be let into the folder of the binary, so it has a copy.
fn limited(place: &Place, args: &[&str]) -> Command {
    let surefoot = place.command(args);
    if !rustix::process::getuid().is_root() {
        return surefoot;
    }
    let copy = place.path().join("surefoot");
    if !copy.exists() {
        std::fs::copy(surefoot.get_program(), &copy).unwrap();
        chown(place.path(), Some(USER), Some(USER)).unwrap();
    }
    let mut command = Command::new(copy);
    command.args(args).current_dir(place.path()).env_clear();
    for (name, value) in surefoot.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command.uid(USER).gid(USER);
    command
}

/// Sets the soft limit of a running worker, as its own user: others may not.
fn limit_processes(worker: &Live, soft: &str) {
    let mut command = Command::new("prlimit");
    let pid = worker.id().to_string();
    command.args(["--pid", &pid, &format!("--nproc={soft}:")]);
    if rustix::process::getuid().is_root() {
        command.uid(USER).gid(USER);
    }
    let set = command.output().expect("prlimit of util-linux");
    let said = String::from_utf8_lossy(&set.stderr);
    assert!(set.status.success(), "{said}");
}

fn soft_limit(worker: &Live) -> String {
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", worker.id())).unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max processes"))
        .unwrap();
    line.split_whitespace().nth(2).unwrap().to_owned()
}

fn is_deferred(run: &Value) -> bool {
    run["status"] == "waiting"
}

fn expect_one_attempt(run: &Value) {
    assert_eq!(run["steps"][0]["attempt"], 1, "{run:#}");
    assert_eq!(run["status"], "completed", "{run:#}");
}

#[test]
fn a_worker_that_may_start_no_process_waits_and_spends_no_attempt() {
    let place = Place::new();
    place.write("one.yaml", ONE);
    let submitted = |key: &str| {
        let ran = place.ran(limited(&place, &["submit", "one.yaml", "--key", key]));
        assert_eq!(ran.status, 0, "{}", ran.stderr);
    };
    submitted("before");
    let worker = place.started(limited(&place, &["worker"]));
    expect_one_attempt(&place.until("before", |run| run["status"] == "completed"));
    let before = soft_limit(&worker);
    limit_processes(&worker, "1");
    submitted("meanwhile");
    place.until("meanwhile", is_deferred);
    limit_processes(&worker, &before);
    expect_one_attempt(&place.until("meanwhile", |run| run["status"] == "completed"));
}

/// A step whose handler writes in the worker itself: a command that finds the disk full fails by
/// its own exit status.
const WRITES: &str = "workflow: one\nsteps:\n  - { id: one, action: file.write, retry: { attempts: 1 }, \
                      with: { path: one.txt, content: one } }\n";

/// Mounts a small file system on the data directory, with the store outside it. A companion of the
/// worker fills it to the last byte and makes room again when it is asked to.
const SMALL_DATA: &str = r#"
mkdir -p data && mount -t tmpfs -o size=2m tmpfs data || exit 77
(
    until [ -e fill ] || ! kill -0 $$; do sleep 0.05; done
    dd if=/dev/zero of=data/filler bs=4k
    dd if=/dev/zero bs=1 >> data/filler
    touch filled
    until [ -e free ] || ! kill -0 $$; do sleep 0.05; done
    rm data/filler
) 2> /dev/null &
exec "$@"
"#;

#[test]
fn a_worker_whose_data_directory_is_full_waits_and_spends_no_attempt() {
    let place = Place::new();
    place.write("one.yaml", WRITES);
    let store = format!("sqlite:{}", place.path().join("store.db").display());
    let mut command = Command::new("unshare");
    command
        .args(["--map-root-user", "--mount", "sh", "-c", SMALL_DATA, "sh"])
        .arg(env!("CARGO_BIN_EXE_surefoot"))
        .args(["worker", "--store", &store])
        .current_dir(place.path())
        .env_remove("RUST_LOG")
        .env("SUREFOOT_DATA_DIR", place.data());
    let worker = place.started(command);
    worker.until_said("worker ");
    place.write("fill", "");
    let filled = place.path().join("filled");
    eventually("the disk to be full", || filled.exists().then_some(()));
    let args = ["submit", "one.yaml", "--key", "one", "--store", &store];
    let ran = place.run(&args);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let shown = || {
        let show = ["show", "one", "--json", "--store", &store];
        let output = place.command(&show).output().unwrap();
        serde_json::from_slice::<Value>(&output.stdout).ok()
    };
    eventually("the step to wait", || shown().filter(is_deferred));
    place.write("free", "");
    let run = eventually("the run", || {
        shown().filter(|run| run["status"] == "completed")
    });
    expect_one_attempt(&run);
}
