//! A primary that dies during runs, and its synchronous standby that replaces it: acknowledged runs
//! exist, completed steps do not run again, and workers find the new primary among the hosts of
//! their address.

use surefoot_scratch_postgres::ScratchPair;

use crate::ledger::Ledger;

#[test]
fn a_synchronous_standby_is_promoted_in_the_midst_of_runs() {
    let pair = ScratchPair::start().expect("PostgreSQL and a standby");
    let ledger = Ledger::hasty(&pair.url_of("postgres"));
    let file = ledger.seven("0.5");
    let workers = ledger.two_workers();
    let runs = ledger.runs_under_way(&file, 6, 6);
    ledger.until_lines("end", 8);
    pair.fail_over().expect("the standby is promoted");
    ledger.check_untouched(&runs, workers, "after the failover");
}
