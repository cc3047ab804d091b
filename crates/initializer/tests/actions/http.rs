//! `http.request`, against a server with scripted responses that records the requests.

use std::sync::{Arc, Mutex};

use serde_json::json;
use surefoot::{AddressPolicy, Event, Run, Timestamp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::world::World;

/// Sends one response after another, each on a separate connection, and repeats the last one.
struct Server {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
    _serving: JoinSet<()>,
}

impl Server {
    /// A response is a head without the first `HTTP/1.1 `, an empty line and a body; an empty one
    /// closes the connection.
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
        Self {
            address,
            requests,
            _serving: serving,
        }
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
        let answer = format!(
            "HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        // A client may close the connection early.
        let _ = stream.write_all(answer.as_bytes()).await;
    }
    String::from_utf8(request).unwrap()
}

fn complete(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .unwrap_or("0");
    body.len() >= length.parse::<usize>().unwrap()
}

/// A step that sends a request to the server; its retries are short.
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
    let output = run.steps[0]
        .output
        .clone()
        .unwrap_or_else(|| panic!("{:?}", run.steps[0].error));
    assert_eq!(
        (
            &output["status"],
            &output["body"],
            &output["headers"]["x-a"]
        ),
        (&json!(201), &json!({ "id": 7 }), &json!("b"))
    );
    assert!(output["headers"].get("set-cookie").is_none());
    let request = &server.requests()[0];
    assert!(
        request.starts_with("POST /x?q=1 HTTP/1.1\r\n") && request.ends_with("{\"name\":\"shop\"}"),
        "{request}"
    );
    let key = format!("idempotency-key: {}/ask\r\n", run.id);
    let others = [
        "content-type: application/json\r\n",
        "x-mine: 7\r\n",
        "authorization: Bearer hunter2-token\r\n",
    ];
    for header in [&[key.as_str()][..], &others[..]].concat() {
        assert!(request.contains(header), "{header} in {request}");
    }
}

#[tokio::test]
async fn text_is_text_and_expected_statuses_are_successes() {
    let world = World::new().await;
    let server = Server::new(&["404 Not Found\ncontent-type: text/plain\n\nnothing here"]).await;
    let output = world
        .output(&step(&server, 1, ", expect: [200, 404]"))
        .await;
    assert_eq!(
        (&output["status"], &output["body"]),
        (&json!(404), &json!("nothing here"))
    );
    assert!(server.requests()[0].starts_with("GET "));
}

#[tokio::test]
async fn transient_errors_are_retried_with_the_same_key() {
    let world = World::new().await;
    let server = Server::new(&[
        "500 Oops",
        "408 Slow",
        "425 Early",
        "",
        "429 Many",
        "200 OK\n\nat last",
    ])
    .await;
    let run = world.run(&step(&server, 9, "")).await;
    assert_eq!(
        run.steps[0].output.as_ref().unwrap()["body"],
        json!("at last"),
        "{:?}",
        run.head.error
    );
    assert_eq!(run.steps[0].attempt, 6);
    let key = |request: &String| {
        request
            .lines()
            .find(|line| line.starts_with("idempotency-key: "))
            .unwrap()
            .to_owned()
    };
    let keys: std::collections::BTreeSet<String> = server.requests().iter().map(key).collect();
    assert_eq!((keys.len(), server.requests().len()), (1, 6));
}

#[tokio::test]
async fn a_refusal_is_final_and_says_why() {
    let world = World::new().await;
    let server = Server::new(&["422 Unprocessable Entity\n\nname is taken"]).await;
    let (error, attempts) = world.failure(&step(&server, 5, "")).await;
    let expect = format!(
        "GET {}/x answered 422 Unprocessable Entity: name is taken",
        server.address
    );
    assert_eq!((error, attempts), (expect, 1));
    let (error, attempts) = world
        .failure("- { id: a, action: http.request, with: { url: 'ftp://x/y' } }")
        .await;
    assert_eq!(
        (error.as_str(), attempts),
        ("`ftp://x/y` is not http or https but ftp", 1)
    );
}

