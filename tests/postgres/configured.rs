//! What `[postgres]` in `surefoot.toml` says is what the processes do.

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
    let (file, listen) = (ledger.seven("0"), format!("127.0.0.1:{}", free_port()));
    let serve = ["serve", "--listen", &listen];
    for args in [
        &["submit", &file, "--key", "one"][..],
        &["worker"],
        &["run", &file],
        &serve,
    ] {
        let output = ledger.run(args);
        assert_eq!(output.status.code(), Some(3), "{args:?}: {}", text(&output));
        let expect = "there is no store in the schema surefoot: `surefoot migrate` makes one";
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
fn notify_false_listens_to_nobody_and_the_work_is_found() {
    let cluster = ScratchPostgres::shared();
    let somebody_listens = |name: &str| {
        let who = format!("datname = '{name}' AND query LIKE 'LISTEN %'");
        cluster
            .psql(
                name,
                &format!("SELECT count(*) FROM pg_stat_activity WHERE {who}"),
            )
            .expect("an answer")
            != "0"
    };
    for (config, listens) in [("", true), ("[postgres]\nnotify = false\n", false)] {
        let (ledger, name) = on(cluster, config);
        let file = ledger.seven("0");
        let _worker = ledger.start(&["worker"]);
        // The session that says LISTEN says nothing else.
        until("the worker is there", || {
            let there = cluster
                .psql(&name, "SELECT count(*) FROM surefoot.workers")
                .ok()?
                == "1";
            (there && somebody_listens(&name) == listens).then_some(())
        });
        let run = ledger.submit(&file, "one");
        assert_eq!(ledger.check(&ledger.until_completed(&run), config), 0);
        if listens {
            // A session that was lost is replaced a moment later.
            until("somebody listens", || somebody_listens(&name).then_some(()));
        } else {
            assert!(!somebody_listens(&name), "{config}");
        }
    }
}

/// Stops every process of a cluster, as a machine does that hangs, until this is dropped.
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

/// Who submits hears in time that the database does not answer, and what to do.
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

/// Less than the timeouts are when nothing is said of them: 5 s and 10 s.
const IN_TIME: Duration = Duration::from_secs(4);

#[test]
fn a_server_that_hangs_is_given_up_within_the_timeouts() {
    let cluster = ScratchPostgres::start().expect("PostgreSQL");
    let (ledger, _) = on(&cluster, "[postgres]\nconnect_timeout = '1s'\n");
    ledger.until_submitted(&ledger.seven("0"), "before");
    let frozen = Frozen::freeze(&cluster.data());
    refused_in_time(&ledger, &ledger.store, IN_TIME);
    drop(frozen);
    ledger.until_submitted(&ledger.seven("0"), "one");
}

#[test]
fn a_server_that_hangs_in_mid_operation_is_given_up_within_the_timeout() {
    let cluster = ScratchPostgres::start().expect("PostgreSQL");
    let (ledger, name) = on(&cluster, "[postgres]\noperation_timeout = '1s'\n");
    ledger.until_submitted(&ledger.seven("0"), "before");
    let (data, (keep, kept)) = (cluster.data(), std::sync::mpsc::channel());
    // As the first write comes, the whole server hangs.
    let proxy = Proxy::start(cluster.port(), 1, When::Meanwhile, move |_| {
        keep.send(Frozen::freeze(&data)).expect("the test waits");
    });
    refused_in_time(
        &ledger,
        &proxy.url_of(&name),
        IN_TIME + Duration::from_secs(1),
    );
    drop(kept.recv().expect("it was frozen"));
    // The same again, whatever became of the first.
    ledger.until_submitted(&ledger.seven("0"), "one");
    let runs = cluster
        .psql(
            &name,
            "SELECT count(*) FROM surefoot.runs WHERE key = 'one'",
        )
        .expect("an answer");
    assert_eq!(runs, "1");
}
