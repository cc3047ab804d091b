//! The drills of `surefoot drill` as tests, with fewer projects: each is named by the promise that it attacks. The counting is
//! in the program (`crates/cli/src/drill`), and is itself put to the test here: books that are forged meanwhile must be seen
//! through, and nothing that a drill started may outlive it.

#![expect(clippy::disallowed_methods, reason = "tests make and look at files")]

#[path = "common/mod.rs"]
#[expect(
    dead_code,
    reason = "each test binary uses its part of what they share"
)]
mod common;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use common::{Place, Started, git, is_alive, lines, text, until};
use serde_json::Value;
use surefoot_scratch_postgres::ScratchPostgres;

/// On a PostgreSQL cluster of the drill's own; SQLite is what it takes otherwise.
const POSTGRES: &[&str] = &["--postgres"];
const SQLITE: &[&str] = &[];

/// How often a fault is brought about before its time counts as too long.
const TRIES: usize = 3;

/// Runs these faults one after the other; every one must take place and be clean. A machine that has other things to do can
/// spoil a time and nothing else: what was only late is tried again, and the counts must be right in every try.
fn clean(store: &[&str], projects: u32, faults: &[&str]) {
    let mut left = faults.to_vec();
    for _ in 0..TRIES {
        let (status, report) = drilled(&Place::new(), projects, &left, store);
        let rows = report["faults"].as_array().expect("faults");
        assert_eq!(rows.len(), left.len(), "{report:#}");
        let late = rows
            .iter()
            .filter(|row| row["result"] != "clean")
            .inspect(|row| expect_late(row));
        let late: Vec<&Value> = late.map(|row| &row["fault"]).collect();
        left.retain(|fault| late.contains(&&Value::from(*fault)));
        assert_eq!(
            (left.len(), status),
            (late.len(), Some(i32::from(!late.is_empty()))),
            "{report:#}"
        );
        if left.is_empty() {
            return;
        }
    }
    panic!("{left:?}: too late {TRIES} times");
}

/// All that is wrong with this row is how long it took.
fn expect_late(row: &Value) {
    let is_late = |wrong: &str| {
        let slow = wrong.starts_with("it took ")
            && wrong.contains(" until every project moved again, and ");
        slow || wrong.starts_with("no project was running when the fault came")
    };
    let wrong: Vec<&str> = row["wrong"]
        .as_array()
        .expect("reasons")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let counts = [
        "stuck",
        "completed_steps_run_again",
        "duplicate_effects",
        "failed",
    ];
    let is_counted_well = counts.iter().all(|count| row[count] == 0);
    let is_only_late =
        row["result"] == "unclean" && !wrong.is_empty() && wrong.iter().all(|wrong| is_late(wrong));
    assert!(is_only_late && is_counted_well, "{row:#}");
    eprintln!("once more: {wrong:?}");
}

/// What the drill prints, with the exit status that it must have.
fn report(place: &Place, projects: u32, faults: &[&str], more: &[&str], status: i32) -> Value {
    let (seen, report) = drilled(place, projects, faults, more);
    assert_eq!(seen, Some(status), "{report:#}");
    report
}

/// The drill's exit status, and what it prints.
fn drilled(place: &Place, projects: u32, faults: &[&str], more: &[&str]) -> (Option<i32>, Value) {
    let output = place
        .command(&arguments(projects, faults, more))
        .output()
        .expect("the binary runs");
    let report = serde_json::from_slice(&output.stdout);
    (
        output.status.code(),
        report.unwrap_or_else(|error| panic!("{faults:?}: {error}\n{}", text(&output))),
    )
}

fn arguments<'a>(projects: u32, faults: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    // The number as text that lives long enough.
    let projects = ["4", "5", "6", "7", "8"][projects as usize - 4];
    let mut args = vec!["drill", "--json", "--projects", projects];
    faults
        .iter()
        .for_each(|fault| args.extend(["--fault", *fault]));
    args.extend(more);
    args
}

mod sqlite {
    use super::{SQLITE, clean};

    #[test]
    fn p1_a_submission_that_cannot_be_kept_is_refused_and_the_same_again_is_kept() {
        clean(SQLITE, 6, &["submit-while-away"]);
    }

    #[test]
    fn p2_a_completed_step_never_runs_again_wherever_the_worker_is_killed() {
        clean(SQLITE, 8, &["worker-killed-anywhere"]);
    }

    #[test]
    fn p2_what_was_made_before_an_attempt_failed_is_not_made_twice() {
        clean(SQLITE, 4, &["step-fails-twice"]);
    }

    #[test]
    fn p3_a_worker_that_wakes_after_its_lease_harms_nothing() {
        clean(SQLITE, 6, &["worker-frozen", "worker-frozen-error"]);
    }

    #[test]
    fn p4_every_run_moves_again_within_a_second_of_a_kill() {
        clean(SQLITE, 6, &["worker-killed", "worker-killed-twice"]);
    }

    #[test]
    fn p5_a_worker_that_is_told_to_stop_hands_back_what_it_holds() {
        clean(SQLITE, 6, &["worker-terminated"]);
    }

