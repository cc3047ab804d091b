//! The run exists if and only if the caller's transaction commits.

use std::time::Duration;

use serde_json::json;
use surefoot::store::RunFilter;
use surefoot::{Store, Submit, Timestamp};
use surefoot_scratch_postgres::{ScratchBouncer, ScratchPostgres};

use crate::support::{Scene, shop, submit, workflow};

async fn clock(sql: &tokio_postgres::Client) -> Timestamp {
    let statement = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
    Timestamp::from_micros(sql.query_one(statement, &[]).await.unwrap().get(0))
}

#[tokio::test]
async fn a_submission_by_sql_equals_a_clients() {
    let mut scene = Scene::new().await;
    let sql = scene.sql().await;
    let parameters = json!({ "name": "abc", "region": { "id": 7 }, "tags": ["x", "y"] });
    let more = ", 'key-1', priority => 4, concurrency_key => 'tenant'";
    let before = clock(&sql).await;
    let made = submit(&sql, &parameters, more).await.unwrap();
    let after = clock(&sql).await;
    // The store only estimates the database's time, and ids differ by the millisecond.
    while scene.store.now() < after + Duration::from_millis(2) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    let same = Submit::new(workflow())
        .parameters(parameters.clone())
        .key("key-1");
    let found = scene
        .client()
        .submit(same.priority(4).concurrency_key("tenant"))
        .await
        .unwrap();
    assert!(
        found.existing && found.run.id == made,
        "the client finds the very run"
    );

    let other = json!({ "name": "other", "region": { "id": 7 }, "tags": ["x", "y"] });
    let request = Submit::new(workflow())
        .parameters(other)
        .key("key-2")
        .priority(4)
        .concurrency_key("tenant");
    let by_client = scene.client().submit(request).await.unwrap().run;
    let mut run = scene.run(made).await;
    assert!(
        run.created_at >= before && run.created_at <= after,
        "{}",
        run.created_at
    );
    assert!(run.id < by_client.id, "ids are in the order of submission");
    assert_eq!(run.unique.as_deref(), Some("shop abc in 7"));
    assert_eq!(
        run.parameters,
        json!({
            "name": "abc", "size": 3, "kind": "small", "tags": ["x", "y"], "region": { "id": 7, "zone": "a" }
        })
    );
    run.id = by_client.id;
    run.key.clone_from(&by_client.key);
    run.unique.clone_from(&by_client.unique);
    run.parameters["name"] = "other".into();
    run.created_at = by_client.created_at;
    run.head.available_at = by_client.head.available_at;
    assert_eq!(run, by_client);

    let stored = |id| {
        let store = scene.store.clone();
        async move { store.events(id, 0, 10).await.unwrap() }
    };
    let ours = stored(made).await;
    let theirs = stored(by_client.id).await;
    assert_eq!(ours.len(), 1);
    assert_eq!(
        (ours[0].seq, &ours[0].kind, &ours[0].data),
        (theirs[0].seq, &theirs[0].kind, &theirs[0].data)
    );
}

#[tokio::test]
async fn a_rollback_leaves_nothing_and_a_commit_all() {
    let mut scene = Scene::new().await;
    let mut sql = scene.sql().await;
    sql.batch_execute("CREATE TABLE orders (id int PRIMARY KEY, run uuid)")
        .await
        .unwrap();
    let insert = "INSERT INTO orders SELECT 1, surefoot.submit('shop', '{\"name\": \"abc\"}', 'k')";

    let transaction = sql.transaction().await.unwrap();
    transaction.execute(insert, &[]).await.unwrap();
    assert_eq!(
        scene.store.runs(RunFilter::default()).await.unwrap().len(),
        0,
        "not before it is committed"
    );
    transaction.rollback().await.unwrap();
    let tables = [
        "orders",
        "surefoot.runs",
        "surefoot.steps",
        "surefoot.events",
    ];
    let counts = || tables.map(|table| scene.psql(&format!("SELECT count(*) FROM {table}")));
    assert_eq!(counts(), ["0", "0", "0", "0"]);

    let transaction = sql.transaction().await.unwrap();
    transaction.execute(insert, &[]).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(counts(), ["1", "1", "2", "1"]);
    assert_eq!(
        scene.psql("SELECT r.key FROM orders AS o JOIN surefoot.runs AS r ON r.id = o.run"),
        "k"
    );
}

/// A client that can wait for the workers' polls turns the notification off, which makes commits
/// wait for each other.
#[tokio::test]
async fn a_submission_notifies_unless_disabled() {
    let mut scene = Scene::new().await;
    let sql = scene.sql().await;
    // A session receives its own notifications before its next answer.
    let notified = async |name: &str, setting: &str| {
        sql.batch_execute(&format!("LISTEN surefoot; SET surefoot.notify = {setting}"))
            .await
            .unwrap();
        submit(&sql, &shop(name), "").await.unwrap();
        // The store's notifications contain its name as well.
        scene
            .notifications()
            .into_iter()
            .filter(|payload| payload == "work")
            .count()
    };
    assert_eq!(notified("abc", "on").await, 1);
    assert_eq!(notified("bcd", "off").await, 0);
    assert_eq!(notified("cde", "DEFAULT").await, 1);
}

#[tokio::test]
async fn a_later_time_is_kept() {
    let mut scene = Scene::new().await;
    let sql = scene.sql().await;
    let at: Timestamp = "2099-05-04T09:30:00.120000Z".parse().unwrap();
    let made = submit(
        &sql,
        &shop("abc"),
        ", available_at => '2099-05-04 11:30:00.12+02'",
    )
    .await
    .unwrap();
    assert_eq!(scene.run(made).await.head.available_at, Some(at));
    let events = scene.store.events(made, 0, 10).await.unwrap();
    assert_eq!(events[0].data, json!({ "available_at": at.to_string() }));
    let past = submit(&sql, &shop("xyz"), ", available_at => '2001-01-01'")
        .await
        .unwrap();
    let run = scene.run(past).await;
    assert_eq!(
        run.head.available_at,
        Some(run.created_at),
        "a time that has been is now"
    );
}

#[tokio::test]
async fn it_works_through_a_pooler() {
    let mut scene = Scene::new().await;
    let bouncer = ScratchBouncer::start(ScratchPostgres::shared(), 2).unwrap();
    let url = bouncer.url_of(&scene.database);
    let sql = scene.sql_at(&url).await;
    sql.batch_execute("BEGIN; SELECT surefoot.submit('shop', '{\"name\": \"abc\"}', 'k'); COMMIT")
        .await
        .unwrap();
    assert_eq!(
        scene.store.runs(RunFilter::default()).await.unwrap()[0]
            .key
            .as_deref(),
        Some("k")
    );
}
