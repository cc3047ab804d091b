//! The limits of queues, over all that is claimed.

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

/// So many run at once and no more, one queue apart from the other, and a place that is free is filled.
pub async fn concurrency_holds(scene: Scene) {
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

    // A run that waits for its next attempt leaves its place to others.
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

/// So many of one key run at once; the others, and those without a key, go past.
pub async fn concurrency_per_key_holds(scene: Scene) {
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

/// The place of one whose key is full goes to the next in turn, not to one after it that ran before.
pub async fn a_full_key_changes_no_turn(scene: Scene) {
    let (worker, plan) = (scene.worker("w").await, plan("a", &["one"]));
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
        (run.priority, run.concurrency_key) = (1, key.map(str::to_owned));
        scene.submit(&run).await;
        ids.push(run.id);
    }
    assert_eq!(scene.claim_ids(worker, 2).await, [ids[0], ids[3]]);
    assert_eq!(scene.claim_ids(worker, 2).await, [resumed]);
}

/// Never more than `max` starts in any window, whenever the worker asks; and no start later than it need be.
pub async fn the_rate_holds_in_every_window(scene: Scene) {
    let worker = scene.worker("w").await;
    let per = SECOND;
    scene.limits("a", rate(3, per)).await;
    queue_many(&scene, "a", 40).await;
    let mut starts: Vec<Timestamp> = Vec::new();
    // Steps that share no measure with the window, so that it is met at many places.
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

/// The claim says when the rate allows the next start, and then it does.
pub async fn the_rate_says_when(scene: Scene) {
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

/// The clock is set back by an hour: starts that are ahead by then do not stop the queue until it has caught up. Set back by less
/// than the window, they count as ever.
pub async fn a_clock_that_is_set_back_stops_no_queue(scene: Scene) {
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

/// The rate counts first starts: what is taken up again passes, and takes no start from the others.
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

/// A paused queue gives nothing and takes in everything; what runs, runs on.
pub async fn a_paused_queue_gives_nothing(scene: Scene) {
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

/// Limits that are there stay when others are given only to a new queue; a pause is no limit's business.
pub async fn limits_are_given_to_new_queues(scene: Scene) {
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

    // A queue that has had runs and was never given limits is new in this sense.
    scene.queue(&plan("b", &["one"])).await;
    scene
        .store
        .set_queue("b", concurrency(4), true)
        .await
        .unwrap();
    assert_eq!(shown().await[1], ("b".to_owned(), Some(4), false));
}
