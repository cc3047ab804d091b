//! A thousand watchers of one run beside requests for pages and the API: all receive everything,
//! from one reader.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::events::{Message, Stream, changes};
use crate::world::{On, PATIENCE, World};

const WATCHERS: usize = 1000;
/// Requests per second beside the watchers, and their duration.
const RATE: u32 = 200;
const SECONDS: u32 = 10;
/// Minimum number of events.
const EVENTS: usize = 60;
const PATHS: [&str; 5] = ["/", "/runs", "/api/v1/runs", "/api/v1/queues", "/metrics"];

/// A watcher that disconnects half-way and reconnects with its last event id. Returns the events
/// received.
async fn watch(
    world: Arc<World>,
    run: String,
    leaves: bool,
    watching: Arc<tokio::sync::Barrier>,
) -> Vec<Message> {
    let mut stream = Stream::open(&world, &run, Some(0)).await;
    let mut told = vec![stream.next().await.unwrap()];
    watching.wait().await;
    if !leaves {
        told.extend(stream.rest().await);
        return told;
    }
    let logs = |told: &[Message]| {
        told.iter()
            .filter(|message| message.data["kind"] == "step.log")
            .count()
    };
    while logs(&told) < 3 {
        told.push(stream.next().await.unwrap());
    }
    drop(stream);
    let last = told.iter().filter_map(|message| message.id).max();
    told.extend(Stream::open(&world, &run, last).await.rest().await);
    told
}

/// Requests pages and API at a constant rate. Returns the response times in order.
async fn ask(world: Arc<World>) -> Vec<Duration> {
    let mut asked = JoinSet::new();
    let mut even = tokio::time::interval(Duration::from_secs(1) / RATE);
    for path in PATHS.iter().cycle().take((RATE * SECONDS) as usize) {
        even.tick().await;
        let world = world.clone();
        asked.spawn(async move {
            let began = Instant::now();
            let answer = world.get(path).await;
            assert_eq!(answer.status(), 200, "{path}");
            answer.bytes().await.unwrap();
            began.elapsed()
        });
    }
    let mut took = asked.join_all().await;
    took.sort_unstable();
    took
}

/// Lets the handler continue, one round at a time.
async fn go_on(world: Arc<World>, done: Arc<AtomicBool>) {
    let mut round = 0;
    while !done.load(Ordering::SeqCst) {
        round += 1;
        world.rounds.send_replace(round.min(90));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    world.rounds.send_replace(u64::MAX);
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_watchers_receive_everything_once_from_one_reader() {
    let world = Arc::new(World::with(On::Sqlite, |options| options.limits.time = PATIENCE).await);
    let run = world.greet("ada").await;
    let before = (world.reads(), resident());
    let began = Instant::now();
    let watching = Arc::new(tokio::sync::Barrier::new(WATCHERS + 1));
    let mut watchers = JoinSet::new();
    for number in 0..WATCHERS {
        watchers.spawn(watch(
            world.clone(),
            run.clone(),
            number % 2 == 0,
            watching.clone(),
        ));
    }
    watching.wait().await;
    let metrics = world.get("/metrics").await.text().await.unwrap();
    assert!(metrics.contains("surefoot_event_readers 1\n"), "{metrics}");
    assert!(
        metrics.contains(&format!("surefoot_event_watchers {WATCHERS}\n")),
        "{metrics}"
    );
    let done = Arc::new(AtomicBool::new(false));
    let mut going = JoinSet::new();
    going.spawn(go_on(world.clone(), done.clone()));
    let took = ask(world.clone()).await;
    let held = resident();
    let reads = world.reads() - before.0;
    let seconds = began.elapsed().as_secs() + 1;
    let history = format!("/api/v1/runs/{run}/history?limit=1000");
    let events = async || {
        world.json(&history).await["events"]
            .as_array()
            .unwrap()
            .len()
    };
    world
        .until("there is much to tell", async || {
            (events().await >= EVENTS).then_some(())
        })
        .await;
    done.store(true, Ordering::SeqCst);
    going.join_all().await;
    let all = watchers.join_all().await;

    let end = events().await as u64;
    for told in &all {
        assert_eq!(
            changes(told),
            (1..=end).collect::<Vec<_>>(),
            "nothing lost, nothing twice, in order"
        );
        assert_eq!(told.last().unwrap().event, "end");
    }
    // Each watcher reads the run once when it connects. The reader polls the run and its history a
    // few times per second; a thousand readers would poll a thousand times as often.
    let told = (WATCHERS as u64) * end;
    assert!(
        reads < 3000 + 100 * seconds && reads * 5 < told,
        "{reads} reads in {seconds} s for {WATCHERS} watchers"
    );
    let at = |share: usize| took[took.len() * share / 100];
    println!(
        "{} requests beside {WATCHERS} watchers of {end} events: p50 {:?}, p99 {:?}, slowest {:?}; {reads} reads of the run; \
         {} KiB resident before, {held} KiB with watchers and clients",
        took.len(),
        at(50),
        at(99),
        took[took.len() - 1],
        before.1,
    );
    Arc::into_inner(world).unwrap().close().await;
}
