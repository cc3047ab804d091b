//! Values are read back as they were written: every field, every enum value, text and numbers at
//! their limits.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use surefoot::state::{Edit, Undo, Wait};
use surefoot::workflow::{Backoff, OnInterrupt, RetryPolicy};
use surefoot::{Digest, Run, RunStatus, StepStatus, Workflow};

use crate::Scene;
use crate::scene::{SECOND, WORK, begin, names, plan};

const TEXT: &str = "Zoë's \"naïve\" 日本語 \u{1f680} \\ \n\t 'quoted'; -- %_";

/// A key with everything that it may contain: all but control characters.
const LINE: &str = "Zoë's \"naïve\" 日本語 \u{1f680} \\ 'quoted'; -- %_";

/// Every field of a submission.
pub async fn a_submission_keeps_every_field(scene: Scene) {
    let mut run = scene.draft(&plan("a", &["one", "two"]));
    run.parameters = json!({ "text": TEXT, "null": null, "list": [1, -1, u64::MAX, i64::MIN, 1.5e300, true, {}], "": [] });
    run.key = Some(LINE.to_owned());
    run.unique = Some(String::new());
    run.priority = i32::MIN;
    run.concurrency_key = Some(LINE.to_owned());
    run.requires = names(&["forge:local", "key:1", "größe"]);
    run.sealed = Some("00ff:c2VhbGVk".parse().expect("it has a key"));
    scene.submit(&run).await;
    assert_eq!(scene.get(run.id).await, run);

    let mut bare = scene.draft(&plan("a", &["one", "two"]));
    bare.parameters = Value::Null;
    bare.priority = i32::MAX;
    bare.head.available_at = Some(scene.now() + Duration::from_micros(1));
    scene.submit(&bare).await;
    assert_eq!(
        scene.get(bare.id).await,
        bare,
        "what is absent stays absent"
    );
}

/// A run keeps its whole workflow.
pub async fn a_plan_is_kept_whole(scene: Scene) {
    let backoff = Backoff {
        initial: SECOND,
        factor: 3,
        max: SECOND * 40,
        jitter: 0.25,
    };
    let workflow = Workflow::builder("whole")
        .title(TEXT)
        .queue("elsewhere")
        .parameters(json!({ "type": "object", "properties": { "name": { "type": "string", "default": TEXT } } }))
        .unique("${{ parameters.name }}")
        .requires("forge:${{ parameters.name }}")
        .output(json!({ "said": "${{ steps.one.output }}" }))
        .step_with("one", WORK, |step| {
            step.title(TEXT)
                .with(json!({ "deep": [TEXT, null, 1] }))
                .weight(7)
                .retry(RetryPolicy { attempts: 9, backoff })
                .timeout(SECOND * 61)
                .on_interrupt(OnInterrupt::Ask)
                .max_interruptions(2)
        })
        .step_with("two", "test.other", |step| step.condition("${{ parameters.name == 'x' }}"))
        .build();
    let run = scene
        .queue(&Arc::new(workflow.expect("the plan is well formed")))
        .await;
    let read = scene.get(run.id).await;
    assert_eq!(read.plan, run.plan);
    assert_eq!(read.queue(), "elsewhere");
}

