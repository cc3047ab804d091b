//! Selection and order of claimed runs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use surefoot::store::ClaimRequest;
use surefoot::{AllowList, Run, RunId, Workflow};

use crate::Scene;
use crate::scene::{SECOND, WORK, begin, plan, step};

const MICRO: Duration = Duration::from_micros(1);

async fn queue_at(scene: &Scene, queue: &str, priority: i32, wait: Duration) -> Run {
    let mut run = scene.draft(&plan(queue, &["one"]));
    run.priority = priority;
    run.head.available_at = Some(scene.now() + wait);
    scene.submit(&run).await;
    run
}

/// The highest priority first, then the oldest, over all queues.
pub async fn starts_are_ordered_by_priority_and_age(scene: Scene) {
    let mut runs: Vec<Run> = Vec::new();
    for (queue, priority) in [
        ("a", 0),
        ("b", 5),
        ("a", -3),
        ("b", 0),
        ("a", 5),
        ("c", 0),
        ("a", i32::MAX),
    ] {
        runs.push(queue_at(&scene, queue, priority, Duration::ZERO).await);
    }
    let worker = scene.worker("w").await;
    let expected: Vec<RunId> = [6, 1, 4, 0, 3, 5, 2]
        .map(|index: usize| runs[index].id)
        .to_vec();
    let mut given = scene.claim_ids(worker, 3).await;
    given.extend(scene.claim_ids(worker, 1).await);
    given.extend(scene.claim_ids(worker, 0).await);
    given.extend(scene.claim_ids(worker, 100).await);
    assert_eq!(given, expected);
}

/// A delayed run can be claimed from its time on; earlier claims return that time.
pub async fn a_delayed_run_starts_at_its_time(scene: Scene) {
    let worker = scene.worker("w").await;
    let late = queue_at(&scene, "a", 9, SECOND * 2).await;
    let soon = queue_at(&scene, "a", 0, SECOND).await;
    let claimed = scene.claim(worker, 10).await;
    assert_eq!(
        (claimed.runs, claimed.next_at),
        (vec![], soon.head.available_at)
    );
    scene.clock.advance(SECOND - MICRO);
    assert_eq!(scene.claim_ids(worker, 10).await, []);
    scene.clock.advance(MICRO);
    let claimed = scene.claim(worker, 10).await;
    assert_eq!(
        claimed.runs.iter().map(|run| run.id).collect::<Vec<_>>(),
        [soon.id]
    );
    assert_eq!(claimed.next_at, late.head.available_at);
    scene.clock.advance(SECOND * 5);
    let claimed = scene.claim(worker, 10).await;
    assert_eq!((claimed.runs.len(), claimed.next_at), (1, None));
}

/// A run that waits for its next attempt, or for a time set by its handler, is resumed then.
pub async fn a_waiting_run_is_resumed_at_its_time(scene: Scene) {
    let worker = scene.worker("w").await;
    let run = scene.start(worker, &plan("a", &["one"])).await;
    let run = scene
        .commit(&run, |edit| {
            let position = begin(edit)?;
            edit.retry_step(position, "it broke", SECOND)
        })
        .await;
    assert_eq!(
        scene.claim(worker, 10).await.next_at,
        Some(scene.now() + SECOND)
    );
    scene.clock.advance(SECOND);
    let again = scene.claim_one(worker).await;
    assert_eq!((again.id, again.head.epoch), (run.id, 2));
    let again = scene.commit(&again, step).await;
    assert_eq!(again.steps[0].attempt, 2);
    scene
        .commit(&again, |edit| edit.sleep_step(0, SECOND, Value::Null))
        .await;
    assert_eq!(scene.claim_ids(worker, 10).await, []);
    scene.clock.advance(SECOND);
    let again = scene.claim_one(worker).await;
    assert_eq!(
        scene.commit(&again, step).await.steps[0].attempt,
        2,
        "waking spends no attempt"
    );
}

fn two_actions(queue: &str, second: &str) -> Arc<Workflow> {
    let workflow = Workflow::builder(queue)
        .step("one", WORK)
        .step("two", second);
    Arc::new(workflow.build().expect("the plan is well formed"))
}

/// A worker claims only runs whose actions it all has. The others wait, and block no run.
pub async fn runs_with_unknown_actions_are_not_claimed(scene: Scene) {
    let worker = scene.worker("w").await;
    let mut strange = Vec::new();
    for _ in 0..5 {
        let mut run = scene.draft(&two_actions("a", "test.strange"));
        run.priority = 9;
        scene.submit(&run).await;
        strange.push(run.id);
    }
    let known = scene.queue(&two_actions("a", WORK)).await;
    assert_eq!(scene.claim_ids(worker, 1).await, [known.id]);
    assert_eq!(scene.claim_ids(worker, 10).await, []);

    let actions = Arc::new(BTreeSet::from(["test.strange".to_owned()]));
    let claimed = scene
        .store
        .claim(ClaimRequest {
            worker,
            limit: 10,
            actions,
            workflows: AllowList::default(),
            resources: Arc::default(),
        })
        .await
        .unwrap();
    assert_eq!(claimed.runs, [], "some of its actions are not enough");
    let actions = Arc::new(BTreeSet::from([
        "test.strange".to_owned(),
        WORK.to_owned(),
        "test.more".to_owned(),
    ]));
    let claimed = scene
        .store
        .claim(ClaimRequest {
            worker,
            limit: 10,
            actions,
            workflows: AllowList::default(),
            resources: Arc::default(),
        })
        .await
        .unwrap();
    assert_eq!(
        claimed.runs.iter().map(|run| run.id).collect::<Vec<_>>(),
        strange
    );
}

/// A run is claimed once.
pub async fn a_run_is_claimed_once(scene: Scene) {
    let worker = scene.worker("w").await;
    let run = scene.queue(&plan("a", &["one"])).await;
    assert_eq!(scene.claim_ids(worker, 10).await, [run.id]);
    assert_eq!(scene.claim_ids(worker, 10).await, []);
}

/// A run with a cancel to carry out comes before all others: a person waits for it.
pub async fn a_cancel_goes_first(scene: Scene) {
    let worker = scene.worker("w").await;
    let run = scene.start(worker, &plan("a", &["one"])).await;
    scene.fail(&run).await;
    let urgent = queue_at(&scene, "a", 9, Duration::ZERO).await;
    scene.cancel(&run, surefoot::state::CancelMode::Undo).await;
    assert_eq!(scene.claim_ids(worker, 1).await, [run.id]);
    assert_eq!(scene.claim_ids(worker, 1).await, [urgent.id]);
}
