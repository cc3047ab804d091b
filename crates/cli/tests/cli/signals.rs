//! Told to stop: the first signal drains, the second does not wait, and nothing is lost.

use std::time::{Duration, Instant};

use crate::place::{Place, gated, step_is};

fn under_way(place: &Place, args: &[&str]) -> crate::place::Live {
    gated(place);
    let run = place.start(args);
    place.until("k", |run| step_is(run, 1, "running"));
    run
}

#[test]
fn a_step_that_ends_in_its_grace_is_completed() {
    let place = Place::new();
    let run = under_way(&place, &["run", "gated.yaml", "--key", "k"]);
    run.signal("-TERM");
    place.write("go", "");
    let (status, stderr) = run.end();
    assert_eq!(status, 0, "{stderr}");
    assert!(
        stderr.contains("shutting down: running steps get 10s"),
        "{stderr}"
    );
}

#[test]
fn a_second_signal_interrupts_and_the_same_command_carries_on() {
    for (first, status) in [("-INT", 130), ("-TERM", 143), ("-HUP", 129)] {
        let place = Place::new();
        let run = under_way(&place, &["run", "gated.yaml", "--key", "k"]);
        let start = Instant::now();
        run.signal(first);
        // Two signals of a kind that come together are one.
        run.until_said("shutting down: running steps");
        run.signal("-TERM");
        let (ended, stderr) = run.end();
        assert_eq!(ended, status, "{stderr}");
        assert!(
            start.elapsed() < Duration::from_secs(9),
            "it waited for the grace period"
        );
        assert!(
            stderr.contains("Carry on with: surefoot run gated.yaml --key k"),
            "{stderr}"
        );
        let left = place.json(&["show", "k"]);
        assert_eq!(
            (&left["status"], &left["steps"][1]["attempt"]),
            (&"queued".into(), &1.into()),
            "{left}"
        );
        place.write("go", "");
        let again = place.run(&["run", "gated.yaml", "--key", "k"]);
        assert_eq!(again.status, 0, "{}", again.stderr);
        let done = place.json(&["show", "k"]);
        assert_eq!(
            (
                &done["steps"][1]["attempt"],
                &done["steps"][1]["interruptions"]
            ),
            (&1.into(), &1.into())
        );
        assert_eq!(
            std::fs::read_to_string(place.path().join("ledger")).unwrap(),
            "first\n"
        );
    }
}

#[test]
fn a_worker_that_is_told_to_stop_did_what_it_was_for() {
    let place = Place::new();
    let worker = place.start(&["worker", "--grace", "0s"]);
    place.until_worker();
    gated(&place);
    assert_eq!(place.run(&["submit", "gated.yaml", "--key", "k"]).status, 0);
    place.until("k", |run| step_is(run, 1, "running"));
    worker.signal("-TERM");
    let (status, stderr) = worker.end();
    assert_eq!(status, 0, "{stderr}");
    let left = place.json(&["show", "k"]);
    assert_eq!(
        (&left["status"], &left["steps"][1]["status"]),
        (&"queued".into(), &"waiting".into())
    );
}
