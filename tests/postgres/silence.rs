//! Connections that fall silent: nothing comes through and nothing is closed. No run of a living
//! worker is interrupted, the worker goes on over new connections, and a dead one is taken over as
//! soon as ever.

use surefoot_scratch_postgres::{ScratchPostgres, ScratchProxy, Silence};

use crate::common::until;
use crate::ledger::Ledger;
use crate::takeover;

/// Two workers in the midst of runs of ten seconds, of which one reaches the database by a proxy.
/// Its connections fall silent three times in all.
fn falls_silent(which: Silence) {
    let cluster = ScratchPostgres::shared();
    let database = cluster.fresh_database().expect("a database");
    let name = database.rsplit('/').next().expect("a name");
    let proxy = ScratchProxy::start(cluster.port()).expect("a proxy");
    let ledger = Ledger::hasty(&database);
    let workers = vec![
        ledger.worker_on("one", &proxy.url_of(name)),
        ledger.start_on("other", &["worker"]),
    ];
    let runs = ledger.runs_under_way(&ledger.seven("1.5"), 6, 6);
    for begun in [6, 18, 30] {
        ledger.until_lines("begin", begun);
        // A connection is known by its first heartbeat, which may be on its way.
        until("the worker has such connections", || {
            (proxy.silence(which) > 0).then_some(())
        });
    }
    ledger.check_untouched(&runs, workers, &format!("{which:?} fell silent"));
}

#[test]
fn a_silent_heartbeat_connection_interrupts_no_run() {
    falls_silent(Silence::Heartbeats);
}

#[test]
fn connections_that_all_fall_silent_interrupt_no_run() {
    falls_silent(Silence::All);
}

/// The first host of the URL accepts connections and answers none, from some moment on. The connect
/// timeout is the default: a heartbeat gives up before it.
#[test]
fn a_host_that_falls_silent_is_left_for_the_next_one() {
    let cluster = ScratchPostgres::shared();
    let database = cluster.fresh_database().expect("a database");
    let name = database.rsplit('/').next().expect("a name");
    let proxy = ScratchProxy::start(cluster.port()).expect("a proxy");
    let ledger = Ledger::new(&database, "");
    let ports = (proxy.port(), cluster.port());
    let both = format!(
        "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/{name}",
        ports.0, ports.1
    );
    let workers = vec![
        ledger.worker_on("one", &both),
        ledger.start_on("other", &["worker"]),
    ];
    let runs = ledger.runs_under_way(&ledger.seven("1.5"), 6, 8);
    assert!(proxy.silence(Silence::Host) > 0);
    ledger.check_untouched(&runs, workers, "the first host fell silent");
}

#[test]
fn a_worker_that_dies_on_silent_connections_is_taken_over_in_time() {
    // Sessions of silent connections stay: they would crowd out other tests.
    let cluster = ScratchPostgres::start().expect("PostgreSQL");
    let proxy = ScratchProxy::start(cluster.port()).expect("a proxy");
    takeover::in_time(
        &cluster,
        |database| {
            cluster.end_sessions().expect("they end");
            proxy.url_of(database)
        },
        |kill| {
            assert!(proxy.silence(Silence::All) > 0);
            kill();
        },
    );
}