    #[test]
    fn p6_a_run_whose_step_always_fails_is_failed_with_the_reason_and_holds_nobody_up() {
        clean(SQLITE, 6, &["step-fails"]);
    }

    #[test]
    fn p7_a_store_that_cannot_be_written_costs_neither_a_result_nor_an_attempt() {
        clean(SQLITE, 6, &["database-refuses", "disk-full"]);
    }
}

mod postgres {
    use super::{POSTGRES, clean};

    #[test]
    fn p1_a_submission_that_cannot_be_kept_is_refused_and_the_same_again_is_kept() {
        clean(POSTGRES, 6, &["submit-while-away"]);
    }

    #[test]
    fn p2_a_completed_step_never_runs_again_wherever_the_worker_is_killed() {
        clean(POSTGRES, 8, &["worker-killed-anywhere"]);
    }

    #[test]
    fn p2_what_was_made_before_an_attempt_failed_is_not_made_twice() {
        clean(POSTGRES, 4, &["step-fails-twice"]);
    }

    #[test]
    fn p3_a_worker_that_wakes_after_its_lease_harms_nothing() {
        clean(POSTGRES, 6, &["worker-frozen", "worker-frozen-error"]);
    }

    #[test]
    fn p4_every_run_is_taken_over_within_six_seconds_of_a_kill() {
        clean(POSTGRES, 8, &["worker-killed", "worker-killed-twice"]);
    }

    #[test]
    fn p4_every_run_moves_again_within_a_second_of_a_restart_on_the_same_host() {
        clean(POSTGRES, 6, &["worker-restarted"]);
    }

    #[test]
    fn p4_a_second_host_without_the_forge_takes_nothing_and_holds_up_nothing() {
        clean(POSTGRES, 6, &["second-host"]);
    }

    #[test]
    fn p5_a_worker_that_is_told_to_stop_hands_back_what_it_holds() {
        clean(POSTGRES, 6, &["worker-terminated"]);
    }

    #[test]
    fn p6_a_run_whose_step_always_fails_is_failed_with_the_reason_and_holds_nobody_up() {
        clean(POSTGRES, 6, &["step-fails"]);
    }

    #[test]
    fn p7_a_store_that_cannot_be_written_costs_neither_a_result_nor_an_attempt() {
        clean(
            POSTGRES,
            6,
            &["database-restarted", "database-killed", "database-refuses"],
        );
    }

    /// The shortened form of `database-away-120s`, which is in no test: to a worker both are an outage of many leases.
    #[test]
    fn p7_a_database_that_is_away_for_many_leases_costs_nothing_either() {
        clean(POSTGRES, 6, &["database-away-30s"]);
    }
}

/// Where the server is not the drill's: it says which faults it cannot bring about, and takes its schemas away again, also
/// when it is stopped half-way.
#[test]
fn in_somebodys_database_a_drill_says_what_it_cannot_do_and_leaves_nothing() {
    let server = ScratchPostgres::start().expect("PostgreSQL");
    let url = server.fresh_database().expect("a database");
    let schemas = || {
        let database = url.rsplit_once('/').expect("a name").1;
        let statement = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'surefoot%'";
        server.psql(database, statement).expect("an answer")
    };
    let is_in_time = (0..TRIES).any(|_| {
        let is_clean = clean_and_skipped(&url);
        assert_eq!(schemas(), "0");
        is_clean
    });
    assert!(is_in_time, "too late {TRIES} times");
    let place = Place::new();
    let args = arguments(4, &["step-fails"], &["--keep", "kept", "--store", &url]);
    let drill = place.start(&mut place.command(&args));
    until("a worker works", || {
        ledger(&place.path("kept/step-fails")).first().map(drop)
    });
    assert_eq!(schemas(), "1");
    drill.signal("-TERM");
    assert_eq!(drill.finish().status.code(), Some(143));
    assert_eq!(schemas(), "0");
}

/// Runs a fault that can be brought about in somebody's database, and one that cannot. Gives whether the first was in time.
fn clean_and_skipped(url: &str) -> bool {
    let (status, report) = drilled(
        &Place::new(),
        4,
        &["worker-killed", "database-killed"],
        &["--store", url],
    );
    let rows = report["faults"].as_array().expect("faults");
    let [killed, skipped] = &rows[..] else {
        panic!("{report:#}")
    };
    assert_eq!(skipped["result"], "skipped", "{report:#}");
    let is_clean = killed["result"] == "clean";
    if !is_clean {
        expect_late(killed);
    }
    assert_eq!(status, Some(i32::from(!is_clean)), "{report:#}");
    is_clean
}

#[test]
fn a_drill_that_proves_nothing_does_not_say_that_all_is_well() {
    let place = Place::new();
    let report = report(
        &place,
        4,
        &["database-killed", "worker-restarted"],
        SQLITE,
        1,
    );
    let results = report["faults"]
        .as_array()
        .expect("faults")
        .iter()
        .map(|row| row["result"].clone());
    assert_eq!(
        results.collect::<Vec<_>>(),
        ["skipped", "skipped"],
        "{report:#}"
    );
    assert_eq!(report["clean"], false);
}

