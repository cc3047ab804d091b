//! Leases: write permission, expiry, and the runs of workers that are gone.

use std::sync::Arc;
use std::time::Duration;

use surefoot::state::{Interruption, Lease, StepState, Undo, Wait};
use surefoot::workflow::OnInterrupt;
use surefoot::{AllowList, Run, RunId, RunStatus, StepStatus, WorkerId, Workflow};

use crate::Scene;
use crate::scene::{LEASE, SECOND, WORK, complete, forbidden, lost, plan, step};

const MICRO: Duration = Duration::from_micros(1);

/// A write succeeds only under the exact lease: this worker, this epoch, while the run is running.
pub async fn a_write_needs_the_exact_lease(scene: Scene) {
    let worker = scene.worker("w").await;
    let run = scene.start(worker, &plan("a", &["one"])).await;
    let before = scene.picture().await;
    let (_, transition) = surefoot::state::Edit::new(run.clone(), scene.now()).finish_as_holder();
    let lease = run.lease().unwrap();
    let wrong = [
        Lease {
            epoch: lease.epoch - 1,
            ..lease
        },
        Lease {
            epoch: lease.epoch + 1,
            ..lease
        },
        Lease {
            worker: WorkerId::new(),
            ..lease
        },
        Lease {
            run: RunId::new(),
            ..lease
        },
    ];
    for wrong in wrong {
        lost(scene.store.commit(wrong, transition.clone()).await);
    }
    assert_eq!(scene.picture().await, before);
    scene.store.commit(lease, transition).await.unwrap();
}

/// A commit that was overtaken by a later one of the same lease changes nothing; nor does one that
/// arrives too early.
pub async fn an_overtaken_or_early_commit_is_refused(scene: Scene) {
    let worker = scene.worker("w").await;
    let run = scene.start(worker, &plan("a", &["one", "two"])).await;
    let say = |line: &str| {
        let line = line.to_owned();
        move |edit: &mut surefoot::state::Edit| {
            edit.report(0, Some((40, Some(line.clone()))), vec![line]);
            Ok(())
        }
    };
    let begun = scene.commit(&run, step).await;
    let later = scene.commit(&begun, say("later")).await;
    assert!(matches!(
        scene.refused(&run, say("late")).await,
        surefoot::StoreError::LeaseLost
    ));
    let last = scene.commit(&later, say("last")).await;
    assert!(matches!(
        scene.refused(&begun, say("late")).await,
        surefoot::StoreError::LeaseLost
    ));
    let mut ahead = last.clone();
    ahead.head.commits += 1;
    assert!(matches!(
        scene.refused(&ahead, say("early")).await,
        surefoot::StoreError::LeaseLost
    ));
    // Some stores write a heavy commit by another path.
    let record = |edit: &mut surefoot::state::Edit| {
        let put = surefoot::RecordChange::Put {
            kind: "k".to_owned(),
            name: "n".to_owned(),
            data: 1.into(),
        };
        edit.complete_step(0, serde_json::Value::Null, vec![put], None)
    };
    assert!(matches!(
        scene.refused(&begun, record).await,
        surefoot::StoreError::LeaseLost
    ));
    // A person's action in between does not use a commit number.
    scene.cancel(&run, surefoot::state::CancelMode::Stop).await;
    let done = scene.commit(&last, record).await;
    assert_eq!(
        (done.head.commits, scene.get(run.id).await.head.commits),
        (4, 4)
    );
}

type Rule = fn(&mut surefoot::state::Edit) -> Result<(), surefoot::state::RuleError>;

