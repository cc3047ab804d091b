//! A store that is away for longer than a lease, on paused time: what a worker has in hand is kept,
//! and written when the store is back. Promise 7 of the design.

#![expect(clippy::disallowed_methods, reason = "tests make and look at files")]
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says where by its panic"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;
use surefoot::workflow::RetryPolicy;
use surefoot::{
    Clock, Handlers, ManualClock, RunStatus, StepContext, StepError, Store, Submit, Timestamp,
    Worker, WorkerOptions, Workflow, handler_fn,
};
use surefoot_store_tests::{FaultyStore, MemoryStore};
use tokio::time::{Instant, sleep};

/// Goes with the time of the runtime, which these tests have stopped.
#[derive(Debug)]
struct Paused(Instant);

impl Clock for Paused {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_790_000_000_000_000) + self.0.elapsed()
    }
}

/// Away from a tenth of a second after the submission until `back`; the lease is of 5 s. Gives the
/// handler's calls, and the interruptions.
async fn away_until(back: Duration, away: fn(&FaultyStore, bool)) -> (u32, u32) {
    let memory = MemoryStore::new(Arc::new(Paused(Instant::now()))).one_worker();
    let store = Arc::new(FaultyStore::sound(Arc::new(memory)));
    let calls = Arc::new(AtomicU32::new(0));
    let counted = calls.clone();
    let handler = handler_fn(move |_: StepContext, _: Value| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            sleep(Duration::from_millis(300)).await;
            Ok(())
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let options = WorkerOptions {
        workspaces: folder.path().to_owned(),
        ..WorkerOptions::default()
    };
    let handlers = Handlers::new().with("work", handler);
    let worker = Worker::start(store.clone() as Arc<dyn Store>, handlers, options)
        .await
        .unwrap();
    let workflow = Workflow::builder("two")
        .step("a", "work")
        .step("b", "work")
        .build()
        .unwrap();
    let run = worker
        .client()
        .submit(Submit::new(Arc::new(workflow)))
        .await
        .unwrap()
        .run;
    sleep(Duration::from_millis(100)).await;
    away(&store, true);
    sleep(back.saturating_sub(Duration::from_millis(100))).await;
    away(&store, false);
    let run = worker.client().wait(run.id).await.unwrap();
    assert_eq!(
        run.head.status,
        RunStatus::Completed,
        "{:?}",
        run.head.error
    );
    assert!(run.steps.iter().all(|step| step.attempt == 1));
    worker.stop().await;
    (
        calls.load(Ordering::SeqCst),
        run.steps.iter().map(|step| step.interruptions).sum(),
    )
}

/// At whatever moment between two heartbeats the store comes back, the only worker there is must
/// not take itself for dead.
#[tokio::test(start_paused = true)]
async fn a_worker_alone_keeps_its_lease_over_an_outage_that_is_longer() {
    for tenths in 55..85 {
        let back = Duration::from_millis(tenths * 100 + 7);
        assert_eq!(
            away_until(back, FaultyStore::set_away).await,
            (2, 0),
            "back after {back:?}"
        );
    }
}

/// A database that was renamed, or whose rights were taken, is mended by a person: until then
/// results are kept as if it was away, and no step fails for it.
#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_used_for_a_while_fails_no_step() {
    for tenths in [4, 30, 70, 300] {
        let back = Duration::from_millis(tenths * 100 + 7);
        assert_eq!(
            away_until(back, FaultyStore::set_unusable).await,
            (2, 0),
            "back after {back:?}"
        );
    }
}

/// Details that take long to remove do not keep the heartbeat waiting.
#[tokio::test(start_paused = true)]
async fn a_slow_prune_costs_no_lease() {
    let store = Arc::new(FaultyStore::sound(Arc::new(MemoryStore::new(Arc::new(
        Paused(Instant::now()),
    )))));
    store.set_slow_prune(Duration::from_secs(8));
    let folder = tempfile::tempdir().unwrap();
    let options = WorkerOptions {
        workspaces: folder.path().to_owned(),
        ..WorkerOptions::default()
    };
    let worker = Worker::start(store.clone() as Arc<dyn Store>, Handlers::new(), options)
        .await
        .unwrap();
    sleep(Duration::from_secs(30)).await;
    assert!(!store.times_of("prune").is_empty());
    let beats = store.times_of("heartbeat");
    let longest = beats
        .windows(2)
        .map(|pair| pair[1] - pair[0])
        .max()
        .unwrap();
    assert!(
        longest < Duration::from_secs(2),
        "{longest:?} of 5 s, {} beats",
        beats.len()
    );
    worker.stop().await;
}

/// The machine was asleep, or its clock was set: the lease ran out in a moment. The only worker
/// there is must not take itself for dead, and does not when it renews its lease before it looks.
#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_costs_no_lease() {
    for jump in [
        Duration::from_secs(4),
        Duration::from_secs(60),
        Duration::from_secs(86_400),
    ] {
        let clock = Arc::new(ManualClock::new(Timestamp::from_micros(
            1_790_000_000_000_000,
        )));
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(clock.clone()).one_worker());
        let calls = Arc::new(AtomicU32::new(0));
        let counted = calls.clone();
        let handler = handler_fn(move |_: StepContext, _: Value| {
            counted.fetch_add(1, Ordering::SeqCst);
            async move {
                sleep(Duration::from_secs(3)).await;
                Ok(())
            }
        });
        let folder = tempfile::tempdir().unwrap();
        let options = WorkerOptions {
            workspaces: folder.path().to_owned(),
            ..WorkerOptions::default()
        };
        let worker = Worker::start(store, Handlers::new().with("work", handler), options)
            .await
            .unwrap();
        let workflow = Workflow::builder("one").step("a", "work").build().unwrap();
        let run = worker
            .client()
            .submit(Submit::new(Arc::new(workflow)))
            .await
            .unwrap()
            .run;
        // Right after a heartbeat: the next one is due after the next sweep.
        sleep(Duration::from_millis(10)).await;
        clock.advance(jump);
        let run = worker.client().wait(run.id).await.unwrap();
        assert_eq!(
            (run.head.status, run.steps[0].interruptions),
            (RunStatus::Completed, 0),
            "{jump:?}"
        );
        assert_eq!(calls.load(Ordering::SeqCst), 1, "{jump:?}");
        worker.stop().await;
    }
}

