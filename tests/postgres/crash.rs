//! A crash at every write of a run of seven steps: of the process, and of the session's backend on
//! the server. Effects are counted in a file outside the store. Promises 1, 2, 3, 4 and 7 of the
//! design.

use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;
use surefoot_scratch_postgres::ScratchPostgres;

use crate::common::{Started, is_alive, median, now, text, until};
use crate::ledger::{Ledger, Teller};
use crate::proxy::{Proxy, When, Write};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Worst {
    Killed,
    SessionTerminated,
    BackendKilled,
}

/// A crash at one write.
struct Crash<'c> {
    cluster: &'c ScratchPostgres,
    database: String,
    worst: Worst,
    when: When,
    at: u64,
}

impl std::fmt::Display for Crash<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {:?} write {}", self.worst, self.when, self.at)
    }
}

/// A process whose database is behind a proxy that injects the crash.
struct Victim {
    proxy: Proxy,
    process: Started,
}

impl Crash<'_> {
    fn ledger(&self) -> Ledger {
        Ledger::new(&self.cluster.url_of(&self.database), "")
    }

    /// Starts it.
    fn victim(&self, ledger: &Ledger, args: &[&str]) -> Victim {
        let victim = Arc::new(AtomicU32::new(0));
        let pid = victim.clone();
        let worst = self.worst;
        let program = self.cluster.program("psql").get_program().to_owned();
        let url = self.cluster.url();
        let proxy = Proxy::start(
            self.cluster.port(),
            self.at,
            self.when,
            move |backend| match worst {
                Worst::Killed => kill(until("it is started", || {
                    Some(pid.load(Ordering::SeqCst)).filter(|pid| *pid > 0)
                })),
                Worst::BackendKilled => kill(backend.unsigned_abs()),
                Worst::SessionTerminated => {
                    let statement = format!("SELECT pg_terminate_backend({backend})");
                    assert!(
                        Command::new(program)
                            .args([&url, "-qc", &statement])
                            .output()
                            .expect("psql")
                            .status
                            .success()
                    );
                }
            },
        );
        let mut command = ledger.command(args);
        let process = ledger
            .place
            .start(command.env("SUREFOOT_STORE", proxy.url_of(&self.database)));
        victim.store(process.id(), Ordering::SeqCst);
        Victim { proxy, process }
    }

    /// A server whose backend was killed restarts all of them.
    fn until_up(&self) {
        until("the server is up", || {
            self.cluster.psql("postgres", "SELECT 1").ok()
        });
    }

    /// Executes a statement, with retries while the server restarts.
    fn ask(&self, statement: &str) -> String {
        until(statement, || {
            self.cluster.psql(&self.database, statement).ok()
        })
    }

    fn runs(&self) -> u64 {
        self.ask("SELECT count(*) FROM surefoot.runs")
            .parse()
            .expect("a number")
    }
}

fn kill(pid: u32) {
    // It may have ended by itself.
    let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
}

