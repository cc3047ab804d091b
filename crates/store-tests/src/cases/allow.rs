//! Allow-lists of queues and workers.

use std::collections::BTreeSet;
use std::sync::Arc;

use surefoot::state::CancelMode;
use surefoot::store::{ClaimRequest, NewWorker, Submission, Submitted};
use surefoot::{
    AllowList, AllowLists, ListOwner, QueueLimits, Run, RunId, StoreError, WorkerId, Workflow,
};

use crate::Scene;
use crate::scene::{LEASE, WORK, first, plan, taken};

fn list(text: &str) -> AllowList {
    AllowList::parse(text).expect("the list of a case is well formed")
}

/// Lists of a queue; `all` is no list.
fn lists(workflows: &str, actions: &str) -> AllowLists {
    let read = |text| match text {
        "all" => AllowList::everything(),
        text => list(text),
    };
    AllowLists {
        workflows: read(workflows),
        actions: read(actions),
    }
}

async fn permit(scene: &Scene, queue: &str, allow: AllowLists) {
    let limits = QueueLimits {
        allow,
        ..QueueLimits::default()
    };
    scene.limits(queue, limits).await;
}

fn flow(name: &str, queue: &str, actions: &[&str]) -> Arc<Workflow> {
    let steps = (1..).zip(actions);
    let flow = steps.fold(
        Workflow::builder(name).queue(queue),
        |flow, (number, action)| flow.step(format!("s{number}"), *action),
    );
    Arc::new(flow.build().expect("the plan of a case is well formed"))
}

/// A list refuses a submission exactly when the rule of [`AllowLists::check`] does, in its words,
/// whether the run would wait or start at once; nothing is written then.
pub async fn a_queue_refuses_what_it_does_not_permit(scene: Scene) {
    let worker = scene.worker("w").await;
    let table = [
        lists("all", "all"),
        lists("", "all"),
        lists("all", ""),
        lists("flow", "test.work"),
        lists("fl*w,other", "all"),
        lists("FLOW", "all"),
        lists("fl_w", "all"),
        lists("f%", "all"),
        lists("*flow*", "te*.*k"),
        lists("all", "test.*"),
        lists("all", "git.*,t*k"),
        lists("all", "test.wor"),
        lists("all", "*test.work.*"),
        lists("*-*-*", "all"),
        lists("a*b*c", "all"),
    ];
    let plans: [(&str, &[&str]); 5] = [
        ("flow", &[WORK]),
        ("flow", &[WORK, "git.push", WORK]),
        ("a-b-b-c", &[WORK]),
        ("a-c-b", &["command.run", "git.push"]),
        ("fl.w", &["test_work"]),
    ];
    for (number, allow) in table.into_iter().enumerate() {
        let queue = format!("q{number}");
        permit(&scene, &queue, allow.clone()).await;
        for (name, actions) in plans {
            let plan = flow(name, &queue, actions);
            let verdict = allow.check(&plan, &ListOwner::Queue(queue.clone()));
            let before = scene.picture().await;
            for starts in [false, true] {
                let run = scene.draft(&plan);
                let submission = Submission {
                    queued: first(&run, scene.now()),
                    started: starts.then(|| taken(&run, worker, scene.now())),
                };
                let submitted = scene.store.submit(submission).await;
                match (&verdict, submitted) {
                    (Ok(()), submitted) => assert!(submitted.is_ok(), "{submitted:?}"),
                    (Err(expect), Err(StoreError::NotPermitted(refusal))) => {
                        assert_eq!(*refusal, *expect);
                    }
                    (Err(expect), other) => panic!("{expect} was expected, not {other:?}"),
                }
            }
            if verdict.is_err() {
                assert_eq!(scene.picture().await, before, "nothing is written");
            }
        }
    }
}

/// The same request again gives its run, whatever the list says by now.
pub async fn a_refused_run_that_is_there_is_given(scene: Scene) {
    let mut run = scene.draft(&plan("a", &["one"]));
    run.key = Some("k".to_owned());
    scene.submit(&run).await;
    permit(&scene, "a", lists("other", "all")).await;
    let mut again = scene.draft(&plan("a", &["one"]));
    again.key = Some("k".to_owned());
    let submitted = scene.submit(&again).await;
    assert!(
        matches!(&submitted, Submitted::SameKey(same) if same.id == run.id),
        "{submitted:?}"
    );
}

/// A list changes nothing about runs that are there, and goes when it is taken away.
pub async fn a_list_counts_from_then_on(scene: Scene) {
    let worker = scene.worker("w").await;
    let before = scene.queue(&plan("a", &["one"])).await;
    permit(&scene, "a", lists("all", "git.*")).await;
    let refused = async || {
        let run = scene.draft(&plan("a", &["one"]));
        let submission = Submission {
            queued: first(&run, scene.now()),
            started: None,
        };
        scene.store.submit(submission).await
    };
    assert!(matches!(refused().await, Err(StoreError::NotPermitted(_))));
    let taken = scene.claim_one(worker).await;
    assert_eq!(taken.id, before.id);
    scene.complete(&taken).await;
    // Another change of the queue keeps its lists; both stores write whole limits.
    permit(&scene, "a", lists("all", "all")).await;
    assert!(matches!(refused().await, Ok(Submitted::Queued)));
}

async fn given(scene: &Scene, worker: WorkerId, workflows: &AllowList) -> Vec<RunId> {
    let request = ClaimRequest {
        worker,
        limit: 10,
        actions: Arc::new(BTreeSet::from([WORK.to_owned()])),
        workflows: workflows.clone(),
        resources: Arc::default(),
    };
    let claimed = scene.store.claim(request).await.unwrap();
    claimed.runs.iter().map(|run| run.id).collect()
}

/// Runs of workflows that a worker does not permit wait, however many and urgent they are, and hold
/// up no other; neither a cancel nor a time makes the worker take them.
pub async fn a_worker_is_given_what_it_permits(scene: Scene) {
    let worker = scene.worker("w").await;
    let mut urgent = Vec::new();
    for _ in 0..5 {
        let mut run = scene.draft(&flow("deploy", "q", &[WORK]));
        run.priority = 9;
        scene.submit(&run).await;
        urgent.push(run.id);
    }
    let project = scene.queue(&flow("project-a", "q", &[WORK])).await;
    assert_eq!(given(&scene, worker, &list("")).await, []);
    assert_eq!(
        given(&scene, worker, &list("project-*")).await,
        [project.id]
    );
    let held = scene.get(project.id).await;
    let failed: Run = scene.fail(&held).await;
    scene.cancel(&failed, CancelMode::Undo).await;
    assert_eq!(given(&scene, worker, &list("deploy-*")).await, []);
    assert_eq!(
        given(&scene, worker, &list("project-*")).await,
        [project.id]
    );
    assert_eq!(
        given(&scene, worker, &AllowList::everything()).await,
        urgent
    );
}

/// A worker's allow-lists are shown as they were given.
pub async fn a_worker_shows_what_it_permits(scene: Scene) {
    for workflows in [list("project-*,deploy"), list(""), AllowList::everything()] {
        let id = WorkerId::new();
        let worker = NewWorker {
            id,
            name: "w".to_owned(),
            lease: LEASE,
            version: "1".to_owned(),
            actions: Arc::default(),
            workflows: workflows.clone(),
            resources: Arc::default(),
        };
        scene.store.register_worker(worker).await.unwrap();
        let shown = scene.store.workers().await.unwrap();
        let shown = shown.iter().find(|shown| shown.id == id);
        assert_eq!(shown.map(|shown| &shown.workflows), Some(&workflows));
    }
}