/// Every field of a step's row, with a large output and JSON nulls inside.
pub async fn a_step_keeps_every_field(scene: Scene) {
    let worker = scene.worker("w").await;
    let run = scene
        .start(worker, &plan("a", &["one", "two", "three"]))
        .await;
    let mut edit = Edit::new(run.clone(), scene.now());
    begin(&mut edit).unwrap();
    let output = json!({ "large": "é".repeat(500_000), "null": null });
    edit.complete_step(0, output.clone(), Vec::new(), None)
        .unwrap();
    let (mut expected, mut transition) = edit.finish_as_holder();

    let step = &mut expected.steps[1];
    step.status = StepStatus::Waiting;
    step.wait = Some(Wait::Approval);
    step.progress = 99;
    step.attempt = u32::MAX;
    step.interruptions = 4;
    step.isolation = Some(u32::MAX);
    step.crashes = 3;
    step.deferrals = 7;
    step.message = Some(String::new());
    step.error = Some(TEXT.to_owned());
    step.started_at = Some(scene.now());
    step.completed_at = None;
    step.output = Some(json!(false));
    step.checkpoint = Some(json!({ "at": null }));
    step.answer = Some(json!({ "answer": "approve", "by": TEXT, "note": null }));
    step.decision = Some(json!({ "answer": "rerun", "by": TEXT, "note": null }));
    step.snapshot = Some(Digest::of(b"manifest"));
    step.undo = Some(Undo::Kept);
    step.undo_note = Some(TEXT.to_owned());
    transition.steps.push((1, expected.steps[1].clone()));
    scene
        .store
        .commit(run.lease().unwrap(), transition)
        .await
        .unwrap();

    let read = scene.get(run.id).await;
    assert_eq!(read.steps[0].output, Some(output));
    assert_eq!(read, expected);
}

/// Every field of a run's row.
pub async fn a_head_keeps_every_field(scene: Scene) {
    let worker = scene.worker("w").await;
    let run = scene.start(worker, &plan("a", &["one"])).await;
    let (mut expected, mut transition) = Edit::new(run.clone(), scene.now()).finish_as_holder();
    let head = &mut expected.head;
    head.status = RunStatus::Waiting;
    head.worker = None;
    head.progress = 57;
    head.error = Some(TEXT.to_owned());
    head.started_at = Some(scene.now());
    head.available_at = Some(scene.now() + Duration::from_micros(86_400_000_001));
    transition.head = head.clone();
    scene
        .store
        .commit(run.lease().unwrap(), transition)
        .await
        .unwrap();
    assert_eq!(scene.get(run.id).await, expected);
}

/// Each kind of wait of a step, and each stage of its undo.
pub async fn every_wait_and_undo_stage_is_kept(scene: Scene) {
    let worker = scene.worker("w").await;
    let undos = || std::iter::once(None).chain(Undo::ALL.iter().copied().map(Some));
    for (wait, undo) in Wait::ALL
        .iter()
        .flat_map(|wait| undos().map(|undo| (*wait, undo)))
    {
        let run = scene.start(worker, &plan("a", &["one"])).await;
        let run = scene.commit(&run, crate::scene::step).await;
        let (mut expected, mut transition) = Edit::new(run.clone(), scene.now()).finish_as_holder();
        expected.steps[0].status = StepStatus::Waiting;
        expected.steps[0].wait = Some(wait);
        expected.steps[0].undo = undo;
        transition.steps.push((0, expected.steps[0].clone()));
        scene
            .store
            .commit(run.lease().unwrap(), transition)
            .await
            .unwrap();
        assert_eq!(scene.get(run.id).await, expected);
    }
}

/// A claim returns the run exactly as it is stored, and so does every other operation that returns
/// one.
pub async fn every_returned_run_equals_the_stored_one(scene: Scene) {
    let worker = scene.worker("w").await;
    let run = scene.queue(&plan("a", &["one"])).await;
    scene.clock.advance(SECOND);
    let claimed = scene.claim_one(worker).await;
    assert_eq!(claimed, scene.get(run.id).await);
    assert_eq!(
        claimed.lease().map(|lease| (lease.worker, lease.epoch)),
        Some((worker, 1))
    );
    assert_eq!(
        (claimed.head.started_at, claimed.head.available_at),
        (Some(scene.now()), None)
    );

    let failed = scene.fail(&claimed).await;
    assert_eq!(failed, scene.get(run.id).await);
    let retried = scene.store.retry(run.id, None, "ann").await.unwrap();
    assert_eq!(retried, scene.get(run.id).await);
    scene.claim_one(worker).await;
    scene.clock.advance(crate::scene::LEASE);
    let reclaimed: Vec<Run> = scene.reclaim().await.unwrap();
    assert_eq!(reclaimed, [scene.get(run.id).await]);
    let cancelled = scene.cancel(&run, surefoot::state::CancelMode::Stop).await;
    assert_eq!(cancelled, scene.get(run.id).await);
}
