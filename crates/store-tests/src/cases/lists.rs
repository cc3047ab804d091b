//! Lists: runs by filter and page, queues with their counts.

use surefoot::state::CancelMode;
use surefoot::store::RunFilter;
use surefoot::{QueueLimits, Run, RunId, RunStatus, StoreError, WorkerId};

use crate::Scene;
use crate::scene::{SECOND, begin, plan};

/// A run of each status, in two workflows.
pub(super) async fn zoo(scene: &Scene) -> Vec<Run> {
    let worker = scene.worker("w").await;
    let a = plan("a", &["one"]);
    let b = plan("b", &["one"]);
    let mut ids = Vec::new();
    ids.push(scene.complete(&scene.start(worker, &a).await).await.id);
    ids.push(scene.fail(&scene.start(worker, &b).await).await.id);
    ids.push(scene.start(worker, &a).await.id);
    let asking = scene.start(worker, &b).await;
    let ask = |edit: &mut surefoot::state::Edit| {
        let position = begin(edit)?;
        edit.ask_step(position, "go on?", serde_json::Value::Null)
    };
    ids.push(scene.commit(&asking, ask).await.id);
    let retrying = scene.start(worker, &a).await;
    let retry = |edit: &mut surefoot::state::Edit| {
        let position = begin(edit)?;
        edit.retry_step(position, "it broke", SECOND)
    };
    ids.push(scene.commit(&retrying, retry).await.id);
    let mut keyed = scene.draft(&a);
    keyed.key = Some("k".to_owned());
    scene.submit(&keyed).await;
    ids.push(scene.cancel(&keyed, CancelMode::Stop).await.id);
    let mut keyed = scene.draft(&a);
    keyed.key = Some("k".to_owned());
    keyed.head.available_at = Some(scene.now() + SECOND);
    scene.submit(&keyed).await;
    ids.push(keyed.id);
    ids.push(scene.queue(&b).await.id);
    let mut runs = Vec::new();
    for id in ids {
        runs.push(scene.get(id).await);
    }
    runs
}

/// Every filter, alone and combined, returns the matching runs, newest first.
pub async fn runs_are_listed_by_filter(scene: Scene) {
    let zoo = zoo(&scene).await;
    let statuses = RunStatus::ALL
        .iter()
        .map(|status| Some(*status))
        .chain([None]);
    for status in statuses {
        for (workflow, queue, key) in [
            (None, None, None),
            (Some("a"), None, None),
            (None, Some("b"), None),
            (None, None, Some("k")),
            (Some("a"), Some("a"), Some("k")),
            (Some("a"), Some("b"), None),
        ] {
            let filter = RunFilter {
                status,
                workflow: workflow.map(str::to_owned),
                queue: queue.map(str::to_owned),
                key: key.map(str::to_owned),
                ..RunFilter::default()
            };
            let fits = |run: &&Run| {
                status.is_none_or(|status| run.head.status == status)
                    && workflow.is_none_or(|workflow| run.plan.name() == workflow)
                    && queue.is_none_or(|queue| run.queue() == queue)
                    && key.is_none_or(|key| run.key.as_deref() == Some(key))
            };
            let expected: Vec<Run> = zoo.iter().rev().filter(fits).cloned().collect();
            assert_eq!(
                scene.store.runs(filter.clone()).await.unwrap(),
                expected,
                "{filter:?}"
            );
        }
    }
}

/// Pages follow one another without a gap or a duplicate, with filters too.
pub async fn runs_are_listed_in_pages(scene: Scene) {
    let zoo = zoo(&scene).await;
    for workflow in [None, Some("a".to_owned())] {
        for limit in [1, 2, 3, 100] {
            let mut filter = RunFilter {
                workflow: workflow.clone(),
                limit,
                ..RunFilter::default()
            };
            let mut ids: Vec<RunId> = Vec::new();
            loop {
                let page = scene.store.runs(filter.clone()).await.unwrap();
                assert!(page.len() <= limit);
                let Some(last) = page.last() else { break };
                assert!(
                    !ids.contains(&last.id),
                    "a page goes on where the one before ended"
                );
                filter.before = Some(last.id);
                ids.extend(page.iter().map(|run| run.id));
            }
            let fits = |run: &&Run| {
                workflow
                    .as_deref()
                    .is_none_or(|workflow| run.plan.name() == workflow)
            };
            assert_eq!(
                ids,
                zoo.iter()
                    .rev()
                    .filter(fits)
                    .map(|run| run.id)
                    .collect::<Vec<_>>()
            );
        }
    }
    let none = scene
        .store
        .runs(RunFilter {
            limit: 0,
            ..RunFilter::default()
        })
        .await
        .unwrap();
    assert_eq!(none, []);
}

