//! The world of one seed: a store, workers, people and weather; then calm, in which everything has
//! to settle.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use surefoot::state::{Lease, Transition};
use surefoot::store::{ClaimRequest, Hints, Submission, Submitted};
use surefoot::{Client, Clock, Run, RunId, Store, Timestamp, WorkerId};
use surefoot_store_tests::MemoryStore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::broken::Broken;
use crate::history::{History, lock};
use crate::hub::Hub;
use crate::ledger::Ledger;
use crate::life::{Life, Silence};
use crate::node::{Alive, Node};
use crate::rng::Rng;
use crate::script::{self, Script};
use crate::seen::Seen;
use crate::weather::Weather;
use crate::{people, settle};

/// The store's clock: paused time, from a moment that is no round number, and the steps that it was
/// set by.
#[derive(Debug)]
pub(crate) struct SimulatedClock {
    began: Instant,
    /// Microseconds.
    offset: AtomicI64,
    /// The furthest that it was ever ahead.
    furthest: AtomicI64,
}

/// Largest lag of the clock behind the latest time that it ever showed, once the faults have
/// stopped. A run that waits for a time waits that much longer.
pub(crate) const BEHIND: Duration = Duration::from_secs(30);

const BEGAN: Timestamp = Timestamp::from_micros(1_777_888_999_123_000);

impl Clock for SimulatedClock {
    fn now(&self) -> Timestamp {
        let steady = BEGAN + self.began.elapsed();
        Timestamp::from_micros(steady.as_micros() + self.offset.load(Ordering::SeqCst))
    }
}

/// Everything that the actors of a world share.
pub(crate) struct World {
    pub(crate) store: MemoryStore,
    pub(crate) store_hints: Mutex<Hints>,
    pub(crate) hub: Hub,
    pub(crate) broken: Broken,
    pub(crate) weather: Weather,
    pub(crate) lease: Duration,
    pub(crate) history: History,
    pub(crate) seen: Mutex<Seen>,
    pub(crate) ledger: Mutex<Ledger>,
    pub(crate) acknowledged: Mutex<Vec<RunId>>,
    pub(crate) clients: Mutex<BTreeMap<usize, (Client, Arc<Life>)>>,
    /// The process of each worker.
    pub(crate) lives: Mutex<BTreeMap<WorkerId, Arc<Life>>>,
    late: Mutex<JoinSet<()>>,
    clock: Arc<SimulatedClock>,
}

/// Result of a simulated world.
#[derive(Debug)]
pub(crate) struct Played {
    pub(crate) violation: Option<String>,
    pub(crate) lines: Vec<String>,
    pub(crate) counts: Counts,
}

/// Amount of activity: a simulation in which nothing happens finds nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) runs: usize,
    pub(crate) calls: usize,
    pub(crate) cut_off: usize,
    pub(crate) interruptions: usize,
    pub(crate) writes: u64,
    pub(crate) seconds: u64,
}

/// Plays the world of a seed to its end.
pub(crate) fn play(seed: u64, broken: Broken, traced: bool) -> Played {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    let runtime = runtime.expect("a runtime can be made");
    let played = runtime.block_on(async {
        let mut rng = Rng::new(seed);
        let world = Arc::new(World::new(&mut rng, broken, traced));
        tokio::select! {
            biased;
            () = world.history.until_over() => {}
            () = live(&world, &mut rng) => {}
        }
        let violation = world.history.violation();
        world.history.close();
        Played {
            violation,
            lines: world.history.lines(),
            counts: world.counts(),
        }
    });
    // Tasks that go on for ever go with it.
    runtime.shutdown_background();
    played
}

impl World {
    fn new(rng: &mut Rng, broken: Broken, traced: bool) -> Self {
        let calm_from = BEGAN + rng.millis(10_000, 50_000);
        let weather = Weather::draw(rng, calm_from);
        Self::with(weather, rng.millis(3_000, 5_000), broken, traced)
    }

    /// A world in which nothing goes wrong but what a test plans.
    pub(crate) fn fair(lease: Duration) -> Arc<Self> {
        Arc::new(Self::with(
            Weather::fair(BEGAN + Duration::from_secs(3_600)),
            lease,
            Broken::Nothing,
            true,
        ))
    }

