//! Runs that this build cannot read, and damaged rows beside them: they affect no other run, and
//! can be cancelled.

use std::sync::Arc;

use serde_json::json;
use surefoot::document::{DocumentFilter, Expect, NewDocument};
use surefoot::state::{Answer, CancelMode};
use surefoot::store::{RecordFilter, RunFilter, Submitted};
use surefoot::{
    Client, RecordChange, Run, RunId, RunStatus, StepStatus, StoreError, Waiting, Workflow,
};

use crate::Scene;
use crate::scene::{LEASE, SECOND, begin, forbidden, plan, step};

/// Gives the run a separate plan that the store has not read yet.
const PLAN: &str = "INSERT INTO {schema}plans ({kept}, digest, format, json)
    SELECT {kept}, {digest}, <format>, '<json>' FROM {schema}plans WHERE id = (SELECT plan FROM {schema}runs WHERE id = {id});
    UPDATE {schema}runs SET plan = (SELECT max(id) FROM {schema}plans) WHERE id = {id}";

/// A plan with a field of a newer build.
const NEWER: &str = r#"{"workflow": "a", "sandbox": true, "steps": [{"id": "one", "action": "test.work"}, {"id": "two", "action": "test.work"}]}"#;

fn with_plan(format: u32, json: &str) -> String {
    PLAN.replace("<format>", &format.to_string())
        .replace("<json>", json)
}

/// Every kind of damage to a run, and a part of its error.
fn damages() -> Vec<(String, &'static str)> {
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let chain = format!(
        r#"{{"workflow": "a", "steps": [{{"id": "one", "action": "test.work", "if": "{}1"}}]}}"#,
        "-".repeat(6000)
    );
    vec![
        (with_plan(2, NEWER), "format 2"),
        (with_plan(1, NEWER), "sandbox"),
        (with_plan(1, "{\"workflow"), "plan"),
        (with_plan(1, &chain), "split it"),
        (
            format!("UPDATE {{schema}}runs SET parameters = '{deep}' WHERE id = {{id}}"),
            "recursion limit",
        ),
        (
            "UPDATE {schema}runs SET parameters = '{\"a' WHERE id = {id}".to_owned(),
            "damaged",
        ),
        (
            format!("UPDATE {{schema}}steps SET output = '{deep}' WHERE run = {{id}}"),
            "recursion limit",
        ),
        (
            "UPDATE {schema}steps SET checkpoint = 'x' WHERE run = {id} AND position = 1"
                .to_owned(),
            "damaged",
        ),
        (
            "UPDATE {schema}steps SET answer = '' WHERE run = {id}".to_owned(),
            "damaged",
        ),
        (
            "DELETE FROM {schema}steps WHERE run = {id} AND position = 1".to_owned(),
            "1 steps and its plan 2",
        ),
    ]
}

fn ids(runs: &[Run]) -> Vec<RunId> {
    runs.iter().map(|run| run.id).collect()
}

/// A queued run that has run before, so that all of its rows are read.
async fn worked_on(scene: &Scene) -> Run {
    let worker = scene.worker("first").await;
    let run = scene.start(worker, &plan("a", &["one", "two"])).await;
    scene.commit(&run, step).await;
    scene.store.deregister_worker(worker).await.unwrap();
    scene.get(run.id).await
}

/// Whatever is damaged, all other runs are listed, claimed and ended, and the damaged one reports
/// the fault.
pub async fn an_unreadable_run_blocks_no_other(scene: Scene) {
    if !scene.can_damage() {
        return;
    }
    for (damage, reason) in damages() {
        let bad = worked_on(&scene).await;
        scene.damage(&damage, bad.id);
        let worker = scene.worker("w").await;
        let good = scene.queue(&plan("a", &["one", "two"])).await;
        assert_eq!(scene.claim_ids(worker, 10).await, [good.id], "{damage}");
        assert_eq!(scene.claim_ids(worker, 10).await, [], "{damage}");
        scene.complete(&scene.get(good.id).await).await;
        let listed = scene
            .store
            .runs(RunFilter {
                limit: 2,
                ..RunFilter::default()
            })
            .await
            .unwrap();
        assert_eq!(ids(&listed), [good.id, bad.id], "{damage}");
        assert_eq!(listed[0].unreadable, None);
        let said = listed[1].unreadable.clone().unwrap_or_default();
        assert!(said.contains(reason), "{damage}: {said}");
        assert_eq!(listed[1].head.status, RunStatus::Queued);
        assert_eq!(listed[1].plan.name(), "a");
        assert!(!listed[1].steps.is_empty());
        assert_eq!(scene.get(bad.id).await, listed[1]);
        assert!(!scene.events(bad.id).await.is_empty());
        scene.store.deregister_worker(worker).await.unwrap();
        scene.cancel(&bad, CancelMode::Stop).await;
    }
}