/// Queues count their waiting and running runs. A queue with only ended runs is still listed.
pub async fn queues_count_their_runs(scene: Scene) {
    zoo(&scene).await;
    scene.store.pause_queue("paused", true).await.unwrap();
    scene
        .limits(
            "limited",
            QueueLimits {
                concurrency: Some(7),
                ..QueueLimits::default()
            },
        )
        .await;
    let gone = scene.queue(&plan("gone", &["one"])).await;
    scene.cancel(&gone, CancelMode::Stop).await;
    let shown = async || {
        let queues = scene.store.queues().await.unwrap();
        queues
            .into_iter()
            .map(|queue| (queue.name, queue.queued, queue.waiting, queue.running))
            .collect::<Vec<_>>()
    };
    let expected = |a: (u64, u64, u64)| {
        [
            ("a", a.0, a.1, a.2),
            ("b", 1, 1, 0),
            ("gone", 0, 0, 0),
            ("limited", 0, 0, 0),
            ("paused", 0, 0, 0),
        ]
        .map(|(name, queued, waiting, running)| (name.to_owned(), queued, waiting, running))
    };
    assert_eq!(shown().await, expected((1, 1, 1)));
    // Reaching a run's time changes no count: it waits until it is claimed.
    scene.clock.advance(SECOND * 2);
    assert_eq!(shown().await, expected((1, 1, 1)));
}

/// All limits of a queue are shown as they were set.
pub async fn queues_keep_their_limits(scene: Scene) {
    use std::time::Duration;
    use surefoot::{AllowList, AllowLists, Rate, Retention, RetentionLimit};
    let keep = |age: u64, count: u64| RetentionLimit {
        age: Some(Duration::from_micros(age)),
        count: Some(count),
    };
    let limits = QueueLimits {
        concurrency: Some(u32::MAX),
        concurrency_per_key: Some(0),
        rate: Some(Rate {
            max: 5,
            per: Duration::from_micros(1_000_001),
        }),
        retention: Retention {
            completed: keep(1, 2),
            failed: keep(3, 4),
            cancelled: RetentionLimit {
                age: None,
                count: Some(0),
            },
        },
        allow: AllowLists {
            workflows: AllowList::new(["a", "größe-*", "50%_\\"]).unwrap(),
            actions: AllowList::parse("").unwrap(),
        },
    };
    scene.limits("größe", limits.clone()).await;
    assert_eq!(scene.store.queues().await.unwrap()[0].limits, limits);
    assert_eq!(scene.store.queues().await.unwrap()[0].name, "größe");
}

/// Adding a run twice is refused, and overwrites nothing.
pub async fn a_run_is_added_once(scene: Scene) {
    let run = scene.queue(&plan("a", &["one"])).await;
    let before = scene.picture().await;
    let again = surefoot::store::Submission {
        queued: crate::scene::first(&run, scene.now()),
        started: None,
    };
    let result = scene.store.submit(again).await;
    assert!(matches!(result, Err(StoreError::Fault(_))), "{result:?}");
    assert_eq!(scene.picture().await, before);
}

async fn listed(scene: &Scene, filter: RunFilter) -> Vec<RunId> {
    scene
        .store
        .runs(filter)
        .await
        .unwrap()
        .into_iter()
        .map(|run| run.id)
        .collect()
}

/// By submission time, to the millisecond, and by the holder of the lease.
pub async fn runs_are_listed_by_time_and_holder(scene: Scene) {
    let worker = scene.worker("w").await;
    let plan = plan("a", &["one"]);
    let begin = scene.now();
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(scene.start(worker, &plan).await.id);
        scene.clock.advance(SECOND);
    }
    ids.push(scene.queue(&plan).await.id);
    for (since, until, expected) in [
        (Some(0), None, &ids[..]),
        (Some(1), None, &ids[1..]),
        (Some(4), None, &[]),
        (None, Some(0), &[]),
        (None, Some(2), &ids[..2]),
        (Some(1), Some(3), &ids[1..3]),
    ] {
        let at = |seconds: Option<u32>| seconds.map(|seconds| begin + SECOND * seconds);
        let filter = RunFilter {
            since: at(since),
            until: at(until),
            ..RunFilter::default()
        };
        let newest_first: Vec<RunId> = expected.iter().rev().copied().collect();
        assert_eq!(
            listed(&scene, filter.clone()).await,
            newest_first,
            "{filter:?}"
        );
        let filter = RunFilter {
            oldest_first: true,
            ..filter
        };
        assert_eq!(listed(&scene, filter.clone()).await, expected, "{filter:?}");
    }
    let held = |worker, status| RunFilter {
        worker: Some(worker),
        status,
        ..RunFilter::default()
    };
    scene.complete(&scene.get(ids[1]).await).await;
    assert_eq!(listed(&scene, held(worker, None)).await, [ids[2], ids[0]]);
    assert_eq!(
        listed(&scene, held(worker, Some(RunStatus::Running))).await,
        [ids[2], ids[0]]
    );
    assert_eq!(
        listed(&scene, held(worker, Some(RunStatus::Queued))).await,
        []
    );
    assert_eq!(listed(&scene, held(WorkerId::new(), None)).await, []);
}

