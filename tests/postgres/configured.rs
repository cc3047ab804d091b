//! The processes obey `[postgres]` in `surefoot.toml`.

use std::time::{Duration, Instant};

use surefoot_scratch_postgres::ScratchPostgres;

use crate::common::port::free_port;
use crate::common::{text, until};
use crate::ledger::Ledger;
use crate::proxy::{Proxy, When};

/// A ledger on a new database of a cluster, and the database's name.
fn on(cluster: &ScratchPostgres, config: &str) -> (Ledger, String) {
    let url = cluster.fresh_database().expect("a database");
    let name = url.rsplit('/').next().expect("a name").to_owned();
    (Ledger::new(&url, config), name)
}

#[test]
fn migrate_false_makes_no_schema_until_it_is_asked_to() {
    let cluster = ScratchPostgres::shared();
    let (ledger, name) = on(cluster, "[postgres]\nmigrate = false\n");
    let schemas = || {
        cluster.psql(
            &name,
            "SELECT count(*) FROM pg_namespace WHERE nspname = 'surefoot'",
        )
    };
    let file = ledger.seven("0");
    let listen = format!("127.0.0.1:{}", free_port());
    let serve = ["serve", "--listen", &listen];
    for args in [
        &["submit", &file, "--key", "one"][..],
        &["worker"],
        &["run", &file],
        &serve,
    ] {
        let output = ledger.run(args);
        assert_eq!(output.status.code(), Some(3), "{args:?}: {}", text(&output));
        let expect = "there is no store in the schema surefoot: `surefoot migrate` creates one";
        assert!(
            text(&output).contains(expect),
            "{args:?}: {}",
            text(&output)
        );
        assert_eq!(schemas().expect("an answer"), "0", "{args:?} made one");
    }
    let output = ledger.run(&["migrate"]);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(schemas().expect("an answer"), "1");
    ledger.submit(&file, "one");
}

#[test]
fn without_notify_no_session_listens_and_work_is_found_by_polling() {
    let cluster = ScratchPostgres::shared();
    let is_listening = |name: &str| {
        let listeners = format!("datname = '{name}' AND query LIKE 'LISTEN %'");
        cluster
            .psql(
                name,
                &format!("SELECT count(*) FROM pg_stat_activity WHERE {listeners}"),
            )
            .expect("an answer")
            != "0"
    };
    for (config, listens) in [("", true), ("[postgres]\nnotify = false\n", false)] {
        let (ledger, name) = on(cluster, config);
        let file = ledger.seven("0");
        let _worker = ledger.start(&["worker"]);
        // The session that executes LISTEN executes nothing else.
        until("the worker is there", || {
            let there = cluster
                .psql(&name, "SELECT count(*) FROM surefoot.workers")
                .ok()?
                == "1";
            (there && is_listening(&name) == listens).then_some(())
        });
        let run = ledger.submit(&file, "one");
        assert_eq!(ledger.check(&ledger.until_completed(&run), config), 0);
        if listens {
            // A lost session is replaced a moment later.
            until("a session listens", || is_listening(&name).then_some(()));
        } else {
            assert!(!is_listening(&name), "{config}");
        }
    }
}

/// Stops every process of a cluster, as on a machine that hangs, until this is dropped.
struct Frozen(Vec<String>);

impl Frozen {
    fn freeze(data: &std::path::Path) -> Self {
        let file =
            std::fs::read_to_string(data.join("postmaster.pid")).expect("a server that runs");
        let server = file.lines().next().expect("a process id").to_owned();
        let of = format!("/proc/{server}/task/{server}/children");
        let mut all = vec![server];
        signal("-STOP", &all);
        all.extend(
            std::fs::read_to_string(of)
                .unwrap_or_default()
                .split_whitespace()
                .map(str::to_owned),
        );
        signal("-STOP", &all);
        Self(all)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        signal("-CONT", &self.0);
    }
}

fn signal(signal: &str, pids: &[String]) {
    // One may have ended meanwhile.
    let _ = std::process::Command::new("kill")
        .arg(signal)
        .args(pids)
        .stderr(std::process::Stdio::null())
        .status();
}

/// Asserts that a submission fails in time, with an error that names the timeout and the advice.
fn refused_in_time(ledger: &Ledger, store: &str, within: Duration) {
    let began = Instant::now();
    let mut command = ledger.command(&["submit", &ledger.seven("0"), "--key", "one"]);
    let output = command
        .env("SUREFOOT_STORE", store)
        .output()
        .expect("the binary starts");
    let took = began.elapsed();
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    assert!(
        text(&output).contains("try again once it is back"),
        "{}",
        text(&output)
    );
    assert!(took < within, "{took:?}: {}", text(&output));
}

/// Less than the default timeouts of 5 s and 10 s.
const IN_TIME: Duration = Duration::from_secs(4);

#[test]
fn a_connection_to_a_hanging_server_fails_within_the_timeouts() {
    let cluster = ScratchPostgres::start().expect("PostgreSQL");
    let (ledger, _) = on(&cluster, "[postgres]\nconnect_timeout = '1s'\n");
    ledger.until_submitted(&ledger.seven("0"), "before");
    let frozen = Frozen::freeze(&cluster.data());
    refused_in_time(&ledger, &ledger.store, IN_TIME);
    drop(frozen);
    ledger.until_submitted(&ledger.seven("0"), "one");
}

#[test]
fn an_operation_on_a_hanging_server_fails_within_the_timeout() {
    let cluster = ScratchPostgres::start().expect("PostgreSQL");
    let (ledger, name) = on(&cluster, "[postgres]\noperation_timeout = '1s'\n");
    ledger.until_submitted(&ledger.seven("0"), "before");
    let data = cluster.data();
    let (keep, kept) = std::sync::mpsc::channel();
    // The whole server hangs when the first write arrives.
    let proxy = Proxy::start(cluster.port(), 1, When::Meanwhile, move |_| {
        keep.send(Frozen::freeze(&data)).expect("the test waits");
    });
    refused_in_time(
        &ledger,
        &proxy.url_of(&name),
        IN_TIME + Duration::from_secs(1),
    );
    drop(kept.recv().expect("it was frozen"));
    // Submits again, whatever became of the first submission.
    ledger.until_submitted(&ledger.seven("0"), "one");
    let runs = cluster
        .psql(
            &name,
            "SELECT count(*) FROM surefoot.runs WHERE key = 'one'",
        )
        .expect("an answer");
    assert_eq!(runs, "1");
}