/// A commit whose answer was lost is sent again: it is recognised, and written once. The same holds
/// for one that handed the lease back.
pub async fn a_commit_is_written_once(scene: Scene) {
    let worker = scene.worker("w").await;
    let run = scene.start(worker, &plan("a", &["one", "two"])).await;
    let record = |edit: &mut surefoot::state::Edit| {
        let position = crate::scene::begin(edit)?;
        let put = surefoot::RecordChange::Put {
            kind: "k".to_owned(),
            name: "n".to_owned(),
            data: 1.into(),
        };
        edit.complete_step(position, serde_json::Value::Null, vec![put], None)
    };
    let rules: [Rule; 4] = [
        step,
        record,
        |edit| edit.interrupt(Interruption::HandedBack, "it stops"),
        complete,
    ];
    let mut run = run;
    for (index, rule) in rules.into_iter().enumerate() {
        if run.lease().is_none() {
            run = scene.claim_one(worker).await;
        }
        let after = scene.commit(&run, rule).await;
        let before = scene.picture().await;
        scene
            .try_commit(&run, rule)
            .await
            .unwrap_or_else(|error| panic!("rule {index}: {error}"));
        assert_eq!(
            scene.picture().await,
            before,
            "rule {index} is written once"
        );
        run = after;
    }
    // A commit that was not written is not mistaken for one: here the worker lost its lease first.
    let run = scene.start(worker, &plan("b", &["one"])).await;
    scene.store.deregister_worker(worker).await.unwrap();
    assert!(matches!(
        scene.refused(&run, step).await,
        surefoot::StoreError::LeaseLost
    ));
}

/// A heartbeat returns every run that the worker holds, since the worker may not know all of them.
pub async fn a_heartbeat_returns_the_held_runs(scene: Scene) {
    let worker = scene.worker("w").await;
    assert_eq!(scene.heartbeat(worker).await.held, []);
    let runs = [
        scene.start(worker, &plan("a", &["one"])).await,
        scene.start(worker, &plan("b", &["one"])).await,
    ];
    scene.queue(&plan("a", &["one"])).await;
    scene
        .cancel(&runs[1], surefoot::state::CancelMode::Stop)
        .await;
    let mut heartbeat = scene.heartbeat(worker).await;
    heartbeat.held.sort_unstable();
    assert_eq!(heartbeat.held, runs.clone().map(|run| run.id));
    assert_eq!(
        heartbeat.cancels,
        [(runs[1].id, surefoot::state::CancelMode::Stop)]
    );
    scene.complete(&runs[0]).await;
    assert_eq!(scene.heartbeat(worker).await.held, [runs[1].id]);
}

/// A lease ends with the commit that hands the run back, fails it or completes it.
pub async fn a_lease_ends_with_its_last_commit(scene: Scene) {
    let worker = scene.worker("w").await;
    let plan = plan("a", &["one"]);
    let run = scene.start(worker, &plan).await;
    let next = under_the_same_lease(&run, &scene.complete(&run).await);
    lost(scene.try_commit(&next, complete).await);
    let run = scene.start(worker, &plan).await;
    let next = under_the_same_lease(&run, &scene.fail(&run).await);
    lost(scene.try_commit(&next, complete).await);

    let run = scene.start(worker, &plan).await;
    let next = under_the_same_lease(
        &run,
        &scene
            .commit(&run, |edit| {
                edit.interrupt(Interruption::HandedBack, "it stops")
            })
            .await,
    );
    lost(scene.try_commit(&next, complete).await);
    let again = scene.claim_one(worker).await;
    assert_eq!((again.id, again.head.epoch), (run.id, run.head.epoch + 1));
    lost(scene.try_commit(&run, complete).await);
    lost(scene.try_commit(&next, complete).await);
    scene.complete(&again).await;
}

/// The run as a holder sees it that ignores the end of its lease.
fn under_the_same_lease(run: &Run, after: &Run) -> Run {
    let mut next = run.clone();
    next.head.commits = after.head.commits;
    next
}

