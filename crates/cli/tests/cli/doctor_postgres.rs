//! `surefoot doctor --store postgres://...`: the whole of it, on real servers. What each setting
//! means is tested beside the code.

use serde_json::Value;
use surefoot_scratch_postgres::ScratchPostgres;

use crate::place::{Place, eventually, gated, step_is};

const QUICK: &str = "workflow: quick\nsteps: [{ id: a, action: sleep, with: { duration: 1ms } }]\n";

/// A user's folder, whose store is in this database.
struct Deployment {
    place: Place,
    url: String,
}

impl Deployment {
    fn on(url: String) -> Self {
        Self {
            place: Place::new(),
            url,
        }
    }

    fn fresh() -> Self {
        Self::on(ScratchPostgres::shared().fresh_database().unwrap())
    }

    fn with<'a>(&'a self, args: &[&'a str]) -> Vec<&'a str> {
        [args, &["--store", &self.url]].concat()
    }

    fn run(&self, args: &[&str]) -> i32 {
        self.place.run(&self.with(args)).status
    }

    fn examine(&self) -> (i32, Value) {
        let output = self
            .place
            .command(&self.with(&["doctor", "--json"]))
            .output()
            .unwrap();
        let value = serde_json::from_slice(&output.stdout);
        let value = value.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        (output.status.code().unwrap(), value)
    }
}

/// `level: found` of each finding on a subject.
fn about(report: &Value, subject: &str) -> Vec<String> {
    let findings = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["subject"] == subject);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    findings
        .map(|finding| format!("{}: {}", text(&finding["level"]), text(&finding["found"])))
        .collect()
}

#[test]
fn a_database_is_looked_at_whole_and_stays_as_it_is() {
    let here = Deployment::fresh();
    let (status, report) = here.examine();
    assert_eq!(
        (status, about(&report, "store")),
        (0, vec!["note: the database holds no store yet".to_owned()])
    );
    let (_, again) = here.examine();
    assert_eq!(about(&again, "store").len(), 1, "looking made no store");
    here.place.write("quick.yaml", QUICK);
    assert_eq!(here.run(&["run", "quick.yaml"]), 0);
    let (status, report) = here.examine();
    assert_eq!(
        (status, &report["promises_hold"]),
        (0, &Value::Bool(true)),
        "{report:#}"
    );
    for subject in [
        "fsync",
        "commit",
        "standbys",
        "pooler",
        "vacuum",
        "sweep",
        "actions",
        "git",
        "workspaces",
    ] {
        assert_eq!(about(&report, subject).len(), 1, "{subject}: {report:#}");
    }
}

#[test]
fn a_server_that_syncs_nothing_breaks_a_promise_and_its_password_is_not_shown() {
    let server = ScratchPostgres::with_settings(&["fsync = off"]).unwrap();
    let here = Deployment::on(
        server
            .url()
            .replace("postgres@", "postgres:hunter2-secret@"),
    );
    let (status, report) = here.examine();
    assert_eq!(
        (status, about(&report, "fsync")),
        (1, vec!["broken: off".to_owned()])
    );
    let ran = here.place.run(&here.with(&["doctor"]));
    assert_eq!(ran.status, 1);
    assert!(
        ran.stdout.starts_with("postgres://127.0.0.1:"),
        "{}",
        ran.stdout
    );
    assert!(!format!("{report}{}{}", ran.stdout, ran.stderr).contains("hunter"));
}

#[test]
fn a_server_that_is_away_is_told_with_all_the_rest() {
    let here = Deployment::on("postgres://ann:hunter2-secret@127.0.0.1:9/x".to_owned());
    let (status, report) = here.examine();
    assert_eq!(
        (
            status,
            about(&report, "store").len(),
            about(&report, "git").len()
        ),
        (3, 1, 1)
    );
    assert!(!report.to_string().contains("hunter"));
}

#[test]
fn a_worker_frozen_past_its_lease_is_missed_and_another_sweeps() {
    let here = Deployment::fresh();
    gated(&here.place);
    let frozen = here.place.start(&here.with(&["worker"]));
    eventually("the worker", || {
        (about(&here.examine().1, "worker").len() == 1).then_some(())
    });
    assert_eq!(here.run(&["submit", "gated.yaml", "--key", "k"]), 0);
    let running = || {
        let output = here
            .place
            .command(&here.with(&["show", "k", "--json"]))
            .output()
            .unwrap();
        let run = serde_json::from_slice::<Value>(&output.stdout).ok()?;
        step_is(&run, 1, "running").then_some(())
    };
    eventually("the second step", running);
    frozen.signal("-STOP");
    let report = eventually("the lease runs out", || {
        let (_, report) = here.examine();
        (about(&report, "workers").len() == 1).then_some(report)
    });
    assert_eq!(
        about(&report, "workers"),
        ["warn: none is alive, and 1 run is unfinished"]
    );
    assert_eq!(
        about(&report, "sweep"),
        ["note: 1 run is held by a worker that is gone: k"]
    );
    let _other = here.place.start(&here.with(&["worker"]));
    eventually("the other takes it", || {
        let (status, report) = here.examine();
        (status == 0 && about(&report, "worker").concat().ends_with(", 1 run")).then_some(())
    });
    // Killed with the test, which a stopped process is only once it goes on.
    frozen.signal("-CONT");
}
