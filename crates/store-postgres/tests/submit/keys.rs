//! Keys and unique values: the same request is the same run, whichever client repeats it, and
//! however many at once.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use surefoot::state::CancelMode;
use surefoot::{Client, RunId, Store, Submit, SubmitError};
use tokio::task::JoinSet;

use crate::support::{Scene, shop, submit, workflow};

#[tokio::test]
async fn the_same_key_is_the_same_run_until_it_is_cancelled() {
    let mut scene = Scene::new().await;
    let sql = scene.sql().await;
    let first = submit(&sql, &shop("abc"), ", 'k'").await.unwrap();
    assert_eq!(submit(&sql, &shop("abc"), ", 'k'").await.unwrap(), first);
    let error = submit(&sql, &shop("xyz"), ", 'k'").await.unwrap_err();
    assert!(
        error.starts_with("23505 the key `k` belongs to run") && error.contains(&first.to_string()),
        "{error}"
    );

    scene
        .store
        .cancel(first, CancelMode::Stop, "ann")
        .await
        .unwrap();
    assert_ne!(submit(&sql, &shop("abc"), ", 'k'").await.unwrap(), first);
}

#[tokio::test]
async fn unique_values_are_enforced() {
    let mut scene = Scene::new().await;
    let sql = scene.sql().await;
    let first = submit(&sql, &shop("abc"), ", 'k'").await.unwrap();
    assert_eq!(
        submit(&sql, &shop("abc"), "").await.unwrap(),
        first,
        "without a key it is the same request"
    );
    let error = submit(&sql, &shop("abc"), ", 'another'").await.unwrap_err();
    assert_eq!(
        error,
        format!("23505 `shop abc in 1` is taken by run {first} (queued)")
    );
    let client = scene
        .client()
        .submit(
            Submit::new(workflow())
                .parameters(shop("abc"))
                .key("another"),
        )
        .await;
    assert!(matches!(client, Err(SubmitError::Taken { run, .. }) if run.id == first));
}

#[tokio::test]
async fn of_many_concurrent_submissions_one_adds_the_run() {
    let mut scene = Scene::new().await;
    let mut asked = JoinSet::new();
    for number in 0..16 {
        if number % 2 == 0 {
            let sql = scene.sql().await;
            asked.spawn(async move { submit(&sql, &shop("abc"), ", 'k'").await.unwrap() });
        } else {
            let client = scene.client();
            asked.spawn(async move { submit_at_last(&client).await });
        }
    }
    let ids: BTreeSet<_> = asked.join_all().await.into_iter().collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(scene.psql("SELECT count(*) FROM surefoot.runs"), "1");
}

/// The holder of the key may commit so slowly, on a slow disk, that a client is asked to retry.
async fn submit_at_last(client: &Client) -> RunId {
    loop {
        match client
            .submit(Submit::new(workflow()).parameters(shop("abc")).key("k"))
            .await
        {
            Err(SubmitError::Store(error)) if error.is_retryable() => {}
            done => return done.unwrap().run.id,
        }
    }
}

/// An open transaction has submitted a key: submissions of other keys do not wait, and one of that
/// key gets a retryable error.
#[tokio::test]
async fn a_locked_key_delays_no_other() {
    let mut scene = Scene::new().await;
    let sql = scene.sql().await;
    sql.batch_execute("BEGIN").await.unwrap();
    let held = submit(&sql, &shop("held"), ", 'held'").await.unwrap();
    let request = |name: &str| Submit::new(workflow()).parameters(shop(name)).key(name);
    let mut quickest = Duration::MAX;
    for round in ["a", "b", "c"] {
        let mut slowest = Duration::ZERO;
        let began = Instant::now();
        let send = |name: String| {
            let client = scene.client();
            async move { (client.submit(request(&name)).await, name, began.elapsed()) }
        };
        let names = ["held".to_owned()]
            .into_iter()
            .chain(["x", "y", "z"].map(|name| format!("{round}{name}")));
        for (submitted, name, took) in names.map(send).collect::<JoinSet<_>>().join_all().await {
            match submitted {
                Ok(_) => assert!(name != "held", "it is not committed"),
                Err(error) => assert!(
                    name == "held" && error.to_string().contains("not committed"),
                    "{name}: {error}"
                ),
            }
            slowest = slowest.max(took);
        }
        assert!(slowest < Duration::from_secs(20), "{slowest:?}");
        quickest = quickest.min(slowest);
    }
    // The best of three rounds, because other tests run at the same time. The holder does not
    // commit before this is over, so a submission that waited for it would wait for ever.
    assert!(quickest < Duration::from_secs(5), "{quickest:?}");
    sql.batch_execute("COMMIT").await.unwrap();
    assert_eq!(
        scene.client().submit(request("held")).await.unwrap().run.id,
        held
    );
}

#[tokio::test]
async fn a_snapshot_transaction_cannot_submit_a_key() {
    let mut scene = Scene::new().await;
    let sql = scene.sql().await;
    sql.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        .await
        .unwrap();
    let error = submit(&sql, &shop("abc"), ", 'k'").await.unwrap_err();
    assert!(
        error.starts_with("0A000") && error.contains("READ COMMITTED"),
        "{error}"
    );
}

#[tokio::test]
async fn sql_refuses_invalid_keys_with_the_clients_error() {
    let mut scene = Scene::new().await;
    let sql = scene.sql().await;
    let long = "x".repeat(256);
    for (field, key) in [
        ("key", ""),
        ("key", &*long),
        ("key", "a\nb"),
        ("concurrency_key", ""),
        ("concurrency_key", &*long),
    ] {
        let call = format!(", {field} => E'{}'", key.escape_default());
        let error = submit(&sql, &shop("abc"), &call).await.unwrap_err();
        let by_client = Submit::new(workflow()).parameters(shop("abc"));
        let by_client = if field == "key" {
            by_client.key(key)
        } else {
            by_client.concurrency_key(key)
        };
        let expect = scene
            .client()
            .submit(by_client)
            .await
            .unwrap_err()
            .to_string();
        let kind = |text: &str| {
            ["empty", "256 characters", "control character"]
                .into_iter()
                .find(|word| text.contains(word))
        };
        assert!(error.starts_with("22023 the "), "{error}");
        assert_eq!(kind(&error), kind(&expect), "{error} / {expect}");
        assert!(kind(&error).is_some(), "{error}");
    }
    assert_eq!(scene.psql("SELECT count(*) FROM surefoot.runs"), "0");
    submit(
        &sql,
        &shop("abc"),
        &format!(", key => '{}'", "日".repeat(255)),
    )
    .await
    .unwrap();
}
