//! Through PgBouncer in transaction mode: two workers, submissions, and no process that keeps a
//! session.

use surefoot_scratch_postgres::{ScratchBouncer, ScratchPostgres};

use crate::common::until;
use crate::ledger::Ledger;

#[test]
fn two_workers_through_a_pooler_in_transaction_mode() {
    let cluster = ScratchPostgres::shared();
    let database = cluster.fresh_database().expect("a database");
    let name = database.rsplit('/').next().expect("a name");
    // Fewer connections than the two workers have sessions.
    let bouncer = ScratchBouncer::start(cluster, 4).expect("pgbouncer");
    let ledger = Ledger::new(&bouncer.url_of(name), "");
    // Long enough that the first worker has not finished its four runs before the second claims, as
    // each does once a second.
    let file = ledger.seven("0.3");
    let _workers = [
        ledger.start_on("a", &["worker", "--concurrency", "4"]),
        ledger.start_on("b", &["worker", "--concurrency", "4"]),
    ];
    until("both workers are there", || {
        let workers = cluster
            .psql(name, "SELECT count(*) FROM surefoot.workers")
            .ok()?;
        (workers == "2").then_some(())
    });
    let submit =
        "SELECT surefoot.submit('seven', '{}', 'project-' || n) FROM generate_series(1, 8) AS n";
    ledger.submit(&file, "first");
    let runs = cluster.psql(name, submit).expect("submitted, all at once");
    let runs: Vec<&str> = runs.lines().collect();
    for run in &runs {
        assert_eq!(
            ledger.check(&ledger.until_completed(run), "through a pooler"),
            0
        );
    }
    let held = "SELECT count(DISTINCT body::json -> 0 -> 2 ->> 'worker') FROM surefoot.events WHERE body LIKE '%run.started%'";
    assert_eq!(
        cluster.psql(name, held).expect("an answer"),
        "2",
        "both worked"
    );
}
