//! Outages of the store and steps of its clock, with nothing else going wrong: they interrupt no run of a living worker, and
//! delay the takeover from a dead one by no more than promised.

use std::sync::Arc;
use std::time::Duration;

use surefoot::workflow::StepBuilder;
use surefoot::{Client, RunId, Submit, Workflow};
use tokio::time::{Instant, sleep};

use crate::history::lock;
use crate::link::Link;
use crate::node::{self, Alive, Node};
use crate::rng::Rng;
use crate::script::{COMMON, End, Script};
use crate::world::World;

/// As workers have it by default.
const LEASE: Duration = Duration::from_secs(5);

/// The promise for that lease.
const TAKEOVER: Duration = Duration::from_secs(6);

const HOUR: i64 = 3_600_000_000;

async fn start(world: &Arc<World>, number: usize, rng: &mut Rng) -> Alive {
    let mut node = Node {
        number,
        rng: rng.fork(),
        knows_all: true,
        deaf: false,
        concurrency: 2,
        stays: true,
        peace: 0,
    };
    node.start(world, 1).await
}

/// Submits runs of one step each that takes this long, and waits until all of them are under way.
async fn submit(world: &Arc<World>, runs: usize, take: Duration) -> Vec<RunId> {
    let take = take.as_millis() as u64;
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
    let plan = Arc::new(plan);
    let client = Client::new(Link::of_person(world, "user", Rng::new(2)));
    let mut ids = Vec::new();
    for _ in 0..runs {
        ids.push(
            client
                .submit(Submit::new(plan.clone()))
                .await
                .unwrap()
                .run
                .id,
        );
    }
    while lock(&world.ledger).calls.len() < runs {
        sleep(Duration::from_millis(1)).await;
    }
    ids
}

/// Every run completed, and its step was called once.
async fn check_untouched(world: &Arc<World>, runs: &[RunId], what: &str) {
    let begin = Instant::now();
    let ended = || {
        runs.iter()
            .all(|run| lock(&world.seen).row(*run).unwrap().head.status.is_ended())
    };
    while !ended() {
        assert!(
            begin.elapsed() < Duration::from_secs(60),
            "{what}: {:#?}",
            world.history.lines()
        );
        sleep(Duration::from_millis(50)).await;
    }
    let interruptions: u64 = runs
        .iter()
        .map(|run| lock(&world.seen).row(*run).unwrap().steps[0].interruptions)
        .map(u64::from)
        .sum();
    assert_eq!(interruptions, 0, "{what}: {:#?}", world.history.lines());
    assert_eq!(
        lock(&world.ledger).calls.len(),
        runs.len(),
        "{what}: {:#?}",
        world.history.lines()
    );
    assert_eq!(world.history.violation(), None, "{what}");
}

#[tokio::test(start_paused = true)]
async fn no_outage_interrupts_a_run_of_a_living_worker() {
    for (seed, away) in [100, 900, 1_700, 2_300, 3_000, 4_900, 10_000, 130_000]
        .into_iter()
        .enumerate()
    {
        for round in 0..4 {
            let mut rng = Rng::new(seed as u64 * 100 + round);
            let world = World::fair(LEASE);
            let mut alive = Vec::new();
            for number in 1..=3 {
                alive.push(start(&world, number, &mut rng).await);
            }
            let away = Duration::from_millis(away);
            let runs = submit(&world, 6, away + Duration::from_secs(30)).await;
            sleep(rng.millis(0, 8_000)).await;
            world.weather.set_away(true);
            sleep(away).await;
            world.weather.set_away(false);
            check_untouched(&world, &runs, &format!("away for {away:?}, round {round}")).await;
            for worker in alive {
                worker.handle.stop().await;
            }
        }
    }
}

/// A store that comes and goes for a minute, as a server does that restarts again and again.
#[tokio::test(start_paused = true)]
async fn outages_in_a_row_interrupt_no_run_of_a_living_worker() {
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let world = World::fair(LEASE);
        let mut alive = Vec::new();
        for number in 1..=3 {
            alive.push(start(&world, number, &mut rng).await);
        }
        let runs = submit(&world, 6, Duration::from_secs(80)).await;
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(60) {
            sleep(rng.millis(50, 4_000)).await;
            world.weather.set_away(true);
            sleep(rng.millis(50, 8_000)).await;
            world.weather.set_away(false);
        }
        check_untouched(&world, &runs, &format!("seed {seed}")).await;
        for worker in alive {
            worker.handle.stop().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_step_of_the_clock_interrupts_a_run_of_a_living_worker() {
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let world = World::fair(LEASE);
        let mut alive = Vec::new();
        for number in 1..=3 {
            alive.push(start(&world, number, &mut rng).await);
        }
        let runs = submit(&world, 6, Duration::from_secs(40)).await;
        for _ in 0..5 {
            sleep(rng.millis(0, 7_000)).await;
            world.step_clock(if rng.chance(50) { HOUR } else { -HOUR });
        }
        check_untouched(&world, &runs, &format!("seed {seed}")).await;
        for worker in alive {
            worker.handle.stop().await;
        }
    }
}

/// The clock steps as the worker dies, by an hour either way or not at all; others live, or come only after.
#[tokio::test(start_paused = true)]
async fn a_dead_worker_is_taken_over_in_time_whatever_the_clock_does() {
    for seed in 0..30 {
        for step in [0, HOUR, -HOUR] {
            for others_live in [true, false] {
                let mut rng = Rng::new(seed);
                let world = World::fair(LEASE);
                let first = start(&world, 1, &mut rng).await;
                let runs = submit(&world, 2, Duration::from_secs(20)).await;
                let mut alive = Vec::new();
                if others_live {
                    alive.push(start(&world, 2, &mut rng).await);
                }
                sleep(rng.millis(0, 8_000)).await;
                node::kill(&world, first);
                world.step_clock(step);
                if !others_live {
                    sleep(rng.millis(0, 8_000)).await;
                    alive.push(start(&world, 3, &mut rng).await);
                }
                let begin = Instant::now();
                while lock(&world.ledger).calls.len() < 2 * runs.len() {
                    let what = format!("seed {seed}, step {step}, others live: {others_live}");
                    assert!(
                        begin.elapsed() < TAKEOVER,
                        "{what}: {:#?}",
                        world.history.lines()
                    );
                    sleep(Duration::from_millis(10)).await;
                }
                assert_eq!(world.history.violation(), None);
                for worker in alive {
                    worker.handle.stop().await;
                }
            }
        }
    }
}

/// One connection stands still and says nothing, the one that a heartbeat is on.
#[tokio::test(start_paused = true)]
async fn a_silent_heartbeat_interrupts_nothing() {
    for seed in 0..30 {
        let mut rng = Rng::new(seed);
        let world = World::fair(LEASE);
        let alive = [
            start(&world, 1, &mut rng).await,
            start(&world, 2, &mut rng).await,
        ];
        let runs = submit(&world, 4, Duration::from_secs(30)).await;
        sleep(rng.millis(0, 5_000)).await;
        let silent = crate::weather::Fate {
            there: Duration::from_secs(3_000),
            ..Default::default()
        };
        world.weather.plan("heartbeat", silent);
        check_untouched(&world, &runs, &format!("seed {seed}")).await;
        for worker in alive {
            worker.handle.stop().await;
        }
    }
}
