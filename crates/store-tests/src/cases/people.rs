//! Actions of people on a run (cancel, retry, answer), and concurrent writes of the worker that
//! holds it.

use serde_json::{Value, json};
use surefoot::state::{Answer, CancelMode, Edit, Wait};
use surefoot::statistics::{Outcome, Span};
use surefoot::{RunId, RunStatus, StepStatus, StoreError, Timestamp};

use crate::Scene;
use crate::cases::undo::undo_all;
use crate::scene::{SECOND, begin, complete, fail, forbidden, plan, step};

/// An action on an unknown run is refused.
pub async fn an_action_on_an_unknown_run_is_refused(scene: Scene) {
    let id = RunId::new();
    let results = [
        scene.store.cancel(id, CancelMode::Stop, "ann").await,
        scene.store.retry(id, None, "ann").await,
        scene
            .store
            .answer(id, "one", Answer::Skip, "ann", None)
            .await,
    ];
    for result in results {
        assert!(
            matches!(result, Err(StoreError::NoRun(missing)) if missing == id),
            "{result:?}"
        );
    }
    assert_eq!(scene.store.run(id).await.unwrap(), None);
}

/// A run without a holder ends with the cancel; a second cancel is refused.
pub async fn a_waiting_run_is_cancelled_at_once(scene: Scene) {
    let run = scene.queue(&plan("a", &["one", "two"])).await;
    let cancelled = scene.cancel(&run, CancelMode::Stop).await;
    assert_eq!(cancelled.head.status, RunStatus::Cancelled);
    assert_eq!(cancelled.head.completed_at, Some(scene.now()));
    assert!(
        cancelled
            .steps
            .iter()
            .all(|step| step.status == StepStatus::Skipped)
    );
    assert_eq!(
        scene.story(run.id).await,
        ["run.submitted", "run.cancel_requested", "run.cancelled"]
    );
    let worker = scene.worker("w").await;
    assert_eq!(scene.claim_ids(worker, 10).await, []);
    forbidden(
        scene.store.cancel(run.id, CancelMode::Stop, "ann").await,
        "already cancelled",
    );
}

/// A held run is cancelled by its worker, which learns of it by heartbeat and by commit.
pub async fn a_running_run_is_cancelled_by_its_worker(scene: Scene) {
    let worker = scene.worker("w").await;
    let run = scene.start(worker, &plan("a", &["one"])).await;
    let other = scene.start(worker, &plan("b", &["one"])).await;
    let cancelled = scene.cancel(&run, CancelMode::Stop).await;
    assert_eq!(
        (cancelled.head.status, cancelled.head.cancel),
        (RunStatus::Running, Some(CancelMode::Stop))
    );
    assert_eq!(
        scene.heartbeat(worker).await.cancels,
        [(run.id, CancelMode::Stop)]
    );

    // The worker does not know yet; its write does not take back the person's request.
    let (run, committed) = scene.try_commit(&run, step).await.unwrap();
    assert_eq!(committed.cancel, Some(CancelMode::Stop));
    assert_eq!(scene.get(run.id).await.head.cancel, Some(CancelMode::Stop));
    assert_eq!(scene.try_commit(&other, step).await.unwrap().1.cancel, None);

    let ended = scene
        .commit(&run, |edit| {
            edit.cancelled("cancelled");
            Ok(())
        })
        .await;
    assert_eq!(scene.get(run.id).await, ended);
    assert_eq!(ended.head.cancel, None);
    assert_eq!(scene.heartbeat(worker).await.cancels, []);
}

/// A cancel can only be extended: a stop may become an undo, but not the reverse.
pub async fn an_undo_outweighs_a_stop(scene: Scene) {
    let worker = scene.worker("w").await;
    let run = scene.start(worker, &plan("a", &["one"])).await;
    for (asked, kept) in [
        (CancelMode::Stop, CancelMode::Stop),
        (CancelMode::Undo, CancelMode::Undo),
        (CancelMode::Stop, CancelMode::Undo),
    ] {
        assert_eq!(scene.cancel(&run, asked).await.head.cancel, Some(kept));
        assert_eq!(scene.heartbeat(worker).await.cancels, [(run.id, kept)]);
    }
}