/// Milliseconds of each wait of a run that used no attempt.
async fn waits(world: &World, run: &Run) -> Vec<u64> {
    let deferrals = world.events(run, "step.deferred").await;
    let until = |event: &Event| {
        event.data["until"]
            .as_str()
            .unwrap()
            .parse::<Timestamp>()
            .unwrap()
    };
    deferrals
        .iter()
        .map(|event| u64::try_from(until(event).since(event.at).as_millis()).unwrap())
        .collect()
}

#[tokio::test]
async fn a_rate_limit_is_a_wait_that_spends_no_attempt() {
    let world = World::new().await;
    let server = Server::new(&[
        "503 Busy\ndate: Sun, 06 Nov 1994 08:49:37 GMT\nretry-after: Sun, 06 Nov 1994 08:49:38 GMT",
        "429 Many\nretry-after: 1",
        "403 Forbidden\nretry-after: 0.2\n\nsecondary rate limit",
        "403 Forbidden\nx-ratelimit-remaining: 0\nx-ratelimit-reset: 1",
        "200 OK\n\nat last",
    ])
    .await;
    let run = world.run(&step(&server, 1, "")).await;
    assert_eq!(
        run.steps[0].output.as_ref().unwrap()["body"],
        json!("at last"),
        "{:?}",
        run.head.error
    );
    assert_eq!((run.steps[0].attempt, server.requests().len()), (1, 5));
    let waits = waits(&world, &run).await;
    assert!(
        waits.len() == 4 && waits.iter().all(|wait| (900..2000).contains(wait)),
        "{waits:?}"
    );
    let reason = world.events(&run, "step.deferred").await[2].data["reason"].clone();
    let expect = format!(
        "127.0.0.1 (rate limit: GET {}/x answered 403 Forbidden: secondary rate limit)",
        server.address
    );
    assert_eq!(reason, json!(expect));
    assert!(world.events(&run, "step.retrying").await.is_empty());
}

#[tokio::test]
async fn a_refusal_without_a_wait_is_unchanged() {
    let world = World::new().await;
    let server =
        Server::new(&["403 Forbidden\nx-ratelimit-remaining: 7\nx-ratelimit-reset: 1"]).await;
    assert_eq!(world.failure(&step(&server, 5, "")).await.1, 1);
    let server = Server::new(&["500 Oops\nretry-after: 50", "429 Many", "200 OK"]).await;
    assert_eq!(world.run(&step(&server, 3, "")).await.steps[0].attempt, 3);
}

#[tokio::test]
async fn a_redirect_never_changes_the_method() {
    let world = World::new().await;
    for status in ["301 Moved", "302 Found", "303 See Other"] {
        for method in ["post", "put", "delete", "patch"] {
            let server =
                Server::new(&[&format!("{status}\nlocation: /made?token=1"), "200 OK"]).await;
            let (error, attempts) = world
                .failure(&step(&server, 3, &format!(", method: {method}, body: x")))
                .await;
            let expect = format!(
                "{} {}/x was redirected ({}",
                method.to_uppercase(),
                server.address,
                &status[..3]
            );
            assert!(error.starts_with(&expect), "{error}");
            assert!(
                error.contains(&format!("to {}/made,", server.address)) && !error.contains("token"),
                "{error}"
            );
            assert_eq!((attempts, server.requests().len()), (1, 1));
        }
    }
    let server = Server::new(&["303 See Other\nlocation: /made"]).await;
    let output = world
        .output(&step(&server, 1, ", method: post, expect: [303]"))
        .await;
    assert_eq!(
        (&output["status"], &output["headers"]["location"]),
        (&json!(303), &json!("/made"))
    );
}

