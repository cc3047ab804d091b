//! `surefoot doctor` on the embedded store: each finding is made true first.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::sync::Arc;

use serde_json::Value;
use surefoot::{Client, Store as _, Submit, Workflow};

use crate::place::{Place, eventually, gated, step_is};

const QUICK: &str = "workflow: quick\nsteps: [{ id: a, action: sleep, with: { duration: 1ms } }]\n";

/// Runs the doctor. Returns its output and exit status.
fn examine(place: &Place) -> (i32, Value) {
    examined(place.command(&["doctor", "--json"]))
}

fn examined(mut command: std::process::Command) -> (i32, Value) {
    let output = command.output().unwrap();
    let value = serde_json::from_slice(&output.stdout);
    (
        output.status.code().unwrap(),
        value.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr))),
    )
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

/// A place with a store in which a run was completed.
fn place_with_a_store() -> Place {
    let place = Place::new();
    place.write("quick.yaml", QUICK);
    assert_eq!(
        place.run(&["run", "quick.yaml", "--key", "first"]).status,
        0
    );
    place
}

#[test]
fn findings_read_well() {
    let place = place_with_a_store();
    place.write(
        "data/surefoot.toml",
        "[forge]\ncredential = 'forge-token'\n",
    );
    let ran = place.run(&["doctor"]);
    insta::with_settings!({ filters => FILTERS.to_vec() }, { insta::assert_snapshot!(ran.stdout) });
}

/// Replaces the entries and numbers that differ between machines.
const FILTERS: &[(&str, &str)] = &[
    (
        r"(?m)^\w+ +(file system|fsync|free disk|workspaces|forge|keys) .*\n( {10,}.*\n)*",
        "[$1]\n",
    ),
    // Line breaks depend on the length of a path.
    (r"\n +\[dir\]", " [dir]"),
    (r"SQLite [\d.]+", "SQLite [version]"),
    (r"schema \d+", "schema [version]"),
    (r"[\d.]+ (bytes|KiB|MiB)", "[size]"),
    (r"git( +)\d\S+", "git$1[version]"),
    (
        r"(?m)^.*: \d+ broken, \d+ warn, \d+ note, \d+ ok",
        "[verdict]",
    ),
];