/// A lease is valid up to the microsecond of its expiry.
pub async fn a_lease_expires_to_the_microsecond(scene: Scene) {
    let worker = scene.worker("w").await;
    let run = scene.start(worker, &plan("a", &["one"])).await;
    let run = scene.commit(&run, step).await;
    scene.clock.advance(LEASE - MICRO);
    assert_eq!(scene.reclaim().await.unwrap(), []);
    assert_eq!(scene.store.workers().await.unwrap().len(), 1);
    scene.clock.advance(MICRO);
    assert_eq!(scene.store.workers().await.unwrap(), []);
    let reclaimed = scene.reclaim().await.unwrap();
    assert_eq!(
        reclaimed.iter().map(|run| run.id).collect::<Vec<_>>(),
        [run.id]
    );
    assert_eq!(reclaimed[0].head.status, RunStatus::Queued);
    assert_eq!(reclaimed[0].head.available_at, Some(scene.now()));
    assert_eq!(reclaimed[0].steps[0].wait, Some(Wait::Worker));
    assert_eq!(scene.reclaim().await.unwrap(), []);
    let last = scene.events(run.id).await.pop().unwrap();
    assert_eq!(
        (&*last.kind, &last.data["reason"]),
        ("step.interrupted", &"worker w died".into())
    );
}

/// A heartbeat extends every lease of the worker.
pub async fn a_heartbeat_extends_every_lease(scene: Scene) {
    let worker = scene.worker("w").await;
    let runs = [
        scene.start(worker, &plan("a", &["one"])).await,
        scene.start(worker, &plan("b", &["one"])).await,
    ];
    let registered = scene.now();
    for _ in 0..3 {
        scene.clock.advance(LEASE - MICRO);
        scene.heartbeat(worker).await;
        assert_eq!(scene.reclaim().await.unwrap(), []);
    }
    let info = scene.store.workers().await.unwrap().remove(0);
    assert_eq!((info.id, &*info.name, info.running), (worker, "w", 2));
    assert_eq!(
        (info.started_at, info.heartbeat_at, info.expires_at),
        (registered, scene.now(), scene.now() + LEASE)
    );
    for run in runs {
        scene.complete(&run).await;
    }
    assert_eq!(scene.store.workers().await.unwrap()[0].running, 0);
}

/// Reclaim applies only to the observed heartbeat: a worker that has sent a newer one keeps its
/// runs, even if the clock stands still.
pub async fn a_newer_heartbeat_prevents_a_reclaim(scene: Scene) {
    let worker = scene.worker("w").await;
    let run = scene.start(worker, &plan("a", &["one"])).await;
    let mut seen = vec![scene.store.heartbeats().await.unwrap()];
    assert_eq!(
        seen[0]
            .workers
            .iter()
            .map(|last| (last.worker, last.lease))
            .collect::<Vec<_>>(),
        [(worker, LEASE)]
    );
    assert!(!seen[0].has_orphans);
    for _ in 0..3 {
        scene.heartbeat(worker).await;
        let now = scene.store.heartbeats().await.unwrap();
        for before in &seen {
            assert_ne!(
                before.workers, now.workers,
                "heartbeats at one time are distinguished"
            );
            assert_eq!(
                scene.store.reclaim(before.workers.clone()).await.unwrap(),
                []
            );
        }
        seen.push(now);
    }
    let last = seen.pop().unwrap();
    let reclaimed = scene.store.reclaim(last.workers.clone()).await.unwrap();
    assert_eq!(
        reclaimed.iter().map(|run| run.id).collect::<Vec<_>>(),
        [run.id]
    );
    assert_eq!(
        scene.store.reclaim(last.workers).await.unwrap(),
        [],
        "it is gone"
    );
    fenced_off(&scene, worker, &run).await;
}

/// A worker that lost its lease can do nothing more, and its old writes are refused.
pub async fn a_worker_that_lost_its_lease_is_fenced_off(scene: Scene) {
    let worker = scene.worker("w").await;
    let run = scene.start(worker, &plan("a", &["one"])).await;
    scene.clock.advance(LEASE);
    scene.reclaim().await.unwrap();
    fenced_off(&scene, worker, &run).await;
    let next = scene.worker("next").await;
    let again = scene.claim_one(next).await;
    assert_eq!(again.id, run.id);
    fenced_off(&scene, worker, &run).await;
    scene.complete(&again).await;
}

async fn fenced_off(scene: &Scene, worker: WorkerId, run: &Run) {
    lost(scene.store.heartbeat(worker).await);
    assert!(matches!(
        scene.refused(run, complete).await,
        surefoot::StoreError::LeaseLost
    ));
}