/// An unreadable run cannot be retried, answered or undone. A cancel ends it, as it ends any other.
pub async fn an_unreadable_run_can_only_be_cancelled(scene: Scene) {
    if !scene.can_damage() {
        return;
    }
    for (damage, _) in damages() {
        let bad = worked_on(&scene).await;
        scene.damage(&damage, bad.id);
        let is_unreadable = |result: Result<Run, StoreError>| {
            assert!(
                matches!(&result, Err(StoreError::Unreadable { run, .. }) if *run == bad.id),
                "{damage}: {result:?}"
            );
        };
        is_unreadable(scene.store.retry(bad.id, None, "ann").await);
        is_unreadable(
            scene
                .store
                .answer(bad.id, "one", Answer::Rerun, "ann", None)
                .await,
        );
        forbidden(
            scene.store.cancel(bad.id, CancelMode::Undo, "ann").await,
            "cannot be undone",
        );
        let cancelled = scene.cancel(&bad, CancelMode::Stop).await;
        assert_eq!(cancelled.head.status, RunStatus::Cancelled, "{damage}");
        let now = scene.get(bad.id).await;
        assert_eq!(
            (now.head.status, now.head.completed_at),
            (RunStatus::Cancelled, Some(scene.now()))
        );
        assert_eq!(now.head.error.as_deref(), Some("cancelled by ann"));
        assert!(
            now.steps
                .iter()
                .all(|step| matches!(step.status, StepStatus::Failed | StepStatus::Skipped))
        );
        assert_eq!(
            scene.story(bad.id).await.last().map(String::as_str),
            Some("run.cancelled")
        );
        forbidden(
            scene.store.cancel(bad.id, CancelMode::Stop, "ann").await,
            "already cancelled",
        );
    }
}

/// More unreadable runs than one claim takes, all before a good one, do not starve it.
pub async fn many_unreadable_runs_starve_no_other(scene: Scene) {
    if !scene.can_damage() {
        return;
    }
    let worker = scene.worker("w").await;
    for _ in 0..7 {
        let bad = scene.queue(&plan("a", &["one"])).await;
        scene.damage(
            "UPDATE {schema}runs SET parameters = 'x' WHERE id = {id}",
            bad.id,
        );
        scene.clock.advance(SECOND);
    }
    let good = [
        scene.queue(&plan("a", &["one"])).await,
        scene.queue(&plan("b", &["one"])).await,
    ];
    // A claim that met unreadable runs may return fewer than requested; the next one returns the
    // rest.
    let mut taken = scene.claim_ids(worker, 2).await;
    taken.extend(scene.claim_ids(worker, 2).await);
    assert_eq!(taken, ids(&good));
    assert_eq!(scene.claim_ids(worker, 2).await, []);
}

/// A worker died with an unreadable run: its other runs are reclaimed. That run waits, does not
/// disturb workers that register, and can be cancelled.
pub async fn an_unreadable_run_of_a_dead_worker_is_left(scene: Scene) {
    if !scene.can_damage() {
        return;
    }
    let lost = scene.worker("lost").await;
    let bad = scene.start(lost, &plan("a", &["one", "two"])).await;
    let good = scene.start(lost, &plan("a", &["one", "two"])).await;
    scene.damage(
        "UPDATE {schema}runs SET parameters = 'x' WHERE id = {id}",
        bad.id,
    );
    scene.clock.advance(LEASE + SECOND);
    assert_eq!(ids(&scene.reclaim().await.unwrap()), [good.id]);
    assert_eq!(scene.reclaim().await.unwrap(), []);
    let worker = scene.worker("w").await;
    assert_eq!(scene.claim_ids(worker, 10).await, [good.id]);
    assert_eq!(scene.heartbeat(worker).await.held, [good.id]);
    assert_eq!(scene.get(bad.id).await.head.status, RunStatus::Running);
    assert_eq!(
        scene.cancel(&bad, CancelMode::Stop).await.head.status,
        RunStatus::Cancelled
    );
    assert_eq!(scene.get(bad.id).await.head.worker, None);
}

