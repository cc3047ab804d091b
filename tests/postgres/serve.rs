//! `surefoot serve` on PostgreSQL behaves as on the embedded store; several servers on one database
//! behave as one.

use std::path::PathBuf;

use serde_json::json;
use surefoot_scratch_postgres::ScratchPostgres;

use crate::common::server::{Events, Server, check_whole, free_port, last, logged};
use crate::common::{lines, text, until};
use crate::ledger::Ledger;

/// A secret shared by all servers, and alerts that fire at once; none depends on the speed of the
/// machine.
const CONFIG: &str = "
[auth]
secret = 'server-secret'
[alerts]
every = '100ms'
[alerts.rules]
slow_store = false
[alerts.notifiers.pager]
kind = 'command'
command = ['sh', '-c', 'echo \"$SUREFOOT_ALERT_STATE $SUREFOOT_ALERT_RULE\" >> \"$LEDGER.pager\"']
";

/// Waits until the test releases it.
const WATCHED: &str = r#"
workflow: watched
steps:
  - id: one
    action: command.run
    with: { shell: 'echo one is done' }
  - id: two
    action: command.run
    with: { shell: 'echo two begins; until [ -e "$LEDGER.go" ]; do sleep 0.02; done; echo two >> "$LEDGER"' }
"#;

/// Its second step fails until the test lets it pass.
const HALTING: &str = r#"
workflow: halting
parameters:
  type: object
  properties: { name: { type: string }, password: { type: string, writeOnly: true } }
steps:
  - { id: one, action: command.run, with: { shell: 'echo one >> "$LEDGER"' } }
  - { id: two, action: command.run, retry: { attempts: 1 }, with: { shell: 'test -e "$LEDGER.go"' } }
"#;

const ASKS: &str = "
workflow: asks
steps:
  - { id: go, action: approval, with: { question: 'go on?' } }
";

/// A new database, with workflows beside it and the configuration.
fn ledger() -> Ledger {
    let ledger = Ledger::new(
        &ScratchPostgres::shared()
            .fresh_database()
            .expect("a database"),
        CONFIG,
    );
    std::fs::create_dir(ledger.place.path("flows")).expect("a folder");
    for (name, flow) in [("watched", WATCHED), ("halting", HALTING), ("asks", ASKS)] {
        std::fs::write(ledger.place.path(&format!("flows/{name}.yaml")), flow).expect("written");
    }
    ledger
}

/// A server with this data directory: a separate one stands for a separate host.
fn serve(ledger: &Ledger, data: PathBuf) -> Server {
    std::fs::create_dir_all(&data).expect("a folder");
    std::fs::write(data.join("surefoot.toml"), CONFIG).expect("written");
    Server::run(
        &ledger.place,
        free_port(),
        &["--workflows", "flows"],
        |args| {
            let mut command = ledger.command(args);
            command
                .env("SUREFOOT_DATA_DIR", data)
                .env("LEDGER", ledger.file());
            command.env("SUREFOOT_WORKER_PASS_ENVIRONMENT", "LEDGER");
            command.env(
                "SUREFOOT_CREDENTIAL_SERVER_SECRET",
                "of-all-servers-of-this-test-0123456789",
            );
            command
        },
    )
}

/// Signs in as a person does; returns the session cookie.
fn sign_in(server: &Server, token: &str) -> String {
    let cookie = |head: &str| {
        let set = head
            .lines()
            .find_map(|line| line.strip_prefix("set-cookie: "))
            .expect("a cookie");
        set.split(';').next().expect("its value").to_owned()
    };
    let (_, head, page) = server
        .exchange("GET", "/sign-in", "", "")
        .expect("an answer");
    let csrf = page
        .split_once("name=\"csrf\" value=\"")
        .expect("a form")
        .1
        .split('"')
        .next()
        .expect("its value")
        .to_owned();
    let form = format!(
        "cookie: {}\r\ncontent-type: application/x-www-form-urlencoded\r\n",
        cookie(&head)
    );
    let (status, head, _) = server
        .exchange(
            "POST",
            "/sign-in",
            &form,
            &format!("token={token}&csrf={csrf}&next=/runs"),
        )
        .expect("an answer");
    assert_eq!(status, 303, "{head}");
    cookie(&head)
}

