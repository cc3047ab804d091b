//! `surefoot doctor --redis` on real Redis servers, whose queues the real BullMQ fills (or, where
//! that suffices, keys laid out as BullMQ lays them).

mod server;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

use crate::place::{Place, eventually};
use server::Server;

/// The version that the layout of the keys was checked against.
const BULLMQ: &str = "5.81.5";

/// Folder with BullMQ in the target folder. `./dev test` installs it, otherwise the first test
/// does.
fn bullmq() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bullmq");
        let package = folder.join("node_modules/bullmq/package.json");
        if !std::fs::read_to_string(package)
            .is_ok_and(|text| text.contains(&format!("\"version\": \"{BULLMQ}\"")))
        {
            std::fs::create_dir_all(&folder).unwrap();
            let install = [
                "install",
                "--no-package-lock",
                "--no-audit",
                "--no-fund",
                "--ignore-scripts",
                "--silent",
            ];
            let mut npm = Command::new("npm");
            let npm = npm
                .args(install)
                .arg("--prefix")
                .arg(&folder)
                .arg(format!("bullmq@{BULLMQ}"))
                .output();
            let npm = npm.expect("npm is here: ./dev test installs it, and BullMQ");
            assert!(
                npm.status.success(),
                "run ./dev test: {}",
                String::from_utf8_lossy(&npm.stderr)
            );
        }
        folder
    })
}

/// A process of BullMQ with a job that does not end. Killed when the test is done with it.
struct Filler(Child);

/// Lock duration of a job in milliseconds: longer than a test, and short enough to expire in one.
const LONG: u32 = 60_000;
const SHORT: u32 = 5_000;

