//! `surefoot serve` and the commands beside it: the real binary, over real HTTP.

#![expect(clippy::disallowed_methods, reason = "tests make and look at files")]
#![expect(
    clippy::unwrap_used,
    reason = "a test that meets what it does not expect fails there"
)]

#[path = "serve/alerts.rs"]
mod alerts;
#[path = "serve/answers.rs"]
mod answers;
#[path = "common/mod.rs"]
#[expect(dead_code, reason = "shared by several tests")]
mod common;
#[path = "serve/events.rs"]
mod events;
#[path = "serve/notifiers.rs"]
mod notifiers;
#[path = "serve/telemetry.rs"]
mod telemetry;

use std::net::TcpListener;
use std::process::Command;

use serde_json::{Value, json};

use common::server::{Server, free_port};
use common::{Place, git, is_alive, lines, text, until};

fn ended(place: &Place, run: &str) -> Value {
    until("the run ends", || {
        let run = place.json(&["show", run, "--json"]);
        (run["status"] == "completed").then_some(run)
    })
}

/// A write to the removed file would be lost, so it is refused, and the server says why.
#[test]
fn a_store_that_is_removed_under_the_server_accepts_nothing_and_is_unready() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let store = place.data().join("surefoot.db");
    let aside = place.path("aside.db");
    std::fs::rename(&store, &aside).unwrap();
    let request = json!({ "workflow": "project-initialization", "parameters": { "name": "shop" } })
        .to_string();
    let (status, problem) = server.ask("POST", "/api/v1/runs", None, &request);
    assert!(
        status == 503 && problem.contains("surefoot.db was removed while the store was open"),
        "{status} {problem}"
    );
    let (status, problem) = server.ask("GET", "/readyz", None, "");
    assert!(
        status == 503 && problem.contains("surefoot.db was removed while the store was open"),
        "{status} {problem}"
    );
    std::fs::rename(&aside, &store).unwrap();
    until("the server is ready", || server.is_ready().then_some(()));
    let run = server.submit("project-initialization", &json!({ "name": "shop" }));
    ended(&place, &run);
}

/// A template that cannot work is refused by the server too, before there is a run. One in a Git
/// repository is left to the first step, which creates nothing.
#[test]
fn a_template_that_cannot_work_is_refused_at_submission() {
    let place = Place::new();
    for (file, content) in [
        ("templates/foreign/copier.yml", ""),
        ("templates/broken/surefoot-template.yaml", ""),
        ("templates/broken/a.txt", "one\n${{ nmae }}\n"),
        (
            "data/surefoot.toml",
            "[templates]\nfolders = ['../templates']\n",
        ),
    ] {
        std::fs::create_dir_all(place.path(file).parent().unwrap()).unwrap();
        std::fs::write(place.path(file), content).unwrap();
    }
    let server = Server::start(&place, &[]);
    let submit = |template: &str, values: Value| {
        let parameters = json!({
            "name": "shop", "template": template, "values": values, "gitops": false,
        });
        let request = json!({ "workflow": "project-initialization", "parameters": parameters });
        let (status, problem) = server.ask("POST", "/api/v1/runs", None, &request.to_string());
        (status, serde_json::from_str::<Value>(&problem).unwrap())
    };
    let template = |name: &str| place.path("templates").join(name).display().to_string();
    for (template, values, parameter, expect) in [
        (
            template("foreign"),
            json!({}),
            "template",
            "a copier template",
        ),
        (template("broken"), json!({}), "template", "a.txt: line 2"),
        (
            "no-such".to_owned(),
            json!({}),
            "template",
            "is not a template that may be used",
        ),
        (
            "rust-service".to_owned(),
            json!({ "bogus": 1 }),
            "values",
            "values.bogus",
        ),
    ] {
        let (status, problem) = submit(&template, values);
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            status == 422 && problem["parameter"] == parameter && detail.contains(expect),
            "{template}: {status} {problem}"
        );
    }
    assert_eq!(place.json(&["runs", "--json"]), json!([]));

    let url = format!("file://{}", place.path("templates/foreign").display());
    let (status, run) = submit(&url, json!({}));
    assert_eq!(status, 422, "a path that is no repository: {run}");
    let (status, run) = submit("https://127.0.0.1:1/none.git", json!({}));
    assert_eq!(status, 201, "{run}");
}

const NAPS: &str = "
workflow: naps
steps:
  - { id: nap, action: command.run, retry: { attempts: 1 }, with: { argv: [sleep, '0.05'] } }
";

