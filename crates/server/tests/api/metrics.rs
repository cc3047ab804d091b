//! `/metrics`: every documented metric exists and changes when it should.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::json;

use crate::world::{On, World};

/// A server with a run of every outcome, one of them after a retry, and a waiting run.
async fn busy() -> World {
    let world = World::with(On::Sqlite, |options| {
        options.alerts.every = std::time::Duration::from_millis(50)
    })
    .await;
    let failed = world.submit(json!({ "workflow": "halting" })).await;
    world.until_status(&failed, "failed").await;
    let asking = world.submit(json!({ "workflow": "asking" })).await;
    world.until_status(&asking, "waiting").await;
    world
        .until("it is told of", async || {
            (world
                .metric("surefoot_alerts_firing{rule=\"answer\"}")
                .await
                == 1.0)
                .then_some(())
        })
        .await;
    world
}

/// The names of metrics in a text, without a trailing `*`.
fn names(text: &str) -> BTreeSet<&str> {
    let found = text.match_indices("surefoot_").map(|(at, _)| &text[at..]);
    found
        .map(|rest| {
            let end = rest.find(|letter: char| !(letter.is_ascii_lowercase() || letter == '_'));
            &rest[..end.unwrap_or(rest.len())]
        })
        .collect()
}

/// The labels in an expression: `by (queue, le)`, `{outcome="failed"}`.
fn labels(expression: &str) -> BTreeSet<&str> {
    let by = expression
        .split("by (")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .flat_map(|list| list.split(','));
    let chosen = expression
        .split('{')
        .skip(1)
        .filter_map(|rest| rest.split('}').next());
    let chosen = chosen
        .flat_map(|list| list.split(','))
        .filter_map(|pair| pair.split('=').next());
    by.chain(chosen).map(str::trim).collect()
}

#[tokio::test]
async fn documented_metrics_exist_with_their_labels() {
    let world = busy().await;
    let page = world.get("/metrics").await.text().await.unwrap();
    let mut there: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for sample in page.lines().filter(|line| !line.starts_with('#')) {
        let (name, _) = sample.rsplit_once(' ').unwrap();
        there
            .entry(name.split('{').next().unwrap())
            .or_default()
            .extend(labels(name));
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operations.md");
    let document = std::fs::read_to_string(file).unwrap();
    let (_, metrics) = document.split_once("## Metrics\n").unwrap();
    let metrics = metrics.split("\n## ").next().unwrap();
    for name in names(metrics) {
        // A family is named by its prefix, a histogram without the suffixes of its samples.
        assert!(
            there.keys().any(|known| known.starts_with(name)),
            "there is no {name} in\n{page}"
        );
    }
    let mut rules = 0;
    for rule in metrics.split("expr:").skip(1) {
        let rule = rule.split("- alert:").next().unwrap();
        for name in names(rule) {
            let known = there
                .get(name)
                .unwrap_or_else(|| panic!("there is no {name}, which a rule reads"));
            for label in labels(rule) {
                assert!(known.contains(label), "{name} has no label {label}: {rule}");
            }
            rules += 1;
        }
    }
    assert!(rules >= 5, "the rules were found: {rules}");
    world.close().await;
}

#[tokio::test]
async fn metrics_change_with_their_events() {
    let world = busy().await;
    let seen = async |name: &str| world.metric(name).await;
    assert_eq!(
        seen("surefoot_runs_total{queue=\"slow-lane\",outcome=\"failed\"}").await,
        1.0
    );
    assert_eq!(
        seen("surefoot_run_duration_seconds_count{queue=\"slow-lane\",outcome=\"failed\"}").await,
        1.0
    );
    assert_eq!(
        seen("surefoot_step_retries_total").await,
        1.0,
        "of two attempts the first was followed by another"
    );
    assert_eq!(
        seen("surefoot_step_attempt_seconds_count{action=\"test.fail\",outcome=\"failed\"}").await,
        2.0
    );
    assert_eq!(
        seen("surefoot_step_attempt_seconds_count{action=\"approval\",outcome=\"suspended\"}")
            .await,
        1.0
    );
    assert_eq!(
        seen("surefoot_queue_runs{queue=\"asking\",status=\"waiting\"}").await,
        1.0
    );

    // A run that no worker can claim waits longer and longer.
    let greeted = world.greet("ada").await;
    world.until_status(&greeted, "running").await;
    let oldest = "surefoot_queue_oldest_waiting_seconds{queue=\"greet\"}";
    assert_eq!(
        world
            .metrics([
                oldest,
                "surefoot_queue_runs{queue=\"greet\",status=\"running\"}"
            ])
            .await,
        [0.0, 1.0]
    );
    world
        .expect_status(200, "/api/v1/queues/greet/pause", json!({}))
        .await;
    world.greet("bob").await;
    assert_eq!(seen("surefoot_queue_paused{queue=\"greet\"}").await, 1.0);
    let first = world
        .until("it waits", async || {
            Some(seen(oldest).await).filter(|waited| *waited > 0.0)
        })
        .await;
    world
        .until("it waits longer", async || {
            (seen(oldest).await > first).then_some(())
        })
        .await;

    // Each commit is counted, with at least one operation.
    let commits = [
        "seconds_count",
        "seconds_sum",
        "operations_count",
        "operations_sum",
    ];
    let commits = commits.map(|name| format!("surefoot_store_commit_{name}"));
    let commits = commits.each_ref().map(String::as_str);
    // The two are read one after the other, so a page written in between is read again.
    let commits = async || {
        let whole = async || {
            Some(world.metrics(commits).await).filter(|[count, _, groups, _]| count == groups)
        };
        world.until("each is counted by both", whole).await
    };
    let before = commits().await;
    world
        .expect_status(200, "/api/v1/queues/greet/resume", json!({}))
        .await;
    world.rounds.send_replace(u64::MAX);
    world.until_status(&greeted, "completed").await;
    let after = commits().await;
    let [count, seconds, _, operations] = std::array::from_fn(|at| after[at] - before[at]);
    assert!(
        count > 0.0 && seconds > 0.0 && operations >= count,
        "{before:?} {after:?}"
    );
    world
        .until("nothing waits", async || {
            (seen(oldest).await == 0.0).then_some(())
        })
        .await;
    assert!(
        seen("surefoot_run_duration_seconds_sum{queue=\"greet\",outcome=\"completed\"}").await
            > 0.0
    );
    world.close().await;
}
