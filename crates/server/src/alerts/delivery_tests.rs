//! Delivery of notifications to real receivers: a webhook, a mail server, a program, and a receiver
//! that never responds.

use std::path::Path;
use std::process::Command as Program;
use std::sync::Arc;
use std::time::Duration;

use surefoot::store::RunFilter;
use surefoot::{
    AddressPolicy, BoxError, Client, Clock as _, CredentialError, CredentialSource, Handlers, Run,
    RunStatus, Secret, Store, Submit, SystemClock, Worker, WorkerHandle, WorkerOptions, Workflow,
};
use surefoot_sqlite::SqliteStore;

use super::evaluator::Evaluator;
use super::*;
use crate::node::{Node, TEST_TIMEOUT};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

struct Vault;

impl CredentialSource for Vault {
    fn get(&self, name: &str) -> Result<Secret, CredentialError> {
        match name {
            "signs" => Ok(Secret::new(SECRET)),
            "mail" => Ok(Secret::new("pass word")),
            _ => Err(CredentialError(format!("there is no credential `{name}`"))),
        }
    }
}

fn webhook(name: &str, address: &str) -> Notifier {
    let kind = NotifierKind::Webhook {
        url: Source::Plain(address.to_owned()),
        secret: Some("signs".to_owned()),
    };
    Notifier {
        name: name.to_owned(),
        addresses: AddressPolicy::default(),
        kind,
    }
}

async fn receiver(answers: &str) -> (Node, String) {
    let node = Node::start("webhook.mjs", &[("SECRET", SECRET), ("ANSWERS", answers)]).await;
    let address = format!("http://127.0.0.1:{}/hook", node.first_line);
    (node, address)
}

async fn send(notifier: &Notifier) -> Result<String, BoxError> {
    let options = AlertOptions {
        public_url: Some("https://surefoot.example".to_owned()),
        ..AlertOptions::default()
    };
    test(
        &options,
        notifier,
        &Vault,
        Some(&runner()),
        SystemClock.now(),
    )
    .await
}

fn runner() -> RunCommand {
    RunCommand::new(async |call: CommandCall| -> Result<String, BoxError> {
        use tokio::io::AsyncWriteExt as _;
        let mut command = tokio::process::Command::new(&call.command[0]);
        command
            .args(&call.command[1..])
            .envs(call.environment)
            .stdin(std::process::Stdio::piped());
        let mut child = command.spawn()?;
        child
            .stdin
            .take()
            .expect("it is piped")
            .write_all(&call.input)
            .await?;
        let status = child.wait().await?;
        if status.success() {
            Ok("done".to_owned())
        } else {
            Err(format!("{status}").into())
        }
    })
}

/// A store on which an alert is about to fire, with a worker that sends notifications.
struct World {
    store: Arc<dyn Store>,
    worker: WorkerHandle,
    options: AlertOptions,
    _folder: tempfile::TempDir,
}

impl World {
    async fn start(notifiers: Vec<Notifier>) -> Self {
        Self::with_concurrency(notifiers, 256).await
    }

    async fn with_concurrency(notifiers: Vec<Notifier>, concurrency: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> =
            Arc::new(SqliteStore::open(&folder.path().join("surefoot.db")).unwrap());
        let workspaces = folder.path().join("workspaces");
        let worker_options = WorkerOptions {
            workspaces,
            credentials: Arc::new(Vault),
            concurrency,
            reserved: reserved_slots(&notifiers),
            ..WorkerOptions::default()
        };
        let hangs = surefoot::handler_fn(async |_: surefoot::StepContext, _: serde_json::Value| {
            std::future::pending::<Result<(), surefoot::StepError>>().await
        });
        let handlers = handlers(&notifiers, None, Some(store.clone()))
            .merge(Handlers::new().with("hangs", hangs));
        let worker = Worker::start(store.clone(), handlers, worker_options)
            .await
            .unwrap();
        // The speed of the disk must not influence the tests.
        let rules = Rules {
            no_worker: Some(Duration::ZERO),
            slow_store: None,
            ..Rules::default()
        };
        let options = AlertOptions {
            notifiers,
            rules,
            ..AlertOptions::default()
        };
        Self {
            store,
            worker,
            options,
            _folder: folder,
        }
    }