/// The worker finishes before it learns of the cancel: the run stays completed, and the cancel
/// leaves no trace.
pub async fn a_cancel_after_completion_leaves_no_trace(scene: Scene) {
    let worker = scene.worker("w").await;
    let run = scene.start(worker, &plan("a", &["one"])).await;
    scene.cancel(&run, CancelMode::Stop).await;
    let ended = scene.complete(&run).await;
    assert_eq!(scene.get(run.id).await, ended);
    assert_eq!(
        (ended.head.status, ended.head.cancel),
        (RunStatus::Completed, None)
    );
    forbidden(
        scene.store.cancel(run.id, CancelMode::Stop, "ann").await,
        "completed",
    );
}

/// The worker ends the run before it learns of a requested undo: the undo was promised, so it is
/// carried out.
pub async fn an_undo_requested_before_the_end_is_carried_out(scene: Scene) {
    let worker = scene.worker("w").await;
    let plan = plan("a", &["one", "two"]);
    let stop = |edit: &mut Edit| {
        begin(edit)?;
        edit.cancelled("stopped");
        Ok(())
    };
    for rule in [complete, fail, stop] {
        let run = scene.start(worker, &plan).await;
        scene.cancel(&run, CancelMode::Undo).await;
        scene.store.pause_queue("a", true).await.unwrap();
        let (ended, committed) = scene.try_commit(&run, rule).await.unwrap();
        assert_eq!(committed.cancel, Some(CancelMode::Undo));
        let queued = scene.get(run.id).await;
        let mut expected = ended.clone();
        expected.head.yield_to_undo(scene.now());
        assert_eq!(queued, expected);
        assert_eq!(
            (queued.head.status, queued.head.completed_at),
            (RunStatus::Queued, None)
        );
        assert!(queued.head.progress < 100);

        // Sending the end again changes nothing.
        assert_eq!(
            scene.try_commit(&run, rule).await.unwrap().1.cancel,
            Some(CancelMode::Undo)
        );
        assert_eq!(scene.get(run.id).await, queued);

        let held = scene.claim_one(worker).await;
        assert_eq!(
            (held.id, held.head.cancel),
            (run.id, Some(CancelMode::Undo))
        );
        let undone = scene.commit(&held, undo_all).await;
        assert_eq!(scene.get(run.id).await, undone);
        assert_eq!(
            (undone.head.status, undone.head.cancel),
            (RunStatus::Cancelled, None)
        );
        scene.store.pause_queue("a", false).await.unwrap();
    }
    let tallies = scene
        .store
        .tallies(Span::All, Timestamp::from_micros(0))
        .await
        .unwrap();
    let ends: u64 = tallies.iter().map(|tally| tally.count).sum();
    assert_eq!(
        (tallies[0].outcome, ends),
        (Outcome::Cancelled, 3),
        "only the undo is an end: {tallies:?}"
    );
}

/// The worker, unaware of the cancel, hands the run back to wait for an hour: the run is claimable
/// at once, even in a paused queue, so that a worker carries out the cancel.
pub async fn a_cancelled_run_that_is_handed_back_to_wait_is_claimable(scene: Scene) {
    let worker = scene.worker("w").await;
    let plan = plan("a", &["one"]);
    for rule in [
        |edit: &mut surefoot::state::Edit| {
            let position = begin(edit)?;
            edit.retry_step(position, "it broke", SECOND * 3600)
        },
        |edit: &mut surefoot::state::Edit| {
            let position = begin(edit)?;
            edit.sleep_step(position, SECOND * 3600, Value::Null)
        },
        |edit: &mut surefoot::state::Edit| {
            let position = begin(edit)?;
            edit.ask_step(position, "go on?", Value::Null)
        },
    ] {
        let run = scene.start(worker, &plan).await;
        scene.store.pause_queue("a", true).await.unwrap();
        scene.cancel(&run, CancelMode::Stop).await;
        assert_eq!(
            scene.try_commit(&run, rule).await.unwrap().1.cancel,
            Some(CancelMode::Stop)
        );
        let waits = scene.get(run.id).await;
        assert_eq!(
            (waits.head.status, waits.head.available_at),
            (RunStatus::Waiting, Some(scene.now()))
        );
        let claimed = scene.claim_one(worker).await;
        assert_eq!(
            (claimed.id, claimed.head.cancel),
            (run.id, Some(CancelMode::Stop))
        );
        scene
            .commit(&claimed, |edit| {
                edit.cancelled("cancelled");
                Ok(())
            })
            .await;
        scene.store.pause_queue("a", false).await.unwrap();
    }
}

