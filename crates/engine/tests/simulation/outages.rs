//! Outages of the store and steps of its clock, with nothing else going wrong: they interrupt no
//! run of a living worker, and delay the takeover from a dead one by no more than promised.

use std::sync::Arc;
use std::time::Duration;

use surefoot::workflow::StepBuilder;
use surefoot::{Client, RunId, Submit, Workflow};
use tokio::time::{Instant, sleep};

use crate::history::lock;
use crate::life::Silence;
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

/// Workers on a fair world, in the midst of runs.
struct Crew {
    world: Arc<World>,
    rng: Rng,
    alive: Vec<Alive>,
    runs: Vec<RunId>,
}

impl Crew {
    /// Starts workers and submits runs of one step each that takes this long; returns when all
    /// steps are under way.
    async fn at_work(seed: u64, workers: usize, runs: usize, take: Duration) -> Self {
        let mut rng = Rng::new(seed);
        let world = World::fair(LEASE);
        let mut alive = Vec::new();
        for number in 1..=workers {
            alive.push(start(&world, number, &mut rng).await);
        }
        let runs = submit(&world, runs, take).await;
        Self {
            world,
            rng,
            alive,
            runs,
        }
    }

    /// Lets time pass, up to this.
    async fn pass(&mut self, most: u64) {
        sleep(self.rng.millis(0, most)).await;
    }

    /// Every run completes, its step having been called once; then the workers stop.
    async fn check_untouched(self, what: &str) {
        check_untouched(&self.world, &self.runs, what).await;
        for worker in self.alive {
            worker.handle.stop().await;
        }
    }
}

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
            let away = Duration::from_millis(away);
            let take = away + Duration::from_secs(30);
            let mut crew = Crew::at_work(seed as u64 * 100 + round, 3, 6, take).await;
            crew.pass(8_000).await;
            crew.world.weather.set_away(true);
            sleep(away).await;
            crew.world.weather.set_away(false);
            crew.check_untouched(&format!("away for {away:?}, round {round}"))
                .await;
        }
    }
}

/// A store that comes and goes for a minute, as a server does that restarts again and again.
#[tokio::test(start_paused = true)]
async fn outages_in_a_row_interrupt_no_run_of_a_living_worker() {
    for seed in 0..60 {
        let mut crew = Crew::at_work(seed, 3, 6, Duration::from_secs(80)).await;
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(60) {
            sleep(crew.rng.millis(50, 4_000)).await;
            crew.world.weather.set_away(true);
            sleep(crew.rng.millis(50, 8_000)).await;
            crew.world.weather.set_away(false);
        }
        crew.check_untouched(&format!("seed {seed}")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn no_step_of_the_clock_interrupts_a_run_of_a_living_worker() {
    for seed in 0..40 {
        let mut crew = Crew::at_work(seed, 3, 6, Duration::from_secs(40)).await;
        for _ in 0..5 {
            crew.pass(7_000).await;
            let by = if crew.rng.chance(50) { HOUR } else { -HOUR };
            crew.world.step_clock(by);
        }
        crew.check_untouched(&format!("seed {seed}")).await;
    }
}

/// The clock steps as the worker dies, by an hour either way or not at all; others live, or come
/// only after.
#[tokio::test(start_paused = true)]
async fn a_dead_worker_is_taken_over_in_time_whatever_the_clock_does() {
    for seed in 0..30 {
        for step in [0, HOUR, -HOUR] {
            for others_live in [true, false] {
                let Crew {
                    world,
                    mut rng,
                    alive: first,
                    runs,
                } = Crew::at_work(seed, 1, 2, Duration::from_secs(20)).await;
                let mut alive = Vec::new();
                if others_live {
                    alive.push(start(&world, 2, &mut rng).await);
                }
                sleep(rng.millis(0, 8_000)).await;
                for worker in first {
                    node::kill(&world, worker);
                }
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

/// Connections of one worker fall silent: those of its heartbeats, or all.
#[tokio::test(start_paused = true)]
async fn silent_connections_interrupt_no_run_of_a_living_worker() {
    for seed in 0..30 {
        for which in [Silence::Heartbeats, Silence::All] {
            let mut crew = Crew::at_work(seed, 2, 4, Duration::from_secs(30)).await;
            crew.pass(5_000).await;
            crew.alive[0].life.fall_silent(which, crew.world.steady());
            crew.check_untouched(&format!("seed {seed}, {which:?}"))
                .await;
        }
    }
}
