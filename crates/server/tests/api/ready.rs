//! `/healthz` and `/readyz`.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::Value;

use crate::world::{PATIENCE, World};

#[tokio::test]
async fn a_dead_claim_loop_is_not_ready_while_the_process_is_healthy() {
    let world = World::open().await;
    assert_eq!(world.get("/readyz").await.status(), StatusCode::OK);
    world.store.claims_die.store(true, Ordering::SeqCst);
    let deadline = Instant::now() + PATIENCE;
    let problem: Value = loop {
        let answer = world.get("/readyz").await;
        if answer.status() == StatusCode::SERVICE_UNAVAILABLE {
            break answer.json().await.unwrap();
        }
        assert!(
            Instant::now() < deadline,
            "it stays ready with a dead claim loop"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(
        problem["detail"].as_str().unwrap().contains("claim loop"),
        "{problem}"
    );
    assert_eq!(world.get("/healthz").await.status(), StatusCode::OK);
    world.close().await;
}

/// A claim that hangs is as bad as a dead claim loop, but recovers by itself.
#[tokio::test]
async fn a_hanging_claim_loop_is_not_ready_until_its_next_round() {
    let world = World::open().await;
    world.store.claims_hang.send_replace(true);
    let problem: Value = world
        .until("it is not ready", async || {
            let answer = world.get("/readyz").await;
            (answer.status() == StatusCode::SERVICE_UNAVAILABLE).then_some(answer)
        })
        .await
        .json()
        .await
        .unwrap();
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("claim loop: no round for"), "{detail}");
    assert!(world.metric("surefoot_claim_loop_age_seconds").await > 10.0);
    world.store.claims_hang.send_replace(false);
    world
        .until("it is ready", async || {
            (world.get("/readyz").await.status() == StatusCode::OK).then_some(())
        })
        .await;
    world.close().await;
}