/// The worker dies with a pending cancel: the run is cancelled, and no step runs again.
pub async fn a_cancel_outlives_its_worker(scene: Scene) {
    let worker = scene.worker("w").await;
    let run = scene.start(worker, &plan("a", &["one"])).await;
    scene.commit(&run, step).await;
    scene.cancel(&run, CancelMode::Stop).await;
    scene.clock.advance(crate::scene::LEASE);
    let reclaimed = scene.reclaim().await.unwrap();
    assert_eq!(reclaimed[0].head.status, RunStatus::Cancelled);
    assert_eq!(reclaimed[0].head.cancel, None);
}

/// A failed run resumes at the step that failed; completed steps stay completed.
pub async fn a_retry_resumes_at_the_failed_step(scene: Scene) {
    let worker = scene.worker("w").await;
    let run = scene
        .start(worker, &plan("a", &["one", "two", "three"]))
        .await;
    let run = scene
        .commit(&run, |edit| {
            let position = begin(edit)?;
            edit.complete_step(position, json!("made"), Vec::new(), None)
        })
        .await;
    scene.fail(&run).await;
    forbidden(
        scene.store.retry(run.id, Some("three"), "ann").await,
        "got only as far as two",
    );
    forbidden(
        scene.store.retry(run.id, Some("four"), "ann").await,
        "has no step four",
    );
    let retried = scene.store.retry(run.id, None, "ann").await.unwrap();
    assert_eq!(
        (retried.head.status, &retried.head.error),
        (RunStatus::Queued, &None)
    );
    assert_eq!(
        retried
            .steps
            .iter()
            .map(|step| step.status)
            .collect::<Vec<_>>(),
        [
            StepStatus::Completed,
            StepStatus::Pending,
            StepStatus::Pending
        ]
    );
    assert_eq!(retried.steps[0].output, Some(json!("made")));
    forbidden(scene.store.retry(run.id, None, "ann").await, "it is queued");
    let run = scene.claim_one(worker).await;
    forbidden(
        scene.store.retry(run.id, None, "ann").await,
        "it is running",
    );
    scene.complete(&run).await;
    forbidden(
        scene.store.retry(run.id, None, "ann").await,
        "it is completed",
    );
}

/// A retry may start at an earlier step.
pub async fn a_retry_may_start_at_an_earlier_step(scene: Scene) {
    let worker = scene.worker("w").await;
    let run = scene.start(worker, &plan("a", &["one", "two"])).await;
    let run = scene
        .commit(&run, |edit| {
            let position = begin(edit)?;
            edit.complete_step(position, json!("made"), Vec::new(), None)?;
            fail(edit)
        })
        .await;
    let retried = scene.store.retry(run.id, Some("one"), "ann").await.unwrap();
    assert!(
        retried
            .steps
            .iter()
            .all(|step| step.status == StepStatus::Pending && step.output.is_none())
    );
    assert_eq!(
        retried.steps[0].started_at, run.steps[0].started_at,
        "an undo still knows that it began"
    );
    assert_eq!(scene.get(run.id).await, retried);
}

/// A question accepts approve or reject, and nothing else.
pub async fn a_question_is_answered(scene: Scene) {
    let worker = scene.worker("w").await;
    let ask = |edit: &mut surefoot::state::Edit| {
        let position = begin(edit)?;
        edit.ask_step(position, "go on?", json!({ "seen": 1 }))
    };
    let run = scene.start(worker, &plan("a", &["one", "two"])).await;
    scene.commit(&run, ask).await;
    assert_eq!(scene.claim_ids(worker, 10).await, []);
    forbidden(
        scene
            .store
            .answer(run.id, "one", Answer::Skip, "ann", None)
            .await,
        "approve or reject",
    );
    forbidden(
        scene
            .store
            .answer(run.id, "two", Answer::Approve, "ann", None)
            .await,
        "waits for no answer",
    );
    let answered = scene
        .store
        .answer(run.id, "one", Answer::Approve, "ann", Some("ok"))
        .await
        .unwrap();
    assert_eq!(
        answered.steps[0].answer,
        Some(json!({ "answer": "approve", "by": "ann", "note": "ok" }))
    );
    assert_eq!(
        (answered.steps[0].wait, &answered.steps[0].checkpoint),
        (Some(Wait::Approval), &Some(json!({ "seen": 1 })))
    );
    assert_eq!(answered, scene.get(run.id).await);
    let run = scene.claim_one(worker).await;
    assert_eq!(
        scene.commit(&run, step).await.steps[0].attempt,
        1,
        "the same attempt goes on"
    );

    let other = scene.start(worker, &plan("b", &["one"])).await;
    scene.commit(&other, ask).await;
    let rejected = scene
        .store
        .answer(other.id, "one", Answer::Reject, "ann", None)
        .await
        .unwrap();
    assert_eq!(
        (rejected.head.status, rejected.steps[0].status),
        (RunStatus::Failed, StepStatus::Failed)
    );
}

