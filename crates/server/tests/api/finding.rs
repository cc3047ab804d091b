//! Listing runs: each filter by itself and combined, in both orders, page by page.

use std::time::Duration;

use serde_json::{Value, json};
use surefoot::Store as _;

use crate::world::{World, on_each_store};

on_each_store! { filters_find_matching_runs, pages_are_complete_while_runs_are_submitted, records_have_pages }

fn ids(page: &Value) -> Vec<String> {
    page["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| run["id"].as_str().unwrap().to_owned())
        .collect()
}

async fn filters_find_matching_runs(world: World) {
    let keyed =
        |workflow: &str, key: &str| json!({ "workflow": workflow, "key": key, "parameters": {} });
    let greet =
        |key: &str| json!({ "workflow": "greet", "key": key, "parameters": { "name": "ada" } });
    let one = world.submit(greet("team/one")).await;
    let two = world.submit(greet("team/two")).await;
    world.until_status(&two, "running").await;
    // Times have a resolution of 1 ms.
    let later = world.store.now() + Duration::from_millis(1);
    world
        .until("the next millisecond", async || {
            (world.store.now() > later).then_some(())
        })
        .await;
    let failed = world.submit(keyed("halting", "other")).await;
    world.until_status(&failed, "failed").await;
    let asking = world.submit(keyed("asking", "Team/x")).await;
    world.until_status(&asking, "waiting").await;
    let at = |run: &Value| run["created_at"].as_str().unwrap().to_owned();
    let middle = at(&world.json(&format!("/api/v1/runs/{failed}")).await);
    let worker = world.json(&format!("/api/v1/runs/{one}")).await["worker"]
        .as_str()
        .unwrap()
        .to_owned();
    let id_text = format!("text={two}");
    let since = format!("since={middle}");
    let until = format!("until={middle}");
    let both = format!("status=running&until={middle}&text=team");
    let held = format!("worker={worker}");
    let found: [(&str, &[&String]); 13] = [
        ("", &[&asking, &failed, &two, &one]),
        ("status=failed", &[&failed]),
        ("status=running", &[&two, &one]),
        ("workflow=greet", &[&two, &one]),
        ("queue=slow-lane", &[&failed]),
        ("key=team/one", &[&one]),
        ("key=team", &[]),
        ("text=team/", &[&two, &one]),
        (&id_text, &[&two]),
        (&since, &[&asking, &failed]),
        (&until, &[&two, &one]),
        (&both, &[&two, &one]),
        (&held, &[&two, &one]),
    ];
    for (query, expect) in found {
        let query = query.replace('+', "%2B");
        let page = world.json(&format!("/api/v1/runs?{query}")).await;
        let expect: Vec<String> = expect.iter().map(|id| (*id).clone()).collect();
        assert_eq!(
            (ids(&page), &page["next"]),
            (expect.clone(), &Value::Null),
            "{query}"
        );
        let mut oldest = ids(&world
            .json(&format!("/api/v1/runs?{query}&order=oldest"))
            .await);
        oldest.reverse();
        assert_eq!(oldest, expect, "{query}, the oldest first");
    }
    let workers = world.json("/api/v1/workers").await;
    let seen = &workers["workers"][0];
    assert_eq!(
        (&seen["id"], &seen["running"]),
        (&json!(worker), &json!(2)),
        "{workers}"
    );
    assert!(
        seen["actions"]
            .as_array()
            .unwrap()
            .contains(&json!("test.rounds"))
    );
    world.close().await;
}

/// Runs submitted while a client reads the pages are neither missed nor repeated.
async fn pages_are_complete_while_runs_are_submitted(world: World) {
    for order in ["newest", "oldest"] {
        let queue = if order == "newest" {
            "greet"
        } else {
            "slow-lane"
        };
        let new = async || {
            let request = match queue {
                "greet" => json!({ "workflow": "greet", "parameters": { "name": "ada" } }),
                _ => json!({ "workflow": "halting" }),
            };
            world.submit(request).await
        };
        let mut made = vec![
            new().await,
            new().await,
            new().await,
            new().await,
            new().await,
        ];
        let mut seen = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = world
                .json(&format!(
                    "/api/v1/runs?queue={queue}&order={order}&limit=2{cursor}"
                ))
                .await;
            assert!(ids(&page).len() <= 2);
            seen.extend(ids(&page));
            let Some(next) = page["next"].as_str() else {
                break;
            };
            cursor = format!("&cursor={next}");
            if made.len() < 7 {
                made.push(new().await);
            }
        }
        // Newest first, runs submitted after the first page are on no page; oldest first, they are
        // on the last pages.
        if order == "newest" {
            made.truncate(5);
            made.reverse();
        }
        assert_eq!(seen, made, "{order}");
    }
    world.close().await;
}

async fn records_have_pages(world: World) {
    for name in ["ada", "bob", "cat"] {
        let run = world
            .submit(json!({ "workflow": "making", "parameters": { "name": name } }))
            .await;
        let record = format!("/api/v1/records?kind=project&run={run}");
        world
            .until("it is made", async || {
                world.json(&record).await["records"][0]
                    .is_object()
                    .then_some(())
            })
            .await;
    }
    let names = |page: &Value| -> Vec<String> {
        page["records"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let first = world.json("/api/v1/records?kind=project&limit=2").await;
    assert_eq!(
        (names(&first), &first["more"]),
        (vec!["ada".to_owned(), "bob".to_owned()], &json!(true))
    );
    let next = first["next"].as_str().unwrap();
    let last = world
        .json(&format!(
            "/api/v1/records?kind=project&limit=2&after={next}"
        ))
        .await;
    assert_eq!(
        (names(&last), &last["more"], &last["next"]),
        (vec!["cat".to_owned()], &json!(false), &Value::Null)
    );
    assert_eq!(
        names(&world.json("/api/v1/records?prefix=b").await),
        ["bob"]
    );
    assert_eq!(
        names(&world.json("/api/v1/records?kind=repository").await),
        [""; 0]
    );
    world.close().await;
}
