//! A primary that dies during runs, and its synchronous standby that replaces it: acknowledged runs
//! exist, completed steps do not run again, and workers find the new primary among the hosts of
//! their address.

use surefoot_scratch_postgres::{ScratchPostgres, Stop};

use crate::ledger::Ledger;

const CONFIG: &str = "[postgres]\nconnect_timeout = '1s'\noperation_timeout = '2s'\n";

#[test]
fn a_synchronous_standby_is_promoted_in_the_midst_of_runs() {
    let primary = ScratchPostgres::start().expect("PostgreSQL");
    let standby = primary.synchronous_standby("second").expect("a standby");
    let store = format!(
        "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/postgres?target_session_attrs=read-write",
        primary.port(),
        standby.port()
    );
    let ledger = Ledger::new(&store, CONFIG);
    let file = ledger.seven("0.5");
    let one = ledger.start(&["worker"]);
    let other = ledger.start_on("elsewhere", &["worker"]);
    let runs: Vec<String> = (0..6)
        .map(|key| ledger.until_submitted(&file, &format!("run {key}")))
        .collect();
    ledger.until_lines("end", 8);
    primary.stop(Stop::Kill).expect("it dies");
    standby.promote().expect("it is promoted");
    for run in &runs {
        let shown = ledger.until_completed(run);
        assert_eq!(
            ledger.check(&shown, "after the failover"),
            0,
            "no step began again"
        );
        let steps = shown["steps"].as_array().expect("steps");
        assert!(
            steps.iter().all(|step| step["interruptions"] == 0),
            "{shown:#}"
        );
    }
    for worker in [one, other] {
        worker.signal("-TERM");
        assert!(worker.finish().status.success());
    }
}
