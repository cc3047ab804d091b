//! Limits of queues, over all claims.

use std::time::Duration;

use surefoot::store::Submitted;
use surefoot::{QueueLimits, Rate, Run, RunId, Timestamp};

use crate::Scene;
use crate::scene::{SECOND, begin, plan};

const MICRO: Duration = Duration::from_micros(1);

async fn queue_many(scene: &Scene, queue: &str, count: usize) -> Vec<RunId> {
    let plan = plan(queue, &["one"]);
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(scene.queue(&plan).await.id);
    }
    ids
}

fn concurrency(max: u32) -> QueueLimits {
    QueueLimits {
        concurrency: Some(max),
        ..QueueLimits::default()
    }
}

fn rate(max: u32, per: Duration) -> QueueLimits {
    QueueLimits {
        rate: Some(Rate { max, per }),
        ..QueueLimits::default()
    }
}

/// The concurrency limit of each queue holds separately, and a free slot is filled.
pub async fn the_concurrency_limit_holds(scene: Scene) {
    let worker = scene.worker("w").await;
    scene.limits("a", concurrency(2)).await;
    let ids = queue_many(&scene, "a", 4).await;
    let free = queue_many(&scene, "b", 1).await;
    let claimed = scene.claim(worker, 10).await;
    assert_eq!(
        claimed.runs.iter().map(|run| run.id).collect::<Vec<_>>(),
        [ids[0], ids[1], free[0]]
    );
    assert_eq!(scene.claim_ids(worker, 10).await, []);
    scene.complete(&claimed.runs[1]).await;
    assert_eq!(scene.claim_ids(worker, 10).await, [ids[2]]);

    // A run that waits for its next attempt frees its slot.
    scene
        .commit(&claimed.runs[0], |edit| {
            let position = begin(edit)?;
            edit.retry_step(position, "it broke", Duration::ZERO)
        })
        .await;
    assert_eq!(
        scene.claim_ids(worker, 10).await,
        [ids[0]],
        "the older one takes it up again first"
    );
    scene.limits("a", concurrency(3)).await;
    assert_eq!(scene.claim_ids(worker, 10).await, [ids[3]]);
}

/// The concurrency limit per key holds; other runs of the queue pass those that wait for it.
pub async fn the_concurrency_limit_per_key_holds(scene: Scene) {
    let worker = scene.worker("w").await;
    scene
        .limits(
            "a",
            QueueLimits {
                concurrency_per_key: Some(1),
                ..QueueLimits::default()
            },
        )
        .await;
    let mut runs: Vec<Run> = Vec::new();
    for (queue, key) in [
        ("a", Some("x")),
        ("a", Some("x")),
        ("a", Some("y")),
        ("a", None),
        ("a", None),
        ("b", Some("x")),
    ] {
        let mut run = scene.draft(&plan(queue, &["one"]));
        run.concurrency_key = key.map(str::to_owned);
        scene.submit(&run).await;
        runs.push(run);
    }
    let claimed = scene.claim(worker, 10).await.runs;
    let ids: Vec<RunId> = claimed.iter().map(|run| run.id).collect();
    assert_eq!(ids, [0, 2, 3, 4, 5].map(|index: usize| runs[index].id));
    scene.complete(&claimed[0]).await;
    assert_eq!(scene.claim_ids(worker, 10).await, [runs[1].id]);
}

