//! Actions on many runs in parts: they apply to the runs counted by the preview, and to no later
//! ones.

use serde_json::{Value, json};

use crate::world::{World, on_each_store};

on_each_store! { a_bulk_action_continues_in_parts, many_runs_are_cancelled_and_later_ones_are_not }

async fn a_bulk_action_continues_in_parts(world: World) {
    let mut runs = Vec::new();
    for _ in 0..5 {
        runs.push(world.submit(json!({ "workflow": "halting" })).await);
    }
    for run in &runs {
        world.until_status(run, "failed").await;
    }
    let mut request = json!({ "action": "retry", "filter": { "queue": "slow-lane" }, "limit": 2 });
    let preview = world
        .expect_status(200, "/api/v1/runs/bulk/preview", request.clone())
        .await;
    assert_eq!(
        (&preview["count"], &preview["more"]),
        (&json!(5), &json!(false)),
        "{preview}"
    );
    assert_eq!(preview["sample"].as_array().unwrap().len(), 5);
    request["filter"]["until"] = preview["until"].clone();
    let mut parts = Vec::new();
    loop {
        let part = world
            .expect_status(200, "/api/v1/runs/bulk", request.clone())
            .await;
        parts.push(part["done"].as_u64().unwrap() + part["refused_count"].as_u64().unwrap());
        // Retried runs have failed again and match as before; only the cursor excludes them.
        for run in &runs {
            world.until_status(run, "failed").await;
        }
        request["cursor"] = part["next"].clone();
        if part["next"].is_null() {
            break;
        }
    }
    assert_eq!(parts, [2, 2, 1]);
    for run in &runs {
        let retried = world
            .history(run)
            .await
            .iter()
            .filter(|event| *event == "run.retried")
            .count();
        assert_eq!(retried, 1, "each of them once");
    }
    world.close().await;
}

async fn many_runs_are_cancelled_and_later_ones_are_not(world: World) {
    let making = async |name: &str| {
        world
            .submit(json!({ "workflow": "making", "parameters": { "name": name } }))
            .await
    };
    let one = making("ada").await;
    let two = making("bob").await;
    let other = world.greet("ada").await;
    for run in [&one, &two] {
        let holds = "step.started hold".to_owned();
        world
            .until("it holds", async || {
                world.history(run).await.contains(&holds).then_some(())
            })
            .await;
    }
    let mut request =
        json!({ "action": "cancel", "undo": true, "filter": { "workflow": "making" } });
    let preview = world
        .expect_status(200, "/api/v1/runs/bulk/preview", request.clone())
        .await;
    assert_eq!(preview["count"], 2, "{preview}");
    let later = making("cat").await;
    request["filter"]["until"] = preview["until"].clone();
    let done = world.expect_status(200, "/api/v1/runs/bulk", request).await;
    assert_eq!(
        (&done["done"], &done["next"], &done["refused"]),
        (&json!(2), &Value::Null, &json!([])),
        "{done}"
    );
    for run in [&one, &two] {
        assert_eq!(
            world.until_status(run, "cancelled").await["steps"][0]["undo"],
            "done"
        );
    }
    for run in [&later, &other] {
        assert_eq!(
            world.json(&format!("/api/v1/runs/{run}")).await["cancel_requested"],
            Value::Null
        );
    }
    let odd = json!({ "action": "retry", "undo": true });
    assert_eq!(
        world.expect_status(422, "/api/v1/runs/bulk", odd).await["parameter"],
        "undo"
    );
    world.close().await;
}
