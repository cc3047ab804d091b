//! `http.request`, against a server that answers as it is told and remembers what it was asked.

use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::world::World;

/// Gives one answer after another, each on a connection of its own, and the last one for ever.
struct Server {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
    _serving: JoinSet<()>,
}

impl Server {
    /// An answer is a head without the first `HTTP/1.1 `, an empty line and a body; an empty one closes the connection.
    async fn new(answers: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let answers: Vec<String> = answers.iter().map(|answer| (*answer).to_owned()).collect();
        let mut serving = JoinSet::new();
        let asked = requests.clone();
        serving.spawn(async move {
            for number in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let answer = answers.get(number).or(answers.last()).unwrap();
                let request = serve(stream, answer).await;
                asked.lock().unwrap().push(request);
            }
        });
        Self { address, requests, _serving: serving }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, answer: &str) -> String {
    let mut request = Vec::new();
    while !complete(&request) {
        if stream.read_buf(&mut request).await.unwrap() == 0 {
            break;
        }
    }
    if !answer.is_empty() {
        let (head, body) = answer.split_once("\n\n").unwrap_or((answer, ""));
        let head = head.replace('\n', "\r\n");
        let answer = format!("HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        // A client that has seen enough may hang up.
        let _ = stream.write_all(answer.as_bytes()).await;
    }
    String::from_utf8(request).unwrap()
}

fn complete(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
    body.len() >= length.parse::<usize>().unwrap()
}

/// A step that asks the server; not retried for long.
fn step(server: &Server, attempts: u32, rest: &str) -> String {
    format!(
        "- {{ id: ask, action: http.request, retry: {{ attempts: {attempts}, backoff: {{ fixed: 1ms }} }}, \
         with: {{ url: '{}/x?q=1'{rest} }} }}",
        server.address
    )
}

#[tokio::test]
async fn a_request_carries_its_key_and_gives_its_answer() {
    let world = World::new().await;
    let server = Server::new(&[
        "201 Created\ncontent-type: application/json; charset=utf-8\nx-a: b\nset-cookie: s=1\n\n{\"id\": 7}",
    ])
    .await;
    let rest = ", method: post, json: { name: shop }, headers: { X-Mine: 7 }, credential: forge";
    let run = world.run(&step(&server, 1, rest)).await;
    let output = run.steps[0].output.clone().unwrap_or_else(|| panic!("{:?}", run.steps[0].error));
    assert_eq!(
        (&output["status"], &output["body"], &output["headers"]["x-a"]),
        (&json!(201), &json!({ "id": 7 }), &json!("b"))
    );
    assert!(output["headers"].get("set-cookie").is_none());
    let request = &server.requests()[0];
    assert!(request.starts_with("POST /x?q=1 HTTP/1.1\r\n") && request.ends_with("{\"name\":\"shop\"}"), "{request}");
    let key = format!("idempotency-key: {}/ask\r\n", run.id);
    let others = ["content-type: application/json\r\n", "x-mine: 7\r\n", "authorization: Bearer hunter2-token\r\n"];
    for header in [&[key.as_str()][..], &others[..]].concat() {
        assert!(request.contains(header), "{header} in {request}");
    }
}

#[tokio::test]
async fn text_is_text_and_expected_statuses_are_successes() {
    let world = World::new().await;
    let server = Server::new(&["404 Not Found\ncontent-type: text/plain\n\nnothing here"]).await;
    let output = world.output(&step(&server, 1, ", expect: [200, 404]")).await;
    assert_eq!((&output["status"], &output["body"]), (&json!(404), &json!("nothing here")));
    assert!(server.requests()[0].starts_with("GET "));
}

#[tokio::test]
async fn what_may_pass_is_tried_again_with_the_same_key() {
    let world = World::new().await;
    let server = Server::new(&["500 Oops", "408 Slow", "425 Early", "", "429 Many", "200 OK\n\nat last"]).await;
    let run = world.run(&step(&server, 9, "")).await;
    assert_eq!(run.steps[0].output.as_ref().unwrap()["body"], json!("at last"), "{:?}", run.head.error);
    assert_eq!(run.steps[0].attempt, 6);
    let key = |request: &String| request.lines().find(|line| line.starts_with("idempotency-key: ")).unwrap().to_owned();
    let keys: std::collections::BTreeSet<String> = server.requests().iter().map(key).collect();
    assert_eq!((keys.len(), server.requests().len()), (1, 6));
}

#[tokio::test]
async fn a_refusal_is_final_and_says_why() {
    let world = World::new().await;
    let server = Server::new(&["422 Unprocessable Entity\n\nname is taken"]).await;
    let (error, attempts) = world.failure(&step(&server, 5, "")).await;
    let expect = format!("GET {}/x answered 422 Unprocessable Entity: name is taken", server.address);
    assert_eq!((error, attempts), (expect, 1));
    let (error, attempts) = world.failure("- { id: a, action: http.request, with: { url: 'ftp://x/y' } }").await;
    assert_eq!((error.as_str(), attempts), ("`ftp://x/y` is not http or https but ftp", 1));
}

#[tokio::test]
async fn a_server_that_asks_for_time_gets_it() {
    let world = World::new().await;
    let dated = "503 Busy\ndate: Sun, 06 Nov 1994 08:49:37 GMT\nretry-after: Sun, 06 Nov 1994 08:49:38 GMT";
    let server = Server::new(&[dated, "429 Many\nretry-after: 1", "500 Oops\nretry-after: 50", "200 OK"]).await;
    let run = world.run(&step(&server, 4, "")).await;
    assert_eq!(run.head.status.to_string(), "completed");
    let events = world.events(&run, "step.retrying").await;
    let delays: Vec<u64> = events.iter().map(|event| event.data["delay_ms"].as_u64().unwrap()).collect();
    assert!((1000..2000).contains(&delays[0]) && (1000..2000).contains(&delays[1]) && delays[2] < 100, "{delays:?}");
}

#[tokio::test]
async fn a_server_that_is_away_is_tried_again() {
    let world = World::new().await;
    // Nobody else gets the port meanwhile, and nobody listens.
    let bound = TcpSocket::new_v4().unwrap();
    bound.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = bound.local_addr().unwrap();
    let steps = format!(
        "- {{ id: a, action: http.request, retry: {{ attempts: 2, backoff: {{ fixed: 1ms }} }}, with: {{ url: 'http://{address}/?key=1' }} }}"
    );
    let (error, attempts) = world.failure(&steps).await;
    assert!(
        error.starts_with(&format!("GET http://{address}/ got no answer: ")) && error.contains("refused"),
        "{error}"
    );
    assert!(attempts == 2 && !error.contains("key=1"), "{error}");
}

#[tokio::test]
async fn an_answer_may_be_late_or_long_but_not_too() {
    let world = World::new().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let steps = format!(
        "- {{ id: a, action: http.request, retry: {{ attempts: 1 }}, with: {{ url: 'http://{}', timeout: 50ms }} }}",
        silent.local_addr().unwrap()
    );
    let (error, _) = world.failure(&steps).await;
    assert!(error.contains("timed out"), "{error}");
    let server = Server::new(&[&format!("200 OK\n\n{}", "x".repeat((1 << 20) + 1))]).await;
    let (error, attempts) = world.failure(&step(&server, 3, "")).await;
    assert_eq!((error.as_str(), attempts), ("the response is larger than 1 MiB", 1));
    let server = Server::new(&[&format!("200 OK\n\n{}", "x".repeat(1 << 20))]).await;
    assert_eq!(world.output(&step(&server, 1, "")).await["body"].as_str().unwrap().len(), 1 << 20);
}
