//! A crash at every write of a run of seven steps: of the worker, and of the session's process on the server. Effects are
//! counted in a file outside the store. Promises 1, 2, 3, 4 and 7 of the design.

use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use surefoot_scratch_postgres::ScratchPostgres;

use crate::common::text;
use crate::ledger::Ledger;
use crate::proxy::{Proxy, When};

fn kill(pid: u32) {
    // It may have gone by itself.
    let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
}

/// `surefoot run` of a new project on a new database, through a proxy that does the worst at a write. Gives whether there was
/// such a write, and how the process ended.
fn live(cluster: &ScratchPostgres, ledger: &mut Ledger, at: u64, when: When, worst: Worst) -> (bool, Output) {
    let worker = Arc::new(AtomicU32::new(0));
    let (pid, program) = (worker.clone(), cluster.program("psql").get_program().to_owned());
    let url = cluster.url();
    let proxy = Proxy::start(cluster.port(), at, when, move |backend| match worst {
        Worst::WorkerKilled => kill(pid.load(Ordering::SeqCst)),
        Worst::BackendKilled => kill(backend.unsigned_abs()),
        Worst::BackendTerminated => {
            let statement = format!("SELECT pg_terminate_backend({backend})");
            assert!(Command::new(program).args([&url, "-qc", &statement]).output().expect("psql").status.success());
        }
    });
    let direct = ledger.store.clone();
    let database = direct.rsplit('/').next().expect("a name");
    ledger.store = format!("postgres://postgres@127.0.0.1:{}/{database}?sslmode=disable", proxy.port());
    let file = ledger.seven("0");
    let mut command = ledger.command(&["run", &file, "--key", "the-one"]);
    let child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn();
    let child = child.expect("the binary starts");
    worker.store(child.id(), Ordering::SeqCst);
    let output = child.wait_with_output().expect("it ends");
    ledger.store = direct;
    (proxy.met(), output)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Worst {
    WorkerKilled,
    BackendTerminated,
    BackendKilled,
}

/// One after the other, every write of the run.
fn at_every_write(worst: Worst, whens: &[When]) {
    let cluster = ScratchPostgres::start().expect("PostgreSQL");
    // The schema is made apart: it is not what is put to the test here.
    let model = cluster.fresh_database().expect("a database");
    assert!(Ledger::new(&model, "").run(&["migrate"]).status.success());
    let model = model.rsplit('/').next().expect("a name");
    for &when in whens {
        let mut at = 1;
        loop {
            let what = format!("{worst:?} {when:?} write {at}");
            let name = format!("at_{at}_{when:?}").to_lowercase();
            crate::common::until("the server is up", || {
                cluster.psql("postgres", &format!("CREATE DATABASE {name} TEMPLATE {model}")).ok()
            });
            let mut ledger = Ledger::new(&cluster.url_of(&name), "");
            let (met, first) = live(&cluster, &mut ledger, at, when, worst);
            if worst == Worst::WorkerKilled {
                assert_eq!(met, first.status.code().is_none(), "{what}: {}", text(&first));
            }
            // The same command carries on, or finds that all is done. A database that is being restarted says so.
            let again = || ledger.run(&["run", &ledger.seven("0"), "--key", "the-one"]);
            let done = crate::common::until(&what, || {
                let output = again();
                assert!(matches!(output.status.code(), Some(0 | 3)), "{what}: {}", text(&output));
                output.status.success().then_some(output)
            });
            assert_eq!(cluster.psql(&name, "SELECT count(*) FROM surefoot.runs").expect("an answer"), "1", "{what}");
            check(&ledger, worst, first.status.success(), &what, &done);
            if !met {
                break;
            }
            at += 1;
        }
        assert!(at > 8, "{worst:?} {when:?}: a run of seven steps has eight commits at least, met {at}");
    }
}

fn check(ledger: &Ledger, worst: Worst, lived: bool, what: &str, done: &Output) {
    let shown = ledger.json(&["show", "the-one", "--json"]);
    let again = ledger.check(&shown, &format!("{what}: {}", text(done)));
    assert!(again <= 1, "{what}: one step was under way at most");
    if worst != Worst::WorkerKilled && lived {
        // The worker outlived its session: it holds its lease still, and nothing is done twice.
        assert_eq!(again, 0, "{what}");
        let steps = shown["steps"].as_array().expect("steps");
        assert!(steps.iter().all(|step| step["interruptions"] == 0), "{what}: {shown:#}");
    }
}

#[test]
fn the_worker_is_killed_at_every_write() {
    at_every_write(Worst::WorkerKilled, &[When::Before, When::After]);
}

#[test]
fn the_session_is_ended_at_every_write() {
    at_every_write(Worst::BackendTerminated, &[When::After]);
}

#[test]
fn the_server_process_is_killed_at_every_write() {
    at_every_write(Worst::BackendKilled, &[When::Before]);
}

/// The same host starts its worker again: what the dead one held moves within a second, whatever the lease.
#[test]
fn a_restart_on_the_same_host_does_not_wait_for_the_lease() {
    let cluster = ScratchPostgres::shared();
    let ledger = Ledger::new(&cluster.fresh_database().expect("a database"), "");
    let file = ledger.seven("0.3");
    let worker = ledger.start(&["worker"]);
    let run = ledger.submit(&file, "one");
    ledger.until_lines("begin", 2);
    worker.kill();
    let began = std::time::Instant::now();
    let _worker = ledger.start(&["worker"]);
    ledger.until_lines("begin", 3);
    let took = began.elapsed();
    assert!(took < Duration::from_secs(if cfg!(debug_assertions) { 2 } else { 1 }), "moved again after {took:?}");
    eprintln!("moved again {took:?} after the restart");
    assert_eq!(ledger.check(&ledger.until_completed(&run), "restart"), 1);
}
