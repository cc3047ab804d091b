//! `surefoot serve` in a separate process, and a minimal HTTP client.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Instant;

use serde_json::{Value, json};

pub(crate) use super::port::free_port;
use super::{PATIENCE, Place, Started, until};

/// A server that has started.
pub(crate) struct Server {
    pub(crate) process: Started,
    pub(crate) port: u16,
    /// Sent with every request that has no other token.
    pub(crate) token: Option<String>,
}

/// Status and body of a response.
pub(crate) type Answer = (u16, String);

impl Server {
    /// Starts a server on a free port.
    pub(crate) fn start(place: &Place, more: &[&str]) -> Self {
        Self::start_at(place, free_port(), more)
    }

    pub(crate) fn start_at(place: &Place, port: u16, more: &[&str]) -> Self {
        Self::run(place, port, more, |args| {
            let mut command = place.command(args);
            command
                .env("LEDGER", place.path("ledger"))
                .env("SUREFOOT_WORKER_PASS_ENVIRONMENT", "LEDGER");
            command
        })
    }

    /// Starts a server by the caller's command, to which the arguments are added.
    pub(crate) fn run(
        place: &Place,
        port: u16,
        more: &[&str],
        command: impl FnOnce(&[&str]) -> Command,
    ) -> Self {
        let listen = format!("127.0.0.1:{port}");
        let args = [&["serve", "--listen", &listen], more].concat();
        let process = place.start(&mut command(&args));
        let mut server = Self {
            process,
            port,
            token: None,
        };
        server.until_ready();
        server
    }

    pub(crate) fn until_ready(&mut self) {
        until("the server is ready", || {
            self.process.expect_alive();
            self.is_ready().then_some(())
        });
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.try_ask("GET", "/readyz", None, "")
            .is_some_and(|(status, _)| status == 200)
    }

    pub(crate) fn ask(&self, method: &str, path: &str, token: Option<&str>, body: &str) -> Answer {
        self.try_ask(method, path, token, body)
            .expect("the server answers")
    }

    pub(crate) fn try_ask(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: &str,
    ) -> Option<Answer> {
        let token = token.or(self.token.as_deref());
        let token = token
            .map(|token| format!("authorization: Bearer {token}\r\n"))
            .unwrap_or_default();
        let head = format!("content-type: application/json\r\n{token}");
        let (status, _, body) = self.exchange(method, path, &head, body)?;
        Some((status, body))
    }

    /// Sends a request with these header lines: status, head and body of the response.
    pub(crate) fn exchange(
        &self,
        method: &str,
        path: &str,
        head: &str,
        body: &str,
    ) -> Option<(u16, String, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let length = body.len();
        let first = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
        stream
            .write_all(format!("{first}{head}content-length: {length}\r\n\r\n{body}").as_bytes())
            .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let status = answer.split_whitespace().nth(1)?.parse().ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((status, head.to_owned(), body.to_owned()))
    }

    /// GET of a path, as JSON.
    pub(crate) fn json(&self, path: &str) -> Value {
        let (status, body) = self.ask("GET", path, None, "");
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).expect("it is JSON")
    }

    /// Posts JSON; the response must have this status.
    pub(crate) fn post(&self, status: u16, path: &str, body: &Value) -> Value {
        let (seen, answer) = self.ask("POST", path, None, &body.to_string());
        assert_eq!(seen, status, "{path}: {answer}");
        serde_json::from_str(&answer).expect("it is JSON")
    }

    /// Submits through the API; returns the run's id.
    pub(crate) fn submit(&self, workflow: &str, parameters: &Value) -> String {
        let request = json!({ "workflow": workflow, "parameters": parameters });
        self.post(201, "/api/v1/runs", &request)["id"]
            .as_str()
            .expect("an id")
            .to_owned()
    }

    /// Waits until the run has this status.
    pub(crate) fn until_status(&self, run: &str, status: &str) -> Value {
        until(&format!("{run} is {status}"), || {
            let seen = self.json(&format!("/api/v1/runs/{run}"));
            (seen["status"] == status).then_some(seen)
        })
    }

    /// Sequence number of a run's last event.
    pub(crate) fn last_event(&self, run: &str) -> u64 {
        let history = self.json(&format!("/api/v1/runs/{run}/history?limit=1000"));
        assert!(history["next"].is_null(), "there are more");
        history["events"].as_array().expect("events").len() as u64
    }

    /// Value of a metric, by its name and labels as printed; 0 if absent.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let (status, page) = self.ask("GET", "/metrics", None, "");
        assert_eq!(status, 200, "{page}");
        let value = page
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().expect("a number"))
    }
}

