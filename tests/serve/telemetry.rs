//! `[telemetry]` and OpenTelemetry's own variables direct the traces of the server's worker. Their
//! content is tested in `crates/telemetry`.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use serde_json::json;

use crate::common::server::{Server, free_port};
use crate::common::{PATIENCE, Place, text};

/// A collector that records head and body of each request. It refuses the first, as a collector
/// that is still starting does.
struct Collector {
    address: String,
    received: Receiver<(String, Vec<u8>)>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (send, received) = channel();
        let is_first = Arc::new(AtomicBool::new(true));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let send = send.clone();
                let is_first = is_first.clone();
                std::thread::spawn(move || answer(stream, &send, &is_first));
            }
        });
        Self { address, received }
    }

    /// Heads of the requests, until all these parts were received.
    fn until_received(&self, wanted: &[&[u8]]) -> Vec<String> {
        let mut all = Vec::new();
        let mut heads = Vec::new();
        let contains =
            |all: &[u8], part: &[u8]| all.windows(part.len()).any(|window| window == part);
        while !wanted.iter().all(|part| contains(&all, part)) {
            let (head, body) = self
                .received
                .recv_timeout(PATIENCE)
                .expect("something is sent");
            all.extend(body);
            heads.push(head);
        }
        heads
    }
}

/// Answers the requests of one connection, which its client may keep open while it opens another.
fn answer(mut stream: TcpStream, send: &Sender<(String, Vec<u8>)>, is_first: &AtomicBool) {
    while let Some(request) = request(&mut stream) {
        let mut status = "503 Service Unavailable";
        if !is_first.swap(false, Ordering::SeqCst) {
            status = "200 OK";
            // Before the answer, so that everything accepted was sent on when the client ends. The
            // receiver is gone once the test has ended.
            let _ended = send.send(request);
        }
        let _gone = write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
    }
}

fn request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?.to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))?
        .trim()
        .parse()
        .ok()?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some((head, body))
}

/// Executes a run on a server that was started so, and waits for the collector to receive it.
fn traced(
    place: &Place,
    collector: &Collector,
    service: &str,
    environment: &[(&str, &str)],
) -> Vec<String> {
    let server = Server::run(place, free_port(), &["--workflows", "flows"], |args| {
        let mut command = place.command(args);
        command
            .envs(environment.iter().copied())
            .env("SUREFOOT_CREDENTIAL_OTLP_HEADERS", "x-account=s3cret");
        command
    });
    let run = server.submit("short", &json!({}));
    server.until_status(&run, "completed");
    // A process that ends sends what it has.
    server.process.signal("-TERM");
    let output = server.process.finish();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let trace = trace_of(&run);
    collector.until_received(&[
        &trace,
        service.as_bytes(),
        b"surefoot.run.status",
        b"surefoot.attempt.outcome",
    ])
}

/// A trace's id is the run's own.
fn trace_of(run: &str) -> Vec<u8> {
    let digits: String = run.chars().filter(|letter| *letter != '-').collect();
    (0..16)
        .map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap())
        .collect()
}

#[test]
fn traces_go_where_the_configuration_or_the_environment_says() {
    let place = Place::new();
    std::fs::create_dir_all(place.data()).unwrap();
    std::fs::create_dir(place.path("flows")).unwrap();
    let short =
        "workflow: short\nsteps: [{ id: one, action: command.run, with: { shell: 'true' } }]\n";
    std::fs::write(place.path("flows/short.yaml"), short).unwrap();
    let first = Collector::start();
    let second = Collector::start();
    let config = format!(
        "[telemetry]\nendpoint = '{}'\nservice = 'of-the-file'\nheaders = 'otlp-headers'\n",
        first.address
    );
    std::fs::write(place.data().join("surefoot.toml"), config).unwrap();
    let heads = traced(&place, &first, "of-the-file", &[]);
    assert!(
        heads[0].starts_with("post /v1/traces http/1.1"),
        "{}",
        heads[0]
    );
    assert!(heads[0].contains("x-account: s3cret"), "{}", heads[0]);

    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", second.address.as_str()),
        ("OTEL_SERVICE_NAME", "of-the-env"),
    ];
    traced(&place, &second, "of-the-env", &environment);
    assert!(
        first.received.try_recv().is_err(),
        "the environment has the last word"
    );
}

#[test]
fn an_unreachable_collector_delays_no_run() {
    let place = Place::new();
    let nowhere = format!("http://127.0.0.1:{}", free_port());
    let server = Server::run(&place, free_port(), &[], |args| {
        let mut command = place.command(args);
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &nowhere);
        command
    });
    let run = server.submit("project-initialization", &json!({ "name": "shop" }));
    server.until_status(&run, "completed");
    server.process.signal("-TERM");
    let stopped = std::time::Instant::now();
    let output = server.process.finish();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    // It waits for 5 s at most; a wait for the collector to come back would have no end.
    assert!(stopped.elapsed().as_secs() < 30, "{:?}", stopped.elapsed());
}
