//! Submission: the key as a header, dry runs, and links to share.

use reqwest::Response;
use serde_json::{Value, json};

use crate::world::{World, on_each_store};

on_each_store! {
    the_header_is_a_key_like_any_other,
    a_dry_run_predicts_steps_and_writes_nothing,
    a_link_shows_the_progress_until_it_expires,
}

async fn with_key(world: &World, header: &str, body: Value) -> Response {
    let request = world
        .http
        .post(format!("{}/api/v1/runs", world.url))
        .header("idempotency-key", header);
    request.json(&body).send().await.unwrap()
}

async fn the_header_is_a_key_like_any_other(world: World) {
    let ada = json!({ "workflow": "greet", "parameters": { "name": "ada" } });
    let first = with_key(&world, "order 7", ada.clone()).await;
    assert_eq!(first.status(), 201);
    let run: Value = first.json().await.unwrap();
    assert_eq!(run["key"], "order 7");
    let mut by_body = ada.clone();
    by_body["key"] = "order 7".into();
    for again in [
        with_key(&world, "order 7", ada.clone()).await,
        world.post("/api/v1/runs", by_body.clone()).await,
    ] {
        assert_eq!(again.status(), 200);
        assert_eq!(again.json::<Value>().await.unwrap()["id"], run["id"]);
    }
    assert_eq!(
        with_key(&world, "order 7", by_body.clone()).await.status(),
        200,
        "both may say the same"
    );
    let others = json!({ "workflow": "greet", "parameters": { "name": "bob" } });
    let conflict = with_key(&world, "order 7", others).await;
    assert_eq!(conflict.status(), 409);
    assert_eq!(
        conflict.json::<Value>().await.unwrap()["run"],
        run["id"],
        "it names the run that has the key"
    );
    for (header, words) in [
        ("order 8", "give one of them"),
        ("", "1 to 255 are allowed"),
    ] {
        let refused = with_key(&world, header, by_body.clone()).await;
        assert_eq!(refused.status(), 400, "{header:?}");
        let problem: Value = refused.json().await.unwrap();
        assert_eq!(problem["parameter"], "Idempotency-Key");
        assert!(
            problem["detail"].as_str().unwrap().contains(words),
            "{problem}"
        );
    }
    let all = world.json("/api/v1/runs").await;
    assert_eq!(
        all["runs"].as_array().unwrap().len(),
        1,
        "one run came of all that"
    );
    world.close().await;
}

async fn a_dry_run_predicts_steps_and_writes_nothing(world: World) {
    let path = "/api/v1/workflows/greet/dry-run";
    let body = json!({ "parameters": { "name": "ada", "password": "hunter22" } });
    let foreseen = world.expect_status(200, path, body).await;
    let steps = foreseen["steps"].as_array().unwrap();
    assert_eq!(
        (&steps[0]["id"], &steps[0]["runs"]),
        (&json!("one"), &json!("yes"))
    );
    assert_eq!(
        (&steps[1]["action"], &steps[1]["with"]["said"]),
        (&json!("test.echo"), &json!("ada"))
    );
    assert!(!foreseen.to_string().contains("hunter22"), "{foreseen}");
    let wrong = world
        .expect_status(422, path, json!({ "parameters": { "name": "UPPER" } }))
        .await;
    assert_eq!(wrong["parameter"], "name");
    assert_eq!(
        world.expect_status(422, path, json!({})).await["parameter"],
        "name",
        "what is missing is named"
    );
    world
        .expect_status(404, "/api/v1/workflows/nowhere/dry-run", json!({}))
        .await;
    assert_eq!(world.json("/api/v1/runs").await["runs"], json!([]));
    assert_eq!(
        world.json("/api/v1/audit").await["entries"],
        json!([]),
        "the audit log is empty"
    );
    world.close().await;
}

async fn a_link_shows_the_progress_until_it_expires(world: World) {
    let greeting =
        json!({ "workflow": "greet", "parameters": { "name": "ada", "password": "hunter22" } });
    let run = world.submit(greeting).await;
    let path = format!("/api/v1/runs/{run}/link");
    for seconds in [0, 2_678_401] {
        assert_eq!(
            world
                .expect_status(400, &path, json!({ "seconds": seconds }))
                .await["parameter"],
            "seconds"
        );
    }
    let link = world
        .expect_status(201, &path, json!({ "seconds": 3600 }))
        .await;
    let page = link["url"].as_str().unwrap();
    let progress = link["progress_url"].as_str().unwrap();
    let shown = world
        .http
        .get(progress)
        .header("origin", "https://platform.example")
        .send()
        .await
        .unwrap();
    assert_eq!(
        (
            shown.status().as_u16(),
            &shown.headers()["access-control-allow-origin"]
        ),
        (200, &"*".parse().unwrap())
    );
    let told: Value = shown.json().await.unwrap();
    assert_eq!(
        (&told["status"], &told["ended"]),
        (&json!("running"), &json!(false)),
        "{told}"
    );
    let html = world.http.get(page).send().await.unwrap();
    assert_eq!(html.status(), 200);
    assert!(
        html.headers()["content-security-policy"]
            .to_str()
            .unwrap()
            .contains("frame-ancestors *")
    );
    let html = html.text().await.unwrap();
    for text in [told.to_string(), html] {
        assert!(
            !text.contains("hunter22") && !text.contains("\"ada\""),
            "no parameter is told: {text}"
        );
    }
    // A link with one changed letter is invalid.
    let place = progress.find("/widget/").unwrap() + "/widget/".len();
    let letter = |first: &str| if first == "A" { "B" } else { "A" };
    let changed = format!(
        "{}{}{}",
        &progress[..place],
        letter(&progress[place..=place]),
        &progress[place + 1..]
    );
    assert_eq!(world.http.get(&changed).send().await.unwrap().status(), 403);
    let short = world
        .expect_status(201, &path, json!({ "seconds": 1 }))
        .await;
    for address in ["url", "progress_url"] {
        let status = async || {
            world
                .http
                .get(short[address].as_str().unwrap())
                .send()
                .await
                .unwrap()
                .status()
        };
        world
            .until("it expires", async || (status().await == 403).then_some(()))
            .await;
    }
    assert_eq!(
        world.http.get(page).send().await.unwrap().status(),
        200,
        "the other one holds"
    );
    world.close().await;
}
