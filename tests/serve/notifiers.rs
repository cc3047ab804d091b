//! Notifications from a real server to receivers that are away at first: once they are back, each
//! kind is delivered exactly once.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::common::node::Node;
use crate::common::server::{Server, free_port};
use crate::common::{Place, lines, text, until};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A certificate for a mail server on this machine, issued by our own authority: `ca.pem`,
/// `key.pem`, `cert.pem`.
fn certificate(folder: &Path) {
    let openssl = |line: &str| {
        let done = Command::new("openssl")
            .args(line.split(' '))
            .current_dir(folder)
            .output()
            .expect("openssl runs");
        assert!(done.status.success(), "{}", text(&done));
    };
    std::fs::write(
        folder.join("name"),
        "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n",
    )
    .unwrap();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(&format!(
        "req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=authority"
    ));
    openssl(&format!(
        "req {key} -keyout key.pem -out cert.csr -subj /CN=mail"
    ));
    openssl(
        "x509 -req -in cert.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out cert.pem -days 2 -extfile name",
    );
}

/// Four notifiers, one of each kind.
fn config(place: &Place, hook: u16, mail: u16) -> String {
    let pager = place.path("pager");
    let ca = place.path("ca.pem");
    format!(
        "[alerts]
every = '100ms'
[alerts.rules]
slow_store = false
[alerts.notifiers.hook]
kind = 'webhook'
url = 'http://127.0.0.1:{hook}/hook'
secret = 'signs'
allow_private = true
[alerts.notifiers.chat]
kind = 'slack'
url_credential = 'chat-address'
allow_private = true
[alerts.notifiers.mail]
kind = 'email'
host = 'localhost'
port = {mail}
ca_file = '{}'
user = 'surefoot'
password = 'mail-password'
from = 'surefoot@example.com'
to = ['ann@example.com']
allow_private = true
[alerts.notifiers.pager]
kind = 'command'
command = ['sh', '-c', '[ -e {1}.is-there ] && echo \"$SUREFOOT_ALERT_STATE\" >> {1}']
",
        ca.display(),
        pager.display(),
    )
}

/// The deliveries, by the notifier's name.
fn deliveries(server: &Server) -> Vec<(String, Value)> {
    let listed = server.json("/api/v1/runs?queue=alerts&order=oldest");
    let ids = listed["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| run["id"].as_str().unwrap().to_owned());
    ids.map(|id| server.json(&format!("/api/v1/runs/{id}")))
        .map(|run| {
            (
                run["parameters"]["notifier"].as_str().unwrap().to_owned(),
                run,
            )
        })
        .collect()
}

#[test]
fn receivers_that_come_back_get_each_missed_notification_once() {
    let place = Place::new();
    std::fs::create_dir_all(place.data()).unwrap();
    std::fs::create_dir(place.path("flows")).unwrap();
    let asks =
        "workflow: asks\nsteps: [{ id: go, action: approval, with: { question: 'go on?' } }]\n";
    std::fs::write(place.path("flows/asks.yaml"), asks).unwrap();
    certificate(&place.path("."));
    let [hook, chat, mail] = [free_port(), free_port(), free_port()];
    std::fs::write(
        place.data().join("surefoot.toml"),
        config(&place, hook, mail),
    )
    .unwrap();
    let address = format!("http://127.0.0.1:{chat}/services/T0/B0/chat-s3cret");
    let port = free_port();
    let start = || {
        Server::run(&place, port, &["--workflows", "flows"], |args| {
            let mut command = place.command(args);
            command
                .env("SUREFOOT_CREDENTIAL_SIGNS", SECRET)
                .env("SUREFOOT_CREDENTIAL_CHAT_ADDRESS", &address);
            command.env("SUREFOOT_CREDENTIAL_MAIL_PASSWORD", "pass word");
            command
        })
    };
    let server = start();
    let run = server.submit("asks", &json!({}));
    until("each has been tried in vain", || {
        let all = deliveries(&server);
        let failed = all
            .iter()
            .filter(|(_, run)| run["status"] == "waiting" && run["steps"][0]["error"].is_string());
        (failed.count() == 4).then_some(())
    });
    // The server dies too, and its undelivered notifications survive.
    server.process.kill();
    let key = place.path("key.pem").display().to_string();
    let cert = place.path("cert.pem").display().to_string();
    let ports = [hook, chat, mail].map(|port| port.to_string());
    let hook = Node::start("webhook.mjs", &[("PORT", &ports[0]), ("SECRET", SECRET)]);
    let chat = Node::start("webhook.mjs", &[("PORT", &ports[1]), ("SECRET", SECRET)]);
    let mail = Node::start(
        "smtp.mjs",
        &[("PORT", &ports[2]), ("KEY", &key), ("CERT", &cert)],
    );
    std::fs::write(place.path("pager.is-there"), "").unwrap();

    let server = start();
    let signed = hook.next();
    assert_eq!(
        (&signed["path"], &signed["verified"]),
        (&json!("/hook"), &json!(true)),
        "{signed}"
    );
    assert_eq!(signed["body"]["data"]["alert"], format!("answer/{run}"));
    let said = chat.next();
    assert!(
        said["body"]["text"]
            .as_str()
            .unwrap()
            .contains("[surefoot] firing"),
        "{said}"
    );
    let letter = mail.next();
    assert_eq!(
        (&letter["secure"], &letter["to"]),
        (&json!(true), &json!(["ann@example.com"]))
    );
    assert!(
        letter["text"]
            .as_str()
            .unwrap()
            .contains("Subject: [surefoot] firing"),
        "{letter}"
    );
    until("the pager is notified", || {
        (lines(&place.path("pager")) == ["firing"]).then_some(())
    });
    let all = until("all are delivered", || {
        Some(deliveries(&server))
            .filter(|all| all.iter().all(|(_, run)| run["status"] == "completed"))
    });
    let mut notified: Vec<&str> = all.iter().map(|(notifier, _)| notifier.as_str()).collect();
    notified.sort_unstable();
    assert_eq!(notified, ["chat", "hook", "mail", "pager"], "one run each");
    assert!(
        hook.is_silent() && chat.is_silent() && mail.is_silent(),
        "each was notified once"
    );
    let kept = format!("{all:?}");
    assert!(
        !kept.contains("chat-s3cret") && !kept.contains("pass word"),
        "{kept}"
    );
}