    fn with(weather: Weather, lease: Duration, broken: Broken, traced: bool) -> Self {
        let clock = Arc::new(SimulatedClock {
            began: Instant::now(),
            offset: AtomicI64::new(0),
            furthest: AtomicI64::new(0),
        });
        let store = MemoryStore::new(clock.clone());
        Self {
            store_hints: Mutex::new(store.hints()),
            store,
            hub: Hub::default(),
            broken,
            weather,
            lease,
            history: History::new(traced),
            seen: Mutex::default(),
            ledger: Mutex::default(),
            acknowledged: Mutex::default(),
            clients: Mutex::default(),
            lives: Mutex::default(),
            late: Mutex::default(),
            clock,
        }
    }

    /// The store's time.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Time on a clock that is never set.
    pub(crate) fn steady(&self) -> Timestamp {
        BEGAN + self.clock.began.elapsed()
    }

    /// Sets the store's clock forward or back, by microseconds.
    pub(crate) fn step_clock(&self, by: i64) {
        let offset = self.clock.offset.fetch_add(by, Ordering::SeqCst) + by;
        self.clock.furthest.fetch_max(offset, Ordering::SeqCst);
        self.history
            .say("store", || format!("its clock steps by {by} us"));
    }

    /// Sets the clock no further behind than [`BEHIND`].
    fn catch_up(&self) {
        let furthest = self.clock.furthest.load(Ordering::SeqCst);
        let behind = furthest - self.clock.offset.load(Ordering::SeqCst);
        let too_much = behind - i64::try_from(BEHIND.as_micros()).unwrap_or(i64::MAX);
        if too_much > 0 {
            self.step_clock(too_much);
        }
    }

    pub(crate) fn is_calm(&self) -> bool {
        self.steady() >= self.weather.calm_from
    }

    pub(crate) fn span_millis(&self) -> u64 {
        self.weather.calm_from.since(BEGAN).as_millis() as u64
    }

    /// Waits, but no longer than the faults last.
    pub(crate) async fn until_calm_or(&self, time: Duration) {
        tokio::time::sleep(time.min(self.weather.calm_from.since(self.steady()))).await;
    }

    /// A commit that its sender gave up arrives after all.
    pub(crate) fn write_late(
        self: &Arc<Self>,
        lease: Lease,
        transition: Transition,
        after: Duration,
    ) {
        let world = self.clone();
        lock(&self.late).spawn(async move {
            tokio::time::sleep(after).await;
            let took_place = world.commit(lease, transition).await.is_ok();
            world.history.say("late", || {
                format!("a commit that was given up arrives: {took_place}")
            });
        });
    }

    /// The same for a claim whose caller has given up.
    pub(crate) fn claim_late(self: &Arc<Self>, request: ClaimRequest, after: Duration) {
        let world = self.clone();
        lock(&self.late).spawn(async move {
            tokio::time::sleep(after).await;
            let runs = world
                .claim(request)
                .await
                .map_or(0, |claimed| claimed.runs.len());
            world.history.say("late", || {
                format!("a claim that was given up takes {runs} runs")
            });
        });
    }

    /// And for a submission.
    pub(crate) fn submit_late(self: &Arc<Self>, submission: Submission, after: Duration) {
        let world = self.clone();
        lock(&self.late).spawn(async move {
            tokio::time::sleep(after).await;
            let submitted = world.submit(submission).await;
            let became = submitted.map_or("refused", |submitted| match submitted {
                Submitted::Queued => "queued",
                Submitted::Started => "started",
                Submitted::SameKey(_) | Submitted::SameUnique(_) => "known",
            });
            world.history.say("late", || {
                format!("a submission that was given up is {became}")
            });
        });
    }

    /// The record that a step publishes when it completes.
    pub(crate) fn record_of(&self, run: &Run, position: usize) -> Option<String> {
        let script: Script =
            serde_json::from_value(run.plan.steps()[position].with.clone()).ok()?;
        Some(script.record?.replace("${{ run.id }}", &run.id.to_string()))
    }

