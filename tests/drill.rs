//! The drills of `surefoot drill` as tests, with fewer projects: each is named after the promise
//! that it attacks. The program itself does the counting (`crates/cli/src/drill`), and these tests
//! check it too: forged records must be detected, and no process of a drill may outlive it.

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

/// On a PostgreSQL cluster of the drill's own; the default is SQLite.
const POSTGRES: &[&str] = &["--postgres"];
const SQLITE: &[&str] = &[];

/// Tries of a fault before its time counts as too long.
const TRIES: usize = 3;

/// Runs these faults one after the other; every one must take place without a broken promise. A
/// busy machine can only spoil a time: a fault that was only late is tried again, and the counts
/// must be right in every try.
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

/// Asserts that the only fault of this row is its time.
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

/// Output of the drill, which must have this exit status.
fn report(place: &Place, projects: u32, faults: &[&str], more: &[&str], status: i32) -> Value {
    let (seen, report) = drilled(place, projects, faults, more);
    assert_eq!(seen, Some(status), "{report:#}");
    report
}

/// Exit status and output of the drill.
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
    // The number as text with a static lifetime.
    let projects = ["4", "5", "6", "7", "8"][projects as usize - 4];
    let mut args = vec!["drill", "--json", "--projects", projects];
    for fault in faults {
        args.extend(["--fault", *fault]);
    }
    args.extend(more);
    args
}

mod sqlite {
    use super::{SQLITE, clean};

    #[test]
    fn p1_a_submission_that_cannot_be_stored_is_refused_and_its_repetition_is_stored() {
        clean(SQLITE, 6, &["submit-while-away"]);
    }

    #[test]
    fn p2_a_completed_step_never_runs_again_wherever_the_worker_is_killed() {
        clean(SQLITE, 8, &["worker-killed-anywhere"]);
    }

    #[test]
    fn p2_effects_of_a_failed_attempt_are_not_repeated() {
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
    fn p5_a_worker_that_shuts_down_hands_back_its_runs() {
        clean(SQLITE, 6, &["worker-terminated"]);
    }

    #[test]
    fn p6_a_run_whose_step_always_fails_ends_with_the_reason_and_delays_no_other() {
        clean(SQLITE, 6, &["step-fails"]);
    }

    #[test]
    fn p7_a_store_that_cannot_be_written_costs_neither_a_result_nor_an_attempt() {
        clean(SQLITE, 6, &["database-refuses", "disk-full"]);
    }

    #[test]
    fn p7_a_clock_that_steps_by_an_hour_interrupts_nothing() {
        clean(SQLITE, 6, &["clock-forward", "clock-back"]);
    }
}

mod postgres {
    use super::{POSTGRES, clean};

    #[test]
    fn p1_a_submission_that_cannot_be_stored_is_refused_and_its_repetition_is_stored() {
        clean(POSTGRES, 6, &["submit-while-away"]);
    }

    #[test]
    fn p2_a_completed_step_never_runs_again_wherever_the_worker_is_killed() {
        clean(POSTGRES, 8, &["worker-killed-anywhere"]);
    }

