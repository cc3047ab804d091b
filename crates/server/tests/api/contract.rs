//! The response of each resource.

use std::sync::Arc;

use reqwest::StatusCode;
use serde_json::{Value, json};
use surefoot::{Client, Store as _, Submit, Workflow};

use crate::world::{World, on_each_store};

on_each_store! {
    a_run_is_submitted_once_under_its_key_and_shown_without_its_secrets,
    pages_of_runs_hold_each_run_once,
    failed_runs_are_counted_and_then_retried_together,
    only_the_limits_that_are_named_change,
    required_resources_and_workers_that_lack_them_are_shown,
}

async fn a_run_is_submitted_once_under_its_key_and_shown_without_its_secrets(world: World) {
    world.rounds.send_replace(u64::MAX);
    let request = json!({
        "workflow": "greet", "key": "k1", "parameters": { "name": "ada", "password": "hunter22" },
    });
    let first = world.post("/api/v1/runs", request.clone()).await;
    assert_eq!(first.status(), StatusCode::CREATED);
    let place = first.headers()["location"].to_str().unwrap().to_owned();
    let run: Value = first.json().await.unwrap();
    let id = run["id"].as_str().unwrap().to_owned();
    assert_eq!(place, format!("/api/v1/runs/{id}"));

    let again = world.post("/api/v1/runs", request).await;
    assert_eq!(again.status(), StatusCode::OK);
    assert_eq!(again.json::<Value>().await.unwrap()["id"], id.as_str());

    let by_header = world
        .http
        .post(format!("{}/api/v1/runs", world.url))
        .header("idempotency-key", "k1");
    let other = by_header
        .json(&json!({ "workflow": "greet", "parameters": { "name": "bob" } }))
        .send()
        .await
        .unwrap();
    assert_eq!(other.status(), StatusCode::CONFLICT);
    let problem: Value = other.json().await.unwrap();
    assert_eq!(
        (&problem["run"], &problem["parameter"]),
        (&json!(id), &json!("key"))
    );

    let seen = world.until_status(&id, "completed").await;
    assert_eq!(seen["steps"][1]["output"]["said"], "ada");
    for path in ["", "/history", "/logs"] {
        let text = world
            .get(&format!("/api/v1/runs/{id}{path}"))
            .await
            .text()
            .await
            .unwrap();
        assert!(!text.contains("hunter22"), "{path}: {text}");
    }
    let logs = world
        .json(&format!("/api/v1/runs/{id}/logs?step=two"))
        .await;
    assert_eq!(logs["lines"].as_array().unwrap().len(), 1, "{logs}");
    world.close().await;
}

async fn required_resources_and_workers_that_lack_them_are_shown(world: World) {
    let workflow = Workflow::from_yaml(
        "workflow: far\nsteps: [{ id: a, action: test.echo, with: { said: x } }]",
    );
    let submit = Submit::new(Arc::new(workflow.unwrap())).requires("forge:far");
    let submitted = Client::new(world.store.clone()).submit(submit).await;
    let id = submitted.unwrap().run.id;
    let worker = world.store.workers().await.unwrap().remove(0).name;

    let run = world.json(&format!("/api/v1/runs/{id}")).await;
    assert_eq!(run["requires"], json!(["forge:far"]));
    assert_eq!(
        run["waiting"],
        "for a worker that has forge:far: no live one does"
    );
    assert_eq!(
        run["lacking"],
        json!([{ "worker": worker, "resources": ["forge:far"] }])
    );
    let listed = world.json("/api/v1/runs").await;
    assert_eq!(listed["runs"][0]["requires"], json!(["forge:far"]));

    for (language, texts) in [
        ("en", ["Requires of its worker", "lacks forge:far"]),
        ("zh", ["对工作进程的要求", "缺少 forge:far"]),
    ] {
        let page = world
            .http
            .get(format!("{}/runs/{id}", world.url))
            .header("accept-language", language);
        let page = page.send().await.unwrap().text().await.unwrap();
        for text in texts {
            assert!(page.contains(text), "{text}: {page}");
        }
    }

    let bare = world.greet("ada").await;
    let run = world.json(&format!("/api/v1/runs/{bare}")).await;
    // Its secret parameter requires the key, which the worker has.
    let requires = run["requires"].as_array().unwrap();
    assert!(
        requires.len() == 1 && requires[0].as_str().unwrap().starts_with("key:"),
        "{run}"
    );
    assert_eq!(run["lacking"], json!([]));
    world.close().await;
}