/// Each command uses descriptors of the worker: with a slot for every run it could start only a
/// few.
#[test]
fn a_worker_that_may_open_few_files_fails_no_run_and_spends_no_attempt() {
    let place = Place::new();
    std::fs::create_dir(place.path("flows")).unwrap();
    std::fs::write(place.path("flows/naps.yaml"), NAPS).unwrap();
    let server = Server::run(&place, free_port(), &["--workflows", "flows"], |args| {
        let surefoot = place.command(args);
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", "ulimit -n 64; exec \"$0\" \"$@\""])
            .arg(surefoot.get_program())
            .args(surefoot.get_args());
        command.current_dir(place.path("")).env_clear();
        command.envs(
            surefoot
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        command
    });
    let runs: Vec<String> = (0..60).map(|_| server.submit("naps", &json!({}))).collect();
    for run in &runs {
        let run = server.until_status(run, "completed");
        assert_eq!(run["steps"][0]["attempt"], 1, "{run}");
    }
}

/// Two steps that write lines; the second waits until the test releases it.
const SLOW: &str = r#"
workflow: slow
steps:
  - id: one
    action: command.run
    with: { shell: 'echo one >> "$LEDGER"; sleep 0.2' }
  - id: two
    action: command.run
    with: { shell: 'echo $$ >> "$LEDGER.pids"; echo two >> "$LEDGER"; until [ -e "$LEDGER.go" ]; do sleep 0.02; done; echo end >> "$LEDGER"' }
"#;

#[test]
fn a_project_is_initialised_over_http_and_seen_on_the_page() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let run = server.submit("project-initialization", &json!({ "name": "shop" }));
    assert_eq!(ended(&place, &run)["progress"], 100);
    assert!(place.data().join("repositories/shop.git").is_dir());
    let (status, page) = server.ask("GET", &format!("/runs/{run}"), None, "");
    assert!(
        status == 200 && page.contains("create_repository"),
        "{status}"
    );
    let (status, _) = server.ask("GET", "/api/openapi.json", None, "");
    assert_eq!(status, 200);
    // The doctor's findings, and the configuration.
    let settings = until("the doctor has looked", || {
        let (_, page) = server.ask("GET", "/settings", None, "");
        page.contains("synchronous=full").then_some(page)
    });
    assert!(settings.contains("server.listen") && settings.contains(&server.port.to_string()));
    // SIGTERM shuts it down in order.
    server.process.signal("-TERM");
    let output = server.process.finish();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
}