    /// Submits work that no worker can execute, in a queue of this name.
    async fn submit_unclaimable(&self, queue: &str) {
        let workflow = Workflow::builder(queue)
            .step("only", "strange")
            .build()
            .unwrap();
        let run = self
            .worker
            .client()
            .submit(Submit::new(Arc::new(workflow)))
            .await
            .unwrap()
            .run;
        // Times have a resolution of 1 ms; a run of this very millisecond does not count as
        // waiting.
        while self.store.now().since(run.created_at) <= Duration::from_millis(1) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Submits such work and lets an alert fire about it.
    async fn fire(&self, queue: &str) {
        self.submit_unclaimable(queue).await;
        Evaluator::new(self.worker.client(), self.options.clone())
            .evaluate()
            .await
            .unwrap();
    }

    async fn sends(&self) -> Vec<Run> {
        let filter = RunFilter {
            queue: Some("alerts".to_owned()),
            oldest_first: true,
            ..RunFilter::default()
        };
        self.store.runs(filter).await.unwrap()
    }
}

#[tokio::test]
async fn a_webhook_is_signed_and_retried_until_accepted() {
    let (mut node, address) = receiver("503,200").await;
    let world = World::start(vec![webhook("hook", &address)]).await;
    world.fire("stuck").await;
    let first = node.next().await;
    let second = node.next().await;
    for got in [&first, &second] {
        assert_eq!(
            (&got["path"], &got["verified"]),
            (&json!("/hook"), &json!(true)),
            "by the standard's own library"
        );
        assert_eq!(got["body"]["type"], "alert.firing");
        assert_eq!(got["body"]["data"]["alert"], "no_worker/stuck");
        assert_eq!(got["body"]["data"]["queue"], "stuck");
    }
    assert_eq!(
        (&first["status"], &second["status"]),
        (&json!(503), &json!(200))
    );
    assert_eq!(
        first["id"], second["id"],
        "so that a receiver recognises it"
    );
    let run = world
        .worker
        .client()
        .wait(world.sends().await[0].id)
        .await
        .unwrap();
    assert_eq!(
        (run.head.status, run.steps[0].attempt),
        (RunStatus::Completed, 2)
    );
    let kept = format!(
        "{run:?}{:?}",
        world.store.events(run.id, 0, 100).await.unwrap()
    );
    assert!(!kept.contains(SECRET), "the secret is nowhere in the store");
    world.worker.stop().await;
}

#[tokio::test]
async fn a_firing_that_has_been_resolved_is_not_sent() {
    let (mut node, address) = receiver("200").await;
    let world = World::start(vec![webhook("hook", &address)]).await;
    let evaluate = async || {
        Evaluator::new(world.worker.client(), world.options.clone())
            .evaluate()
            .await
            .unwrap()
    };
    world.store.pause_queue("alerts", true).await.unwrap();
    world.fire("stuck").await;
    world.store.pause_queue("stuck", true).await.unwrap();
    evaluate().await;
    world.store.pause_queue("alerts", false).await.unwrap();
    assert_eq!(
        node.next().await["body"]["type"],
        "alert.resolved",
        "nothing else came before"
    );
    let late = world
        .worker
        .client()
        .wait(world.sends().await[0].id)
        .await
        .unwrap();
    assert_eq!(
        late.steps[0].output.as_ref().unwrap()["answer"],
        "not sent: resolved in the meantime"
    );
    // It fires again, and the notification is about this firing.
    world.store.pause_queue("stuck", false).await.unwrap();
    evaluate().await;
    assert_eq!(node.next().await["body"]["type"], "alert.firing");
    assert!(
        world
            .sends()
            .await
            .iter()
            .all(|run| run.priority == i32::MAX),
        "highest priority"
    );
    world.worker.stop().await;
}

#[tokio::test]
async fn a_worker_without_free_slots_still_sends_notifications() {
    let (mut node, address) = receiver("503,200").await;
    let world = World::with_concurrency(vec![webhook("hook", &address)], 1).await;
    let workflow = Workflow::builder("hanging")
        .step("only", "hangs")
        .build()
        .unwrap();
    let hanging = world
        .worker
        .client()
        .submit(Submit::new(Arc::new(workflow)))
        .await
        .unwrap()
        .run
        .id;
    world.fire("stuck").await;
    for status in [503, 200] {
        let received = node.next().await;
        assert_eq!(
            (&received["status"], &received["body"]["data"]["queue"]),
            (&json!(status), &json!("stuck"))
        );
    }
    assert_eq!(
        world.store.run(hanging).await.unwrap().unwrap().head.status,
        RunStatus::Running
    );
    drop(world);
}

#[tokio::test]
async fn a_receiver_that_never_responds_delays_no_other() {
    let (mut node, address) = receiver("200").await;
    // Accepts connections and never responds.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead = format!("http://{}/", silent.local_addr().unwrap());
    let world = World::start(vec![webhook("dead", &dead), webhook("hook", &address)]).await;
    send::configure(world.store.as_ref()).await.unwrap();
    for number in 0..5 {
        world.fire(&format!("q{number}")).await;
    }
    let mut got = Vec::new();
    for _ in 0..5 {
        got.push(
            node.next().await["body"]["data"]["queue"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    got.sort();
    assert_eq!(got, ["q0", "q1", "q2", "q3", "q4"]);
    let deadline = tokio::time::Instant::now() + TEST_TIMEOUT;
    loop {
        let all = world.sends().await;
        let dead: Vec<&Run> = all
            .iter()
            .filter(|run| run.concurrency_key.as_deref() == Some("dead"))
            .collect();
        let running = dead
            .iter()
            .filter(|run| run.head.status == RunStatus::Running)
            .count();
        assert!(
            dead.len() == 5 && running <= 2,
            "of its own, two at a time are tried: {dead:#?}"
        );
        if running == 2 {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{dead:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(world);
}

#[tokio::test]
async fn a_private_address_must_be_allowed() {
    let (mut node, address) = receiver("200").await;
    let allowed = webhook("hook", &address);
    for address in [
        address.clone(),
        address.replace("127.0.0.1", "localhost"),
        address.replace("127.0.0.1", "[::ffff:127.0.0.1]"),
    ] {
        let error = send(&Notifier {
            addresses: AddressPolicy::default().public_only(),
            ..webhook("hook", &address)
        })
        .await
        .unwrap_err()
        .to_string();
        assert!(error.contains("allow_private"), "{address}: {error}");
    }
    assert!(node.is_silent(Duration::from_millis(200)).await);
    assert_eq!(send(&allowed).await.unwrap(), "200 OK");
    assert_eq!(node.next().await["body"]["data"]["rule"], "test");
}

#[tokio::test]
async fn redirects_of_a_receiver_are_not_followed() {
    let (mut node, address) = receiver("302").await;
    let error = send(&webhook("hook", &address))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("127.0.0.1 answered 302"), "{error}");
    assert_eq!(node.next().await["path"], "/hook");
    assert!(node.is_silent(Duration::from_millis(200)).await);
}

#[tokio::test]
async fn a_chat_gets_a_line_of_text() {
    let (mut node, address) = receiver("200").await;
    let kind = NotifierKind::Slack {
        url: Source::Plain(address),
    };
    send(&Notifier {
        name: "chat".to_owned(),
        addresses: AddressPolicy::default(),
        kind,
    })
    .await
    .unwrap();
    let text = node.next().await["body"]["text"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        text.starts_with("*[surefoot] firing: a test of this notifier*\n"),
        "{text}"
    );
}

#[tokio::test]
async fn a_program_receives_the_alert_by_environment_and_input() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("received");
    let script = format!(
        "(echo \"$SUREFOOT_ALERT_RULE $SUREFOOT_ALERT_STATE\"; cat) > {}",
        file.display()
    );
    let of = |script: &str| Notifier {
        name: "program".to_owned(),
        addresses: AddressPolicy::default().public_only(),
        kind: NotifierKind::Command(Command {
            command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        }),
    };
    send(&of(&script)).await.unwrap();
    let reply = std::fs::read_to_string(file).unwrap();
    let (first, rest) = reply.split_once('\n').unwrap();
    assert_eq!(first, "test firing");
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(rest).unwrap()["alert"],
        "test/test"
    );
    assert!(
        send(&of("exit 3"))
            .await
            .unwrap_err()
            .to_string()
            .contains('3')
    );
}

/// A certificate for a mail server of this name, signed by a test authority. Creates the files
/// `ca.pem`, `key.pem` and `cert.pem`.
fn certificate(folder: &Path, name: &str) {
    let openssl = |line: &str| {
        let done = Program::new("openssl")
            .args(line.split(' '))
            .current_dir(folder)
            .output()
            .unwrap();
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
    };
    std::fs::write(
        folder.join("name"),
        format!("subjectAltName=DNS:{name}\nbasicConstraints=CA:FALSE\n"),
    )
    .unwrap();
    openssl(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=authority",
    );
    openssl(
        "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out cert.csr -subj /CN=mail",
    );
    openssl(
        "x509 -req -in cert.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out cert.pem -days 2 -extfile name",
    );
}

async fn mail_server(folder: &Path, name: &str, more: &[(&str, &str)]) -> Node {
    certificate(folder, name);
    let key = folder.join("key.pem").display().to_string();
    let cert = folder.join("cert.pem").display().to_string();
    let environment: Vec<_> = more
        .iter()
        .copied()
        .chain([("KEY", key.as_str()), ("CERT", cert.as_str())])
        .collect();
    Node::start("smtp.mjs", &environment).await
}

fn mail(node: &Node, folder: &Path, security: SmtpSecurity) -> Email {
    Email {
        host: "localhost".to_owned(),
        port: Some(node.first_line.parse().unwrap()),
        security,
        ca_file: Some(folder.join("ca.pem")),
        login: Some(("surefoot".to_owned(), "mail".to_owned())),
        from: "Surefoot <surefoot@example.com>".to_owned(),
        to: vec![
            "ann@example.com".to_owned(),
            "Bob <bob@example.com>".to_owned(),
        ],
    }
}

async fn post(mail: Email) -> Result<String, BoxError> {
    send(&Notifier {
        name: "mail".to_owned(),
        addresses: AddressPolicy::default(),
        kind: NotifierKind::Email(mail),
    })
    .await
}

#[tokio::test]
async fn mail_is_sent_over_an_encrypted_connection() {
    for (security, more) in [
        (SmtpSecurity::StartTls, &[][..]),
        (SmtpSecurity::Tls, &[("WRAPPED", "1")]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut node = mail_server(folder.path(), "localhost", more).await;
        let reply = post(mail(&node, folder.path(), security)).await.unwrap();
        assert!(reply.starts_with("250"), "{reply}");
        let got = node.next().await;
        assert_eq!(
            (&got["secure"], &got["user"], &got["from"]),
            (
                &json!(true),
                &json!("surefoot"),
                &json!("surefoot@example.com")
            )
        );
        assert_eq!(got["to"], json!(["ann@example.com", "bob@example.com"]));
        let text = got["text"].as_str().unwrap();
        assert!(
            text.contains("Subject: [surefoot] firing: a test of this notifier"),
            "{text}"
        );
        assert!(text.contains("https://surefoot.example/alerts"), "{text}");
    }
}

#[tokio::test]
async fn mail_is_not_sent_to_a_server_with_a_wrong_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let mut another = mail_server(folder.path(), "mail.example", &[]).await;
    let error = post(mail(&another, folder.path(), SmtpSecurity::StartTls)).await;
    assert!(error.is_err(), "the certificate is of another name");
    let unknown = Email {
        ca_file: None,
        ..mail(&another, folder.path(), SmtpSecurity::StartTls)
    };
    assert!(post(unknown).await.is_err(), "the authority is not trusted");
    let folder = tempfile::tempdir().unwrap();
    let mut plain = mail_server(folder.path(), "localhost", &[("PLAIN", "1")]).await;
    assert!(
        post(mail(&plain, folder.path(), SmtpSecurity::StartTls))
            .await
            .is_err(),
        "it offers no STARTTLS"
    );
    let open = Email {
        login: None,
        ..mail(&plain, folder.path(), SmtpSecurity::None)
    };
    post(open).await.unwrap();
    assert_eq!(plain.next().await["secure"], false);
    assert!(another.is_silent(Duration::from_millis(100)).await);
}

#[tokio::test]
async fn a_notifier_that_is_no_longer_configured_is_named() {
    let (_node, address) = receiver("200").await;
    let world = World::start(vec![webhook("hook", &address)]).await;
    let renamed = AlertOptions {
        notifiers: vec![webhook("renamed", &address)],
        ..world.options.clone()
    };
    world.submit_unclaimable("stuck").await;
    Evaluator::new(Client::new(world.store.clone()), renamed)
        .evaluate()
        .await
        .unwrap();
    let deadline = tokio::time::Instant::now() + TEST_TIMEOUT;
    loop {
        let run = world.sends().await.remove(0);
        if let Some(error) = &run.steps[0].error {
            assert_eq!(error, "this server has no notifier `renamed`: it has hook");
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{run:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.worker.stop().await;
}
