//! A database that is not there, does not answer, or does not let us in: an error in bounded time, and another try later.

use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use surefoot::{Store, StoreError};
use surefoot_scratch_postgres::{ScratchPostgres, Stop};

use crate::support::{open, options, until};

fn assert_away<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> String {
    let error = answer.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    error.to_string()
}

#[tokio::test]
async fn a_listener_that_never_speaks_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://postgres@127.0.0.1:{}/x", silent.local_addr().unwrap().port());
    let begin = Instant::now();
    let error = assert_away(options(&url).connect_timeout(Duration::from_millis(300)).open().await);
    assert!(error.contains("did not answer within 300ms"), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn nobody_there_is_said_at_once() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let begin = Instant::now();
    let error = assert_away(options(&format!("postgres://ann@127.0.0.1:{port}/shop")).open().await);
    assert!(error.contains(&format!("127.0.0.1:{port}/shop")) && error.contains("refused"), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
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
    let error = until("sessions have ended", async || store.queues().await.err()).await.to_string();
    assert!(error.contains("pg_hba.conf") || error.contains("terminat") || error.contains("closed"), "{error}");
    cluster.accept().unwrap();
    let queues = until("queues are read again", async || store.queues().await.ok()).await;
    assert!(queues.iter().any(|queue| queue.paused), "{queues:?}");
    cluster.end_sessions().unwrap();
    until("queues are read again", async || store.queues().await.ok()).await;
}

#[tokio::test]
async fn a_database_that_stands_still_is_given_up() {
    let cluster = ScratchPostgres::start().unwrap();
    let store = options(&cluster.url()).operation_timeout(Duration::from_millis(500)).open().await.unwrap();
    store.queues().await.unwrap();
    let server = std::fs::read_to_string(cluster.data().join("postmaster.pid")).unwrap();
    let server = server.lines().next().unwrap().to_owned();
    let children = std::fs::read_to_string(format!("/proc/{server}/task/{server}/children")).unwrap();
    let signal = |signal: &str| {
        let all = children.split_whitespace().chain([server.as_str()]);
        assert!(Command::new("kill").arg(signal).args(all).status().unwrap().success());
    };
    signal("-STOP");
    let begin = Instant::now();
    let error = assert_away(store.queues().await);
    let took = begin.elapsed();
    signal("-CONT");
    assert!(error.contains("did not answer within 500ms"), "{error}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    until("queues are read again", async || store.queues().await.ok()).await;
}