/// A scenario; returns the write at which the crash happened, if that write was reached.
type Story = fn(&Crash<'_>) -> Option<Write>;

/// Expected writes of a scenario.
#[derive(Debug, PartialEq, Eq)]
struct Writes {
    submissions: usize,
    /// In transactions.
    changes: usize,
    groups: usize,
}

/// Repeats a scenario with a crash at each write in turn, until it has no further write.
fn at_every_write(worst: Worst, when: When, story: Story, expect: &Writes) {
    // Without fsync: written data survives a killed process in the kernel. Only a power cut needs
    // the disk, which is slow.
    let cluster = ScratchPostgres::with_settings(&["fsync = off"]).expect("PostgreSQL");
    // The schema is created separately: it is not under test here.
    let model = cluster.fresh_database().expect("a database");
    assert!(Ledger::new(&model, "").run(&["migrate"]).status.success());
    let model = model.rsplit('/').next().expect("a name");
    let mut met = Vec::new();
    for at in 1.. {
        let database = format!("at_{at}");
        // The server may be restarting: an unacknowledged write may exist all the same, or in part.
        until("the server is up", || {
            cluster
                .psql("postgres", &format!("DROP DATABASE IF EXISTS {database}"))
                .ok()?;
            cluster
                .psql(
                    "postgres",
                    &format!("CREATE DATABASE {database} TEMPLATE {model}"),
                )
                .ok()
        });
        let Some(write) = story(&Crash {
            cluster: &cluster,
            database,
            worst,
            when,
            at,
        }) else {
            break;
        };
        met.push(write);
    }
    let count = |wanted: Write| met.iter().filter(|write| **write == wanted).count();
    let submissions = count(Write::Submission);
    let changes = count(Write::Change);
    let groups = count(Write::Group);
    assert_eq!(
        &Writes {
            submissions,
            changes,
            groups
        },
        expect,
        "{worst:?} {when:?}: {met:?}"
    );
}

/// `surefoot run` of a new project, submitted and executed by one process; the same command resumes
/// it.
fn by_one_process(crash: &Crash<'_>) -> Option<Write> {
    let ledger = crash.ledger();
    let what = crash.to_string();
    let file = ledger.light(&Teller::of(&ledger));
    let run = ["run", &file, "--key", "the-one"];
    let Victim { proxy, process } = crash.victim(&ledger, &run);
    let first = process.finish();
    let met = proxy.met();
    in_time(crash, &first);
    if crash.worst == Worst::Killed {
        assert_eq!(
            met.is_some(),
            first.status.code().is_none(),
            "{what}: {}",
            text(&first)
        );
    }
    // It resumes, or finds everything done. A database that is recovering reports that.
    let done = until(&what, || {
        let output = ledger.run(&run);
        assert!(
            matches!(output.status.code(), Some(0 | 3)),
            "{what}: {}",
            text(&output)
        );
        output.status.success().then_some(output)
    });
    assert_eq!(crash.runs(), 1, "{what}");
    let shown = ledger.json(&["show", "the-one", "--json"]);
    check(crash, &ledger, &shown, first.status.success(), &done);
    met
}

/// A run that `surefoot submit` handed over is claimed and executed by `surefoot worker`; another
/// worker resumes it.
fn by_a_separate_worker(crash: &Crash<'_>) -> Option<Write> {
    let ledger = crash.ledger();
    let file = ledger.light(&Teller::of(&ledger));
    // The server may be restarting.
    let run = ledger.until_submitted(&file, "the-one");
    let Victim { proxy, process } = crash.victim(&ledger, &["worker"]);
    let is_completed = || ledger.status(&run).as_deref() == Some("completed");
    until(&format!("{crash}: the run or the worker ends"), || {
        (!is_alive(process.id()) || is_completed()).then_some(())
    });
    if is_alive(process.id()) {
        process.signal("-TERM");
    }
    let first = process.finish();
    let met = proxy.met();
    in_time(crash, &first);
    if crash.worst == Worst::Killed {
        assert_eq!(
            met.is_some(),
            first.status.code().is_none(),
            "{crash}: {}",
            text(&first)
        );
    }
    crash.until_up();
    // A restart on the same host: the first worker is gone.
    let another = ledger.start(&["worker"]);
    let shown = until(&format!("{crash}: the run is completed"), || {
        is_completed().then(|| ledger.json(&["show", &run, "--json"]))
    });
    drop(another);
    assert_eq!(crash.runs(), 1, "{crash}");
    check(crash, &ledger, &shown, first.status.success(), &first);
    met
}

/// Asserts that a process did not wait as long as for a database that is silent: this one answers,
/// or ends the session.
fn in_time(crash: &Crash<'_>, said: &Output) {
    assert!(
        !text(said).contains("did not answer within"),
        "{crash}: {}",
        text(said)
    );
}

fn check(crash: &Crash<'_>, ledger: &Ledger, shown: &Value, lived: bool, said: &Output) {
    let again = ledger.check(shown, &format!("{crash}: {}", text(said)));
    assert!(again <= 1, "{crash}: one step was under way at most");
    if crash.worst != Worst::Killed && lived {
        // The worker outlived its session: it still holds its lease, and nothing runs twice.
        assert_eq!(again, 0, "{crash}");
        let steps = shown["steps"].as_array().expect("steps");
        assert!(
            steps.iter().all(|step| step["interruptions"] == 0),
            "{crash}: {shown:#}"
        );
    }
}

/// `surefoot submit` without a key: an acknowledged run exists once; any other exists at most once.
fn submitted_without_a_key(crash: &Crash<'_>) -> Option<Write> {
    let ledger = crash.ledger();
    let Victim { proxy, process } = crash.victim(&ledger, &["submit", &ledger.seven("0")]);
    let output = process.finish();
    crash.until_up();
    let runs = crash.runs();
    let code = output.status.code();
    assert!(
        matches!(code, Some(0 | 3) | None),
        "{crash}: {}",
        text(&output)
    );
    assert!(
        if code == Some(0) {
            runs == 1
        } else {
            runs <= 1
        },
        "{crash}: {runs} runs, {}",
        text(&output)
    );
    if proxy.met() == Some(Write::Submission) {
        // The time of the crash decides whether the write took place.
        assert_eq!(
            runs,
            u64::from(crash.when == When::After || code == Some(0)),
            "{crash}: {}",
            text(&output)
        );
    }
    if runs == 1 {
        let run = crash.ask("SELECT id FROM surefoot.runs");
        let _worker = ledger.start(&["worker"]);
        assert_eq!(
            ledger.check(&ledger.until_completed(&run), &crash.to_string()),
            0
        );
    }
    proxy.met()
}

/// A key makes the submission a transaction. A claim and the ends of two steps that leave a
/// snapshot are three more; the start of the first step and the ends of the other five are written
/// in batches.
const BY_ONE: Writes = Writes {
    submissions: 1,
    changes: 3,
    groups: 6,
};

const APART: Writes = Writes {
    submissions: 0,
    ..BY_ONE
};

const WITHOUT_A_KEY: Writes = Writes {
    submissions: 1,
    changes: 0,
    groups: 0,
};

#[test]
fn a_process_is_killed_before_every_write() {
    at_every_write(Worst::Killed, When::Before, by_one_process, &BY_ONE);
}

#[test]
fn a_process_is_killed_after_every_write() {
    at_every_write(Worst::Killed, When::After, by_one_process, &BY_ONE);
}

#[test]
fn the_session_is_ended_before_every_write() {
    at_every_write(
        Worst::SessionTerminated,
        When::Before,
        by_one_process,
        &BY_ONE,
    );
}

#[test]
fn the_session_is_ended_after_every_write() {
    at_every_write(
        Worst::SessionTerminated,
        When::After,
        by_one_process,
        &BY_ONE,
    );
}

#[test]
fn the_backend_is_killed_before_every_write() {
    at_every_write(Worst::BackendKilled, When::Before, by_one_process, &BY_ONE);
}

#[test]
fn the_backend_is_killed_after_every_write() {
    at_every_write(Worst::BackendKilled, When::After, by_one_process, &BY_ONE);
}

#[test]
fn a_separate_worker_is_killed_before_every_write() {
    at_every_write(Worst::Killed, When::Before, by_a_separate_worker, &APART);
}

#[test]
fn a_separate_worker_is_killed_after_every_write() {
    at_every_write(Worst::Killed, When::After, by_a_separate_worker, &APART);
}

#[test]
fn the_backend_of_a_separate_worker_is_killed_after_every_write() {
    at_every_write(
        Worst::BackendKilled,
        When::After,
        by_a_separate_worker,
        &APART,
    );
}

#[test]
fn a_submitter_without_a_key_is_killed_before_and_after_every_write() {
    for when in [When::Before, When::After] {
        at_every_write(Worst::Killed, when, submitted_without_a_key, &WITHOUT_A_KEY);
    }
}

#[test]
fn the_session_of_a_submitter_without_a_key_ends_before_and_after_every_write() {
    for when in [When::Before, When::After] {
        at_every_write(
            Worst::SessionTerminated,
            when,
            submitted_without_a_key,
            &WITHOUT_A_KEY,
        );
    }
}

/// A worker restarts on the same host: the dead one's runs move within a second, whatever the
/// lease.
#[test]
fn a_restart_on_the_same_host_does_not_wait_for_the_lease() {
    let limit = Duration::from_secs(if cfg!(debug_assertions) { 2 } else { 1 });
    let mut took: Vec<Duration> = Vec::new();
    // Other tests share the machine: one good set of three shows that this speed is possible.
    let is_in_time = (0..3).any(|set: usize| {
        took.extend((0..3).map(|_| restarted()));
        median(took[3 * set..].to_vec()) < limit
    });
    eprintln!("moved again after the restart: {took:?}");
    assert!(is_in_time, "moved again after {took:?}");
}

/// Kills a worker during a step and restarts it: the time until the step runs, by its own stamp.
fn restarted() -> Duration {
    let ledger = Ledger::new(
        &ScratchPostgres::shared()
            .fresh_database()
            .expect("a database"),
        "",
    );
    let file = ledger.gated();
    let worker = ledger.start(&["worker"]);
    let run = ledger.submit(&file, "one");
    ledger.until_lines("begin", 2);
    worker.kill();
    let start = now();
    let _worker = ledger.start(&["worker"]);
    let moved = ledger.until_line("begin", 3);
    ledger.open();
    assert_eq!(ledger.check(&ledger.until_completed(&run), "restart"), 1);
    moved.since(start)
}
