//! Every error is a problem document that names the parameter.

use std::sync::atomic::Ordering;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::world::{World, on_each_store};

const UNKNOWN_RUN: &str = "0198c0de-0000-7000-8000-000000000001";

async fn check(
    world: &World,
    method: &str,
    path: &str,
    body: Option<&str>,
    status: u16,
    parameter: Option<&str>,
) {
    let method: Method = method.parse().unwrap();
    let mut request = world
        .http
        .request(method.clone(), format!("{}{path}", world.url));
    if let Some(body) = body {
        request = request
            .header(CONTENT_TYPE, "application/json")
            .body(body.to_owned());
    }
    // A response sent before the whole body was read may break the connection before it is
    // received.
    let send = async || request.try_clone().unwrap().send().await.ok();
    let response = world.until("it is answered", send).await;
    let place = format!("{method} {path} {body:?}");
    assert_eq!(response.status().as_u16(), status, "{place}");
    assert_eq!(
        response.headers()[CONTENT_TYPE],
        "application/problem+json",
        "{place}"
    );
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["status"], status, "{place}");
    assert_eq!(
        problem["parameter"].as_str(),
        parameter,
        "{place}: {problem}"
    );
    assert!(
        problem["detail"]
            .as_str()
            .is_some_and(|detail| !detail.is_empty()),
        "{place}: {problem}"
    );
}

on_each_store! {
    every_error_is_a_problem_that_names_the_parameter,
}

async fn every_error_is_a_problem_that_names_the_parameter(world: World) {
    let run = format!("/api/v1/runs/{UNKNOWN_RUN}");
    let runs = "/api/v1/runs";
    check(&world, "GET", "/api/v1/nothing", None, 404, None).await;
    check(&world, "DELETE", runs, None, 405, None).await;
    check(&world, "GET", &run, None, 404, None).await;
    check(&world, "GET", &format!("{run}/events"), None, 404, None).await;
    check(&world, "GET", "/api/v1/runs/7", None, 400, Some("id")).await;
    check(
        &world,
        "GET",
        "/api/v1/runs?status=odd",
        None,
        400,
        Some("status"),
    )
    .await;
    check(
        &world,
        "GET",
        "/api/v1/runs?limit=0",
        None,
        400,
        Some("limit"),
    )
    .await;
    check(
        &world,
        "GET",
        "/api/v1/runs?since=yesterday",
        None,
        400,
        Some("since"),
    )
    .await;
    check(
        &world,
        "GET",
        "/api/v1/runs?text=%00",
        None,
        400,
        Some("text"),
    )
    .await;
    check(
        &world,
        "GET",
        "/api/v1/runs?nmae=x",
        None,
        400,
        Some("nmae"),
    )
    .await;
    check(
        &world,
        "GET",
        "/api/v1/records?after=x",
        None,
        400,
        Some("after"),
    )
    .await;
    check(&world, "POST", runs, Some("{"), 400, None).await;
    check(&world, "POST", runs, Some("{}"), 400, Some("workflow")).await;
    check(
        &world,
        "POST",
        runs,
        Some(r#"{"workflow":"none"}"#),
        422,
        Some("workflow"),
    )
    .await;
    check(
        &world,
        "POST",
        runs,
        Some(r#"{"workflow":"greet"}"#),
        422,
        Some("name"),
    )
    .await;
    check(
        &world,
        "POST",
        runs,
        Some(r#"{"workflow":"greet","kee":"x"}"#),
        400,
        Some("kee"),
    )
    .await;
    check(
        &world,
        "POST",
        runs,
        Some(r#"{"workflow":"greet","at":"soon"}"#),
        400,
        Some("at"),
    )
    .await;
    let wrong_name = r#"{"workflow":"greet","parameters":{"name":"UPPER"}}"#;
    check(&world, "POST", runs, Some(wrong_name), 422, Some("name")).await;
    check(&world, "POST", &format!("{run}/retry"), None, 404, None).await;
    check(
        &world,
        "POST",
        &format!("{run}/answer"),
        Some(r#"{"step":"x","answer":"maybe"}"#),
        400,
        Some("answer"),
    )
    .await;
    let asking = world
        .post(runs, json!({ "workflow": "asking" }))
        .await
        .json::<Value>()
        .await
        .unwrap();
    let asking = format!("{runs}/{}", asking["id"].as_str().unwrap());
    check(
        &world,
        "POST",
        &format!("{asking}/retry"),
        Some(r#"{"from":"none"}"#),
        422,
        Some("from"),
    )
    .await;
    let no_step = r#"{"step":"none","answer":"approve"}"#;
    check(
        &world,
        "POST",
        &format!("{asking}/answer"),
        Some(no_step),
        422,
        Some("step"),
    )
    .await;
    let bulk = r#"{"action":"retry","filter":{"status":"running"}}"#;
    check(
        &world,
        "POST",
        "/api/v1/runs/bulk/preview",
        Some(bulk),
        422,
        Some("filter.status"),
    )
    .await;
    check(&world, "POST", "/api/v1/queues/none/pause", None, 404, None).await;
    check(
        &world,
        "POST",
        "/api/v1/alerts/acknowledge",
        Some(r#"{"id":"none"}"#),
        404,
        None,
    )
    .await;
    let large = format!(r#"{{"workflow":"{}"}}"#, "x".repeat(2 << 20));
    check(&world, "POST", runs, Some(&large), 413, None).await;
    let plain = world
        .http
        .post(format!("{}{runs}", world.url))
        .body("{}")
        .send()
        .await
        .unwrap();
    assert_eq!(plain.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    world.store.away.store(true, Ordering::SeqCst);
    check(&world, "GET", runs, None, 503, None).await;
    check(&world, "GET", "/readyz", None, 503, None).await;
    world.store.away.store(false, Ordering::SeqCst);
    world.close().await;
}

#[tokio::test]
async fn a_framed_page_recovers_with_the_store() {
    let world = World::open().await;
    let run = world.greet("ada").await;
    let made = world
        .post(&format!("/api/v1/runs/{run}/link"), Value::Null)
        .await
        .json::<Value>()
        .await
        .unwrap();
    let (_, path) = made["url"]
        .as_str()
        .unwrap()
        .split_once("/widget/")
        .unwrap();
    let look = async |path: &str| {
        let answer = world.get(&format!("/widget/{path}")).await;
        let again = answer
            .headers()
            .get("refresh")
            .map(|value| value.to_str().unwrap().to_owned());
        (answer.status().as_u16(), again)
    };
    assert_eq!(look(path).await, (200, Some("2".to_owned())));
    world.store.away.store(true, Ordering::SeqCst);
    assert_eq!(look(path).await, (503, Some("5".to_owned())));
    assert_eq!(look("mistyped").await, (403, None));
    world.store.away.store(false, Ordering::SeqCst);
    world.close().await;
}