#[test]
fn json_has_its_fields_in_order() {
    let (_, report) = examine(&place_with_a_store());
    let keys = |value: &Value| {
        value
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(keys(&report), ["target", "promises_hold", "findings"]);
    for finding in report["findings"].as_array().unwrap() {
        assert_eq!(
            keys(finding),
            ["level", "subject", "found", "means", "advice"]
        );
    }
}

#[test]
fn a_place_without_a_store_is_looked_at_and_stays_without() {
    let place = Place::new();
    let (_, report) = examine(&place);
    assert!(
        about(&report, "store")
            .concat()
            .starts_with("note: there is none at "),
        "{report:#}"
    );
    assert_eq!(about(&report, "file system").len(), 1);
    assert!(!place.data().exists(), "something was written");
}

#[test]
fn a_store_in_memory_breaks_a_promise() {
    let place = Place::new();
    place.write("quick.yaml", QUICK);
    let memory = tempfile::tempdir_in("/dev/shm").unwrap();
    let store = format!("sqlite:{}/surefoot.db", memory.path().display());
    assert_eq!(
        place.run(&["run", "quick.yaml", "--store", &store]).status,
        0
    );
    // A single success in five suffices: the machine may be busy meanwhile.
    let mut syncs = Vec::new();
    let is_unbelievable = (0..5).any(|_| {
        let (status, report) = examined(place.command(&["doctor", "--json", "--store", &store]));
        assert_eq!((status, &report["promises_hold"]), (1, &Value::Bool(false)));
        assert_eq!(
            about(&report, "file system"),
            ["broken: tmpfs at /dev/shm: memory"]
        );
        assert!(
            about(&report, "commits").concat().starts_with("ok: "),
            "SQLite does what it can: {report:#}"
        );
        syncs.push(about(&report, "fsync").concat());
        syncs.iter().any(|sync| sync.starts_with("warn: "))
    });
    assert!(is_unbelievable, "{syncs:#?}");
}

#[test]
fn a_store_that_is_damaged_is_found_out() {
    let place = place_with_a_store();
    let path = place.data().join("surefoot.db");
    let pages = std::fs::read(&path).unwrap();
    let mut file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    // The schema stays whole, so that the store opens: what is hit are pages with rows, which name
    // the run's workflow.
    for (page, bytes) in pages.chunks(4096).enumerate() {
        if bytes.windows(5).any(|word| word == b"quick") {
            file.seek(SeekFrom::Start(page as u64 * 4096)).unwrap();
            file.write_all(&[0xa5; 64]).unwrap();
        }
    }
    let (status, report) = examine(&place);
    assert_eq!(status, 1);
    assert!(
        about(&report, "integrity").concat().starts_with("broken: "),
        "{report:#}"
    );
}

#[test]
fn a_file_that_is_no_store_is_told_with_all_the_rest() {
    let place = Place::new();
    std::fs::create_dir(place.data()).unwrap();
    place.write(
        "data/surefoot.db",
        "this is no database, however long one looks at it",
    );
    let (status, report) = examine(&place);
    assert_eq!(status, 3);
    assert!(
        about(&report, "store")
            .concat()
            .starts_with("broken: it cannot be used: "),
        "{report:#}"
    );
    assert_eq!(about(&report, "git").len(), 1);
}

#[test]
fn a_worker_frozen_past_its_lease_is_told_and_is_well_again_when_it_wakes() {
    let place = Place::new();
    gated(&place);
    let worker = place.start(&["worker"]);
    place.until_worker();
    assert_eq!(place.run(&["submit", "gated.yaml", "--key", "k"]).status, 0);
    place.until("k", |run| step_is(run, 1, "running"));
    let pid = std::fs::read_to_string(place.data().join("surefoot.db.worker-lock")).unwrap();
    let pid = pid.trim();
    // A machine that is busy elsewhere lets a heartbeat wait: the next one makes it well.
    let (holds, alive) = (
        format!("ok: process {pid} holds it"),
        format!("ok: pid {pid} is alive"),
    );
    eventually("it is well", || {
        let (_, report) = examine(&place);
        let is_well = about(&report, "worker lock") == [holds.clone()];
        (is_well && about(&report, "worker").concat().starts_with(&alive)).then_some(())
    });
    worker.signal("-STOP");
    let frozen = format!("broken: process {pid} holds it, and has not renewed its lease");
    let report = eventually("the lease runs out", || {
        let (status, report) = examine(&place);
        (about(&report, "worker lock") == [frozen.clone()]).then_some((status, report))
    });
    assert_eq!(report.0, 1);
    assert_eq!(
        about(&report.1, "workers"),
        ["warn: none is alive, and 1 run is unfinished"]
    );
    assert_eq!(
        about(&report.1, "sweep"),
        ["note: 1 run is held by a worker that is gone: k"]
    );
    worker.signal("-CONT");
    eventually("the worker is well again", || {
        let (status, report) = examine(&place);
        (status == 0 && about(&report, "worker").len() == 1).then_some(())
    });
}

#[test]
fn a_worker_that_died_is_told_until_its_lease_runs_out() {
    let (status, report) = eventually("an examination within the lease", examined_after_a_death);
    let expect = "note: it is free, although a worker's lease has not run out";
    assert_eq!(
        (status, about(&report, "worker lock").concat().as_str()),
        (0, expect)
    );
}

/// Returns the doctor's output on a worker killed just before; `None` if its lease has expired.
fn examined_after_a_death() -> Option<(i32, Value)> {
    let place = Place::new();
    let worker = place.start(&["worker"]);
    place.until_worker();
    eventually("it is registered", || {
        (about(&examine(&place).1, "worker").len() == 1).then_some(())
    });
    worker.signal("-KILL");
    worker.end();
    let examined = examine(&place);
    (leases(&place) == 1).then_some(examined)
}

/// Returns the number of workers with a valid lease.
fn leases(place: &Place) -> usize {
    place.ask(async |store| store.workers().await.unwrap().len())
}

#[test]
fn missing_credentials_are_told_with_what_to_set() {
    let place = Place::new();
    let step = "{ id: a, action: command.run, with: { shell: 'exit 1', credentials: { T: api-key } }, retry: { attempts: 5, backoff: { fixed: 1h } } }";
    place.write("w.yaml", &format!("workflow: needy\nsteps: [{step}]\n"));
    assert_eq!(place.run(&["submit", "w.yaml"]).status, 0);
    place.write(
        "data/surefoot.toml",
        "[forge]\ncredential = 'forge-token'\n",
    );
    let (status, report) = examine(&place);
    let expect = [
        "warn: there is no credential `api-key` (named by unfinished runs of needy)",
        "warn: there is no credential `forge-token` (named by forge.credential)",
    ];
    assert_eq!(
        (status, about(&report, "credentials")),
        (0, expect.map(str::to_owned).to_vec())
    );
    let mut command = place.command(&["doctor", "--json"]);
    command
        .env("SUREFOOT_CREDENTIAL_API_KEY", "hunter2")
        .env("SUREFOOT_CREDENTIAL_FORGE_TOKEN", "hunter3");
    let (_, report) = examined(command);
    assert_eq!(
        about(&report, "credentials"),
        ["ok: here: api-key, forge-token"]
    );
    assert!(!report.to_string().contains("hunter"));
}

#[test]
fn git_that_is_missing_is_told() {
    let place = place_with_a_store();
    let mut command = place.command(&["doctor", "--json"]);
    command.env("PATH", place.path());
    let (status, report) = examined(command);
    assert_eq!(
        (status, about(&report, "git")),
        (1, vec!["broken: there is none on PATH".to_owned()])
    );
}

#[test]
fn a_run_of_an_action_that_nobody_knows_is_told() {
    let place = place_with_a_store();
    let workflow = Arc::new(
        Workflow::builder("future")
            .step("a", "not.yet.known")
            .build()
            .unwrap(),
    );
    place.ask(async |store| {
        Client::new(store)
            .submit(Submit::new(workflow))
            .await
            .unwrap()
    });
    let expect = "warn: 1 run of future held back by `not.yet.known`, which this program does not know or permit";
    assert_eq!(about(&examine(&place).1, "actions"), [expect]);
    let _worker = place.start(&["worker"]);
    let expect = expect.replace(
        "this program does not know or permit",
        "no live worker knows and permits",
    );
    eventually("the worker lives", || {
        (about(&examine(&place).1, "actions") == [expect.clone()]).then_some(())
    });
}

/// A run with a secret parameter needs the key that encrypted it. The doctor makes no file.
#[test]
fn keys_are_counted_and_one_that_is_lacking_is_named() {
    let place = Place::new();
    let (_, report) = examine(&place);
    assert!(
        about(&report, "keys")
            .concat()
            .starts_with("ok: there is no "),
        "{report:#}"
    );
    assert!(!place.data().join("secret.key").exists());
    place.write(
        "secret.yaml",
        "workflow: secret\nparameters: { type: object, properties: { password: { type: string, writeOnly: true } } }\n\
         steps: [{ id: a, action: sleep, with: { duration: 1ms } }]\n",
    );
    let submit = ["submit", "secret.yaml", "-p", "password=opensesame"];
    assert_eq!(place.run(&submit).status, 0);
    let (_, report) = examine(&place);
    let file = place.data().join("secret.key");
    let holds = format!("ok: {} holds 1 key, mode 600", file.display());
    assert_eq!(about(&report, "keys"), [holds]);
    // The run's key is gone; another is in its place.
    std::fs::rename(&file, place.path().join("lost.key")).unwrap();
    let submit = [
        "submit",
        "secret.yaml",
        "-p",
        "password=another-secret",
        "--key",
        "other",
    ];
    assert_eq!(place.run(&submit).status, 0);
    let (status, report) = examine(&place);
    let found = about(&report, "keys");
    assert!(
        found[1].starts_with("warn: 1 unfinished run needs a key that this host lacks: key:"),
        "{found:?}"
    );
    assert_eq!(status, 0, "{report:#}");
    // A configured file is never made, and one that others can read is refused.
    place.write("data/surefoot.toml", "[secrets]\nkey_file = 'shared.key'\n");
    let (status, report) = examine(&place);
    assert!(
        about(&report, "keys")[0].starts_with("broken: there is no "),
        "{report:#}"
    );
    assert_eq!(status, 1);
    let lost = std::fs::read(place.path().join("lost.key")).unwrap();
    std::fs::write(place.data().join("shared.key"), lost).unwrap();
    let (_, report) = examine(&place);
    let found = about(&report, "keys").concat();
    assert!(
        found.starts_with("broken: ") && found.contains("mode 644") && found.contains("chmod 600"),
        "{found}"
    );
}