/// The worker that holds a run may be able to read what this build cannot, so a cancel is left to
/// that worker.
pub async fn a_cancel_reaches_the_worker_that_can_read_the_run(scene: Scene) {
    if !scene.can_damage() {
        return;
    }
    let worker = scene.worker("w").await;
    let run = scene.start(worker, &plan("a", &["one", "two"])).await;
    scene.damage(&with_plan(2, NEWER), run.id);
    let asked = scene.cancel(&run, CancelMode::Stop).await;
    assert_eq!(
        (asked.head.status, asked.head.cancel),
        (RunStatus::Running, Some(CancelMode::Stop))
    );
    assert_eq!(
        scene.heartbeat(worker).await.cancels,
        [(run.id, CancelMode::Stop)]
    );
    let ended = scene.commit(&run, |edit| {
        edit.cancelled("cancelled");
        Ok(())
    });
    assert_eq!(ended.await.head.status, RunStatus::Cancelled);
}

/// The key of an unreadable run stays taken, and the error names that run.
pub async fn an_unreadable_run_keeps_its_key(scene: Scene) {
    if !scene.can_damage() {
        return;
    }
    let mut bad = scene.draft(&plan("a", &["one"]));
    bad.key = Some("k".to_owned());
    assert_eq!(scene.submit(&bad).await, Submitted::Queued);
    scene.damage(&with_plan(2, NEWER), bad.id);
    let again = Run {
        id: RunId::at(scene.now()),
        ..bad.clone()
    };
    match scene.submit(&again).await {
        Submitted::SameKey(other) => assert!(
            other.id == bad.id && other.unreadable.is_some(),
            "{other:?}"
        ),
        other => panic!("expected the run that has the key, got {other:?}"),
    }
}

