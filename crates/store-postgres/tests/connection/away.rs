//! A database that is not there, does not answer, or rejects the role: an error in bounded time,
//! and a later retry.

use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use surefoot::{Handlers, RunStatus, Store, StoreError, Worker, WorkerOptions, handler_fn};
use surefoot_scratch_postgres::{ScratchPostgres, Stop};
use tokio::net::TcpSocket;
use tokio::sync::Notify;

use crate::support::{database, ended, open, options, two_steps, until};

fn assert_away<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> String {
    let error = answer.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    error.to_string()
}

#[tokio::test]
async fn a_silent_server_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!(
        "postgres://postgres@127.0.0.1:{}/x",
        silent.local_addr().unwrap().port()
    );
    let took = best_of_three(async || {
        let error = assert_away(
            options(&url)
                .connect_timeout(Duration::from_millis(300))
                .open()
                .await,
        );
        assert!(error.contains("did not answer within 300ms"), "{error}");
    });
    let took = took.await;
    assert!(took < Duration::from_secs(3), "{took:?}");
}

/// The first host accepts and never answers. It is tried once; from then on the host that answered
/// is tried first.
#[tokio::test]
async fn a_silent_host_is_left_for_the_next() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (name, _) = database();
    let url = format!(
        "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/{name}",
        silent.local_addr().unwrap().port(),
        ScratchPostgres::shared().port()
    );
    let hasty = options(&url).connect_timeout(Duration::from_secs(1));
    let begin = Instant::now();
    let store = hasty.open().await.unwrap();
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    store.queues().await.unwrap();
    silent.set_nonblocking(true).unwrap();
    let tried = std::iter::from_fn(|| silent.accept().ok()).count();
    assert_eq!(tried, 1);
}

/// The shortest of three times, because other tests run at the same time.
async fn best_of_three(mut attempt: impl AsyncFnMut()) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..3 {
        let begin = Instant::now();
        attempt().await;
        best = best.min(begin.elapsed());
    }
    best
}

#[tokio::test]
async fn an_unreachable_server_is_reported_at_once() {
    // The bound socket keeps other processes off the port, and it does not listen.
    let bound = TcpSocket::new_v4().unwrap();
    bound.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = bound.local_addr().unwrap().port();
    let took = best_of_three(async || {
        let error = assert_away(
            options(&format!("postgres://ann@127.0.0.1:{port}/shop"))
                .open()
                .await,
        );
        assert!(
            error.contains(&format!("127.0.0.1:{port}/shop")) && error.contains("refused"),
            "{error}"
        );
    });
    let took = took.await;
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test]
async fn a_store_outlives_its_database() {
    let cluster = ScratchPostgres::start().unwrap();
    let store = open(&cluster.url()).await;
    store.pause_queue("q", true).await.unwrap();

    for how in [Stop::Fast, Stop::Kill] {
        cluster.stop(how).unwrap();
        assert_away(store.queues().await);
        assert_away(store.pause_queue("q", false).await);
        cluster.start_again().unwrap();
        until("queues are read again", async || store.queues().await.ok()).await;
    }
    cluster.refuse().unwrap();
    let error = until("sessions have ended", async || store.queues().await.err())
        .await
        .to_string();
    assert!(
        error.contains("pg_hba.conf") || error.contains("terminat") || error.contains("closed"),
        "{error}"
    );
    cluster.accept().unwrap();
    let queues = until("queues are read again", async || store.queues().await.ok()).await;
    assert!(queues.iter().any(|queue| queue.paused), "{queues:?}");
    cluster.end_sessions().unwrap();
    until("queues are read again", async || store.queues().await.ok()).await;
}

/// The schema is renamed while a step runs, and back after some attempts: the result is kept, and
/// no attempt is used.
#[tokio::test]
async fn a_renamed_schema_fails_no_step() {
    let (name, url) = database();
    let store = open(&url).await;
    let folder = tempfile::tempdir().unwrap();
    let begun = Arc::new(Notify::new());
    let goes_on = Arc::new(Notify::new());
    let signals = (begun.clone(), goes_on.clone());
    let work = handler_fn(move |context: surefoot::StepContext, (): ()| {
        let (begun, goes_on) = signals.clone();
        async move {
            if context.step_id() == "one" {
                begun.notify_one();
                goes_on.notified().await;
            }
            Ok(())
        }
    });
    let options = WorkerOptions {
        workspaces: folder.path().to_owned(),
        ..WorkerOptions::default()
    };
    let worker = Worker::start(
        store.clone(),
        Handlers::new().with("test.work", work),
        options,
    )
    .await
    .unwrap();
    let run = worker.client().submit(two_steps()).await.unwrap().run.id;
    begun.notified().await;
    let psql = |statement: &str| ScratchPostgres::shared().psql(&name, statement).unwrap();
    psql("ALTER SCHEMA surefoot RENAME TO elsewhere");
    goes_on.notify_one();
    let mut trouble = worker.trouble();
    let is_reported = |trouble: &Option<String>| {
        trouble
            .as_ref()
            .is_some_and(|why| why.contains("cannot be used"))
    };
    assert!(trouble.wait_for(is_reported).await.is_ok());
    // Long enough for a failure to be written as well.
    let begin = Instant::now();
    until("it is tried again", async || {
        (begin.elapsed() > Duration::from_secs(2)).then_some(())
    })
    .await;
    psql("ALTER SCHEMA elsewhere RENAME TO surefoot");
    let run = ended(&store, run).await;
    assert_eq!(
        run.head.status,
        RunStatus::Completed,
        "{:?}",
        run.head.error
    );
    assert!(
        run.steps
            .iter()
            .all(|step| step.attempt == 1 && step.interruptions == 0),
        "{:?}",
        run.steps
    );
    worker.stop().await;
}

#[tokio::test]
async fn a_frozen_database_is_given_up() {
    let cluster = ScratchPostgres::start().unwrap();
    // So that only the tested operation has the short timeout.
    open(&cluster.url()).await;
    let hasty = options(&cluster.url()).operation_timeout(Duration::from_millis(500));
    let store = until("it is opened", async || hasty.clone().open().await.ok()).await;
    until("queues are read", async || store.queues().await.ok()).await;
    let server = std::fs::read_to_string(cluster.data().join("postmaster.pid")).unwrap();
    let server = server.lines().next().unwrap().to_owned();
    let signal = |signal: &str, pids: &[&str]| {
        Command::new("kill")
            .arg(signal)
            .args(pids)
            .output()
            .unwrap()
            .status
    };
    // First the process that forks others. Some of those are just ending, and cannot be signalled.
    assert!(signal("-STOP", &[&server]).success());
    let children =
        std::fs::read_to_string(format!("/proc/{server}/task/{server}/children")).unwrap();
    let children: Vec<&str> = children.split_whitespace().collect();
    signal("-STOP", &children);
    let begin = Instant::now();
    let error = assert_away(store.queues().await);
    let took = begin.elapsed();
    signal("-CONT", &children);
    assert!(signal("-CONT", &[&server]).success());
    assert!(error.contains("did not answer within 500ms"), "{error}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    until("queues are read again", async || store.queues().await.ok()).await;
}