impl Filler {
    /// Returns once the job is active.
    fn start(server: &Server, queue: &str, check: &str, lock: u32) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/bullmq/fill.mjs");
        let mut node = Command::new("node");
        node.arg(script).args([
            &server.port().to_string(),
            queue,
            "bull",
            check,
            &lock.to_string(),
        ]);
        node.current_dir(bullmq())
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut filler = Self(node.spawn().expect("node is here"));
        let mut line = String::new();
        BufReader::new(filler.0.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "ready\n");
        filler
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the doctor on the server. Returns its output and exit status.
fn examine(server: &Server, more: &[&str]) -> (i32, Value) {
    let place = Place::new();
    let url = server.url();
    let args = [&["doctor", "--json", "--redis", &url], more].concat();
    let output = place.command(&args).output().unwrap();
    let value = serde_json::from_slice(&output.stdout);
    let value =
        value.unwrap_or_else(|_| panic!("{args:?}: {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code().unwrap(), value)
}

/// `level: found` of each finding on a subject.
fn about(report: &Value, subject: &str) -> Vec<String> {
    let findings = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["subject"] == subject);
    findings
        .map(|finding| format!("{}: {}", text(&finding["level"]), text(&finding["found"])))
        .collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

const SAFE: &[&str] = &[
    "--appendonly",
    "yes",
    "--appendfsync",
    "always",
    "--save",
    "",
];

#[test]
fn a_healthy_queue_of_the_real_bullmq_has_nothing_broken() {
    let server = Server::start(SAFE);
    let _filler = Filler::start(&server, "init", "check", LONG);
    let (status, report) = examine(&server, &[]);
    assert_eq!(
        (status, &report["promises_hold"]),
        (0, &Value::Bool(true)),
        "{report:#}"
    );
    let expect = [
        format!("ok: 4 waiting, 1 active, 1 delayed, 1 failed, 2 completed (bullmq:{BULLMQ})"),
        "note: 1 worker connected".to_owned(),
        "ok: every listed job has its data, and every job is listed".to_owned(),
    ];
    assert_eq!(about(&report, "queue init"), expect);
    assert_eq!(
        about(&report, "if killed now"),
        ["ok: nothing acknowledged is lost"]
    );
    assert_eq!(
        about(&report, "if power fails now"),
        ["ok: nothing acknowledged is lost"]
    );
}

#[test]
fn a_dead_worker_leaves_a_stalled_job() {
    let server = Server::start(SAFE);
    for (queue, check, level) in [("checked", "check", "warn"), ("unchecked", "no", "broken")] {
        let filler = Filler::start(&server, queue, check, SHORT);
        assert_eq!(
            about(
                &examine(&server, &["--queue", queue]).1,
                &format!("queue {queue}")
            )
            .len(),
            3
        );
        filler.kill();
        let expect = format!("{level}: 1 active job without a lock: endless-1");
        eventually("the lock runs out", || {
            let (_, report) = examine(&server, &["--queue", queue]);
            about(&report, &format!("queue {queue}"))
                .contains(&expect)
                .then_some(())
        });
        let (status, report) = examine(&server, &["--queue", queue]);
        assert_eq!(status, i32::from(level == "broken"), "{report:#}");
        assert_eq!(
            about(&report, &format!("queue {queue}"))[1],
            "warn: no worker is connected"
        );
    }
}

#[test]
fn jobs_without_data_and_jobs_on_no_list_are_told() {
    let server = Server::start(SAFE);
    let _filler = Filler::start(&server, "init", "check", LONG);
    server.command(&["DEL", "bull:init:next-1"]);
    server.command(&["LREM", "bull:init:wait", "0", "next-2"]);
    let (status, report) = examine(&server, &["--queue", "init"]);
    assert_eq!(status, 1);
    let found = about(&report, "queue init");
    assert!(
        found.contains(&"broken: 1 listed job whose data is gone: next-1".to_owned()),
        "{found:#?}"
    );
    assert!(
        found.contains(&"broken: 1 unfinished job on no list: next-2".to_owned()),
        "{found:#?}"
    );
}

/// A job as BullMQ adds it: its data, and its id on the list of those that wait.
fn add_job(server: &Server, id: &str) {
    let now = server.command(&["TIME"]);
    let millis = format!("{}000", now.lines().next().unwrap());
    server.command(&["HSET", "bull:q:meta", "opts.maxLenEvents", "10000"]);
    server.command(&[
        "HSET",
        &format!("bull:q:{id}"),
        "name",
        "x",
        "data",
        "{}",
        "timestamp",
        &millis,
    ]);
    server.command(&["LPUSH", "bull:q:wait", id]);
}

fn next_second(server: &Server) {
    let second = || server.command(&["TIME"]).lines().next().unwrap().to_owned();
    let now = second();
    eventually("the next second", || (second() != now).then_some(()));
}

#[test]
fn what_is_said_to_be_lost_is_lost() {
    let mut server = Server::start(&["--appendonly", "no", "--save", ""]);
    add_job(&server, "saved");
    // Redis tells the time of a snapshot in whole seconds, by a clock that it reads now and then:
    // the second one is over by that clock too.
    next_second(&server);
    next_second(&server);
    server.command(&["SAVE"]);
    next_second(&server);
    add_job(&server, "late-1");
    add_job(&server, "late-2");
    let (status, report) = examine(&server, &[]);
    assert_eq!(status, 1);
    let found = about(&report, "if killed now").concat();
    assert!(
        found.starts_with("broken: 10 changes since then (last snapshot, "),
        "{found}"
    );
    assert!(
        found.ends_with(": 2 jobs of 3 unfinished added after it"),
        "{found}"
    );
    assert_eq!(
        about(&report, "appendonly"),
        ["broken: no append-only file"]
    );
    server.kill_and_restart();
    assert_eq!(
        server.command(&["LRANGE", "bull:q:wait", "0", "-1"]),
        "saved"
    );
}

#[test]
fn what_is_said_to_survive_a_kill_survives_it() {
    let mut server = Server::start(&[
        "--appendonly",
        "yes",
        "--appendfsync",
        "everysec",
        "--save",
        "",
    ]);
    add_job(&server, "late");
    let (status, report) = examine(&server, &[]);
    assert_eq!(status, 1, "a power cut is another matter");
    let expect = "note: nothing acknowledged is lost, unless the disk is slow just then";
    assert_eq!(about(&report, "if killed now"), [expect]);
    let found = about(&report, "if power fails now").concat();
    assert!(
        found.starts_with("broken: up to 1 s of acknowledged writes"),
        "{found}"
    );
    // The disk shall not be slow just now.
    eventually("the log is handed to the system", || {
        let is_zero = |name: &str| server.info(name) == "0";
        (is_zero("aof_buffer_length") && is_zero("aof_pending_bio_fsync")).then_some(())
    });
    server.kill_and_restart();
    assert_eq!(
        server.command(&["LRANGE", "bull:q:wait", "0", "-1"]),
        "late"
    );
}

#[test]
fn settings_that_evict_and_replicas_are_told() {
    let server = Server::start(
        &[
            SAFE,
            &["--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru"],
        ]
        .concat(),
    );
    let replica = Server::start(
        &[
            SAFE,
            &["--replicaof", &format!("127.0.0.1 {}", server.port())],
        ]
        .concat(),
    );
    eventually("the replica follows", || {
        (server.info("slave0").contains("state=online")).then_some(())
    });
    let (_, report) = examine(&server, &[]);
    let found = about(&report, "maxmemory-policy").concat();
    assert!(
        found.starts_with("broken: allkeys-lru, ") && found.ends_with(" of 50.0 MiB used"),
        "{found}"
    );
    let found = about(&report, "replication").concat();
    assert!(
        found.starts_with(&format!(
            "warn: 1 replica (127.0.0.1:{}), up to ",
            replica.port()
        )),
        "{found}"
    );
    let (_, report) = examine(&replica, &[]);
    assert_eq!(
        about(&report, "replication"),
        ["warn: this server is a replica"]
    );
    assert_eq!(
        about(&report, "queues"),
        ["note: no queue with the prefix `bull`"]
    );
}

#[test]
fn passwords_are_used_and_never_shown() {
    let server = Server::start(&[SAFE, &["--requirepass", "hunter2-secret"]].concat());
    let place = Place::new();
    let with = format!("redis://:hunter2-secret@127.0.0.1:{}", server.port());
    let ran = place.run(&["doctor", "--redis", &with]);
    assert_eq!(ran.status, 0, "{}{}", ran.stdout, ran.stderr);
    assert!(
        ran.stdout
            .starts_with(&format!("redis 127.0.0.1:{}\n", server.port())),
        "{}",
        ran.stdout
    );
    let mut command = place.command(&["doctor", "--redis", &server.url()]);
    command.env("REDISCLI_AUTH", "hunter2-secret");
    let from_environment = place.ran(command);
    assert_eq!(from_environment.status, 0, "{}", from_environment.stderr);
    let wrong = place.run(&["doctor", "--redis", &with.replace("hunter2", "hunter3")]);
    assert_eq!(wrong.status, 3);
    assert!(
        wrong.stderr.contains("authentication failed"),
        "{}",
        wrong.stderr
    );
    let mangled = place.run(&["doctor", "--redis", "http://:hunter2-secret@host"]);
    assert_eq!(mangled.status, 2);
    for ran in [ran, from_environment, wrong, mangled] {
        let all = format!("{}{}", ran.stdout, ran.stderr);
        assert!(!all.contains("hunter"), "{all}");
    }
}

#[test]
fn a_server_that_is_away_is_said_to_be() {
    let place = Place::new();
    // Nothing listens on the port of the discard service.
    let ran = place.run(&["doctor", "--redis", "redis://127.0.0.1:9"]);
    assert_eq!(ran.status, 3);
    insta::assert_snapshot!(ran.stderr);
}

#[test]
fn findings_read_well() {
    let server = Server::start(&["--appendonly", "no", "--save", "3600 1"]);
    add_job(&server, "late");
    let ran = Place::new().run(&["doctor", "--redis", &server.url()]);
    insta::with_settings!({ filters => FILTERS.to_vec() }, { insta::assert_snapshot!(ran.stdout) });
}

/// Replaces the values that differ between runs.
const FILTERS: &[(&str, &str)] = &[
    (r"127\.0\.0\.1:\d+", "[address]"),
    (r"version \d[\d.]+", "version [version]"),
    (r"[\d.]+ (us|ms|s|min) ago", "[time] ago"),
];
