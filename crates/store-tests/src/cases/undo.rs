//! Cancels with an undo of what the run made.

use surefoot::state::{CancelMode, Edit, RuleError, Undo};
use surefoot::store::Submitted;
use surefoot::{Run, RunStatus};

use crate::Scene;
use crate::scene::{forbidden, plan};

pub(crate) fn undo_all(edit: &mut Edit) -> Result<(), RuleError> {
    edit.begin_undo()?;
    while let Some(position) = Edit::next_undo(edit.run()) {
        edit.undo_step(position, Undo::Running, None);
        edit.undo_step(position, Undo::Done, Some("a thing"));
    }
    edit.end_undo();
    Ok(())
}

async fn failed(scene: &Scene, key: Option<&str>) -> Run {
    let worker = scene.worker("w").await;
    let mut run = scene.draft(&plan("a", &["one", "two"]));
    run.key = key.map(str::to_owned);
    run.unique = key.map(str::to_owned);
    assert_eq!(scene.submit_on(worker, &run).await, Submitted::Started);
    let run = scene.get(run.id).await;
    scene.fail(&run).await
}

/// A worker claims the run, even if its queue is paused and full, and undoes its steps.
pub async fn a_failed_run_is_undone(scene: Scene) {
    let run = failed(&scene, None).await;
    let limits = surefoot::QueueLimits {
        concurrency: Some(0),
        ..Default::default()
    };
    scene.limits("a", limits).await;
    scene.store.pause_queue("a", true).await.unwrap();
    let cancelled = scene.cancel(&run, CancelMode::Undo).await;
    assert_eq!(
        (cancelled.head.status, cancelled.head.cancel),
        (RunStatus::Queued, Some(CancelMode::Undo))
    );
    let worker = scene.worker("w").await;
    let held = scene.claim_one(worker).await;
    let ended = scene.commit(&held, undo_all).await;
    assert_eq!(scene.get(run.id).await, ended);
    assert_eq!(
        (ended.head.status, ended.steps[0].undo),
        (RunStatus::Cancelled, Some(Undo::Done))
    );
    forbidden(
        scene.store.cancel(run.id, CancelMode::Undo, "ann").await,
        "nothing to undo",
    );
}

/// A failed undo leaves a failed run; a retry resumes the undo.
pub async fn a_failed_undo_is_retried(scene: Scene) {
    let run = failed(&scene, None).await;
    scene.cancel(&run, CancelMode::Undo).await;
    let worker = scene.worker("w").await;
    let held = scene.claim_one(worker).await;
    let stuck = scene
        .commit(&held, |edit| {
            edit.undo_failed(0, "the forge is away");
            Ok(())
        })
        .await;
    assert_eq!(scene.get(run.id).await, stuck);
    assert_eq!(
        (stuck.head.status, stuck.head.cancel),
        (RunStatus::Failed, Some(CancelMode::Undo))
    );
    let retried = scene.store.retry(run.id, None, "ann").await.unwrap();
    assert_eq!(
        (retried.head.status, retried.head.cancel),
        (RunStatus::Queued, Some(CancelMode::Undo))
    );
    let held = scene.claim_one(worker).await;
    assert_eq!(
        scene.commit(&held, undo_all).await.head.status,
        RunStatus::Cancelled
    );
}

/// A cancelled run is undone later, although its key and its unique value belong to another run by
/// then.
pub async fn a_cancelled_run_is_undone_after_its_key_was_reused(scene: Scene) {
    let run = failed(&scene, Some("mine")).await;
    assert_eq!(
        scene.cancel(&run, CancelMode::Stop).await.head.status,
        RunStatus::Cancelled
    );
    let mut other = scene.draft(&plan("a", &["one", "two"]));
    other.key = Some("mine".to_owned());
    other.unique = Some("mine".to_owned());
    assert_eq!(scene.submit(&other).await, Submitted::Queued);

    let cancelled = scene.cancel(&run, CancelMode::Undo).await;
    assert_eq!(
        (cancelled.head.status, cancelled.head.cancel),
        (RunStatus::Queued, Some(CancelMode::Undo))
    );
    let worker = scene.worker("w").await;
    let held = scene
        .claim(worker, 10)
        .await
        .runs
        .into_iter()
        .find(|held| held.id == run.id)
        .unwrap();
    scene.commit(&held, undo_all).await;
    assert_eq!(scene.get(run.id).await.head.status, RunStatus::Cancelled);
}
