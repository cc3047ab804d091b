//! A store has one worker at a time: other processes submit to it and watch, and take over when it
//! dies.

use surefoot::{Clock as _, RunId, Store as _, SystemClock, Timestamp};

use crate::place::{Place, eventually, gated, step_is};

const QUICK: &str = "workflow: quick\nsteps: [{ id: a, action: sleep, with: { duration: 1ms } }]\n";

#[test]
fn a_live_worker_notices_a_run_at_once() {
    let place = Place::new();
    place.write("quick.yaml", QUICK);
    let _worker = place.start(&["worker"]);
    place.until_worker();
    // Other tests share the machine: one median of three tells whether it can be noticed so soon.
    // Polling alone takes longer in every one.
    let mut medians = Vec::new();
    let at_once = (0..3).any(|set| {
        medians.push(median_delay(&place, set));
        medians[set] < 400_000
    });
    assert!(at_once, "{medians:?} microseconds");
}

/// The median time of five runs until each was noticed.
fn median_delay(place: &Place, set: usize) -> i64 {
    let delay = |number: usize| {
        let key = format!("{set}-{number}");
        let ran = place.run(&["run", "quick.yaml", "--key", &key]);
        assert_eq!(ran.status, 0, "{}", ran.stderr);
        assert!(
            ran.stderr.contains("another process is the worker"),
            "{}",
            ran.stderr
        );
        let run = place.json(&["show", &key]);
        micros(&run["started_at"]) - micros(&run["created_at"])
    };
    let mut delays: Vec<i64> = (0..5).map(delay).collect();
    delays.sort_unstable();
    delays[2]
}

/// Microseconds of a time within its day.
fn micros(time: &serde_json::Value) -> i64 {
    let text = time.as_str().unwrap();
    let number = |range: std::ops::Range<usize>| text[range].parse::<i64>().unwrap();
    ((number(11..13) * 60 + number(14..16)) * 60 + number(17..19)) * 1_000_000 + number(20..26)
}

#[test]
fn a_watcher_takes_over_when_the_worker_dies() {
    let place = Place::new();
    gated(&place);
    let worker = place.start(&["worker"]);
    place.until_worker();
    let run = place.start(&["run", "gated.yaml", "--key", "k"]);
    place.until("k", |run| step_is(run, 1, "running"));
    run.until_said("another process is the worker");
    // A lease that is new: only a watcher that waits for its end moves after it.
    let lease_ends = renewed(&place);
    let killed = SystemClock.now();
    worker.signal("-KILL");
    let run_again = |run: &serde_json::Value| {
        run["steps"][1]["interruptions"] == 1 && step_is(run, 1, "running")
    };
    let taken = place.until("k", run_again);
    place.write("go", "");
    let (status, stderr) = run.end();
    assert_eq!(status, 0, "{stderr}");
    assert!(
        stderr.contains("the worker is gone: carrying on here"),
        "{stderr}"
    );
    let moved = last_start(&place, taken["id"].as_str().unwrap());
    assert!(
        moved > killed && moved < lease_ends,
        "killed {killed}, moved {moved}, the lease ended {lease_ends}"
    );
    assert_eq!(
        std::fs::read_to_string(place.path().join("ledger")).unwrap(),
        "first\n"
    );
}

/// When the lease of the worker ends, which it has renewed just now.
fn renewed(place: &Place) -> Timestamp {
    let workers = || place.ask(async |store| store.workers().await.unwrap());
    let ends = || workers().first().map(|worker| worker.expires_at);
    let before = ends();
    eventually("the lease is renewed", || {
        ends().filter(|ends| Some(*ends) > before)
    })
}

/// When a step of a run was started last, as it is recorded.
fn last_start(place: &Place, run: &str) -> Timestamp {
    let run: RunId = run.parse().unwrap();
    let events = place.ask(async |store| store.events(run, 0, 1000).await.unwrap());
    events
        .iter()
        .rfind(|event| event.kind == "step.started")
        .unwrap()
        .at
}

#[test]
fn a_run_killed_half_way_goes_on_with_the_same_command() {
    let place = Place::new();
    gated(&place);
    let run = place.start(&["run", "gated.yaml", "--key", "k"]);
    place.until("k", |run| step_is(run, 1, "running"));
    run.signal("-KILL");
    assert_eq!(run.end().0, -9);
    place.write("go", "");
    let again = place.run(&["run", "gated.yaml", "--key", "k"]);
    assert_eq!(again.status, 0, "{}", again.stderr);
    assert!(
        again
            .stderr
            .starts_with("k is unfinished: carrying on with run [id]\n"),
        "{}",
        again.stderr
    );
    assert_eq!(
        std::fs::read_to_string(place.path().join("ledger")).unwrap(),
        "first\n"
    );
}

#[test]
fn what_others_left_is_carried_on_too() {
    let place = Place::new();
    place.write("quick.yaml", QUICK);
    assert_eq!(
        place.run(&["submit", "quick.yaml", "--key", "left"]).status,
        0
    );
    gated(&place);
    let run = place.start(&["run", "gated.yaml", "--key", "k"]);
    place.until("left", |run| run["status"] == "completed");
    place.write("go", "");
    let (status, stderr) = run.end();
    assert_eq!(status, 0, "{stderr}");
    assert!(
        stderr.contains("also carrying on 1 unfinished run: left"),
        "{stderr}"
    );
}

/// A worker that reaches the file through a bind mount of its folder finds the lock of another
/// taken. Where none can be made, a symbolic link of the folder stands in for it.
#[test]
fn a_second_worker_through_a_mount_of_the_folder_is_refused() {
    const SCRIPT: &str = r#"mount --bind "$1" "$2" || exit 77; shift 2; exec timeout 30 "$@""#;
    let place = Place::new();
    let mounted = place.path().join("mounted");
    std::fs::create_dir(&mounted).unwrap();
    let worker = place.start(&["worker"]);
    worker.until_worker(&place);
    let second = |folder: &std::path::Path| {
        let store = format!("sqlite:{}", folder.join("surefoot.db").display());
        ["worker".to_owned(), "--store".to_owned(), store]
    };
    let mut command = std::process::Command::new("unshare");
    command
        .args(["--map-root-user", "--mount", "sh", "-c", SCRIPT, "sh"])
        .args([place.data(), mounted.clone()])
        .arg(env!("CARGO_BIN_EXE_surefoot"))
        .args(second(&mounted))
        .current_dir(place.path())
        .env("SUREFOOT_DATA_DIR", place.path().join("elsewhere"));
    let mut ran = place.ran(command);
    if ran.status == 77 || ran.stderr.contains("unshare") {
        eprintln!(
            "no bind mount here, a symbolic link instead: {}",
            ran.stderr
        );
        let link = place.path().join("link");
        std::os::unix::fs::symlink(place.data(), &link).unwrap();
        let args = second(&link);
        ran = place.run(&args.each_ref().map(String::as_str));
    }
    assert_eq!(ran.status, 3, "{}", ran.stderr);
    let expected = "another worker process lives on this store";
    assert!(ran.stderr.contains(expected), "{}", ran.stderr);
    drop(worker);
}