/// If a run's key is full, its turn goes to the next run in order, not to a later one that ran
/// before.
pub async fn a_full_key_does_not_change_the_order(scene: Scene) {
    let worker = scene.worker("w").await;
    let plan = plan("a", &["one"]);
    scene
        .limits(
            "a",
            QueueLimits {
                concurrency_per_key: Some(1),
                ..QueueLimits::default()
            },
        )
        .await;
    let resumed = scene.queue(&plan).await.id;
    let claimed = scene.claim(worker, 1).await;
    scene
        .commit(&claimed.runs[0], |edit| {
            let position = begin(edit)?;
            edit.retry_step(position, "it broke", Duration::ZERO)
        })
        .await;
    let mut ids = Vec::new();
    for key in [Some("x"), Some("x"), Some("x"), None] {
        let mut run = scene.draft(&plan);
        run.priority = 1;
        run.concurrency_key = key.map(str::to_owned);
        scene.submit(&run).await;
        ids.push(run.id);
    }
    assert_eq!(scene.claim_ids(worker, 2).await, [ids[0], ids[3]]);
    assert_eq!(scene.claim_ids(worker, 2).await, [resumed]);
}

/// Never more than `max` starts in any window, whenever the worker claims, and no start later than
/// necessary.
pub async fn the_rate_holds_in_every_window(scene: Scene) {
    let worker = scene.worker("w").await;
    let per = SECOND;
    scene.limits("a", rate(3, per)).await;
    queue_many(&scene, "a", 40).await;
    let mut starts: Vec<Timestamp> = Vec::new();
    // Intervals without a common divisor with the window, so that it is tested at many offsets.
    for round in 0..200u32 {
        let claimed = scene.claim(worker, 1 + (round as usize % 4)).await;
        starts.extend(claimed.runs.iter().map(|run| run.head.started_at.unwrap()));
        scene.clock.advance(Duration::from_micros(
            70_001 + u64::from(round % 7) * 13_000,
        ));
    }
    assert_eq!(starts.len(), 40);
    for window in starts.windows(4) {
        assert!(
            window[3].since(window[0]) >= per,
            "four starts within {:?}",
            window[3].since(window[0])
        );
    }
    let longest = starts
        .windows(4)
        .map(|window| window[3].since(window[0]))
        .max()
        .unwrap();
    assert!(
        longest < per + Duration::from_millis(600),
        "a start came late: {longest:?}"
    );
}

/// The claim returns the time at which the rate allows the next start, and then it succeeds.
pub async fn a_claim_returns_when_the_rate_allows_the_next_start(scene: Scene) {
    let worker = scene.worker("w").await;
    scene.limits("a", rate(2, SECOND)).await;
    let ids = queue_many(&scene, "a", 4).await;
    assert_eq!(scene.claim_ids(worker, 1).await, ids[..1]);
    scene.clock.advance(SECOND / 4);
    let claimed = scene.claim(worker, 10).await;
    assert_eq!(claimed.runs.len(), 1);
    assert_eq!(claimed.next_at, Some(scene.now() + SECOND / 4 * 3));
    scene.clock.advance(SECOND / 4 * 3 - MICRO);
    let claimed = scene.claim(worker, 10).await;
    assert_eq!(
        (claimed.runs.len(), claimed.next_at),
        (0, Some(scene.now() + MICRO))
    );
    scene.clock.advance(MICRO);
    assert_eq!(scene.claim_ids(worker, 10).await, [ids[2]]);
    scene.clock.advance(SECOND / 4);
    assert_eq!(scene.claim_ids(worker, 10).await, [ids[3]]);
}

/// The clock is set back by an hour: starts in the future do not block the queue until the clock
/// has caught up. Set back by less than the window, they still count.
pub async fn a_clock_set_back_does_not_block_a_queue(scene: Scene) {
    let worker = scene.worker("w").await;
    let per = SECOND * 10;
    scene.limits("a", rate(2, per)).await;
    let plan = plan("a", &["one"]);
    scene.start(worker, &plan).await;
    scene.start(worker, &plan).await;
    scene.clock.set_back(SECOND);
    assert_eq!(
        scene.submit_on(worker, &scene.draft(&plan)).await,
        Submitted::Queued
    );
    let claimed = scene.claim(worker, 10).await;
    assert_eq!(
        (claimed.runs.len(), claimed.next_at),
        (0, Some(scene.now() + SECOND * 11))
    );
    scene.clock.advance(SECOND * 11);
    assert_eq!(scene.claim(worker, 10).await.runs.len(), 1);

    scene.clock.set_back(SECOND * 3600);
    for became in [Submitted::Started, Submitted::Started, Submitted::Queued] {
        assert_eq!(scene.submit_on(worker, &scene.draft(&plan)).await, became);
    }
    let claimed = scene.claim(worker, 10).await;
    assert_eq!(
        (claimed.runs.len(), claimed.next_at),
        (0, Some(scene.now() + per))
    );
    scene.clock.advance(per);
    assert_eq!(scene.claim(worker, 10).await.runs.len(), 1);
}

