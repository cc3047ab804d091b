//! Counts of ended runs and of existing runs.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use surefoot::state::{CancelMode, Edit};
use surefoot::statistics::{Outcome, Span, slot_of};
use surefoot::{RecordChange, RunStatus, Timestamp};

use crate::Scene;
use crate::scene::{LEASE, SECOND, plan, step};

type Counts = BTreeMap<(i64, String, Outcome, u16), u64>;

async fn counts(scene: &Scene, span: Span, since: Timestamp) -> Counts {
    let mut counts = Counts::new();
    for tally in scene.store.tallies(span, since).await.unwrap() {
        *counts
            .entry((tally.at.as_micros(), tally.queue, tally.outcome, tally.slot))
            .or_default() += tally.count;
    }
    counts
}

/// Every commit of a worker and every submission is counted, in batches or alone: alerts depend on
/// their latency.
pub async fn commits_are_counted(scene: Scene) {
    let metrics = scene.store.metrics().expect("a store counts its commits");
    let before = (metrics.group().sum(), metrics.commit().count());
    let worker = scene.worker("w").await;
    let run = scene.start(worker, &plan("a", &["one", "two"])).await;
    let run = scene.commit(&run, step).await;
    let published = |edit: &mut Edit| {
        let record = RecordChange::Put {
            kind: "thing".to_owned(),
            name: "one".to_owned(),
            data: 1.into(),
        };
        edit.complete_step(0, Value::Null, vec![record], None)
    };
    scene.commit(&run, published).await;
    let after = (metrics.group().sum(), metrics.commit().count());
    assert!(
        after.0 - before.0 >= 3.0 && after.1 > before.1,
        "three operations: {before:?} {after:?}"
    );
    assert_eq!(metrics.commit().count(), metrics.group().count());
}

/// Every end is counted once, with its queue, time and the run's duration.
pub async fn ends_are_counted(scene: Scene) {
    let worker = scene.worker("w").await;
    let a = plan("a", &["one"]);
    let b = plan("b", &["one"]);
    let began = scene.now();
    for _ in 0..3 {
        scene.complete(&scene.start(worker, &a).await).await;
    }
    let slow = scene.start(worker, &a).await;
    scene.clock.advance(SECOND * 2);
    scene.complete(&slow).await;
    let failed = scene.fail(&scene.start(worker, &b).await).await;
    let never = scene.queue(&b).await;
    scene.cancel(&never, CancelMode::Stop).await;
    let of = |span: Span, at: Timestamp, queue: &str, outcome, took: Duration| {
        (
            span.beginning(at).as_micros(),
            queue.to_owned(),
            outcome,
            slot_of(took),
        )
    };
    for span in Span::EVERY {
        let mut expected = Counts::new();
        for (at, queue, outcome, took, times) in [
            (began, "a", Outcome::Completed, Duration::ZERO, 3),
            (scene.now(), "a", Outcome::Completed, SECOND * 2, 1),
            (scene.now(), "b", Outcome::Failed, Duration::ZERO, 1),
            (scene.now(), "b", Outcome::Cancelled, Duration::ZERO, 1),
        ] {
            *expected
                .entry(of(span, at, queue, outcome, took))
                .or_default() += times;
        }
        assert_eq!(
            counts(&scene, span, Timestamp::from_micros(0)).await,
            expected,
            "{span:?}"
        );
    }
    // A retried run ends a second time.
    scene.store.retry(failed.id, None, "ann").await.unwrap();
    let again = scene.claim_one(worker).await;
    scene.clock.advance(SECOND * 3600);
    scene.heartbeat(worker).await;
    scene.complete(&again).await;
    let hour = counts(&scene, Span::Hour, Span::Hour.beginning(scene.now())).await;
    assert_eq!(hour.values().sum::<u64>(), 1, "{hour:?}");
    assert_eq!(
        counts(&scene, Span::All, Timestamp::from_micros(0))
            .await
            .values()
            .sum::<u64>(),
        7
    );
}

/// A run reclaimed from a dead worker counts as recovered; one that is handed back does not.
pub async fn recoveries_are_counted(scene: Scene) {
    let dies = scene.worker("dies").await;
    scene.start(dies, &plan("a", &["one"])).await;
    scene.clock.advance(LEASE * 2);
    assert_eq!(scene.reclaim().await.unwrap().len(), 1);
    let found = counts(&scene, Span::All, Timestamp::from_micros(0)).await;
    assert_eq!(
        found,
        Counts::from([((0, "a".to_owned(), Outcome::Recovered, 0), 1)])
    );
}

/// A refused write counts nothing.
pub async fn refused_writes_are_not_counted(scene: Scene) {
    let worker = scene.worker("w").await;
    let run = scene.start(worker, &plan("a", &["one"])).await;
    let mut next = run.clone();
    next.head.commits = scene.complete(&run).await.head.commits;
    scene.refused(&next, crate::scene::complete).await;
    assert_eq!(
        counts(&scene, Span::All, Timestamp::from_micros(0))
            .await
            .values()
            .sum::<u64>(),
        1
    );
}

/// Runs are counted by status, up to a limit.
pub async fn runs_are_counted(scene: Scene) {
    let zoo = super::lists::zoo(&scene).await;
    for &status in RunStatus::ALL {
        let there = zoo.iter().filter(|run| run.head.status == status).count() as u64;
        assert!(there > 0, "the zoo has one of each");
        for limit in [0, 1, 2, 100] {
            assert_eq!(
                scene.store.count_runs(status, limit).await.unwrap(),
                there.min(limit),
                "{status} {limit}"
            );
        }
    }
}