#[tokio::test]
async fn a_redirect_that_keeps_the_method_stays_on_the_origin() {
    let world = World::new().await;
    for status in ["307 Temporary", "308 Permanent"] {
        let server =
            Server::new(&[&format!("{status}\nlocation: /new"), "201 Created\n\nmade"]).await;
        let output = world
            .output(&step(
                &server,
                1,
                ", method: post, json: { name: shop }, headers: { X-Key: k }",
            ))
            .await;
        assert_eq!(output["body"], json!("made"));
        for request in server.requests() {
            assert!(
                request.starts_with("POST /") && request.ends_with("{\"name\":\"shop\"}"),
                "{request}"
            );
            assert!(
                request.contains("x-key: k\r\n") && request.contains("idempotency-key: "),
                "{request}"
            );
        }
        let other = Server::new(&["200 OK"]).await;
        let server = Server::new(&[&format!("{status}\nlocation: {}/y", other.address)]).await;
        let (error, _) = world
            .failure(&step(&server, 1, ", method: post, body: secret"))
            .await;
        assert!(error.contains("was not sent there"), "{error}");
        assert!(other.requests().is_empty());
        let (error, _) = world
            .failure(&step(&server, 1, ", method: get, body: secret"))
            .await;
        assert!(
            error.contains("was not sent there") && other.requests().is_empty(),
            "{error}"
        );
    }
}

#[tokio::test]
async fn nothing_of_the_step_leaves_the_origin() {
    let world = World::new().await;
    let rest =
        ", headers: { Private-Token: t0ken, X-Api-Key: k3y, Cookie: a=b }, credential: forge";
    let first = Server::new(&["200 OK"]).await;
    let other = Server::new(&[&format!("301 Moved\nlocation: {}/back", first.address)]).await;
    let last = Server::new(&[
        "302 Found\nlocation: /on",
        &format!("302 Found\nlocation: {}/away", other.address),
    ])
    .await;
    let _run = world.run(&step(&last, 1, rest)).await;
    let stays = last.requests();
    assert!(
        stays[0].contains("private-token: t0ken") && stays[1].starts_with("GET /on"),
        "{stays:?}"
    );
    assert!(
        stays[1].contains("authorization: Bearer hunter2-token")
            && stays[1].contains("x-api-key: k3y"),
        "{stays:?}"
    );
    let away = [other.requests(), first.requests()].concat();
    assert!(away.len() >= 2, "{away:?}");
    for request in away {
        let request = request.to_ascii_lowercase();
        for mine in [
            "t0ken",
            "k3y",
            "a=b",
            "hunter2",
            "idempotency",
            "authorization",
        ] {
            assert!(!request.contains(mine), "{mine} in {request}");
        }
    }
}

#[tokio::test]
async fn redirects_have_an_end() {
    let world = World::new().await;
    let server = Server::new(&["302 Found\nlocation: /x"]).await;
    let (error, attempts) = world.failure(&step(&server, 3, "")).await;
    assert!(error.contains("redirected more than 10 times"), "{error}");
    assert_eq!((attempts, server.requests().len()), (1, 11));
    let server = Server::new(&["302 Found\nlocation: file:///etc/passwd"]).await;
    let (error, _) = world.failure(&step(&server, 1, "")).await;
    assert!(
        error.contains("to a place that is not http or https"),
        "{error}"
    );
}

#[tokio::test]
async fn a_credential_goes_only_to_hosts_that_the_workflow_or_the_configuration_names() {
    let world = World::new().await;
    let server = Server::new(&["200 OK"]).await;
    let chosen = |credential: &str| {
        let url = format!("${{{{ '{}' }}}}", server.address);
        format!(
            "- {{ id: a, action: http.request, with: {{ url: \"{url}\", credential: {credential} }} }}"
        )
    };
    let (error, attempts) = world.failure(&chosen("forge")).await;
    assert!(
        error.starts_with("the credential `forge` is not for the host `127.0.0.1`: add the host"),
        "{error}"
    );
    assert_eq!(attempts, 1);
    assert_eq!(world.output(&chosen("bound")).await["status"], json!(200));
    let (error, _) = world
        .failure(&step(&server, 1, ", credential: elsewhere"))
        .await;
    assert!(error.contains("`elsewhere` is not for the host"), "{error}");
    assert!(
        server
            .requests()
            .iter()
            .all(|request| !request.contains("hunter2-elsewhere"))
    );
}