/// The rate counts first starts: a resumed run passes, and takes no start from the others.
pub async fn the_rate_counts_first_starts(scene: Scene) {
    let worker = scene.worker("w").await;
    scene.limits("a", rate(1, SECOND * 10)).await;
    let ids = queue_many(&scene, "a", 2).await;
    let run = scene.claim_one(worker).await;
    scene
        .commit(&run, |edit| {
            edit.interrupt(surefoot::state::Interruption::HandedBack, "it stops")
        })
        .await;
    scene.clock.advance(SECOND);
    assert_eq!(scene.claim_ids(worker, 10).await, ids[..1]);
    scene.clock.advance(SECOND * 9);
    assert_eq!(scene.claim_ids(worker, 10).await, ids[1..]);
}

/// A paused queue accepts submissions and hands out nothing; running runs continue.
pub async fn a_paused_queue_hands_out_nothing(scene: Scene) {
    let worker = scene.worker("w").await;
    let plan = plan("a", &["one"]);
    let held = scene.start(worker, &plan).await;
    let again = scene.start(worker, &plan).await;
    scene.store.pause_queue("a", true).await.unwrap();
    let waiting = scene.queue(&plan).await;
    scene
        .commit(&again, |edit| {
            edit.interrupt(surefoot::state::Interruption::HandedBack, "it stops")
        })
        .await;
    assert_eq!(scene.claim_ids(worker, 10).await, []);
    scene.complete(&held).await;
    scene.store.pause_queue("a", false).await.unwrap();
    assert_eq!(scene.claim_ids(worker, 10).await, [again.id, waiting.id]);
}

/// Default limits apply only to a new queue and never change existing ones; a pause is not a limit.
pub async fn default_limits_apply_only_to_new_queues(scene: Scene) {
    let shown = async || {
        let queues = scene.store.queues().await.unwrap();
        queues
            .into_iter()
            .map(|queue| (queue.name, queue.limits.concurrency, queue.paused))
            .collect::<Vec<_>>()
    };
    scene
        .store
        .set_queue("a", concurrency(1), true)
        .await
        .unwrap();
    assert_eq!(shown().await, [("a".to_owned(), Some(1), false)]);
    scene
        .store
        .set_queue("a", concurrency(2), true)
        .await
        .unwrap();
    assert_eq!(shown().await, [("a".to_owned(), Some(1), false)]);
    scene.store.pause_queue("a", true).await.unwrap();
    scene
        .store
        .set_queue("a", concurrency(3), false)
        .await
        .unwrap();
    assert_eq!(shown().await, [("a".to_owned(), Some(3), true)]);
    scene
        .store
        .set_queue("a", QueueLimits::default(), false)
        .await
        .unwrap();
    assert_eq!(shown().await, [("a".to_owned(), None, true)]);
    scene.store.pause_queue("a", false).await.unwrap();
    assert_eq!(shown().await, [("a".to_owned(), None, false)]);

    // A queue that has had runs but was never given limits is new in this sense.
    scene.queue(&plan("b", &["one"])).await;
    scene
        .store
        .set_queue("b", concurrency(4), true)
        .await
        .unwrap();
    assert_eq!(shown().await[1], ("b".to_owned(), Some(4), false));
}