    fn counts(&self) -> Counts {
        let seen = lock(&self.seen);
        let ledger = lock(&self.ledger);
        let cut_off = |call: &&crate::ledger::Call| {
            call.ended
                .as_ref()
                .is_none_or(|(_, ending)| *ending == crate::ledger::Ending::Dropped)
        };
        Counts {
            runs: seen.runs.len(),
            calls: ledger.calls.len(),
            cut_off: ledger.calls.iter().filter(cut_off).count(),
            interruptions: seen
                .rows()
                .flat_map(|run| &run.steps)
                .map(|step| step.interruptions as usize)
                .sum(),
            writes: seen.writes,
            seconds: self.steady().since(BEGAN).as_secs(),
        }
    }
}

async fn live(world: &Arc<World>, rng: &mut Rng) {
    let queues: Vec<String> = (1..=rng.between(1, 3))
        .map(|number| format!("queue{number}"))
        .collect();
    for queue in &queues {
        // The model does not fail.
        let _ = world.set_queue(queue, script::limits(rng), false).await;
    }
    let mut plans = Vec::new();
    for number in 1..=rng.index(4) + 1 {
        let queue = &queues[rng.index(queues.len())];
        plans.push(script::workflow(rng, number, queue));
    }
    let mut nodes = JoinSet::new();
    let mut others = JoinSet::new();
    let peace = rng.between(2_000, 25_000);
    for number in 1..=rng.index(3) + 2 {
        let node = Node {
            number,
            rng: rng.fork(),
            // The first one stays and knows everything: whatever is left can be done.
            knows_all: number == 1 || rng.chance(60),
            deaf: rng.chance(20),
            concurrency: rng.index(4) + 1,
            stays: number == 1 || rng.chance(50),
            peace,
        };
        nodes.spawn(node.live(world.clone()));
    }
    for number in 1..=rng.index(14) + 3 {
        let plan = plans[rng.index(plans.len())].clone();
        others.spawn(people::submit(world.clone(), rng.fork(), number, plan));
    }
    for number in 1..=rng.index(3) {
        others.spawn(people::meddle(world.clone(), rng.fork(), number));
    }
    if rng.chance(50) {
        others.spawn(come_and_go(world.clone(), rng.fork()));
    }
    others.spawn(set_clock(world.clone(), rng.fork()));
    others.spawn(fall_silent(world.clone(), rng.fork()));
    let mut alive: Vec<Alive> = Vec::new();
    while let Some(node) = nodes.join_next().await {
        alive.extend(node.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())));
    }
    settle::settle(world, rng, alive, others).await;
}

/// The store's clock is set, by up to an hour either way.
async fn set_clock(world: Arc<World>, mut rng: Rng) {
    for _ in 0..rng.between(1, 4) {
        world.until_calm_or(rng.millis(500, 12_000)).await;
        if world.is_calm() {
            break;
        }
        let most = rng.pick(&[2_000, 20_000, 300_000, 3_600_000]);
        let by = rng.millis(1, most).as_micros() as i64;
        world.step_clock(if rng.chance(50) { by } else { -by });
    }
    world.until_calm_or(Duration::MAX).await;
    world.catch_up();
}

/// Connections of one worker after the other fall silent.
async fn fall_silent(world: Arc<World>, mut rng: Rng) {
    loop {
        // Longer than a lease: a worker that is silenced again and again could not renew it.
        world.until_calm_or(rng.millis(6_000, 20_000)).await;
        if world.is_calm() {
            return;
        }
        let lives: Vec<Arc<Life>> = lock(&world.clients)
            .values()
            .map(|(_, life)| life.clone())
            .collect();
        if lives.is_empty() {
            continue;
        }
        let which = rng.pick(&[Silence::Heartbeats, Silence::All]);
        let life = &lives[rng.index(lives.len())];
        world
            .history
            .say(&life.name, || format!("connections fall silent: {which:?}"));
        life.fall_silent(which, world.steady());
    }
}

/// The store is away for a while, now and then.
async fn come_and_go(world: Arc<World>, mut rng: Rng) {
    while !world.is_calm() {
        world.until_calm_or(rng.millis(1_000, 20_000)).await;
        world.weather.set_away(true);
        world.history.say("store", || "is away".to_owned());
        world.until_calm_or(rng.millis(100, 12_000)).await;
        world.weather.set_away(false);
        world.history.say("store", || "is back".to_owned());
    }
}