/// Two workers that begin in the same moment do not ask the store in the same moments ever after.
#[tokio::test(start_paused = true)]
async fn the_polls_of_two_workers_diverge() {
    let memory = Arc::new(MemoryStore::new(Arc::new(Paused(Instant::now()))));
    let stores = [0, 1].map(|_| Arc::new(FaultyStore::sound(memory.clone())));
    let folder = tempfile::tempdir().unwrap();
    let mut workers = Vec::new();
    for store in &stores {
        let options = WorkerOptions {
            workspaces: folder.path().to_owned(),
            ..WorkerOptions::default()
        };
        workers.push(
            Worker::start(store.clone() as Arc<dyn Store>, Handlers::new(), options)
                .await
                .unwrap(),
        );
    }
    sleep(Duration::from_secs(60)).await;
    for call in ["claim", "heartbeats", "heartbeat"] {
        let [one, other] = stores.each_ref().map(|store| store.times_of(call));
        assert!(
            one.len() > 30 && other.len() > 30,
            "{call}: {} and {}",
            one.len(),
            other.len()
        );
        let together = one.iter().filter(|at| other.contains(at)).count();
        assert!(
            together < one.len() / 4,
            "{call}: {together} of {} in the same moment",
            one.len()
        );
    }
    for worker in workers {
        worker.stop().await;
    }
}

/// A step that looks into its workspace while the store is away waits for it: that is no failed
/// attempt.
#[tokio::test(start_paused = true)]
async fn a_workspace_is_restored_when_the_store_is_back() {
    let store = Arc::new(FaultyStore::sound(Arc::new(MemoryStore::new(Arc::new(
        Paused(Instant::now()),
    )))));
    let faulty = store.clone();
    let handler = handler_fn(move |context: StepContext, _: Value| {
        let faulty = faulty.clone();
        let again = context.attempt() == 2;
        async move {
            faulty.set_away(again);
            let opening = async {
                let folder = context.workspace().await?;
                match (context.step_id(), again) {
                    ("a", _) => std::fs::write(folder.join("file"), "kept")?,
                    // The next attempt cannot trust the folder: it asks the store for what was in
                    // it.
                    (_, false) => return Err(StepError::from("half-way")),
                    _ => assert_eq!(std::fs::read_to_string(folder.join("file"))?, "kept"),
                }
                Ok(())
            };
            let back = async {
                sleep(Duration::from_secs(1)).await;
                faulty.set_away(false);
                std::future::pending().await
            };
            tokio::select! { biased; opened = opening => opened, opened = back => opened }
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let options = WorkerOptions {
        workspaces: folder.path().to_owned(),
        ..WorkerOptions::default()
    };
    let handlers = Handlers::new().with("work", handler);
    let worker = Worker::start(store.clone() as Arc<dyn Store>, handlers, options)
        .await
        .unwrap();
    let twice = RetryPolicy {
        attempts: 2,
        ..RetryPolicy::default()
    };
    let builder = Workflow::builder("two")
        .step("a", "work")
        .step_with("b", "work", |step| step.retry(twice));
    let run = worker
        .client()
        .submit(Submit::new(Arc::new(builder.build().unwrap())))
        .await
        .unwrap()
        .run;
    let run = worker.client().wait(run.id).await.unwrap();
    assert_eq!(
        (run.head.status, run.steps[1].attempt),
        (RunStatus::Completed, 2),
        "{:?}",
        run.head.error
    );
    worker.stop().await;
}

/// Outputs are read together whenever the run is: the step that brings them over the limit fails,
/// and says so.
#[tokio::test]
async fn a_step_that_brings_too_much_output_fails() {
    let store = Arc::new(MemoryStore::new(Arc::new(Paused(Instant::now()))));
    let handler = handler_fn(async |_: StepContext, _: Value| Ok("x".repeat(15 << 20)));
    let folder = tempfile::tempdir().unwrap();
    let options = WorkerOptions {
        workspaces: folder.path().to_owned(),
        ..WorkerOptions::default()
    };
    let worker = Worker::start(store, Handlers::new().with("work", handler), options)
        .await
        .unwrap();
    let builder = ["a", "b", "c", "d", "e"]
        .into_iter()
        .fold(Workflow::builder("five"), |five, id| five.step(id, "work"));
    let run = worker
        .client()
        .submit(Submit::new(Arc::new(builder.build().unwrap())))
        .await
        .unwrap()
        .run;
    let run = worker.client().wait(run.id).await.unwrap();
    assert_eq!(
        (run.head.status, run.steps[4].attempt),
        (RunStatus::Failed, 1)
    );
    assert!(
        run.head
            .error
            .unwrap()
            .contains("the outputs of this run to more than 64 MiB")
    );
    assert!(run.steps[4].output.is_none());
    worker.stop().await;
}