async fn pages_of_runs_hold_each_run_once(world: World) {
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(world.greet("ada").await);
    }
    made.reverse();
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = world
            .json(&format!("/api/v1/runs?workflow=greet&limit=2{cursor}"))
            .await;
        seen.extend(
            page["runs"]
                .as_array()
                .unwrap()
                .iter()
                .map(|run| run["id"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["next"].as_str() else {
            break;
        };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, made);
    world.close().await;
}

async fn failed_runs_are_counted_and_then_retried_together(world: World) {
    let mut runs = Vec::new();
    for _ in 0..3 {
        let run: Value = world
            .post("/api/v1/runs", json!({ "workflow": "failing" }))
            .await
            .json()
            .await
            .unwrap();
        runs.push(run["id"].as_str().unwrap().to_owned());
    }
    for run in &runs {
        world.until_status(run, "failed").await;
    }
    let request = json!({ "action": "retry", "filter": { "workflow": "failing" } });
    let preview: Value = world
        .post("/api/v1/runs/bulk/preview", request.clone())
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(
        (&preview["count"], &preview["more"]),
        (&json!(3), &json!(false)),
        "{preview}"
    );
    let done: Value = world
        .post("/api/v1/runs/bulk", request)
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(
        (&done["done"], &done["next"]),
        (&json!(3), &Value::Null),
        "{done}"
    );
    for run in &runs {
        let history = world.json(&format!("/api/v1/runs/{run}/history")).await;
        let retried = history["events"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|event| event["kind"] == "run.retried");
        assert_eq!(retried.count(), 1);
    }
    let audit = world.json("/api/v1/audit").await;
    let entry = audit["entries"]
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["action"] == "runs.retry")
        .unwrap();
    assert_eq!(
        (&entry["outcome"], &entry["detail"]["done"]),
        (&json!("done"), &json!(3))
    );
    world.close().await;
}

async fn only_the_limits_that_are_named_change(world: World) {
    world.greet("ada").await;
    let change = |body: Value| {
        world
            .http
            .patch(format!("{}/api/v1/queues/greet", world.url))
            .json(&body)
            .send()
    };
    let set = change(json!({ "concurrency": 3, "rate": { "max": 5, "per": "1s" } }))
        .await
        .unwrap();
    assert_eq!(set.status(), StatusCode::OK);
    let queue: Value = change(json!({ "rate": null }))
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(
        (&queue["limits"]["concurrency"], &queue["limits"]["rate"]),
        (&json!(3), &Value::Null)
    );
    let refused = change(json!({ "concurrency": 0 })).await.unwrap();
    assert_eq!(
        refused.json::<Value>().await.unwrap()["parameter"],
        "concurrency"
    );
    let paused: Value = world
        .post("/api/v1/queues/greet/pause", Value::Null)
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(paused["paused"], true);
    world.close().await;
}

#[tokio::test]
async fn the_document_describes_every_operation_that_is_served() {
    let world = World::open().await;
    let document = world.json("/api/openapi.json").await;
    assert_eq!(document["openapi"], "3.1.0");
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            assert!(
                operation["responses"]["default"].is_object(),
                "{method} {path} names no problem"
            );
            let address = path
                .replace("{id}", "0198c0de-0000-7000-8000-000000000001")
                .replace("{name}", "none");
            let method = method.to_uppercase().parse().unwrap();
            let answer = world
                .http
                .request(method, format!("{}{address}", world.url))
                .send()
                .await
                .unwrap();
            assert_ne!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
        }
    }
    let page = world.get("/api/docs").await.text().await.unwrap();
    assert!(
        page.contains("/api/v1/runs/{id}/events") && !page.contains("<script"),
        "{page}"
    );
    world.close().await;
}

#[tokio::test]
async fn metrics_cover_queues_runs_attempts_and_commits() {
    let world = World::open().await;
    world.rounds.send_replace(u64::MAX);
    let run = world.greet("ada").await;
    world.until_status(&run, "completed").await;
    let text = world.get("/metrics").await.text().await.unwrap();
    for line in [
        "surefoot_store_up 1",
        "surefoot_runs_total{queue=\"greet\",outcome=\"completed\"} 1",
        "surefoot_queue_runs{queue=\"greet\",status=\"queued\"} 0",
        "surefoot_step_attempt_seconds_count{action=\"test.echo\",outcome=\"completed\"} 1",
        "surefoot_workers 1",
    ] {
        assert!(
            text.lines().any(|seen| seen == line),
            "no {line} in\n{text}"
        );
    }
    assert!(
        text.contains("surefoot_store_commit_seconds_bucket"),
        "{text}"
    );
    world.close().await;
}