/// An acknowledged answer is final: a second one is refused, whether or not a worker has resumed
/// the run since.
pub async fn a_question_is_answered_once(scene: Scene) {
    let worker = scene.worker("w").await;
    let run = scene.start(worker, &plan("a", &["one"])).await;
    scene
        .commit(&run, |edit| {
            let position = begin(edit)?;
            edit.ask_step(position, "go on?", json!(1))
        })
        .await;
    let answered = scene
        .store
        .answer(run.id, "one", Answer::Approve, "ann", None)
        .await
        .unwrap();
    scene.clock.advance(SECOND);
    for again in [Answer::Approve, Answer::Reject] {
        forbidden(
            scene.store.answer(run.id, "one", again, "bob", None).await,
            "answered already: ann answered approve",
        );
    }
    assert_eq!(answered, scene.get(run.id).await);
    let held = scene.claim_one(worker).await;
    forbidden(
        scene
            .store
            .answer(run.id, "one", Answer::Reject, "bob", None)
            .await,
        "answered already",
    );
    scene.complete(&held).await;
    forbidden(
        scene
            .store
            .answer(run.id, "one", Answer::Reject, "bob", None)
            .await,
        "answered already",
    );
}

/// Of many concurrent answers, exactly one is accepted.
pub async fn one_of_many_answers_holds(scene: Scene) {
    let worker = scene.worker("w").await;
    let run = scene.start(worker, &plan("a", &["one"])).await;
    scene
        .commit(&run, |edit| {
            let position = begin(edit)?;
            edit.ask_step(position, "go on?", Value::Null)
        })
        .await;
    let mut answers = tokio::task::JoinSet::new();
    for number in 0..8 {
        let store = scene.store.clone();
        let answer = if number % 2 == 0 {
            Answer::Approve
        } else {
            Answer::Reject
        };
        answers.spawn(async move {
            (
                answer,
                store
                    .answer(run.id, "one", answer, &format!("p{number}"), None)
                    .await,
            )
        });
    }
    let answers = answers.join_all().await;
    let accepted: Vec<Answer> = answers
        .iter()
        .filter(|(_, done)| done.is_ok())
        .map(|(answer, _)| *answer)
        .collect();
    assert_eq!(accepted.len(), 1, "{answers:?}");
    let kept = scene.get(run.id).await.steps[0]
        .answer
        .clone()
        .expect("it is answered");
    assert_eq!(kept["answer"], accepted[0].to_string());
}

/// A person may skip or fail an interrupted attempt.
pub async fn an_interruption_is_answered(scene: Scene) {
    let workflow = surefoot::Workflow::builder("a")
        .step_with("one", crate::scene::WORK, |step| {
            step.on_interrupt(surefoot::workflow::OnInterrupt::Ask)
        })
        .step("two", crate::scene::WORK);
    let plan = std::sync::Arc::new(workflow.build().expect("the plan is well formed"));
    for (answer, status, step_status) in [
        (Answer::Skip, RunStatus::Queued, StepStatus::Skipped),
        (Answer::Fail, RunStatus::Failed, StepStatus::Failed),
        (Answer::Rerun, RunStatus::Queued, StepStatus::Waiting),
    ] {
        let worker = scene.worker("w").await;
        let run = scene.start(worker, &plan).await;
        scene.commit(&run, step).await;
        scene.store.deregister_worker(worker).await.unwrap();
        forbidden(
            scene
                .store
                .answer(run.id, "one", Answer::Approve, "ann", None)
                .await,
            "rerun, skip or fail",
        );
        let answered = scene
            .store
            .answer(run.id, "one", answer, "ann", None)
            .await
            .unwrap();
        assert_eq!(
            (answered.head.status, answered.steps[0].status),
            (status, step_status),
            "{answer}"
        );
        assert_eq!(
            answered.steps[0].answer, None,
            "the answer to an interruption is no approval"
        );
        forbidden(
            scene
                .store
                .answer(run.id, "one", Answer::Fail, "bob", None)
                .await,
            "answered already",
        );
        // Keeps the run out of the next round.
        if status == RunStatus::Queued {
            scene.cancel(&run, CancelMode::Stop).await;
        }
    }
}