/// An unregistered worker receives no run: the run could never be reclaimed from it.
pub async fn an_unregistered_worker_receives_no_run(scene: Scene) {
    let stranger = WorkerId::new();
    lost(scene.store.heartbeat(stranger).await);
    let run = scene.draft(&plan("a", &["one"]));
    assert_eq!(
        scene.submit_on(stranger, &run).await,
        surefoot::store::Submitted::Queued
    );
    let actions = Arc::new(std::collections::BTreeSet::from([WORK.to_owned()]));
    lost(
        scene
            .store
            .claim(surefoot::store::ClaimRequest {
                worker: stranger,
                limit: 1,
                actions,
                workflows: AllowList::default(),
                resources: Arc::default(),
            })
            .await,
    );
    assert_eq!(scene.get(run.id).await, run);
    scene.store.deregister_worker(stranger).await.unwrap();
}

/// A worker that deregisters hands back its runs at once.
pub async fn a_worker_that_deregisters_hands_back_its_runs(scene: Scene) {
    let worker = scene.worker("w").await;
    let run = scene.start(worker, &plan("a", &["one"])).await;
    let run = scene.commit(&run, step).await;
    let idle = scene.start(worker, &plan("b", &["one"])).await;
    scene.store.deregister_worker(worker).await.unwrap();
    assert_eq!(scene.store.workers().await.unwrap(), []);
    fenced_off(&scene, worker, &run).await;
    let next = scene.worker("next").await;
    let mut taken = scene.claim_ids(next, 10).await;
    taken.sort();
    assert_eq!(taken, [run.id, idle.id]);
    for id in [run.id, idle.id] {
        let events = scene.events(id).await;
        let given_back = events
            .iter()
            .find(|event| event.data["reason"] == "worker w stopped");
        let kind = given_back.map(|event| &*event.kind);
        assert!(
            matches!(kind, Some("step.interrupted" | "run.released")),
            "{events:#?}"
        );
    }
}

/// On a store with one live worker, a new one ends the leases of the previous one; otherwise both
/// live on.
pub async fn a_second_worker_ends_the_first_or_lives_beside_it(scene: Scene) {
    let first = scene.worker("first").await;
    let run = scene.start(first, &plan("a", &["one"])).await;
    let second = scene.worker("second").await;
    let alive: Vec<WorkerId> = scene
        .store
        .workers()
        .await
        .unwrap()
        .iter()
        .map(|worker| worker.id)
        .collect();
    if scene.many_workers {
        assert_eq!(alive, [first, second]);
        assert_eq!(scene.claim_ids(second, 10).await, []);
        let cancelled = scene.start(second, &plan("b", &["one"])).await;
        scene
            .cancel(&cancelled, surefoot::state::CancelMode::Stop)
            .await;
        assert_eq!(scene.heartbeat(first).await.cancels, []);
        scene.complete(&cancelled).await;
        scene.clock.advance(LEASE - SECOND);
        scene.heartbeat(second).await;
        scene.clock.advance(SECOND);
        assert_eq!(scene.reclaim().await.unwrap().len(), 1);
        scene.heartbeat(second).await;
    } else {
        assert_eq!(alive, [second]);
    }
    fenced_off(&scene, first, &run).await;
    assert_eq!(scene.claim_ids(second, 10).await, [run.id]);
}