#[test]
fn a_drill_is_told_of_one_place() {
    let place = Place::new();
    for before in [true, false] {
        let (drill, store) = (
            ["drill", "--postgres"],
            ["--store", "postgres://nobody@127.0.0.1:9/x"],
        );
        let args = if before {
            [store, drill].concat()
        } else {
            [drill, store].concat()
        };
        let output = place.expect(2, &args);
        assert!(
            text(&output).contains("--postgres makes a cluster of the drill's own"),
            "{}",
            text(&output)
        );
    }
}

/// A drill that goes on, and the folder in which it keeps its scene.
fn started(place: &Place, fault: &str) -> (Started, PathBuf) {
    let args = arguments(4, &[fault], &["--keep", "kept"]);
    (
        place.start(&mut place.command(&args)),
        place.path("kept").join(fault),
    )
}

fn ledger(scene: &Path) -> Vec<Value> {
    lines(&scene.join("ledger.jsonl"))
        .iter()
        .map(|line| serde_json::from_str(line).expect("a line"))
        .collect()
}

/// The worker that wrote a line.
fn pid(line: &Value) -> u32 {
    line["pid"]
        .as_u64()
        .and_then(|pid| pid.try_into().ok())
        .expect("a process id")
}

#[test]
fn a_forged_line_and_a_second_commit_are_seen() {
    let place = Place::new();
    let (drill, scene) = started(&place, "worker-killed");
    let done = |line: &Value| {
        line["what"] == "end" && line["step"] == "push_template" && line["thing"] == "ok"
    };
    let mut forged = until("a step is done", || ledger(&scene).into_iter().find(done));
    forged["what"] = "begin".into();
    forged["at"] = (forged["at"].as_i64().expect("a time") + 60_000_000).into();
    let path = scene.join("ledger.jsonl");
    let mut file = std::fs::File::options()
        .append(true)
        .open(path)
        .expect("the ledger");
    file.write_all(format!("{forged}\n").as_bytes())
        .expect("written");
    let repository = scene.join("data/repositories").join(format!(
        "{}.git",
        forged["project"].as_str().expect("a name")
    ));
    let tree = git(&repository, &["rev-parse", "main^{tree}"]);
    let who = [
        "-c",
        "user.name=nobody",
        "-c",
        "user.email=nobody@localhost",
    ];
    let second = git(
        &repository,
        &[
            &who[..],
            &["commit-tree", "-m", "a second", "-p", "main", &tree],
        ]
        .concat(),
    );
    git(&repository, &["update-ref", "refs/heads/other", &second]);
    let output = drill.finish();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let row = &report["faults"][0];
    assert_eq!(
        (&row["result"], &report["clean"]),
        (&Value::from("unclean"), &Value::from(false)),
        "{row:#}"
    );
    assert_eq!(row["completed_steps_run_again"], 1, "{row:#}");
    assert_eq!(row["duplicate_effects"], 1, "{row:#}");
    assert_eq!(row["stuck"], 0, "{row:#}");
}

/// The worker that is to take over is frozen from outside: nothing moves again, and the drill must say so.
#[test]
fn projects_that_nobody_carries_on_are_seen() {
    let place = Place::new();
    let (drill, scene) = started(&place, "worker-killed");
    let second = until("another worker takes over", || {
        let pids: Vec<u32> = ledger(&scene).iter().map(pid).collect();
        pids.iter().copied().find(|pid| *pid != pids[0])
    });
    assert!(
        std::process::Command::new("kill")
            .args(["-STOP", &second.to_string()])
            .status()
            .expect("kill")
            .success()
    );
    let output = drill.finish();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let row = &report["faults"][0];
    assert!(
        row["result"] == "unclean" && row["stuck"].as_u64() >= Some(1),
        "{row:#}"
    );
    until("the frozen worker is gone", || {
        (!is_alive(second)).then_some(())
    });
}

#[test]
fn nothing_that_a_drill_started_outlives_it() {
    for signal in ["-INT", "-KILL"] {
        let place = Place::new();
        let (drill, scene) = started(&place, "step-fails");
        let worker = until("a worker works", || ledger(&scene).first().map(pid));
        assert!(is_alive(worker));
        drill.signal(signal);
        let status = drill.finish().status;
        assert_eq!(
            status.code(),
            if signal == "-INT" { Some(130) } else { None }
        );
        until("the worker is gone", || (!is_alive(worker)).then_some(()));
    }
}

#[test]
fn an_old_ledger_is_not_counted_again() {
    let place = Place::new();
    std::fs::create_dir_all(place.path("kept/worker-killed")).expect("made");
    let report = report(&place, 4, &["worker-killed"], &["--keep", "kept"], 1);
    assert!(
        report["faults"][0]["wrong"][0]
            .as_str()
            .expect("a reason")
            .contains("is there already"),
        "{report:#}"
    );
}
