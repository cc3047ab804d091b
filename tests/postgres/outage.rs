//! A database that refuses connections, is stopped, or is away for longer than a lease: finished
//! work is kept and written when the database is back, no attempt is used, and a submission fails
//! in bounded time. Promise 7 of the design.

use std::time::{Duration, Instant};

use surefoot_scratch_postgres::{ScratchPostgres, Stop};

use crate::common::text;
use crate::ledger::Ledger;

/// Runs three runs on one worker, during which the database goes away and comes back.
fn outage(away: impl FnOnce(&ScratchPostgres, &Ledger)) {
    let cluster = ScratchPostgres::start().expect("PostgreSQL");
    let ledger = Ledger::hasty(&cluster.url());
    let file = ledger.seven("0.3");
    let worker = ledger.start(&["worker"]);
    let runs = ledger.runs_under_way(&file, 3, 5);
    away(&cluster, &ledger);
    ledger.check_untouched(&runs, vec![worker], "after the outage");
}

/// `surefoot submit` during the outage fails with the reason, in time.
fn refused(ledger: &Ledger) {
    let begin = Instant::now();
    let output = ledger.run(&["submit", &ledger.seven("0.3"), "--key", "meanwhile"]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    assert!(
        begin.elapsed() < Duration::from_secs(5),
        "{:?}: {}",
        begin.elapsed(),
        text(&output)
    );
}

#[test]
fn a_database_that_refuses_connections_for_a_while_costs_no_attempt() {
    outage(|cluster, ledger| {
        cluster.refuse().expect("it refuses");
        let begin = Instant::now();
        refused(ledger);
        std::thread::sleep(Duration::from_secs(2).saturating_sub(begin.elapsed()));
        cluster.accept().expect("it accepts");
    });
}

#[test]
fn a_database_that_is_restarted_costs_no_attempt() {
    outage(|cluster, ledger| {
        cluster.stop(Stop::Fast).expect("it stops");
        refused(ledger);
        cluster.start_again().expect("it starts");
        ledger.until_lines("end", 8);
        cluster.restart(Stop::Kill).expect("it recovers");
    });
}

/// There is no other worker: the worker renews its lease before it reclaims, and continues.
#[test]
fn an_outage_longer_than_the_lease_costs_no_attempt() {
    outage(|cluster, ledger| {
        cluster.stop(Stop::Fast).expect("it stops");
        let begin = Instant::now();
        refused(ledger);
        std::thread::sleep(Duration::from_secs(7).saturating_sub(begin.elapsed()));
        cluster.start_again().expect("it starts");
    });
}

/// Two workers of different hosts, each of which could take over the other's runs: neither does,
/// however long the database was away.
#[test]
fn after_an_outage_no_worker_takes_over_the_runs_of_another() {
    let cluster = ScratchPostgres::start().expect("PostgreSQL");
    let ledger = Ledger::hasty(&cluster.url());
    let file = ledger.seven("0.5");
    let workers = ledger.two_workers();
    let runs = ledger.runs_under_way(&file, 12, 14);
    cluster.stop(Stop::Fast).expect("it stops");
    let begin = Instant::now();
    refused(&ledger);
    std::thread::sleep(Duration::from_secs(10).saturating_sub(begin.elapsed()));
    cluster.start_again().expect("it starts");
    ledger.check_untouched(&runs, workers, "after the outage");
}