/// The run and the result of its template step, once it has ended.
/// Submits a project with this template. Returns `refused`, or the status of the run once it has
/// ended, with the error.
fn with_template(place: &Place, server: &Server, name: &str, template: &str) -> (String, String) {
    let parameters = json!({ "name": name, "template": template, "gitops": false });
    let request = json!({ "workflow": "project-initialization", "parameters": parameters });
    let (status, answer) = server.ask("POST", "/api/v1/runs", None, &request.to_string());
    let answer: Value = serde_json::from_str(&answer).expect("it is JSON");
    if status == 422 {
        let detail = answer["detail"].as_str().unwrap_or_default();
        return ("refused".to_owned(), detail.to_owned());
    }
    assert_eq!(status, 201, "{answer}");
    let run = answer["id"].as_str().expect("an id").to_owned();
    let run = until("the run ends", || {
        let run = place.json(&["show", &run, "--json"]);
        ["completed", "failed"]
            .iter()
            .any(|status| run["status"] == *status)
            .then_some(run)
    });
    (
        run["status"].as_str().unwrap().to_owned(),
        run["steps"][0]["error"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
    )
}

#[test]
fn a_submission_over_http_reads_only_configured_template_folders() {
    let place = Place::new();
    for folder in ["data/credentials", "closed", "open/own"] {
        std::fs::create_dir_all(place.path(folder)).unwrap();
        std::fs::write(place.path(folder).join("forge"), "hunter2\n").unwrap();
    }
    let config = format!(
        "[templates]\nfolders = ['{}']\n",
        place.path("open").display()
    );
    std::fs::write(place.data().join("surefoot.toml"), config).unwrap();
    let server = Server::start(&place, &[]);
    let at = |path: &str| place.path(path).display().to_string();
    let templates = [
        "data/credentials".to_owned(),
        at("data/credentials"),
        at("closed"),
        format!("file://{}", at("closed")),
        at("open/../closed"),
    ];
    for (number, template) in templates.iter().enumerate() {
        let name = format!("shop-{number}");
        let (status, error) = with_template(&place, &server, &name, template);
        assert!(
            ["refused", "failed"].contains(&status.as_str())
                && error.contains("`folders` under [templates]"),
            "{template}: {status} {error}"
        );
        let repository = place.data().join(format!("repositories/{name}.git"));
        assert!(!repository.exists(), "{template}: something was created");
    }
    let (status, error) = with_template(&place, &server, "shop", &at("open/own"));
    assert_eq!((status.as_str(), error.as_str()), ("completed", ""));
    assert_eq!(
        git(
            &place.data().join("repositories/shop.git"),
            &["show", "main:forge"]
        ),
        "hunter2"
    );
}

#[test]
fn a_killed_and_restarted_server_resumes_its_runs() {
    let place = Place::new();
    std::fs::create_dir(place.path("flows")).unwrap();
    std::fs::write(place.path("flows/slow.yaml"), SLOW).unwrap();
    let server = Server::start(&place, &["--workflows", "flows"]);
    let run = server.submit("slow", &json!({}));
    let ledger = place.path("ledger");
    until("the second step is under way", || {
        lines(&ledger).contains(&"two".to_owned()).then_some(())
    });
    let shell = lines(&place.path("ledger.pids"))[0].parse().unwrap();
    server.process.kill();
    let server = Server::start(&place, &["--workflows", "flows"]);
    until("it is under way again, and here alone", || {
        (lines(&ledger).len() == 3 && !is_alive(shell)).then_some(())
    });
    std::fs::write(place.path("ledger.go"), "").unwrap();
    let run = ended(&place, &run);
    assert_eq!(
        lines(&ledger),
        ["one", "two", "two", "end"],
        "the first step did not run again"
    );
    assert_eq!(run["steps"][1]["interruptions"], 1);
    drop(server);
}

#[test]
fn serve_refuses_to_listen_on_all_interfaces_without_a_token() {
    let place = Place::new();
    let listen = format!("0.0.0.0:{}", free_port());
    let output = place.expect(2, &["serve", "--listen", &listen]);
    assert!(
        text(&output).contains("surefoot token create --role admin NAME"),
        "{}",
        text(&output)
    );
    assert!(
        place
            .json(&["runs", "--json"])
            .as_array()
            .is_some_and(Vec::is_empty)
    );
    place.expect(0, &["token", "create", "ada", "--role", "admin"]);
    // With an admin's token it starts.
    let process = place.start(&mut place.command(&["serve", "--listen", &listen]));
    let port = listen.rsplit_once(':').unwrap().1.parse().unwrap();
    let mut server = Server {
        process,
        port,
        token: None,
    };
    server.until_ready();
    assert_eq!(server.ask("GET", "/api/v1/runs", None, "").0, 401);
}

#[test]
fn tokens_created_and_revoked_beside_a_server_take_effect_at_once() {
    let place = Place::new();
    place.expect(0, &["token", "create", "root", "--role", "admin"]);
    let server = Server::start(&place, &[]);
    let made = place.json(&[
        "token",
        "create",
        "ci",
        "--role",
        "viewer",
        "--expires",
        "90d",
        "--json",
    ]);
    let token = made["token"].as_str().unwrap();
    assert_eq!(server.ask("GET", "/api/v1/runs", Some(token), "").0, 200);
    assert_eq!(
        server.ask("POST", "/api/v1/runs", Some(token), "{}").0,
        403,
        "a viewer changes nothing"
    );
    let listed = place.json(&["token", "list", "--json"]);
    let names: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|token| token["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["ci", "root"]);
    assert!(!listed.to_string().contains(token), "a token is shown once");
    let twice = place.expect(2, &["token", "create", "ci", "--role", "viewer"]);
    assert!(
        text(&twice).contains("there is a token named `ci` already"),
        "{}",
        text(&twice)
    );
    place.expect(0, &["token", "revoke", "ci"]);
    assert_eq!(server.ask("GET", "/api/v1/runs", Some(token), "").0, 401);
    place.expect(2, &["token", "revoke", "ci"]);
}

#[test]
fn obstacles_are_reported_before_anything_starts() {
    let place = Place::new();
    let check = |status: i32, args: &[&str], expect: &str| {
        let output = place.expect(status, args);
        assert!(
            text(&output).contains(expect),
            "{args:?}: {}",
            text(&output)
        );
    };
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    check(
        2,
        &["serve", "--listen", &listen],
        &format!("cannot listen on {listen}"),
    );
    std::fs::create_dir(place.path("flows")).unwrap();
    std::fs::write(
        place.path("flows/bad.yaml"),
        "workflow: bad\nsteps:\n  - id: one\n    aktion: sleep\n",
    )
    .unwrap();
    check(2, &["serve", "--workflows", "flows"], "bad.yaml");
    check(
        2,
        &["serve", "--workflows", "nowhere"],
        "cannot read the folder of workflows",
    );
    std::fs::create_dir_all(place.data()).unwrap();
    std::fs::write(
        place.data().join("surefoot.toml"),
        "[server]\nlisen = '127.0.0.1:1'\n",
    )
    .unwrap();
    check(2, &["serve"], "surefoot.toml:2:1: unknown field `lisen`");
    std::fs::remove_file(place.data().join("surefoot.toml")).unwrap();
    assert!(
        !place.data().join("surefoot.db").exists(),
        "nothing was made"
    );
    let server = Server::start(&place, &[]);
    check(
        3,
        &["serve", "--listen", &format!("127.0.0.1:{}", free_port())],
        "another worker process lives",
    );
    // The same command again, in the same directory; the holder of the store is known by its lease.
    let heartbeat = || server.json("/api/v1/workers")["workers"][0]["heartbeat_at"].clone();
    let before = heartbeat();
    until("a fresh lease", || (heartbeat() != before).then_some(()));
    check(
        3,
        &["serve", "--listen", &format!("127.0.0.1:{}", server.port)],
        "another worker process lives",
    );
    drop(server);
}

#[test]
fn a_notifier_can_be_tested_without_a_server() {
    let place = Place::new();
    std::fs::create_dir_all(place.data()).unwrap();
    let file = place.path("notified");
    let config = format!(
        "[alerts.notifiers.pager]\nkind = 'command'\ncommand = ['sh', '-c', 'echo \"$SUREFOOT_ALERT_TITLE\" > {}']\n",
        file.display()
    );
    std::fs::write(place.data().join("surefoot.toml"), config).unwrap();
    place.expect(0, &["alerts", "test"]);
    assert_eq!(lines(&file).len(), 1);
    let unknown = place.expect(2, &["alerts", "test", "absent"]);
    assert!(
        text(&unknown).contains("there is no notifier `absent`"),
        "{}",
        text(&unknown)
    );
}

#[test]
fn actions_of_the_command_line_are_in_the_audit_log() {
    let place = Place::new();
    std::fs::write(place.path("fail.yaml"), FAILS).unwrap();
    std::fs::write(place.path("ask.yaml"), ASKS).unwrap();
    place.expect(1, &["run", "fail.yaml", "--key", "f"]);
    place.expect(0, &["retry", "f"]);
    place.expect(0, &["cancel", "f"]);
    place.expect(0, &["submit", "ask.yaml", "--key", "a"]);
    place.expect(0, &["queue", "pause", "fails"]);
    place.expect(0, &["queue", "resume", "fails"]);
    place.expect(
        0,
        &[
            "queue",
            "set",
            "fails",
            "--concurrency",
            "2",
            "--keep-completed",
            "30d",
        ],
    );
    let server = Server::start(&place, &[]);
    until("it asks", || {
        place.json(&["show", "a", "--json"])["status"]
            .eq("waiting")
            .then_some(())
    });
    // A refused action has no effect.
    place.expect(2, &["answer", "a", "ask", "rerun"]);
    place.expect(0, &["answer", "a", "ask", "approve", "--note", "fine"]);
    let (status, log) = server.ask("GET", "/api/v1/audit", None, "");
    assert_eq!(status, 200, "{log}");
    let log: Value = serde_json::from_str(&log).unwrap();
    let entries: Vec<&Value> = log["entries"].as_array().unwrap().iter().rev().collect();
    let done: Vec<&str> = entries
        .iter()
        .map(|entry| entry["action"].as_str().unwrap())
        .collect();
    let expect = [
        "run.submit",
        "run.retry",
        "run.cancel",
        "run.submit",
        "queue.pause",
        "queue.resume",
        "queue.set",
        "run.answer",
    ];
    assert_eq!(done, expect);
    assert!(
        entries
            .iter()
            .all(|entry| entry["via"] == "the command line" && entry["outcome"] == "done"),
        "{log}"
    );
    assert_eq!(entries[0]["subject"], "fails");
    assert_eq!(entries[0]["detail"]["run"], entries[1]["subject"]);
    assert_eq!(entries[6]["detail"]["retention"]["completed"], "30d");
    assert_eq!(entries[7]["detail"]["answer"], "approve");
}

const FAILS: &str = "
workflow: fails
steps: [{ id: only, action: command.run, retry: { attempts: 1 }, with: { shell: 'exit 1' } }]
";

const ASKS: &str = "
workflow: asks
steps: [{ id: ask, action: approval, with: { question: 'May we?' } }]
";

#[test]
fn serve_prints_how_to_sign_in() {
    let place = Place::new();
    let says = |expect: &str| {
        let server = Server::start(&place, &[]);
        server.process.signal("-TERM");
        let output = server.process.finish();
        assert!(text(&output).contains(expect), "{}", text(&output));
    };
    says("full access (`surefoot token create NAME --role admin` changes that)");
    place.expect(0, &["token", "create", "ann", "--role", "admin"]);
    says("/sign-in with a token");
}
