//! Wall clocks that step by an hour, forward and back: the database's, and a worker's own. No run
//! of a living worker is interrupted, and the runs of a dead one are taken over as soon as ever.

use std::process::Command;

use surefoot_scratch_postgres::{ScratchOptions, ScratchPostgres, SteppableClock};

use crate::common::{text, until};
use crate::ledger::Ledger;
use crate::takeover;

const HOUR: i64 = 3_600;

/// Successive offsets of the clock: each differs from the previous one, and the last step is two
/// hours.
const OFFSETS: [i64; 4] = [HOUR, 0, -HOUR, HOUR];

fn cluster() -> ScratchPostgres {
    let options = ScratchOptions {
        has_steppable_clock: true,
        ..ScratchOptions::default()
    };
    ScratchPostgres::with(options).expect("PostgreSQL and faketime")
}

/// Two workers in the midst of runs of ten seconds, while `set` sets a clock to one offset after
/// the other.
fn steps(ledger: &Ledger, workers: Vec<crate::common::Started>, set: impl Fn(i64)) {
    let file = ledger.seven("1.5");
    let runs = ledger.runs_under_way(&file, 6, 6);
    for (index, offset) in OFFSETS.into_iter().enumerate() {
        set(offset);
        ledger.until_lines("begin", 12 + 6 * index);
    }
    ledger.check_untouched(&runs, workers, "after steps of the clock");
}

#[test]
fn no_step_of_the_database_clock_interrupts_a_run_of_a_living_worker() {
    let cluster = cluster();
    let ledger = Ledger::new(&cluster.url(), "");
    let workers = ledger.two_workers();
    steps(&ledger, workers, |offset| {
        cluster.set_clock_ahead(offset).expect("it steps");
    });
}

#[test]
fn no_step_of_a_worker_clock_interrupts_a_run_of_a_living_worker() {
    let database = ScratchPostgres::shared().fresh_database();
    let ledger = Ledger::new(&database.expect("a database"), "");
    let clock = SteppableClock::new().expect("faketime");
    let mut command = ledger.command_on("one", &["worker"]);
    let one = ledger.place.start(command.envs(clock.environment()));
    let other = ledger.start_on("other", &["worker"]);
    let maps = format!("/proc/{}/maps", one.id());
    until("the worker is on the clock", || {
        let maps = std::fs::read_to_string(&maps).ok()?;
        maps.contains("libfaketime").then_some(())
    });
    steps(&ledger, vec![one, other], |offset| {
        clock.set_ahead(offset).expect("it steps");
        until("processes follow", || {
            (shown_by(&clock) - real() - offset)
                .abs()
                .lt(&60)
                .then_some(())
        });
    });
}

#[test]
fn a_killed_worker_is_taken_over_in_time_when_the_database_clock_steps_forward() {
    taken_over_when_the_clock_steps(HOUR);
}

#[test]
fn a_killed_worker_is_taken_over_in_time_when_the_database_clock_steps_back() {
    taken_over_when_the_clock_steps(-HOUR);
}

fn taken_over_when_the_clock_steps(by: i64) {
    let cluster = cluster();
    takeover::in_time(
        &cluster,
        |database| cluster.url_of(database),
        |kill| {
            cluster.set_clock_ahead(0).expect("it is right");
            kill();
            cluster.set_clock_ahead(by).expect("it steps");
        },
    );
}

/// Seconds since the epoch that a process on the clock reads.
fn shown_by(clock: &SteppableClock) -> i64 {
    seconds(Command::new("date").envs(clock.environment()))
}

fn real() -> i64 {
    seconds(&mut Command::new("date"))
}

fn seconds(date: &mut Command) -> i64 {
    let output = date.arg("+%s").output().expect("date runs");
    let shown = String::from_utf8_lossy(&output.stdout).trim().parse();
    shown.unwrap_or_else(|_| panic!("no number: {}", text(&output)))
}
