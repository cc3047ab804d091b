//! Protection of the server against a single client or request.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::events::{Stream, changes};
use crate::world::{On, PATIENCE, World};

const SHORT: Duration = Duration::from_millis(300);

async fn connect(world: &World) -> TcpStream {
    TcpStream::connect(world.url.trim_start_matches("http://"))
        .await
        .unwrap()
}

/// Everything received until the other side closes.
async fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset connection has ended as well.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes))
        .await
        .expect("the server ends it");
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn a_hanging_request_times_out_and_a_stream_does_not() {
    let world = World::with(On::Sqlite, |options| options.limits.time = SHORT).await;
    // On a busy machine a request that does not hang may time out too, so it is repeated.
    let answered = async |path: &str| {
        let ask = async || Some(world.get(path).await).filter(|answer| answer.status() == 200);
        world.until("it is answered", ask).await
    };
    let greeting = json!({ "workflow": "greet", "key": "ada", "parameters": { "name": "ada" } });
    let submit = async || {
        Some(world.post("/api/v1/runs", greeting.clone()).await).filter(|one| one.status() != 503)
    };
    let run: Value = world
        .until("it is submitted", submit)
        .await
        .json()
        .await
        .unwrap();
    let run = run["id"].as_str().unwrap().to_owned();
    let mut stream = Stream::of(answered(&format!("/api/v1/runs/{run}/events")).await);
    let snapshot = stream.next().await.unwrap();
    world.store.listings_hang.send_replace(true);
    let late = world.get("/api/v1/runs").await;
    assert_eq!(
        (late.status().as_u16(), &late.headers()["content-type"]),
        (503, &"application/problem+json".parse().unwrap())
    );
    let problem: Value = late.json().await.unwrap();
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .starts_with("the request took too long"),
        "{problem}"
    );
    let page = world
        .http
        .get(format!("{}/runs", world.url))
        .header("accept", "text/html")
        .send()
        .await
        .unwrap();
    assert_eq!(page.status(), 503);
    assert!(
        page.text().await.unwrap().contains("<html"),
        "a person is told by a page"
    );
    // Other requests are served.
    answered("/healthz").await;
    world.store.listings_hang.send_replace(false);
    answered("/api/v1/runs").await;
    // The stream has outlived the time limit of a request, and continues.
    world.rounds.send_replace(u64::MAX);
    let told = stream.rest().await;
    assert_eq!(
        (changes(&told)[0], told.last().unwrap().event.as_str()),
        (snapshot.id.unwrap() + 1, "end")
    );
    world.close().await;
}

#[tokio::test]
async fn a_request_body_that_does_not_arrive_times_out() {
    let world = World::with(On::Sqlite, |options| options.limits.time = SHORT).await;
    let mut stream = connect(&world).await;
    let head = "POST /api/v1/runs HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
                content-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = rest(stream).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    world.close().await;
}

#[tokio::test]
async fn a_client_that_sends_no_request_is_disconnected() {
    let world = World::with(On::Sqlite, |options| options.limits.head = SHORT).await;
    let mut slow = connect(&world).await;
    slow.write_all(b"GET /api/v1/runs HTTP/1.1\r\nhost: local")
        .await
        .unwrap();
    let answer = rest(slow).await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 408"),
        "{answer}"
    );
    assert_eq!(
        rest(connect(&world).await).await,
        "",
        "nor is one that says nothing at all"
    );
    world.close().await;
}

#[tokio::test]
async fn a_connection_over_the_limit_waits_for_another_to_close() {
    let world = World::with(On::Sqlite, |options| options.limits.connections = 2).await;
    let ask = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let mut held = [connect(&world).await, connect(&world).await];
    let mut first = [0];
    for stream in &mut held {
        stream.write_all(ask).await.unwrap();
        timeout(PATIENCE, stream.read_exact(&mut first))
            .await
            .expect("there is room")
            .unwrap();
    }
    let mut third = connect(&world).await;
    third.write_all(ask).await.unwrap();
    assert!(
        timeout(SHORT, third.read_exact(&mut first)).await.is_err(),
        "there is no room for a third"
    );
    let [one, _other] = held;
    drop(one);
    timeout(PATIENCE, third.read_exact(&mut first))
        .await
        .expect("now there is")
        .unwrap();
    drop(third);
    world.close().await;
}

#[tokio::test]
async fn a_handler_that_panics_ends_its_own_request_only() {
    let world = World::open().await;
    let run = world.greet("ada").await;
    let mut stream = Stream::open(&world, &run, None).await;
    stream.next().await.unwrap();
    world.store.records_break.store(true, Ordering::SeqCst);
    let problem = world.get("/api/v1/records").await;
    assert_eq!(problem.status(), 500);
    let problem: Value = problem.json().await.unwrap();
    assert_eq!(problem["type"], "urn:surefoot:problem:internal");
    assert!(
        !problem.to_string().contains("the test wants"),
        "what went wrong is for the log: {problem}"
    );
    world.store.records_break.store(false, Ordering::SeqCst);
    assert_eq!(world.get("/api/v1/records").await.status(), 200);
    world.rounds.send_replace(u64::MAX);
    assert_eq!(
        stream.rest().await.last().unwrap().event,
        "end",
        "who watches was not disturbed"
    );
    world.close().await;
}

/// Proxies close connections that are idle for long.
#[tokio::test]
async fn an_idle_stream_sends_keep_alives() {
    let world = World::open().await;
    let run = world.greet("ada").await;
    let mut stream = world.get(&format!("/api/v1/runs/{run}/events")).await;
    let mut said = String::new();
    let still_here = async {
        while !said.contains("\n: ") {
            said.push_str(
                std::str::from_utf8(&stream.chunk().await.unwrap().expect("it goes on")).unwrap(),
            );
        }
    };
    timeout(Duration::from_secs(60), still_here)
        .await
        .expect("it is said every 15 s");
    assert!(said.ends_with("\n\n: still here\n\n"), "{said}");
    world.close().await;
}
