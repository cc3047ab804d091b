//! Runs are claimed only by workers that offer what they require.

use std::time::Duration;

use serde_json::Value;
use surefoot::state::CancelMode;
use surefoot::store::{NewWorker, Submission};
use surefoot::{AllowList, Run, RunId, RunStatus, WorkerId};

use crate::Scene;
use crate::scene::{LEASE, SECOND, begin, complete, first, forbidden, names, plan, step};

async fn queue(scene: &Scene, requires: &[&str], priority: i32) -> Run {
    let mut run = scene.draft(&plan("a", &["one", "two"]));
    run.requires = names(requires);
    run.priority = priority;
    scene.submit(&run).await;
    run
}

async fn given(scene: &Scene, worker: WorkerId, resources: &[&str]) -> Vec<RunId> {
    scene
        .claim_with(worker, resources, 10)
        .await
        .runs
        .iter()
        .map(|run| run.id)
        .collect()
}

/// Runs with requirements that no worker offers wait, however many and urgent they are, and delay
/// no other run.
pub async fn a_run_waits_for_a_worker_that_offers_its_requirements(scene: Scene) {
    let worker = scene.worker("w").await;
    let mut both = Vec::new();
    for _ in 0..5 {
        both.push(queue(&scene, &["forge:1", "key:1"], 9).await.id);
    }
    let forge = queue(&scene, &["forge:1"], 5).await;
    let plain = queue(&scene, &[], 0).await;
    assert_eq!(scene.claim_with(worker, &[], 1).await.runs[0].id, plain.id);
    assert_eq!(given(&scene, worker, &["forge:2", "key:2"]).await, []);
    assert_eq!(
        given(&scene, worker, &["forge:1", "forge:2"]).await,
        [forge.id]
    );
    assert_eq!(given(&scene, worker, &["key:1"]).await, []);
    assert_eq!(
        given(&scene, worker, &["forge:1", "key:1", "more"]).await,
        both
    );
}

/// A resumed run, and one with a cancel to carry out, also require a worker that offers everything.
pub async fn every_claim_checks_requirements(scene: Scene) {
    let worker = scene.worker("w").await;
    let run = queue(&scene, &["forge:1"], 0).await;
    let taken = scene
        .claim_with(worker, &["forge:1"], 10)
        .await
        .runs
        .remove(0);
    let slept = scene.commit(&taken, |edit| {
        begin(edit)?;
        edit.sleep_step(0, SECOND, Value::Null)
    });
    slept.await;
    assert_eq!(
        scene.claim_with(worker, &["forge:1"], 10).await.next_at,
        Some(scene.now() + SECOND)
    );
    scene.clock.advance(SECOND);
    assert_eq!(given(&scene, worker, &[]).await, []);
    let taken = scene
        .claim_with(worker, &["forge:1"], 10)
        .await
        .runs
        .remove(0);
    scene.fail(&taken).await;
    scene.cancel(&run, CancelMode::Undo).await;
    assert_eq!(given(&scene, worker, &["forge:2"]).await, []);
    assert_eq!(given(&scene, worker, &["forge:1"]).await, [run.id]);
}

/// The requirements of a run change in the commit of a step, and survive everything that happens to
/// the run afterwards.
pub async fn a_commit_changes_requirements(scene: Scene) {
    let worker = scene.worker("w").await;
    queue(&scene, &["forge:local", "key:1"], 0).await;
    let run = scene
        .claim_with(worker, &["forge:local", "key:1"], 1)
        .await
        .runs
        .remove(0);
    let run = scene.commit(&run, |edit| {
        let position = begin(edit)?;
        edit.complete_step(position, Value::Null, Vec::new(), None)?;
        edit.require(&["forge:1".to_owned()], &["forge:local".to_owned()]);
        step(edit)
    });
    let run = run.await;
    let bound = names(&["forge:1", "key:1"]);
    assert_eq!(
        (&run.requires, scene.get(run.id).await),
        (&bound, run.clone())
    );
    assert_eq!(
        scene.story(run.id).await.last_chunk(),
        Some(&["run.requires".to_owned(), "step.started".to_owned()])
    );
    let run = scene.fail(&run).await;
    let retried = scene.store.retry(run.id, None, "ann").await.unwrap();
    assert_eq!(
        (retried.head.status, &retried.requires),
        (RunStatus::Queued, &bound)
    );
    assert_eq!(given(&scene, worker, &["forge:local", "key:1"]).await, []);
    let taken = scene
        .claim_with(worker, &["forge:1", "key:1"], 10)
        .await
        .runs
        .remove(0);
    assert_eq!(scene.commit(&taken, complete).await.requires, bound);

    let run = scene.start(worker, &plan("a", &["one"])).await;
    let run = scene.commit(&run, |edit| {
        edit.require(&["forge:1".to_owned()], &[]);
        edit.require(&[], &["forge:1".to_owned()]);
        Ok(())
    });
    assert_eq!(
        run.await.requires,
        names(&[]),
        "the last word counts, and it may be nothing"
    );
}