/// A rolling deploy and its rollback: a run of a newer format waits unclaimed until its format can
/// be read.
pub async fn a_plan_of_a_newer_format_waits_for_its_build(scene: Scene) {
    if !scene.can_damage() {
        return;
    }
    let worker = scene.worker("w").await;
    let run = scene.queue(&plan("a", &["one", "two"])).await;
    scene.damage(&with_plan(2, NEWER), run.id);
    assert_eq!(scene.claim_ids(worker, 10).await, []);
    let direct = scene.start(worker, &plan("b", &["one"])).await;
    scene.complete(&direct).await;
    scene.damage(
        &with_plan(1, &NEWER.replace(r#""sandbox": true, "#, "")),
        run.id,
    );
    assert_eq!(scene.claim_ids(worker, 10).await, [run.id]);
    assert_eq!(scene.get(run.id).await.unreadable, None);
}

/// The format that a newer build than this one writes.
const NEXT: u32 = Workflow::FORMAT + 1;

/// A plan that a newer build writes.
fn newer_plan(name: &str, steps: &[&str]) -> Arc<Workflow> {
    Arc::new(Workflow::clone(&plan(name, steps)).in_format(NEXT))
}

async fn waits_for(scene: &Scene, run: RunId) -> Option<Waiting> {
    let client = Client::new(scene.store.clone());
    client.waiting(&scene.get(run).await).await.unwrap()
}

/// A rolling deploy and its rollback: each build takes the runs that it can read, and shows what
/// the others wait for.
pub async fn builds_of_two_formats_share_a_store(scene: Scene) {
    let newer = scene.build(NEXT).await;
    let old = scene.worker("old").await;
    let run = newer.queue(&newer_plan("a", &["one", "two"])).await;
    let plain = newer.queue(&plan("b", &["one"])).await;
    assert_eq!(scene.claim_ids(old, 10).await, [plain.id]);
    scene.complete(&scene.get(plain.id).await).await;

    let seen = scene.get(run.id).await;
    let reason = seen.unreadable.clone().unwrap_or_default();
    assert!(reason.contains(&format!("format {NEXT}")), "{reason}");
    assert_eq!((seen.plan.name(), seen.steps.len()), ("a", 2));
    assert_eq!(
        waits_for(&scene, run.id).await,
        Some(Waiting::Unreadable { reason })
    );
    let newest = Workflow::FORMAT;
    assert_eq!(
        waits_for(&newer, run.id).await,
        Some(Waiting::NewerPlan {
            format: NEXT,
            newest
        })
    );
    assert_eq!(newer.get(run.id).await.unreadable, None);

    // The deploy: the old worker stops, and the new one takes the run.
    scene.store.deregister_worker(old).await.unwrap();
    let new = newer.worker("new").await;
    let held = newer.claim_one(new).await;
    assert_eq!((held.id, held.plan.format()), (run.id, NEXT));
    newer.commit(&held, step).await;

    // The rollback: the run waits where it was.
    newer.store.deregister_worker(new).await.unwrap();
    let old = scene.worker("old").await;
    assert_eq!(scene.claim_ids(old, 10).await, []);
    assert_eq!(scene.get(run.id).await.head.status, RunStatus::Queued);
    let refused = scene.store.retry(run.id, None, "ann").await;
    assert!(
        matches!(&refused, Err(StoreError::Unreadable { .. })),
        "{refused:?}"
    );

    // The next deploy: it goes on from there, and no step is run twice.
    scene.store.deregister_worker(old).await.unwrap();
    let new = newer.worker("new").await;
    let held = newer.claim_one(new).await;
    assert_eq!(held.id, run.id);
    newer.complete(&held).await;
    let ended = scene.get(run.id).await;
    assert_eq!(ended.head.status, RunStatus::Completed);
    assert!(ended.unreadable.is_some());
}

/// After a rollback the old build submits a workflow that the newer one wrote too, byte for byte:
/// its runs are not left to a build that is gone.
pub async fn a_rollback_reads_what_both_builds_write(scene: Scene) {
    let newer = scene.build(NEXT).await;
    newer.queue(&newer_plan("a", &["one"])).await;
    let worker = scene.worker("old").await;
    assert_eq!(scene.claim_ids(worker, 10).await, []);
    let run = scene.queue(&plan("a", &["one"])).await;
    // Another process of the old build has not written the plan itself.
    let other = scene.build(Workflow::FORMAT).await;
    assert_eq!(other.get(run.id).await.unreadable, None);
    assert!(scene.claim_ids(worker, 10).await.contains(&run.id));
}

/// A damaged row of the history, a record or a document reports itself; all others are intact.
pub async fn damaged_events_records_and_documents_affect_no_other(scene: Scene) {
    if !scene.can_damage() {
        return;
    }
    let worker = scene.worker("w").await;
    let run = scene.start(worker, &plan("a", &["one"])).await;
    let put = |name: &str| RecordChange::Put {
        kind: "thing".to_owned(),
        name: name.to_owned(),
        data: json!({ "n": name }),
    };
    let run = scene.commit(&run, |edit| {
        let position = begin(edit)?;
        edit.complete_step(position, json!(1), vec![put("a"), put("b"), put("c")], None)?;
        edit.complete_run()
    });
    let run = run.await;
    let before = scene.events(run.id).await;
    let last = before.last().unwrap().seq;
    scene.damage(
        &format!("UPDATE {{schema}}events SET body = '[[' WHERE run = {{id}} AND seq = {last}"),
        run.id,
    );
    let after = scene.events(run.id).await;
    let end = after.last().unwrap();
    assert_eq!((end.seq, end.kind.as_str()), (last, "event.unreadable"));
    assert_eq!(after[..after.len() - 1], before[..after.len() - 1]);
    assert_eq!(scene.store.events(run.id, last, 10).await.unwrap(), []);

    scene.damage(
        "UPDATE {schema}records SET data = '{' WHERE name = 'b'",
        run.id,
    );
    let records = scene.store.records(RecordFilter::default()).await.unwrap();
    assert_eq!(records.len(), 3);
    assert_eq!(
        (&records[0].data, &records[2].data),
        (&json!({ "n": "a" }), &json!({ "n": "c" }))
    );
    assert!(records[1].data["unreadable"].is_string());

    for id in ["1", "2", "3"] {
        let document = NewDocument {
            kind: "k".to_owned(),
            id: id.to_owned(),
            expires_at: None,
            data: json!({ "id": id }),
        };
        scene
            .store
            .put_document(document, Expect::Nothing)
            .await
            .unwrap();
    }
    scene.damage(
        "UPDATE {schema}documents SET data = '' WHERE id = '2'",
        run.id,
    );
    let filter = DocumentFilter {
        kind: "k".to_owned(),
        after: None,
        descending: false,
        limit: 9,
    };
    let documents = scene.store.documents(filter).await.unwrap();
    assert_eq!(
        (documents.len(), &documents[0].data),
        (3, &json!({ "id": "1" }))
    );
    let damaged = scene.store.document("k", "2").await.unwrap().unwrap();
    assert!(damaged.data["unreadable"].is_string());
    assert_eq!(damaged, documents[1]);
    assert!(scene.store.delete_document("k", "2").await.unwrap());
}
