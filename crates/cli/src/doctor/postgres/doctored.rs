//! Findings of facts that no server here would give: a clock that is off, a standby, a version that
//! is too old.

use std::time::Duration;

use surefoot_doctor::{Finding, Level};
use surefoot_postgres::{PostgresFacts, Settings, TableFacts, Usage};

use super::judge;

/// A database of which there is nothing to say.
fn fine() -> PostgresFacts {
    let settings = Settings {
        version: 150_004,
        fsync: true,
        synchronous_commit: "on".to_owned(),
        full_page_writes: true,
        wal_level: "replica".to_owned(),
        autovacuum: true,
        data_checksums: true,
        max_connections: 100,
        ..Settings::default()
    };
    PostgresFacts {
        settings,
        standbys: Ok(Vec::new()),
        pooled: false,
        notify: Ok(Some(Duration::from_millis(1))),
        round_trip: Ok(Duration::from_micros(100)),
        commit: Ok(Duration::from_millis(2)),
        clock: Ok((0, Duration::from_micros(100))),
        holders: Ok(Vec::new()),
        tables: Ok(Vec::new()),
        usage: Ok(Usage {
            connections: 5,
            oldest: 3_000_000,
            bytes: 1 << 20,
        }),
        folder: None,
        schema: Ok((4, 4)),
    }
}

/// Returns the findings on a subject for altered facts.
fn about(subject: &str, doctor: impl FnOnce(&mut PostgresFacts)) -> Finding {
    let mut facts = fine();
    doctor(&mut facts);
    let mut findings = judge(&facts)
        .into_iter()
        .filter(|finding| finding.subject == subject)
        .collect::<Vec<_>>();
    assert_eq!(findings.len(), 1, "{subject}: {findings:#?}");
    findings.remove(0)
}

/// The level of a finding and what was found; one that is not well says what to do.
fn check(finding: &Finding, level: Level, found: &str) {
    assert_eq!(
        (finding.level, finding.found.as_str()),
        (level, found),
        "{finding:#?}"
    );
    assert_eq!(finding.advice.is_some(), level != Level::Ok, "{finding:#?}");
}

#[test]
fn a_clock_that_is_off_is_told_and_harms_nothing() {
    let off = |micros: i64| {
        about("clock", |facts| {
            facts.clock = Ok((micros, Duration::from_millis(100)))
        })
    };
    check(
        &off(1_100_000),
        Level::Ok,
        "the database's is 1.1 s ahead of this host's (within 100.0 ms)",
    );
    check(
        &off(1_100_001),
        Level::Note,
        "the database's is 1.1 s ahead of this host's (within 100.0 ms)",
    );
    let behind = off(-90_000_000);
    check(
        &behind,
        Level::Note,
        "the database's is 1 min behind this host's (within 100.0 ms)",
    );
    assert!(
        behind.means.contains("no worker's clock can harm them") && behind.means.contains("`--at`"),
        "{behind:?}"
    );
}

#[test]
fn a_notification_that_comes_late_or_not_at_all_is_told() {
    let heard = |after| about("notifications", |facts| facts.notify = Ok(after));
    let after = |millis| heard(Some(Duration::from_millis(millis)));
    check(
        &after(250),
        Level::Ok,
        "heard by another session after 250.0 ms (median)",
    );
    check(
        &after(251),
        Level::Note,
        "heard by another session after 251.0 ms (median)",
    );
    let never = heard(None);
    check(&never, Level::Note, "none was heard within 2 s");
    assert_eq!(
        never.advice.as_deref(),
        Some("see whether something swallows NOTIFY")
    );
}

#[test]
fn dead_rows_that_slow_claims_down_are_told() {
    let table = |dead, live| TableFacts {
        name: "runs".to_owned(),
        live,
        dead,
        vacuumed: Some(Duration::from_secs(7200)),
        bytes: 1 << 20,
    };
    let dead = |dead, live| {
        about("dead rows", |facts| {
            facts.tables = Ok(vec![table(dead, live), table(1, 9)])
        })
    };
    check(
        &dead(20_000, 0),
        Level::Ok,
        "20001 dead rows beside 9 live ones, 2.0 MiB",
    );
    check(
        &dead(20_001, 20_001),
        Level::Ok,
        "20002 dead rows beside 20010 live ones, 2.0 MiB",
    );
    check(
        &dead(20_001, 20_000),
        Level::Warn,
        "runs: 20001 dead beside 20000, vacuumed 2 h 0 min ago",
    );
}

#[test]
fn rows_that_are_nearly_too_old_are_told() {
    let old = |oldest| {
        about("age", |facts| {
            facts.usage = Ok(Usage {
                oldest,
                ..Usage::default()
            })
        })
    };
    check(
        &old(1_000_000_000),
        Level::Ok,
        "1000 million transactions since the oldest row was frozen",
    );
    check(
        &old(1_000_000_001),
        Level::Warn,
        "1000 million transactions since the oldest row was frozen",
    );
}

#[test]
fn a_server_that_cannot_be_worked_on_breaks_promises() {
    let server = |doctor: fn(&mut PostgresFacts)| about("server", doctor);
    check(&server(|_| ()), Level::Ok, "PostgreSQL 15.4, schema 4");
    check(
        &server(|facts| facts.settings.version = 130_000),
        Level::Ok,
        "PostgreSQL 13.0, schema 4",
    );
    check(
        &server(|facts| facts.settings.version = 120_018),
        Level::Broken,
        "PostgreSQL 12.18, schema 4",
    );
    let standby = server(|facts| facts.settings.in_recovery = true);
    check(&standby, Level::Broken, "PostgreSQL 15.4, schema 4");
    assert!(standby.means.contains("it is a standby"), "{standby:?}");
}

#[test]
fn a_schema_of_another_build_is_told() {
    let schema = |found, known| {
        let mut finding = about("server", |facts| facts.schema = Ok((found, known)));
        finding.found = finding.found.replace("PostgreSQL 15.4", "");
        finding
    };
    check(
        &schema(3, 4),
        Level::Warn,
        ", schema 3 (this build knows 4)",
    );
    check(&schema(5, 4), Level::Ok, ", schema 5 (this build knows 4)");
    check(&schema(0, 4), Level::Ok, "");
}