    #[test]
    fn p2_effects_of_a_failed_attempt_are_not_repeated() {
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
    fn p4_a_second_host_without_the_forge_claims_nothing_and_delays_nothing() {
        clean(POSTGRES, 6, &["second-host"]);
    }

    #[test]
    fn p5_a_worker_that_shuts_down_hands_back_its_runs() {
        clean(POSTGRES, 6, &["worker-terminated"]);
    }

    #[test]
    fn p6_a_run_whose_step_always_fails_ends_with_the_reason_and_delays_no_other() {
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

    #[test]
    fn p7_clocks_that_step_by_an_hour_interrupt_nothing() {
        clean(POSTGRES, 6, &["clock-forward", "clock-back"]);
    }

    #[test]
    fn p7_silent_connections_and_a_failover_interrupt_nothing() {
        clean(POSTGRES, 6, &["silent-connection", "failover"]);
    }

    /// A shorter form of `database-away-120s`, which no test runs: for a worker both are an outage
    /// of many leases.
    #[test]
    fn p7_an_outage_of_many_leases_costs_neither_a_result_nor_an_attempt() {
        clean(POSTGRES, 6, &["database-away-30s"]);
    }
}

/// On a server that is not the drill's: it reports which faults it cannot inject, and removes its
/// schemas, even if it is stopped halfway.
#[test]
fn in_a_foreign_database_a_drill_skips_faults_with_a_reason_and_leaves_nothing() {
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

/// Runs one fault that can be injected in a foreign database and one that cannot. Returns whether
/// the first was in time.
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
fn a_drill_that_skips_every_fault_is_not_clean() {
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
fn a_drill_refuses_a_store_beside_its_own_cluster() {
    let place = Place::new();
    for before in [true, false] {
        let drill = ["drill", "--postgres"];
        let store = ["--store", "postgres://absent@127.0.0.1:9/x"];
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

/// A running drill, and the directory of its scenario.
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

/// Id of the worker that wrote a line.
fn pid(line: &Value) -> u32 {
    line["pid"]
        .as_u64()
        .and_then(|pid| pid.try_into().ok())
        .expect("a process id")
}

#[test]
fn a_forged_line_and_a_second_commit_are_detected() {
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
    let author = [
        "-c",
        "user.name=forger",
        "-c",
        "user.email=forger@localhost",
    ];
    let second = git(
        &repository,
        &[
            &author[..],
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

/// The worker that should take over is frozen from outside: nothing moves again, and the drill must
/// report it.
#[test]
fn projects_that_no_worker_resumes_are_detected() {
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

/// `surefoot soak` in its shortest form; `./dev soak` runs it for minutes.
mod soak {
    use serde_json::Value;

    use super::{Place, lines, text, until};

    fn arguments<'a>(more: &[&'a str]) -> Vec<&'a str> {
        let args = ["soak", "--json", "--seconds", "10"];
        [&args[..], more].concat()
    }

    /// Runs one loop and returns its row.
    fn row(output: &std::process::Output) -> Value {
        let report: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}\n{}", text(output)));
        report["loops"][0].clone()
    }

    fn clean(more: &[&str]) {
        let output = Place::new().run(&arguments(more));
        let row = row(&output);
        assert_eq!(output.status.code(), Some(0), "{}\n{row:#}", text(&output));
        assert!(row["acknowledged"].as_u64() >= Some(5), "{row:#}");
        eprintln!("{row:#}");
    }

    #[test]
    fn ten_seconds_of_kills_freezes_and_restarts_on_sqlite_lose_nothing() {
        clean(&["--fault", "mixed"]);
    }

    #[test]
    fn ten_seconds_of_kills_freezes_and_restarts_on_postgresql_lose_nothing() {
        clean(&["--fault", "mixed", "--postgres"]);
    }

    /// An acknowledgement is forged, and a completed step's handler is called again by hand.
    #[test]
    fn a_lost_run_and_a_step_run_again_are_seen() {
        let place = Place::new();
        let args = arguments(&["--fault", "kill", "--keep", "kept"]);
        let soak = place.start(&mut place.command(&args));
        let ledger = place.path("kept/kill/ledger.jsonl");
        let is_done = |line: &Value| line["what"] == "end" && line["thing"] == "ok";
        let parse = |line: &String| serde_json::from_str(line).expect("a line");
        let mut again = until("a step is done", || {
            lines(&ledger).iter().map(parse).find(is_done)
        });
        again["what"] = "begin".into();
        again["at"] = (again["at"].as_i64().expect("a time") + 60_000_000).into();
        let append = |path: std::path::PathBuf, line: &str| {
            use std::io::Write as _;
            let file = std::fs::File::options().append(true).open(path);
            let line = format!("{line}\n");
            file.and_then(|mut file| file.write_all(line.as_bytes()))
                .expect("written");
        };
        append(ledger, &again.to_string());
        let forged = "01890a5d-ac96-774b-bcce-b302099a8057 commands-99999 commands";
        append(place.path("kept/kill/acknowledged"), forged);
        let output = soak.finish();
        let row = row(&output);
        assert_eq!(output.status.code(), Some(1), "{row:#}");
        let counts = ["lost", "stuck", "completed_steps_run_again"].map(|count| &row[count]);
        assert_eq!(counts, [1, 0, 1], "{row:#}");
    }
}
