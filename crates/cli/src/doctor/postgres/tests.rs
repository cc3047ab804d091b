//! Findings of real servers, each made true first.

use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use surefoot_doctor::{Finding, Level};
use surefoot_postgres::PostgresStore;
use surefoot_scratch_postgres::{ScratchBouncer, ScratchPostgres};

use super::examine;

async fn findings(url: &str) -> Vec<Finding> {
    examine(PostgresStore::options(url)).await.0
}

/// `level: found` of each finding on a subject.
fn about(findings: &[Finding], subject: &str) -> Vec<String> {
    let of = findings.iter().filter(|finding| finding.subject == subject);
    of.map(|finding| format!("{}: {}", finding.level.as_str(), finding.found))
        .collect()
}

fn broken(findings: &[Finding]) -> Vec<&str> {
    findings
        .iter()
        .filter(|finding| finding.level == Level::Broken)
        .map(|finding| finding.subject.as_str())
        .collect()
}

#[tokio::test]
async fn a_server_as_it_comes_breaks_nothing_and_its_findings_read_well() {
    let url = ScratchPostgres::shared().fresh_database().unwrap();
    let (found, store) = examine(PostgresStore::options(&url)).await;
    assert_eq!(
        about(&found, "store"),
        ["note: the database holds no store yet"]
    );
    assert!(store.is_none(), "looking makes none");
    drop(PostgresStore::options(&url).open().await.unwrap());
    let (found, store) = examine(PostgresStore::options(&url)).await;
    assert!(store.is_some_and(|store| store.now().as_micros() > 0));
    assert_eq!(broken(&found), [""; 0]);
    let text = super::super::report::text("postgres://host/database", &found);
    insta::with_settings!({ filters => FILTERS.to_vec(), omit_expression => true }, { insta::assert_snapshot!(text) });
}

/// Replaces the values that differ between servers and runs.
const FILTERS: &[(&str, &str)] = &[
    (
        r"PostgreSQL \d+\.\d+, schema \d+",
        "PostgreSQL [version], schema [number]",
    ),
    (r"[\d.]+ (us|ms|s|min)\b( \(median\))?", "[time]$2"),
    (r"(ahead of|behind) this", "[beside] this"),
    (
        r"\d+ of \d+ connections",
        "[number] of [number] connections",
    ),
    (r"[\d.]+ (bytes|KiB|MiB|GiB|TiB)", "[size]"),
    (
        r"\d+ dead rows? beside \d+ live ones?",
        "[number] dead rows beside [number] live ones",
    ),
    (
        r"(?m)^\w+ +(free disk|commit|notifications|data_checksums) .*\n( {10,}.*\n)*",
        "[$1]\n",
    ),
    (
        r"(?m)^.*: \d+ broken, \d+ warn, \d+ note, \d+ ok",
        "[verdict]",
    ),
];

#[tokio::test]
async fn settings_that_lose_commits_break_promises() {
    let lines = [
        "fsync = off",
        "synchronous_commit = off",
        "full_page_writes = off",
        "autovacuum = off",
    ];
    let server = ScratchPostgres::with_settings(&lines).unwrap();
    let found = findings(&server.url()).await;
    assert_eq!(broken(&found), ["fsync", "full_page_writes"]);
    assert_eq!(about(&found, "dead rows"), ["warn: autovacuum is off"]);
}

#[tokio::test]
async fn a_commit_that_is_not_believable_is_told() {
    // A server that is told to wait for a disk, with the times of one that does not.
    let mut facts = PostgresStore::options(&ScratchPostgres::shared().url())
        .facts()
        .await
        .unwrap();
    facts.round_trip = Ok(Duration::from_micros(100));
    facts.commit = Ok(Duration::from_micros(110));
    let found = super::judge(&facts);
    assert!(
        about(&found, "commit").concat().starts_with("warn: 110 us"),
        "{found:#?}"
    );
}

/// Returns true if the text starts so and continues with a duration of ten seconds or more, such as
/// `12.3 s` or `1 min`.
fn is_old(held: &str, begin: &str) -> bool {
    let Some((number, unit)) = held
        .strip_prefix(begin)
        .and_then(|rest| rest.split_once(' '))
    else {
        return false;
    };
    let is_ten = || number.parse::<f64>().is_ok_and(|seconds| seconds >= 10.0);
    unit.starts_with("min") || unit.starts_with('s') && is_ten()
}

#[tokio::test]
async fn what_holds_vacuum_back_is_told() {
    let server = ScratchPostgres::with_settings(&["max_prepared_transactions = 5"]).unwrap();
    let psql = |script: &str| {
        let mut psql = server.program("psql");
        psql.args(["-X", "-q", "-d", "postgres"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        let mut psql = psql.spawn().unwrap();
        psql.stdin
            .as_mut()
            .unwrap()
            .write_all(script.as_bytes())
            .unwrap();
        psql
    };
    let mut forgetful = psql("BEGIN; SELECT pg_current_xact_id();\n");
    let mut preparing = psql("BEGIN;\nCREATE TABLE t ();\nPREPARE TRANSACTION 'forgotten';\n\\q\n");
    assert!(preparing.wait().unwrap().success());
    let start = Instant::now();
    let held = loop {
        let held = about(&findings(&server.url()).await, "vacuum");
        if held.len() == 2 {
            break held;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "{held:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert!(
        is_old(&held[0], "warn: a transaction is open for "),
        "{held:?}"
    );
    assert!(held[0].ends_with("idle in transaction)"), "{held:?}");
    assert!(
        is_old(&held[1], "warn: a transaction is prepared for "),
        "{held:?}"
    );
    assert!(held[1].ends_with(": forgotten"), "{held:?}");
    forgetful.kill().unwrap();
    forgetful.wait().unwrap();
}

#[tokio::test]
async fn a_pooler_is_told_with_what_it_swallows() {
    let bouncer = ScratchBouncer::start(ScratchPostgres::shared(), 5).unwrap();
    let found = findings(&bouncer.url_of("postgres")).await;
    assert_eq!(broken(&found), [""; 0]);
    let pooler = "note: one that may give each transaction to another session of the server";
    assert_eq!(about(&found, "pooler"), [pooler]);
    assert_eq!(
        about(&found, "notifications"),
        ["note: none was heard within 2 s"]
    );
}

#[tokio::test]
async fn few_connections_are_told() {
    let server = ScratchPostgres::with_settings(&["max_connections = 12"]).unwrap();
    let found = about(&findings(&server.url()).await, "connections").concat();
    assert!(
        found.starts_with("warn: ") && found.ends_with(" of 9 connections are left"),
        "{found}"
    );
}

#[tokio::test]
async fn a_server_that_is_away_is_a_finding() {
    // Nothing listens on the port of the discard service.
    let found = findings("postgres://ann:hunter2@127.0.0.1:9/x").await;
    assert_eq!(broken(&found), ["store"]);
    assert!(!format!("{found:?}").contains("hunter"));
}
