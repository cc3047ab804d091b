//! Faults that the simulation found in the engine, each as a scenario of its own: seeds change
//! their meaning, these do not.

use std::sync::Arc;
use std::time::Duration;

use surefoot::state::CancelMode;
use surefoot::workflow::{Backoff, RetryPolicy, StepBuilder};
use surefoot::{AllowList, Client, RunId, Submit, Workflow};

use crate::history::lock;
use crate::ledger::{Call, Ending};
use crate::link::Link;
use crate::node::{Alive, Node};
use crate::rng::Rng;
use crate::script::{COMMON, End, Script};
use crate::weather::Fate;
use crate::world::World;

const LEASE: Duration = Duration::from_secs(3);

/// A worker with room for two runs, and one run of one step that takes this long.
async fn scene(world: &Arc<World>, take: u64, parts: u64) -> (Alive, RunId) {
    let mut node = Node {
        number: 1,
        rng: Rng::new(1),
        knows_all: true,
        deaf: false,
        concurrency: 2,
        stays: true,
        peace: 0,
    };
    let alive = node.start(world, 1).await;
    let script = Script {
        take,
        parts,
        fails: 0,
        end: End::Completes,
        notes: false,
        record: None,
        undo_fails: 0,
    };
    let plan = Workflow::builder("flow")
        .step_with("s1", COMMON, |step: StepBuilder| step.with(script))
        .build()
        .unwrap();
    let client = Client::new(Link::of_person(world, "user", Rng::new(2)));
    let run = client
        .submit(Submit::new(Arc::new(plan)))
        .await
        .unwrap()
        .run
        .id;
    while lock(&world.ledger).calls.is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    (alive, run)
}

fn calls(world: &World) -> Vec<Call> {
    assert_eq!(
        world.history.violation(),
        None,
        "{:#?}",
        world.history.lines()
    );
    lock(&world.ledger).calls.clone()
}

/// A claim's answer is lost, so the worker asks which runs it has. While that answer is on its way,
/// the run that it shows as held ends: it is not to be taken up again, for its step is completed.
#[tokio::test(start_paused = true)]
async fn a_run_that_ends_while_the_list_of_runs_is_on_its_way_is_not_run_again() {
    let world = World::fair(LEASE);
    let (alive, run) = scene(&world, 400, 1).await;
    world.weather.plan(
        "claim",
        Fate {
            lost: true,
            ..Fate::default()
        },
    );
    world.weather.plan(
        "runs",
        Fate {
            back: Duration::from_secs(1),
            ..Fate::default()
        },
    );
    world.pause_queue("other", true).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(lock(&world.seen).row(run).unwrap().head.status.is_ended());
    assert_eq!(calls(&world).len(), 1, "{:#?}", world.history.lines());
    alive.handle.stop().await;
}

/// The handler's progress is on its way to a store that does not answer, and the worker is taken
/// for dead meanwhile: the handler ends when the worker hears of it, and not when the store
/// answers.
#[tokio::test(start_paused = true)]
async fn a_handler_ends_with_its_lease_while_what_it_said_is_being_written() {
    let world = World::fair(LEASE);
    let (alive, run) = scene(&world, 8_000, 8).await;
    let worker = lock(&world.seen).row(run).unwrap().head.worker.unwrap();
    world.weather.plan(
        "commit",
        Fate {
            back: Duration::from_secs(60),
            ..Fate::default()
        },
    );
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    world.deregister(worker).await.unwrap();
    tokio::time::sleep(LEASE / 3 + Duration::from_millis(10)).await;
    let first = calls(&world)[0].clone();
    assert!(
        matches!(first.ended, Some((_, Ending::Dropped))),
        "{:#?}",
        world.history.lines()
    );
    alive.handle.stop().await;
}

fn node(number: usize, concurrency: usize) -> Node {
    Node {
        number,
        rng: Rng::new(number as u64),
        knows_all: true,
        deaf: false,
        concurrency,
        stays: true,
        peace: 0,
    }
}

async fn submit(world: &Arc<World>, take: u64) -> RunId {
    let script = Script {
        take,
        parts: 1,
        fails: 0,
        end: End::Completes,
        notes: false,
        record: None,
        undo_fails: 0,
    };
    let plan = Workflow::builder("flow")
        .step_with("s1", COMMON, |step: StepBuilder| step.with(script))
        .build()
        .unwrap();
    let client = Client::new(Link::of_person(world, "user", Rng::new(2)));
    client
        .submit(Submit::new(Arc::new(plan)))
        .await
        .unwrap()
        .run
        .id
}

/// A claim that its worker gave up takes place long after the worker looked whether it did: the run
/// is leased to a worker that lives and does not know of it.
#[tokio::test(start_paused = true)]
async fn a_run_that_is_leased_to_a_worker_behind_its_back_is_driven() {
    let world = World::fair(LEASE);
    let alive = node(1, 1).start(&world, 1).await;
    let first = submit(&world, 4_000).await;
    while lock(&world.ledger).calls.is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let second = submit(&world, 100).await;
    let worker = lock(&world.seen).row(first).unwrap().head.worker.unwrap();
    let actions = Arc::new(crate::actor::all_actions());
    world.claim_late(
        surefoot::store::ClaimRequest {
            worker,
            limit: 1,
            actions,
            workflows: AllowList::default(),
            resources: Arc::default(),
        },
        Duration::from_millis(10),
    );
    tokio::time::sleep(Duration::from_secs(10)).await;
    let ended = |run| lock(&world.seen).row(run).unwrap().head.status.is_ended();
    assert!(
        ended(first) && ended(second),
        "{:#?}",
        world.history.lines()
    );
    assert_eq!(calls(&world).len(), 2);
    alive.handle.stop().await;
}