/// Names need not be unique: two workers with one name hold their own runs, and one takes over from
/// the other.
pub async fn workers_may_share_a_name(scene: Scene) {
    let first = scene.worker("twin").await;
    let run = scene.start(first, &plan("a", &["one", "two"])).await;
    let run = scene.commit(&run, step).await;
    let second = scene.worker("twin").await;
    if scene.many_workers {
        let other = scene.start(second, &plan("b", &["one"])).await;
        assert_eq!(scene.heartbeat(first).await.held, [run.id]);
        assert_eq!(scene.heartbeat(second).await.held, [other.id]);
        assert_eq!(scene.claim_ids(second, 10).await, []);
        scene.clock.advance(LEASE - SECOND);
        scene.heartbeat(second).await;
        scene.clock.advance(SECOND);
        let reclaimed = scene.reclaim().await.unwrap();
        assert_eq!(
            reclaimed.iter().map(|run| run.id).collect::<Vec<_>>(),
            [run.id]
        );
        assert_eq!(scene.heartbeat(second).await.held, [other.id]);
        scene.complete(&other).await;
    }
    let alive = scene.store.workers().await.unwrap();
    assert_eq!(
        alive
            .iter()
            .map(|worker| (worker.id, &*worker.name))
            .collect::<Vec<_>>(),
        [(second, "twin")]
    );
    fenced_off(&scene, first, &run).await;
    let again = scene.claim_one(second).await;
    assert_eq!(
        (again.id, again.head.worker, again.head.epoch),
        (run.id, Some(second), run.head.epoch + 1)
    );
    scene.complete(&again).await;
}

fn policy(policy: OnInterrupt, cap: u32) -> Arc<Workflow> {
    let workflow = Workflow::builder("a")
        .step_with("one", WORK, |step| {
            step.on_interrupt(policy).max_interruptions(cap)
        })
        .step("two", WORK);
    Arc::new(workflow.build().expect("the plan is well formed"))
}

/// Registers a worker that claims the run, starts its step and dies.
async fn die(scene: &Scene, run: &Run) -> Run {
    let worker = scene.worker("w").await;
    let held = scene.claim_one(worker).await;
    assert_eq!(held.id, run.id);
    scene.commit(&held, step).await;
    scene.clock.advance(LEASE);
    let mut reclaimed = scene.reclaim().await.unwrap();
    assert_eq!(reclaimed.len(), 1);
    reclaimed.remove(0)
}

/// `rerun`: the same attempt is repeated up to the cap; then the run fails with the reason.
pub async fn an_interrupted_step_runs_again_up_to_its_cap(scene: Scene) {
    let run = scene.queue(&policy(OnInterrupt::Rerun, 2)).await;
    for interruptions in 1..=2 {
        let run = die(&scene, &run).await;
        let step = &run.steps[0];
        assert_eq!(
            (run.head.status, step.status),
            (RunStatus::Queued, StepStatus::Waiting)
        );
        assert_eq!(
            (step.wait, step.attempt, step.interruptions),
            (Some(Wait::Worker), 1, interruptions)
        );
    }
    let run = die(&scene, &run).await;
    assert_eq!(
        (run.head.status, run.steps[0].status),
        (RunStatus::Failed, StepStatus::Failed)
    );
    let error = run.head.error.unwrap();
    assert!(
        error.contains("interrupted 3 times") && error.contains("worker w died"),
        "{error}"
    );
}

/// `ask`: no worker claims the run until a person has answered.
pub async fn an_interrupted_step_may_ask(scene: Scene) {
    let run = scene.queue(&policy(OnInterrupt::Ask, 5)).await;
    let asked = die(&scene, &run).await;
    assert_eq!(
        (asked.head.status, asked.head.available_at),
        (RunStatus::Waiting, None)
    );
    assert_eq!(asked.steps[0].wait, Some(Wait::Interrupted));
    let worker = scene.worker("w").await;
    assert_eq!(scene.claim_ids(worker, 10).await, []);
    scene
        .store
        .answer(run.id, "one", surefoot::state::Answer::Rerun, "ann", None)
        .await
        .unwrap();
    assert_eq!(scene.claim_ids(worker, 10).await, [run.id]);
}

/// `fail`: the run fails at once.
pub async fn an_interrupted_step_may_fail(scene: Scene) {
    let run = scene.queue(&policy(OnInterrupt::Fail, 5)).await;
    let failed = die(&scene, &run).await;
    assert_eq!(
        (failed.head.status, failed.steps[0].status),
        (RunStatus::Failed, StepStatus::Failed)
    );
    assert_eq!(
        failed.head.error.as_deref(),
        Some("step one: interrupted: worker w died")
    );
}

