//! Live events: none is lost or repeated, and there is one reader however many watch.

use std::time::Instant;

use reqwest::{Response, StatusCode};
use serde_json::Value;

use crate::world::{PATIENCE, World, on_each_store};

/// A stream, read message by message.
pub(crate) struct Stream {
    response: Response,
    text: String,
}

#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) id: Option<u64>,
    pub(crate) event: String,
    pub(crate) data: Value,
}

impl Stream {
    pub(crate) async fn open(world: &World, run: &str, seen: Option<u64>) -> Self {
        let mut request = world
            .http
            .get(format!("{}/api/v1/runs/{run}/events", world.url));
        if let Some(seen) = seen {
            request = request.header("last-event-id", seen.to_string());
        }
        Self::of(request.send().await.unwrap())
    }

    pub(crate) fn of(response: Response) -> Self {
        assert_eq!(response.status(), StatusCode::OK);
        Self {
            response,
            text: String::new(),
        }
    }

    /// The next message; `None` when the server ends the stream.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        loop {
            while let Some((message, rest)) = self.text.split_once("\n\n") {
                let message = message.to_owned();
                let rest = rest.to_owned();
                self.text = rest;
                if let Some(message) = read(&message) {
                    return Some(message);
                }
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk())
                .await
                .expect("something is said");
            // A server that is killed may cut the connection.
            self.text
                .push_str(std::str::from_utf8(&chunk.ok().flatten()?).unwrap());
        }
    }

    pub(crate) async fn rest(mut self) -> Vec<Message> {
        let mut all = Vec::new();
        while let Some(message) = self.next().await {
            all.push(message);
        }
        all
    }
}

fn read(text: &str) -> Option<Message> {
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name))
            .map(str::trim)
    };
    let data = serde_json::from_str(field("data:")?).unwrap();
    let id = field("id:").map(|id| id.parse().unwrap());
    Some(Message {
        id,
        event: field("event:").unwrap_or("message").to_owned(),
        data,
    })
}

pub(crate) fn changes(messages: &[Message]) -> Vec<u64> {
    messages
        .iter()
        .filter(|message| message.event == "change")
        .filter_map(|message| message.id)
        .collect()
}

on_each_store! {
    a_snapshot_comes_first_then_every_change_then_the_end,
    a_stream_resumes_after_a_restart_of_the_server,
    listings_receive_change_events,
}

async fn a_snapshot_comes_first_then_every_change_then_the_end(world: World) {
    let run = world.greet("ada").await;
    let mut stream = Stream::open(&world, &run, None).await;
    let snapshot = stream.next().await.unwrap();
    assert_eq!(
        (snapshot.event.as_str(), &snapshot.data["id"]),
        ("snapshot", &Value::from(run.as_str()))
    );
    world.rounds.send_replace(u64::MAX);
    let rest = stream.rest().await;
    let last = rest.last().unwrap();
    assert_eq!(
        (last.event.as_str(), &last.data["status"]),
        ("end", &Value::from("completed"))
    );
    let first = snapshot.id.unwrap() + 1;
    let history = world.json(&format!("/api/v1/runs/{run}/history")).await;
    let end = history["events"].as_array().unwrap().len() as u64;
    assert_eq!(changes(&rest), (first..=end).collect::<Vec<_>>());

    let over = world
        .http
        .get(format!("{}/api/v1/runs/{run}/events", world.url))
        .header("last-event-id", end);
    assert_eq!(
        over.send().await.unwrap().status(),
        StatusCode::NO_CONTENT,
        "a browser is told not to come back"
    );
    world.close().await;
}

async fn a_stream_resumes_after_a_restart_of_the_server(mut world: World) {
    let run = world.greet("ada").await;
    let mut stream = Stream::open(&world, &run, Some(0)).await;
    world.rounds.send_replace(2);
    let mut seen = Vec::new();
    // Submitted, started, the step started, and a first log line.
    while seen.len() < 4 {
        seen.push(stream.next().await.unwrap());
    }
    world.restart_server().await;
    seen.extend(stream.rest().await);
    let last = seen.iter().filter_map(|message| message.id).max().unwrap();
    // Events happen while there is no watcher.
    world.rounds.send_replace(u64::MAX);
    world.until_status(&run, "completed").await;
    seen.extend(Stream::open(&world, &run, Some(last)).await.rest().await);
    let history = world.json(&format!("/api/v1/runs/{run}/history")).await;
    let end = history["events"].as_array().unwrap().len() as u64;
    assert_eq!(
        changes(&seen),
        (1..=end).collect::<Vec<_>>(),
        "nothing lost, nothing twice"
    );
    world.close().await;
}

async fn listings_receive_change_events(world: World) {
    let mut stream = Stream::of(world.get("/api/v1/events").await);
    assert_eq!(stream.next().await.unwrap().event, "changed");
    world.greet("ada").await;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let told = stream.next().await.unwrap();
        let queues = told.data["queues"].as_array().unwrap().clone();
        if queues
            .iter()
            .any(|queue| queue["name"] == "greet" && queue["running"] == 1)
        {
            break;
        }
        assert!(Instant::now() < deadline);
    }
    tokio::time::timeout(PATIENCE, world.close())
        .await
        .expect("streams end with the server");
}