#[tokio::test]
async fn an_address_that_is_denied_is_not_reached_by_any_way() {
    let policy = AddressPolicy {
        allow: vec![],
        deny: vec!["127.0.0.2".parse().unwrap(), "::1".parse().unwrap()],
    };
    let world = World::within(&policy).await;
    let server = Server::new(&["302 Found\nlocation: http://127.0.0.2:1/x"]).await;
    for url in [
        "http://169.254.169.254/latest",
        "http://127.0.0.2/",
        "http://2130706434/",
        "http://[::ffff:7f00:2]/",
    ] {
        let steps = format!(
            "- {{ id: a, action: http.request, retry: {{ attempts: 3 }}, with: {{ url: '{url}' }} }}"
        );
        let (error, attempts) = world.failure(&steps).await;
        assert!(
            error.contains("which is denied") && attempts == 1,
            "{url}: {error}"
        );
    }
    let (error, attempts) = world.failure(&step(&server, 3, "")).await;
    assert!(
        error.contains("127.0.0.2 is at 127.0.0.2, which is denied") && attempts == 1,
        "{error}"
    );
    let named = server.address.replace("127.0.0.1", "localhost");
    let denied = World::within(&AddressPolicy {
        allow: vec![],
        deny: vec!["private".parse().unwrap()],
    })
    .await;
    let steps = format!(
        "- {{ id: a, action: http.request, retry: {{ attempts: 3 }}, with: {{ url: '{named}' }} }}"
    );
    let (error, attempts) = denied.failure(&steps).await;
    assert!(
        error.contains("which is denied") && attempts == 1,
        "{error}"
    );
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn an_address_is_shown_without_the_secrets_in_it() {
    let world = World::new().await;
    let server = Server::new(&["404 Not Found"]).await;
    let url = server.address.replace("http://", "http://ann:s3cret@");
    let (error, _) = world
        .failure(&format!(
            "- {{ id: a, action: http.request, with: {{ url: '{url}/x?key=s3cret#s3cret' }} }}"
        ))
        .await;
    assert!(
        error.contains("/x answered 404") && !error.contains("s3cret") && !error.contains("ann"),
        "{error}"
    );
}

#[tokio::test]
async fn an_unreachable_server_is_retried() {
    let world = World::new().await;
    // The bound socket keeps other processes off the port, and it does not listen.
    let bound = TcpSocket::new_v4().unwrap();
    bound.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = bound.local_addr().unwrap();
    let steps = format!(
        "- {{ id: a, action: http.request, retry: {{ attempts: 2, backoff: {{ fixed: 1ms }} }}, with: {{ url: 'http://{address}/?key=1' }} }}"
    );
    let (error, attempts) = world.failure(&steps).await;
    assert!(
        error.starts_with(&format!("GET http://{address}/ got no answer: "))
            && error.contains("refused"),
        "{error}"
    );
    assert!(attempts == 2 && !error.contains("key=1"), "{error}");
}

#[tokio::test]
async fn late_and_long_responses_are_limited() {
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
    assert_eq!(
        (error.as_str(), attempts),
        ("the response is larger than 1 MiB", 1)
    );
    let server = Server::new(&[&format!("200 OK\n\n{}", "x".repeat(1 << 20))]).await;
    assert_eq!(
        world.output(&step(&server, 1, "")).await["body"]
            .as_str()
            .unwrap()
            .len(),
        1 << 20
    );
}