/// Registers a worker that claims these runs, starts their steps and dies.
async fn die_with(scene: &Scene, runs: &[Run]) -> Vec<Run> {
    let worker = scene.worker("w").await;
    let claimed = scene.claim(worker, 10).await.runs;
    assert_eq!(claimed.len(), runs.len());
    for held in &claimed {
        scene.commit(held, step).await;
    }
    scene.store.reclaim_worker(worker).await.unwrap();
    let mut left = Vec::new();
    for run in runs {
        left.push(scene.get(run.id).await);
    }
    left
}

/// A crash with several steps in flight counts against none of them. Each then runs beside fewer
/// others, and finally alone.
pub async fn a_crash_with_several_steps_isolates_them(scene: Scene) {
    let plan = policy(OnInterrupt::Rerun, 0);
    let runs = [
        scene.queue(&plan).await,
        scene.queue(&plan).await,
        scene.queue(&plan).await,
    ];
    for isolation in [StepState::SUSPECT, 2, 1, 1] {
        for run in die_with(&scene, &runs).await {
            let step = &run.steps[0];
            assert_eq!(
                (run.head.status, step.wait),
                (RunStatus::Queued, Some(Wait::Worker))
            );
            assert_eq!((step.crashes, step.isolation), (0, Some(isolation)));
        }
    }
    for run in &runs[1..] {
        scene.cancel(run, surefoot::state::CancelMode::Stop).await;
    }
    let alone = die_with(&scene, &runs[..1]).await;
    assert_eq!(
        (alone[0].head.status, alone[0].steps[0].crashes),
        (RunStatus::Failed, 1),
        "past its cap of none"
    );
}

/// A worker that shuts down hands back its runs: nothing is counted, however often it happens.
pub async fn a_shutdown_counts_as_no_interruption(scene: Scene) {
    let run = scene.queue(&policy(OnInterrupt::Rerun, 0)).await;
    for _ in 0..3 {
        let worker = scene.worker("w").await;
        let held = scene.claim_one(worker).await;
        scene.commit(&held, step).await;
        scene.store.deregister_worker(worker).await.unwrap();
        let handed_back = scene.get(run.id).await;
        let state = &handed_back.steps[0];
        assert_eq!(
            (handed_back.head.status, state.crashes, state.isolation),
            (RunStatus::Queued, 0, None)
        );
    }
    assert!(
        matches!(scene.store.reclaim_worker(WorkerId::new()).await, Ok(())),
        "an unknown worker holds nothing"
    );
}

/// An undo that loses its worker repeatedly fails: it does not crash every worker for ever.
pub async fn interruptions_of_an_undo_count(scene: Scene) {
    let worker = scene.worker("w").await;
    let run = scene.start(worker, &policy(OnInterrupt::Rerun, 1)).await;
    scene.fail(&run).await;
    scene.cancel(&run, surefoot::state::CancelMode::Undo).await;
    scene.store.deregister_worker(worker).await.unwrap();
    for (status, undo) in [
        (RunStatus::Queued, Undo::Interrupted),
        (RunStatus::Failed, Undo::Failed),
    ] {
        let worker = scene.worker("w").await;
        let held = scene.claim_one(worker).await;
        let undoing = |edit: &mut surefoot::state::Edit| {
            edit.begin_undo()?;
            edit.undo_step(0, Undo::Running, None);
            Ok(())
        };
        scene.commit(&held, undoing).await;
        scene.store.reclaim_worker(worker).await.unwrap();
        let left = scene.get(run.id).await;
        assert_eq!((left.head.status, left.steps[0].undo), (status, Some(undo)));
    }
    let left = scene.cancel(&run, surefoot::state::CancelMode::Stop).await;
    assert_eq!(
        (left.head.status, left.head.cancel),
        (RunStatus::Cancelled, None)
    );
    assert_eq!(scene.get(run.id).await, left);
    forbidden(
        scene
            .store
            .cancel(run.id, surefoot::state::CancelMode::Stop, "ann")
            .await,
        "already cancelled",
    );
}