/// However long ago they were submitted, and combined with other filters.
pub async fn failed_runs_are_listed_by_when_they_failed(scene: Scene) {
    let worker = scene.worker("w").await;
    let plans = ["a", "a", "b", "a"].map(|name| plan(name, &["one"]));
    let mut runs = Vec::new();
    for plan in &plans {
        runs.push(scene.start(worker, plan).await);
    }
    let begin = scene.now();
    // The oldest fails last; the newest does not fail.
    for run in runs[..3].iter().rev() {
        scene.clock.advance(SECOND);
        scene.fail(run).await;
    }
    scene.complete(&runs[3]).await;
    let ids: Vec<RunId> = runs.iter().map(|run| run.id).collect();
    let since = |seconds: u32| RunFilter {
        failed_since: Some(begin + SECOND * seconds),
        ..RunFilter::default()
    };
    assert_eq!(listed(&scene, since(0)).await, [ids[2], ids[1], ids[0]]);
    assert_eq!(listed(&scene, since(2)).await, [ids[1], ids[0]]);
    assert_eq!(listed(&scene, since(4)).await, []);
    assert_eq!(
        listed(
            &scene,
            RunFilter {
                oldest_first: true,
                limit: 1,
                ..since(2)
            }
        )
        .await,
        [ids[0]]
    );
    assert_eq!(
        listed(
            &scene,
            RunFilter {
                oldest_first: true,
                before: Some(ids[0]),
                ..since(2)
            }
        )
        .await,
        [ids[1]]
    );
    assert_eq!(
        listed(
            &scene,
            RunFilter {
                queue: Some("b".to_owned()),
                ..since(0)
            }
        )
        .await,
        [ids[2]]
    );
    assert_eq!(
        listed(
            &scene,
            RunFilter {
                workflow: Some("a".to_owned()),
                ..since(0)
            }
        )
        .await,
        [ids[1], ids[0]]
    );
    assert_eq!(
        listed(
            &scene,
            RunFilter {
                status: Some(RunStatus::Failed),
                ..since(3)
            }
        )
        .await,
        [ids[0]]
    );
    assert_eq!(
        listed(
            &scene,
            RunFilter {
                status: Some(RunStatus::Completed),
                ..since(0)
            }
        )
        .await,
        []
    );
    assert_eq!(
        listed(
            &scene,
            RunFilter {
                worker: Some(worker),
                ..since(0)
            }
        )
        .await,
        []
    );
    assert_eq!(
        listed(
            &scene,
            RunFilter {
                text: Some(ids[1].to_string()),
                ..since(0)
            }
        )
        .await,
        [ids[1]]
    );
    assert_eq!(
        listed(
            &scene,
            RunFilter {
                text: Some("none".to_owned()),
                ..since(0)
            }
        )
        .await,
        []
    );
    scene.store.retry(ids[0], None, "ann").await.unwrap();
    assert_eq!(
        listed(&scene, since(0)).await,
        [ids[2], ids[1]],
        "it is queued again"
    );
}

/// By a prefix of the key or of the unique value, or by the whole id.
pub async fn runs_are_found_by_text(scene: Scene) {
    let plan = plan("a", &["one"]);
    let mut runs = Vec::new();
    for (key, unique) in [
        (Some("shop-1"), None),
        (Some("shop-2"), Some("x")),
        (None, Some("shop")),
        (Some("Shop"), None),
        (None, None),
        (Some("größe"), None),
    ] {
        let mut run = scene.draft(&plan);
        run.key = key.map(str::to_owned);
        run.unique = unique.map(str::to_owned);
        scene.submit(&run).await;
        runs.push(run);
    }
    scene.cancel(&runs[1], CancelMode::Stop).await;
    let whole = runs[4].id.to_string();
    for (text, status, expected) in [
        ("shop", None, &[2, 1, 0][..]),
        ("shop-", None, &[1, 0]),
        ("shop-", Some(RunStatus::Cancelled), &[1]),
        ("shop-1", None, &[0]),
        ("x", None, &[1]),
        ("grö", None, &[5]),
        ("%", None, &[]),
        ("hop", None, &[]),
        (whole.as_str(), None, &[4]),
    ] {
        let filter = RunFilter {
            text: Some(text.to_owned()),
            status,
            ..RunFilter::default()
        };
        let expected: Vec<RunId> = expected
            .iter()
            .map(|index: &usize| runs[*index].id)
            .collect();
        assert_eq!(listed(&scene, filter).await, expected, "{text} {status:?}");
    }
}

/// Every listing can be reversed, in pages too.
pub async fn every_listing_can_be_reversed(scene: Scene) {
    zoo(&scene).await;
    let statuses = RunStatus::ALL
        .iter()
        .map(|status| Some(*status))
        .chain([None]);
    for status in statuses {
        for key in [None, Some("k".to_owned())] {
            let newest = RunFilter {
                status,
                key,
                ..RunFilter::default()
            };
            let mut expected = listed(&scene, newest.clone()).await;
            expected.reverse();
            let mut page = RunFilter {
                oldest_first: true,
                limit: 1,
                ..newest
            };
            let mut found = Vec::new();
            while let [id] = listed(&scene, page.clone()).await[..] {
                found.push(id);
                page.before = Some(id);
            }
            assert_eq!(found, expected, "{page:?}");
        }
    }
}