fn page(server: &Server, cookie: &str, path: &str) -> String {
    let (status, _, page) = server
        .exchange("GET", path, &format!("cookie: {cookie}\r\n"), "")
        .expect("an answer");
    assert_eq!(status, 200, "{path}: {page}");
    page
}

#[test]
fn serve_behaves_as_on_the_embedded_store() {
    let ledger = ledger();
    // Without a remaining token the server would be open again at the end.
    ledger.json(&["token", "create", "root", "--role", "admin", "--json"]);
    let made = ledger.json(&["token", "create", "ann", "--role", "admin", "--json"]);
    let token = made["token"].as_str().unwrap().to_owned();
    let mut server = serve(&ledger, ledger.place.data());
    assert_eq!(server.ask("GET", "/api/v1/runs", None, "").0, 401);
    server.token = Some(token.clone());

    // Submitted once under its key, failed, retried from the step that failed, and watched to its
    // end.
    let request = json!({ "workflow": "halting", "key": "k1", "parameters": { "name": "shop", "password": "hunter22" } });
    let run = server.post(201, "/api/v1/runs", &request)["id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        server.post(200, "/api/v1/runs", &request)["id"],
        run.as_str()
    );
    server.until_status(&run, "failed");
    std::fs::write(ledger.file().with_extension("go"), "").unwrap();
    let mut events = Events::after(&server, &run, 0);
    let mut seen = events.until(|message| message.data["kind"] == "run.failed");
    server.post(200, &format!("/api/v1/runs/{run}/retry"), &json!({}));
    seen.extend(Events::after(&server, &run, last(&seen)).rest());
    drop(events);
    check_whole(&server, &run, &seen);
    assert_eq!(
        lines(&ledger.file()),
        ["one"],
        "a completed step did not run again"
    );

    // A run cancelled while it waits for an answer, and an answered one.
    let cancelled = server.submit("asks", &json!({}));
    server.until_status(&cancelled, "waiting");
    server.post(200, &format!("/api/v1/runs/{cancelled}/cancel"), &json!({}));
    server.until_status(&cancelled, "cancelled");
    let answered = server.submit("asks", &json!({}));
    server.until_status(&answered, "waiting");
    server.post(
        200,
        &format!("/api/v1/runs/{answered}/answer"),
        &json!({ "step": "go", "answer": "approve" }),
    );
    server.until_status(&answered, "completed");

    // Pages, with a session.
    let cookie = sign_in(&server, &token);
    let shown = page(&server, &cookie, &format!("/runs/{run}"));
    assert!(
        shown.contains("retried by ann") && !shown.contains("hunter22"),
        "{shown}"
    );
    for path in [
        "/",
        "/runs?text=k1",
        "/queues",
        "/workers",
        "/alerts",
        "/projects",
        "/settings",
    ] {
        page(&server, &cookie, path);
    }
    let log = server.json("/api/v1/audit?limit=100");
    let said: Vec<&str> = log["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["action"].as_str().unwrap())
        .collect();
    for action in [
        "token.create",
        "run.submit",
        "run.retry",
        "run.cancel",
        "run.answer",
        "session.begin",
    ] {
        assert!(said.contains(&action), "no {action} in {said:?}");
    }
    assert_eq!(
        server.metric("surefoot_runs_total{queue=\"asks\",outcome=\"cancelled\"}"),
        1.0
    );

    // Revoking a token elsewhere ends its sessions at once.
    let output = ledger.run(&["token", "revoke", "ann"]);
    assert!(output.status.success(), "{}", text(&output));
    assert_ne!(server.ask("GET", "/api/v1/runs", None, "").0, 200);
    let (status, ..) = server
        .exchange("GET", "/runs", &format!("cookie: {cookie}\r\n"), "")
        .unwrap();
    assert_ne!(status, 200);
}

#[test]
fn two_servers_on_one_database_behave_as_one() {
    let ledger = ledger();
    let first = serve(&ledger, ledger.place.path("first"));
    let second = serve(&ledger, ledger.place.path("second"));
    // A question from a run on one server is visible, and can be answered, on the other at once.
    let asks = first.submit("asks", &json!({}));
    second.until_status(&asks, "waiting");
    let pager = ledger.file().with_extension("pager");
    until("the alert fires", || {
        (!lines(&pager).is_empty()).then_some(())
    });
    let listed = |server: &Server| {
        server.json("/api/v1/alerts")["alerts"]
            .as_array()
            .unwrap()
            .clone()
    };
    let id = format!("answer/{asks}");
    second.post(200, "/api/v1/alerts/acknowledge", &json!({ "id": id }));
    assert_eq!(
        (listed(&first)[0]["id"].as_str(), listed(&first).len()),
        (Some(id.as_str()), 1)
    );
    assert_eq!(listed(&first)[0]["acknowledged_by"], "local");
    second.post(
        200,
        &format!("/api/v1/runs/{asks}/answer"),
        &json!({ "step": "go", "answer": "approve" }),
    );
    first.until_status(&asks, "completed");
    until("the alert is resolved", || {
        (lines(&pager).len() >= 2).then_some(())
    });
    assert_eq!(
        lines(&pager),
        ["firing answer", "resolved answer"],
        "notified once, not once by each server"
    );

    // A link signed by one server is valid on the other.
    let link = first.post(201, &format!("/api/v1/runs/{asks}/link"), &json!({}));
    let path = link["progress_url"]
        .as_str()
        .unwrap()
        .split_once("/widget/")
        .unwrap()
        .1
        .to_owned();
    assert_eq!(
        second.json(&format!("/widget/{path}"))["status"],
        "completed"
    );
    moves_from(&ledger, &first, &second);
}

/// A watcher of a run on a server that freezes continues on the other, which takes over the run.
/// The first, once it is thawed, has lost its lease, logs that, and has spoiled nothing.
fn moves_from(ledger: &Ledger, first: &Server, second: &Server) {
    // The first server's other runs would be recovered as well.
    until("every alert is delivered", || {
        let sent = first.json("/api/v1/runs?queue=alerts");
        sent["runs"]
            .as_array()
            .expect("runs")
            .iter()
            .all(|run| run["status"] == "completed")
            .then_some(())
    });
    let run = first.submit("watched", &json!({}));
    let mut events = Events::after(first, &run, 0);
    let mut seen = events.until(|message| logged(message, "two begins"));
    first.process.signal("-STOP");
    let mut events = Events::after(second, &run, last(&seen));
    seen.extend(events.until(|message| logged(message, "two begins")));
    first.process.signal("-CONT");
    let lost = "surefoot_step_attempt_seconds_count{action=\"command.run\",outcome=\"lost\"}";
    until("the first has dropped what it no longer holds", || {
        (first.metric(lost) == 1.0).then_some(())
    });
    assert_eq!(first.metric("surefoot_worker_leases_lost_total"), 1.0);
    until("the first is ready", || first.is_ready().then_some(()));
    std::fs::write(ledger.file().with_extension("go"), "").expect("written");
    seen.extend(events.rest());
    check_whole(second, &run, &seen);
    assert_eq!(
        lines(&ledger.file()),
        ["two"],
        "the step had its effect once"
    );
    assert_eq!(second.metric("surefoot_worker_runs_recovered_total"), 1.0);
    assert_eq!(
        first.metric("surefoot_recoveries_total{queue=\"watched\"}"),
        1.0,
        "whichever is asked"
    );
    let other = first.json(&format!("/api/v1/runs/{run}"));
    assert_eq!(
        (&other["status"], &other["steps"][1]["interruptions"]),
        (&json!("completed"), &json!(1))
    );
}
