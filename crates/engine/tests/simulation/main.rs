//! The whole engine, simulated: several workers, people and faults over one store, on paused time,
//! from one seed.
//!
//! `docs/simulation.md` says what is simulated and checked, and what is not. To trace a single
//! seed: `SUREFOOT_SEED=7 cargo test -p surefoot --test simulation seed -- --nocapture`. More
//! seeds: `SUREFOOT_SEEDS=50000`.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says where by its panic"
)]

mod actor;
mod broken;
mod history;
mod hub;
mod known;
mod ledger;
mod life;
mod link;
mod node;
mod outages;
mod people;
mod rng;
mod rows;
mod script;
mod seeds;
mod seen;
mod settle;
mod story;
mod weather;
mod witness;
mod world;

use broken::Broken;
use seeds::{all_hold, seen_within};

/// Seeds in CI: a few seconds' worth, minutes of which every hour of CI repeats.
const SEEDS: u64 = 3_000;

#[test]
fn the_promises_hold_in_every_seed() {
    all_hold(SEEDS);
}

#[test]
fn a_seed_is_played_the_same_way_each_time() {
    for seed in 1..=40 {
        let (one, other) = (
            world::play(seed, Broken::Nothing, true),
            world::play(seed, Broken::Nothing, true),
        );
        assert!(one.lines.len() > 10, "seed {seed}: something happens");
        let differ = one
            .lines
            .iter()
            .zip(&other.lines)
            .find(|(one, other)| one != other);
        assert_eq!(differ, None, "seed {seed}");
        assert_eq!(
            (one.lines.len(), one.counts),
            (other.lines.len(), other.counts),
            "seed {seed}"
        );
    }
}

/// Each breaks one promise on purpose; the simulation finds it within so many seeds.
mod the_simulation_sees {
    use super::{Broken, seen_within};

    macro_rules! sees {
        ($($name:ident: $broken:ident within $seeds:literal says $promise:literal,)+) => {
            $(
                #[test]
                fn $name() {
                    seen_within(Broken::$broken, $seeds, $promise);
                }
            )+
        };
    }

    sees! {
        writes_under_old_leases: TakesOldLeases within 200 says "3: ",
        runs_that_are_never_taken_up: NeverReclaims within 200 says "4: ",
        runs_taken_from_the_living: ReclaimsFromTheLiving within 200 says "4: ",
        interruptions_that_spend_attempts: CountsInterruptions within 200 says "2, 5: ",
        runs_given_twice: GivesTwice within 200 says "3: ",
        completed_steps_that_run_again: ForgetsSteps within 200 says "2, 5: ",
        submissions_that_are_lost: LosesSubmissions within 200 says "1: ",
        events_that_are_lost: LosesEvents within 200 says "9: ",
        records_that_are_lost: LosesRecords within 200 says "9: ",
        limits_that_are_passed: IgnoresLimits within 200 says "limits: ",
        runs_given_to_who_does_not_know_them: IgnoresActions within 200 says "8: ",
        handlers_that_go_on_without_a_lease: IgnoresLostLeases within 200 says "3: ",
        commits_that_are_written_twice: WritesTwice within 200 says "9: ",
        commits_that_are_written_late: WritesLate within 200 says "",
        leases_that_end_by_a_clock_set_forward: BelievesClockSetForward within 200 says "4: ",
        leases_that_go_on_by_a_clock_set_back: BelievesClockSetBack within 200 says "4: ",
        connections_that_stay_silent: KeepsSilentConnections within 200 says "4: ",
    }
}
