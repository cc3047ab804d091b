//! Alerts over HTTP, and two servers on one store that fire once.

use std::time::Duration;

use serde_json::{Value, json};
use surefoot::AddressPolicy;
use surefoot_server::alerts::{Notifier, NotifierKind, Source};

use crate::world::{On, World};

/// Evaluates often. The notifier has no credential, so notifications stay in the store.
async fn open(on: On) -> World {
    World::with(on, |options| {
        options.alerts.every = Duration::from_millis(50);
        // The speed of the disk must not influence the tests.
        options.alerts.rules.slow_store = None;
        let kind = NotifierKind::Slack {
            url: Source::Plain("http://127.0.0.1:1/".to_owned()),
        };
        options.alerts.notifiers = vec![Notifier {
            name: "chat".to_owned(),
            addresses: AddressPolicy::default(),
            kind,
        }];
    })
    .await
}

async fn alerts(world: &World, query: &str) -> Vec<Value> {
    world.json(&format!("/api/v1/alerts{query}")).await["alerts"]
        .as_array()
        .unwrap()
        .clone()
}

async fn an_alert_is_sent_once_and_acknowledged(on: On) {
    let mut world = open(on).await;
    let first = world.another_server().await;
    let run = world.submit(json!({ "workflow": "asking" })).await;
    let id = format!("answer/{run}");
    let alert = world
        .until("it fires", async || alerts(&world, "").await.pop())
        .await;
    assert_eq!(
        (&alert["id"], &alert["rule"], &alert["subject"]),
        (&json!(id), &json!("answer"), &json!(run))
    );
    assert_eq!(
        (&alert["state"], &alert["run"], &alert["acknowledged_by"]),
        (&json!("firing"), &json!(run), &Value::Null)
    );
    assert_eq!(alerts(&world, "?state=resolved").await, [Value::Null; 0]);

    let path = "/api/v1/alerts/acknowledge";
    let seen = world.expect_status(200, path, json!({ "id": id })).await;
    assert_eq!(seen["acknowledged_by"], "local");
    let again = world.expect_status(200, path, json!({ "id": id })).await;
    assert_eq!(
        again["acknowledged_at"], seen["acknowledged_at"],
        "who was first stays named"
    );
    let elsewhere: Value = world
        .http
        .get(format!("{first}/api/v1/alerts"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(
        elsewhere["alerts"][0]["acknowledged_by"], "local",
        "the other server knows of it"
    );

    world
        .expect_status(
            200,
            &format!("/api/v1/runs/{run}/answer"),
            json!({ "step": "only", "answer": "approve" }),
        )
        .await;
    world
        .until("it resolves", async || {
            alerts(&world, "?state=resolved").await.pop()
        })
        .await;
    assert_eq!(alerts(&world, "?state=firing").await, [Value::Null; 0]);
    world.expect_status(409, path, json!({ "id": id })).await;
    // Each state is submitted before it is shown, or at that server's next evaluation.
    let sends = async || {
        let page = world.json("/api/v1/runs?queue=alerts&order=oldest").await;
        page["runs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|run| run["key"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let sent = world
        .until("both are to be sent", async || {
            Some(sends().await).filter(|sent| sent.len() >= 2)
        })
        .await;
    let states: Vec<&str> = sent
        .iter()
        .map(|key| key.rsplit('/').nth(1).unwrap())
        .collect();
    assert_eq!(
        states,
        ["firing", "resolved"],
        "by two servers, once each: {sent:?}"
    );
    world.close().await;
}

#[tokio::test]
async fn on_sqlite_an_alert_is_sent_once_and_acknowledged() {
    an_alert_is_sent_once_and_acknowledged(On::Sqlite).await;
}

#[tokio::test]
async fn on_postgres_an_alert_is_sent_once_and_acknowledged() {
    an_alert_is_sent_once_and_acknowledged(On::Postgres).await;
}
