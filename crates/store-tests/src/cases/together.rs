//! Concurrency: no run is claimed twice, no limit is exceeded, and subscribers receive hints.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use surefoot::state::CancelMode;
use surefoot::store::{ClaimRequest, Submitted};
use surefoot::{AllowList, QueueLimits, Run, RunId};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::Scene;
use crate::scene::{WORK, complete, plan, taken};

async fn claim_at_once(
    scene: &Scene,
    worker: surefoot::WorkerId,
    limit: usize,
    tasks: usize,
) -> Vec<RunId> {
    let mut claims = JoinSet::new();
    for _ in 0..tasks {
        let store = scene.store.clone();
        let request = ClaimRequest {
            worker,
            limit,
            actions: Arc::new(BTreeSet::from([WORK.to_owned()])),
            workflows: AllowList::default(),
            resources: Arc::default(),
        };
        claims.spawn(async move { store.claim(request).await.unwrap().runs });
    }
    claims
        .join_all()
        .await
        .into_iter()
        .flatten()
        .map(|run| run.id)
        .collect()
}

/// Many concurrent claims return every run, each once.
pub async fn concurrent_claims_return_each_run_once(scene: Scene) {
    let worker = scene.worker("w").await;
    let plan = plan("a", &["one"]);
    let mut ids = Vec::new();
    for _ in 0..60 {
        ids.push(scene.queue(&plan).await.id);
    }
    let mut given = claim_at_once(&scene, worker, 7, 12).await;
    given.sort();
    assert_eq!(given, ids);
}

/// Many concurrent claims and starts stay within the queue's concurrency.
pub async fn concurrent_starts_stay_within_the_limit(scene: Scene) {
    let worker = scene.worker("w").await;
    scene
        .limits(
            "a",
            QueueLimits {
                concurrency: Some(5),
                ..QueueLimits::default()
            },
        )
        .await;
    let plan = plan("a", &["one"]);
    let mut starts = JoinSet::new();
    for _ in 0..20 {
        let store = scene.store.clone();
        let run = scene.draft(&plan);
        let queued = crate::scene::first(&run, scene.now());
        let started = Some(taken(&run, worker, scene.now()));
        starts.spawn(async move {
            store
                .submit(surefoot::store::Submission { queued, started })
                .await
                .unwrap()
        });
    }
    let claimed = claim_at_once(&scene, worker, 2, 10).await.len();
    let started = starts
        .join_all()
        .await
        .iter()
        .filter(|became| **became == Submitted::Started)
        .count();
    let rest = claim_at_once(&scene, worker, 2, 10).await.len();
    assert_eq!(claimed + started + rest, 5);
    assert_eq!(scene.store.queues().await.unwrap()[0].running, 5);
}

/// A commit that is sent many times concurrently is written once.
pub async fn concurrent_copies_of_a_commit_are_written_once(scene: Scene) {
    let worker = scene.worker("w").await;
    let run = scene.start(worker, &plan("a", &["one"])).await;
    let mut ends = JoinSet::new();
    for _ in 0..10 {
        let store = scene.store.clone();
        let run = run.clone();
        let now = scene.now();
        ends.spawn(async move {
            let lease = run.lease().unwrap();
            let mut edit = surefoot::state::Edit::new(run, now);
            complete(&mut edit).unwrap();
            store.commit(lease, edit.finish_as_holder().1).await
        });
    }
    let results = ends.join_all().await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(scene.story(run.id).await.len(), 2 + 3);
}

/// Performs an operation and waits for its hint.
async fn heard(hint: &mut watch::Receiver<()>, what: &str, doing: impl Future) {
    hint.mark_unchanged();
    doing.await;
    let changed = tokio::time::timeout(Duration::from_secs(60), hint.changed()).await;
    changed
        .unwrap_or_else(|_| panic!("no hint came of {what}"))
        .unwrap();
}

/// Subscribers receive hints that there may be work, and that a run changed.
pub async fn subscribers_receive_hints(scene: Scene) {
    let worker = scene.worker("w").await;
    let mut hints = scene.store.hints();
    let plan = plan("a", &["one"]);
    heard(&mut hints.work, "a submission", scene.queue(&plan)).await;
    heard(&mut hints.any, "a submission", scene.queue(&plan)).await;
    let held: Vec<Run> = scene.claim(worker, 10).await.runs;
    heard(
        &mut hints.any,
        "a step that begins",
        scene.commit(&held[1], crate::scene::step),
    )
    .await;
    heard(
        &mut hints.work,
        "a cancel",
        scene.cancel(&held[0], CancelMode::Stop),
    )
    .await;
    heard(
        &mut hints.work,
        "a place that is free",
        scene.complete(&held[0]),
    )
    .await;
    heard(
        &mut hints.work,
        "a queue that goes on",
        scene.store.pause_queue("a", false),
    )
    .await;
    let changed = async |hint: &mut watch::Receiver<()>| {
        hint.mark_unchanged();
        scene.store.heartbeat(worker).await.unwrap();
        hint.has_changed().unwrap()
    };
    // A store that starts listening to other processes sends a hint by itself, some time after it
    // was opened.
    let mut tries = 20;
    while changed(&mut hints.any).await {
        tries -= 1;
        assert!(tries > 0, "a heartbeat changes no run");
    }
    scene.clock.advance(crate::scene::LEASE);
    heard(&mut hints.work, "the end of a lease", scene.reclaim()).await;
}
