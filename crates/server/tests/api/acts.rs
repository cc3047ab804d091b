//! Actions of people on one run: retry, cancel, undo, answer. The answers `rerun`, `skip` and
//! `fail` require a lost worker: see `tests/serve/answers.rs`.

use serde_json::{Value, json};

use crate::world::{World, on_each_store};

on_each_store! {
    a_failed_run_is_retried_from_where_it_failed_or_from_an_earlier_step,
    a_cancelled_run_stops_and_keeps_its_results,
    a_run_cancelled_with_undo_removes_its_results,
    a_question_is_answered_by_yes_or_no,
}

fn count(history: &[String], event: &str) -> usize {
    history.iter().filter(|seen| *seen == event).count()
}

async fn a_failed_run_is_retried_from_where_it_failed_or_from_an_earlier_step(world: World) {
    let run = world.submit(json!({ "workflow": "halting" })).await;
    world.until_status(&run, "failed").await;
    let path = format!("/api/v1/runs/{run}/retry");
    for (body, first_ran) in [
        (Value::Null, 1),
        (json!({ "from": "one" }), 2),
        (json!({ "from": "two" }), 2),
    ] {
        let before = count(&world.history(&run).await, "run.failed");
        // The body is optional.
        let answer = if body.is_null() {
            world
                .http
                .post(format!("{}{path}", world.url))
                .send()
                .await
                .unwrap()
        } else {
            world.post(&path, body.clone()).await
        };
        assert_eq!(answer.status(), 200, "{body}");
        let events = world
            .until("it has failed again", async || {
                Some(world.history(&run).await)
                    .filter(|events| count(events, "run.failed") > before)
            })
            .await;
        assert_eq!(
            count(&events, "step.started one"),
            first_ran,
            "{body}: {events:?}"
        );
    }
    let page = world
        .json(&format!("/api/v1/runs/{run}/history?limit=1000"))
        .await;
    let told = page["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["kind"] == "run.retried");
    let told: Vec<_> = told
        .map(|event| (event["data"]["from"].clone(), event["data"]["by"].clone()))
        .collect();
    assert_eq!(
        told,
        [Value::Null, json!("one"), json!("two")].map(|from| (from, json!("local"))),
        "who, and from where"
    );
    let unknown = world
        .expect_status(422, &path, json!({ "from": "nowhere" }))
        .await;
    assert!(
        unknown["detail"].as_str().unwrap().contains("nowhere") && unknown["parameter"] == "from",
        "{unknown}"
    );
    world.rounds.send_replace(u64::MAX);
    let done = world.greet("ada").await;
    world.until_status(&done, "completed").await;
    world
        .expect_status(409, &format!("/api/v1/runs/{done}/retry"), json!({}))
        .await;
    world.close().await;
}

async fn a_cancelled_run_stops_and_keeps_its_results(world: World) {
    let run = world
        .submit(json!({ "workflow": "making", "parameters": { "name": "shop" } }))
        .await;
    world
        .until("it holds", async || {
            world
                .history(&run)
                .await
                .contains(&"step.started hold".to_owned())
                .then_some(())
        })
        .await;
    world
        .expect_status(200, &format!("/api/v1/runs/{run}/cancel"), json!({}))
        .await;
    let ended = world.until_status(&run, "cancelled").await;
    assert_eq!(
        (&ended["steps"][0]["status"], &ended["steps"][0]["undo"]),
        (&json!("completed"), &Value::Null)
    );
    let page = world.json(&format!("/api/v1/runs/{run}/history")).await;
    let asked = page["events"]
        .as_array()
        .unwrap()
        .iter()
        .find(|event| event["kind"] == "run.cancel_requested")
        .unwrap();
    assert_eq!(asked["data"]["by"], "local", "who it was stays known");
    let records = world.json("/api/v1/records?kind=project").await;
    let record = &records["records"][0];
    assert_eq!(
        (&record["name"], &record["run"], &record["data"]["owner"]),
        (&json!("shop"), &json!(run), &json!("ada"))
    );
    world
        .expect_status(409, &format!("/api/v1/runs/{run}/cancel"), json!({}))
        .await;
    world.close().await;
}

async fn a_run_cancelled_with_undo_removes_its_results(world: World) {
    let run = world
        .submit(json!({ "workflow": "making", "parameters": { "name": "shop" } }))
        .await;
    world
        .until("it holds", async || {
            world
                .history(&run)
                .await
                .contains(&"step.started hold".to_owned())
                .then_some(())
        })
        .await;
    assert_eq!(
        world.json("/api/v1/records?name=shop").await["records"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    world
        .expect_status(
            200,
            &format!("/api/v1/runs/{run}/cancel"),
            json!({ "undo": true }),
        )
        .await;
    let ended = world.until_status(&run, "cancelled").await;
    assert_eq!(ended["steps"][0]["undo"], "done", "{ended:#}");
    assert_eq!(
        world.json("/api/v1/records?name=shop").await["records"],
        json!([]),
        "the record went with it"
    );
    let logs = world
        .json(&format!("/api/v1/runs/{run}/logs?step=make"))
        .await;
    assert_eq!(
        logs["lines"][0]["line"], r#"taking back {"made":"shop"}"#,
        "{logs}"
    );
    world.close().await;
}

async fn a_question_is_answered_by_yes_or_no(world: World) {
    for (answer, note, status) in [
        ("approve", None, "completed"),
        ("reject", Some("not on a Friday"), "failed"),
    ] {
        let run = world.submit(json!({ "workflow": "asking" })).await;
        let asks = world.until_status(&run, "waiting").await;
        let step = &asks["steps"][0];
        assert_eq!(
            (&step["message"], &step["waits_for"]),
            (&json!("go on?"), &json!("approval")),
            "{step}"
        );
        assert_eq!(step["answers"], json!(["approve", "reject"]));
        let path = format!("/api/v1/runs/{run}/answer");
        world
            .expect_status(409, &path, json!({ "step": "only", "answer": "skip" }))
            .await;
        world
            .expect_status(
                200,
                &path,
                json!({ "step": "only", "answer": answer, "note": note }),
            )
            .await;
        let ended = world.until_status(&run, status).await;
        assert_eq!(ended["error"].is_string(), status == "failed", "{ended:#}");
        let page = world.json(&format!("/api/v1/runs/{run}/history")).await;
        let said = page["events"]
            .as_array()
            .unwrap()
            .iter()
            .find(|event| event["kind"] == "step.answered")
            .unwrap();
        assert_eq!(
            (&said["data"]["answer"], &said["data"]["note"]),
            (&json!(answer), &json!(note))
        );
        let late = world
            .expect_status(409, &path, json!({ "step": "only", "answer": answer }))
            .await;
        assert!(late["detail"].is_string());
    }
    world.close().await;
}