/// An attempt that needs something its worker lacks continues on a worker that has it.
pub async fn an_attempt_that_needs_another_worker_is_handed_over(scene: Scene) {
    let worker = scene.worker("w").await;
    let run = scene.start(worker, &plan("a", &["one"])).await;
    let run = scene.commit(&run, step).await;
    let run = scene
        .commit(&run, |edit| edit.hand_over(0, "forge:1"))
        .await;
    assert_eq!(
        (run.head.status, run.requires.clone()),
        (RunStatus::Queued, names(&["forge:1"]))
    );
    assert_eq!(scene.get(run.id).await, run);
    assert_eq!(given(&scene, worker, &[]).await, []);
    let taken = scene
        .claim_with(worker, &["forge:1"], 10)
        .await
        .runs
        .remove(0);
    let attempt = scene.commit(&taken, step).await.steps[0].attempt;
    assert_eq!(attempt, 1, "no attempt is spent");
}

/// The runs of a dead worker go to one that offers the same.
pub async fn a_takeover_needs_the_same_resources(scene: Scene) {
    let worker = scene.worker("w").await;
    let run = queue(&scene, &["forge:1"], 0).await;
    assert_eq!(given(&scene, worker, &["forge:1"]).await, [run.id]);
    scene.clock.advance(LEASE + Duration::from_micros(1));
    let reclaimed = scene.reclaim().await.unwrap();
    assert_eq!(
        reclaimed
            .iter()
            .map(|run| run.requires.clone())
            .collect::<Vec<_>>(),
        [names(&["forge:1"])]
    );
    let next = scene.worker("x").await;
    assert_eq!(given(&scene, next, &["forge:2"]).await, []);
    assert_eq!(given(&scene, next, &["forge:1"]).await, [run.id]);
}

/// A worker lists what it offers; invalid names are refused wherever they come in.
pub async fn invalid_resource_names_are_refused(scene: Scene) {
    let offered = std::sync::Arc::new(names(&["forge:1", "key:1"]));
    let id = WorkerId::new();
    let name = "w".to_owned();
    let version = "1".to_owned();
    let actions = std::sync::Arc::default();
    let worker = NewWorker {
        id,
        name,
        lease: LEASE,
        version,
        actions,
        workflows: AllowList::default(),
        resources: offered.clone(),
    };
    scene.store.register_worker(worker.clone()).await.unwrap();
    assert_eq!(scene.store.workers().await.unwrap()[0].resources, offered);
    let part = "is not the name of a resource";
    let odd = std::sync::Arc::new(names(&["a b"]));
    forbidden(
        scene
            .store
            .register_worker(NewWorker {
                resources: odd,
                ..worker
            })
            .await,
        part,
    );
    for odd in ["", "a b", "a\0b", &"x".repeat(201)] {
        let mut run = scene.draft(&plan("a", &["one"]));
        run.requires = names(&[odd]);
        let submission = Submission {
            queued: first(&run, scene.now()),
            started: None,
        };
        forbidden(scene.store.submit(submission).await, part);
    }
    let run = scene.start(id, &plan("a", &["one"])).await;
    let refused = scene.refused(&run, |edit| {
        edit.require(&["a b".to_owned()], &[]);
        Ok(())
    });
    forbidden::<()>(Err(refused.await), part);
}