/// A process is frozen while the answer to the commit that begins a step is on its way. Another
/// takes the run over and completes the step; the one that wakes must not call the handler.
#[tokio::test(start_paused = true)]
async fn a_worker_that_slept_longer_than_its_lease_calls_no_handler() {
    let world = World::fair(LEASE);
    let frozen = node(1, 1).start(&world, 1).await;
    world.weather.plan(
        "commit",
        Fate {
            back: Duration::from_millis(100),
            ..Fate::default()
        },
    );
    let run = submit(&world, 100).await;
    let begun = |run| lock(&world.seen).row(run).unwrap().steps[0].attempt == 1;
    while !begun(run) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    frozen.life.freeze();
    let other = node(2, 1).start(&world, 1).await;
    tokio::time::sleep(LEASE + Duration::from_secs(3)).await;
    assert!(
        lock(&world.seen).row(run).unwrap().head.status.is_ended(),
        "{:#?}",
        world.history.lines()
    );
    // Its heartbeat, which would tell it, is slower than the answer.
    world.weather.plan(
        "heartbeat",
        Fate {
            back: Duration::from_millis(500),
            ..Fate::default()
        },
    );
    frozen.life.thaw();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(calls(&world).len(), 1, "{:#?}", world.history.lines());
    frozen.handle.stop().await;
    other.handle.stop().await;
}

/// A process is frozen between two tries of an undo. Another takes the run over and undoes it; the
/// one that wakes must not undo once more.
#[tokio::test(start_paused = true)]
async fn a_worker_that_slept_longer_than_its_lease_undoes_nothing() {
    let world = World::fair(LEASE);
    let frozen = node(1, 1).start(&world, 1).await;
    let script = Script {
        take: 100,
        parts: 1,
        fails: 0,
        end: End::Fatal,
        notes: false,
        record: None,
        undo_fails: 1,
    };
    let wait = Duration::from_secs(10);
    let retry = RetryPolicy {
        attempts: 3,
        backoff: Backoff {
            initial: wait,
            factor: 1,
            max: wait,
            jitter: 0.0,
        },
    };
    let step = |step: StepBuilder| step.with(script).retry(retry);
    let plan = Workflow::builder("flow")
        .step_with("s1", COMMON, step)
        .build()
        .unwrap();
    let client = Client::new(Link::of_person(&world, "user", Rng::new(2)));
    let run = client
        .submit(Submit::new(Arc::new(plan)))
        .await
        .unwrap()
        .run
        .id;
    client.wait(run).await.unwrap();
    client.cancel(run, CancelMode::Undo, "ann").await.unwrap();
    let tried = || {
        lock(&world.ledger)
            .calls
            .iter()
            .any(|call| call.undo && call.ended.is_some())
    };
    while !tried() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    frozen.life.freeze();
    let other = node(2, 1).start(&world, 1).await;
    tokio::time::sleep(wait - Duration::from_millis(100)).await;
    assert!(
        lock(&world.seen).row(run).unwrap().head.status.is_ended(),
        "{:#?}",
        world.history.lines()
    );
    // Its heartbeat, which would tell it, is slower than the wait that is left.
    world.weather.plan(
        "heartbeat",
        Fate {
            back: Duration::from_millis(500),
            ..Fate::default()
        },
    );
    frozen.life.thaw();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(calls(&world).len(), 3, "{:#?}", world.history.lines());
    frozen.handle.stop().await;
    other.handle.stop().await;
}

/// A worker asks which runs it has, and is taken for dead while the answer is on its way. The
/// answer comes after it has heard of that and before the worker registered again: the runs that it
/// shows must not be driven.
#[tokio::test(start_paused = true)]
async fn a_list_of_runs_that_comes_after_the_lease_ended_is_of_no_use() {
    let world = World::fair(LEASE);
    let alive = node(1, 1).start(&world, 1).await;
    let first = submit(&world, 4_000).await;
    while lock(&world.ledger).calls.is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let second = submit(&world, 100).await;
    let worker = lock(&world.seen).row(first).unwrap().head.worker.unwrap();
    let actions = Arc::new(crate::actor::all_actions());
    // Leased behind its back, which two heartbeats tell: then it asks.
    world.weather.plan(
        "runs",
        Fate {
            back: Duration::from_secs(3),
            ..Fate::default()
        },
    );
    world.claim_late(
        surefoot::store::ClaimRequest {
            worker,
            limit: 1,
            actions,
            workflows: AllowList::default(),
            resources: Arc::default(),
        },
        Duration::from_millis(10),
    );
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    world.weather.plan(
        "register",
        Fate {
            back: Duration::from_secs(4),
            ..Fate::default()
        },
    );
    world.deregister(worker).await.unwrap();
    tokio::time::sleep(Duration::from_secs(20)).await;
    let ended = |run| lock(&world.seen).row(run).unwrap().head.status.is_ended();
    assert!(
        ended(first) && ended(second),
        "{:#?}",
        world.history.lines()
    );
    assert_eq!(calls(&world).len(), 3, "{:#?}", world.history.lines());
    alive.handle.stop().await;
}