/// A run's event stream, message by message.
pub(crate) struct Events {
    reader: BufReader<Chunks>,
}

/// Decoder of a chunked response.
struct Chunks {
    stream: BufReader<TcpStream>,
    /// Bytes left of the current chunk.
    left: u64,
}

impl Read for Chunks {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let mut size = String::new();
        // The line before a size is the end of the previous chunk.
        while self.left == 0 && size.trim().is_empty() {
            size.clear();
            if self.stream.read_line(&mut size)? == 0 {
                return Ok(0);
            }
        }
        if self.left == 0 {
            self.left = u64::from_str_radix(size.trim(), 16).map_err(std::io::Error::other)?;
        }
        let read = (&mut self.stream).take(self.left).read(into)?;
        self.left -= read as u64;
        Ok(read)
    }
}

/// A message.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) id: Option<u64>,
    pub(crate) event: String,
    pub(crate) data: Value,
}

impl Events {
    /// Resumes after the event `seen`, as a reconnecting client does.
    pub(crate) fn after(server: &Server, run: &str, seen: u64) -> Self {
        let mut stream =
            TcpStream::connect(("127.0.0.1", server.port)).expect("the server is there");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let token = server
            .token
            .as_ref()
            .map(|token| format!("authorization: Bearer {token}\r\n"));
        let head = format!(
            "GET /api/v1/runs/{run}/events HTTP/1.1\r\nconnection: close\r\nhost: localhost\r\nlast-event-id: {seen}\r\n{}\r\n",
            token.unwrap_or_default()
        );
        stream.write_all(head.as_bytes()).expect("sent");
        let mut stream = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(
                stream.read_line(&mut head).expect("an answer") > 0,
                "{head}"
            );
        }
        assert!(head.contains(" 200 ") && head.contains("chunked"), "{head}");
        Self {
            reader: BufReader::new(Chunks { stream, left: 0 }),
        }
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let length = self.reader.read_line(&mut line).ok()?;
        (length > 0).then(|| line.trim_end().to_owned())
    }

    /// The next message; `None` if the stream has ended or was cut off.
    pub(crate) fn next(&mut self) -> Option<Message> {
        let mut id = None;
        let mut event = String::new();
        let began = Instant::now();
        loop {
            assert!(began.elapsed() < PATIENCE, "nothing was said");
            let line = self.line()?;
            if let Some(text) = line.strip_prefix("id: ") {
                id = Some(text.parse().expect("a number"));
            } else if let Some(text) = line.strip_prefix("event: ") {
                text.clone_into(&mut event);
            } else if let Some(text) = line.strip_prefix("data: ") {
                return Some(Message {
                    id,
                    event,
                    data: serde_json::from_str(text).ok()?,
                });
            }
        }
    }

    /// Messages up to and including the first that matches.
    pub(crate) fn until(&mut self, wanted: impl Fn(&Message) -> bool) -> Vec<Message> {
        let mut seen = Vec::new();
        loop {
            let message = self
                .next()
                .unwrap_or_else(|| panic!("the stream ended after {seen:#?}"));
            let found = wanted(&message);
            seen.push(message);
            if found {
                return seen;
            }
        }
    }

    /// All messages until the stream ends.
    pub(crate) fn rest(mut self) -> Vec<Message> {
        std::iter::from_fn(|| self.next()).collect()
    }
}

/// Sequence number of the last event seen.
pub(crate) fn last(seen: &[Message]) -> u64 {
    seen.iter()
        .filter_map(|message| message.id)
        .max()
        .unwrap_or(0)
}

/// Asserts that every event of the run came once and in order, followed by its end.
pub(crate) fn check_whole(server: &Server, run: &str, seen: &[Message]) {
    let received: Vec<u64> = seen
        .iter()
        .filter(|message| message.event == "change")
        .filter_map(|one| one.id)
        .collect();
    let all: Vec<u64> = (1..=server.last_event(run)).collect();
    assert_eq!(received, all, "nothing lost, nothing twice, in order");
    let last = seen.last().expect("at least one message");
    assert_eq!(
        (last.event.as_str(), &last.data["status"]),
        ("end", &"completed".into())
    );
}

/// Returns whether a message says that the step logged this line.
pub(crate) fn logged(message: &Message, line: &str) -> bool {
    let data = &message.data;
    data["kind"] == "step.log"
        && data["data"]["lines"]
            .as_array()
            .is_some_and(|lines| lines.iter().any(|one| one == line))
}
