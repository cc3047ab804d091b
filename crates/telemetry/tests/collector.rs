//! Traces as a collector receives them: a real worker, OTLP over a real socket, decoded by
//! OpenTelemetry's own types.

#![expect(
    clippy::unwrap_used,
    reason = "a test that meets what it does not expect fails there"
)]

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::json;
use surefoot::workflow::{Backoff, RetryPolicy};
use surefoot::{
    Handlers, RunStatus, StepContext, StepError, Store, Submit, SystemClock, Worker, WorkerOptions,
    Workflow, handler_fn,
};
use surefoot_store_tests::MemoryStore;
use surefoot_telemetry::{Telemetry, TelemetryError, TelemetryOptions};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Head and body of each request.
type Received = Vec<(String, ExportTraceServiceRequest)>;

/// A collector that records requests. It answers the first one with 503, as a collector that is
/// still starting does.
struct Collector {
    address: String,
    received: Arc<Mutex<Received>>,
    _tasks: JoinSet<()>,
}

impl Collector {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let received = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        let seen = received.clone();
        let requests = Arc::new(AtomicU32::new(0));
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(answer(stream, seen.clone(), requests.clone()));
            }
        });
        Self {
            address,
            received,
            _tasks: tasks,
        }
    }

    fn options(&self) -> TelemetryOptions {
        TelemetryOptions {
            endpoint: format!("{}/v1/traces", self.address),
            headers: HashMap::from([("x-account".to_owned(), "s3cret".to_owned())]),
            service: "platform".to_owned(),
            instance: "host 1".to_owned(),
        }
    }

    fn spans(&self) -> Vec<Span> {
        let received = self.received.lock().unwrap();
        let resources = received
            .iter()
            .flat_map(|(_, request)| request.resource_spans.clone());
        resources
            .flat_map(|resource| resource.scope_spans)
            .flat_map(|scope| scope.spans)
            .collect()
    }
}

/// Answers the requests of one connection.
async fn answer(mut stream: TcpStream, received: Arc<Mutex<Received>>, requests: Arc<AtomicU32>) {
    let mut bytes = Vec::new();
    while let Some((head, body)) = request(&mut stream, &mut bytes).await {
        let first = requests.fetch_add(1, Ordering::SeqCst) == 0;
        let status = if first {
            "503 Service Unavailable"
        } else {
            "200 OK"
        };
        if !first {
            received.lock().unwrap().push((
                head,
                ExportTraceServiceRequest::decode(body.as_slice()).unwrap(),
            ));
        }
        let text = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n"
        );
        if stream.write_all(text.as_bytes()).await.is_err() {
            return; // The client has gone.
        }
    }
}

/// Reads the next request's head and body; `None` if the client has disconnected.
async fn request(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end].to_vec())
                .unwrap()
                .to_ascii_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .unwrap();
            let whole = end + 4 + length.trim().parse::<usize>().unwrap();
            if bytes.len() >= whole {
                let body = bytes[end + 4..whole].to_vec();
                bytes.drain(..whole);
                return Some((head, body));
            }
        }
        let mut piece = [0; 4096];
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return None,
            Ok(length) => bytes.extend_from_slice(&piece[..length]),
        }
    }
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |attribute: &KeyValue| match attribute.value.as_ref()?.value.as_ref()? {
        Any::StringValue(text) => Some((attribute.key.clone(), text.clone())),
        Any::IntValue(number) => Some((attribute.key.clone(), number.to_string())),
        _ => None,
    };
    attributes.iter().filter_map(text).collect()
}

async fn fails_once(context: StepContext, _: serde_json::Value) -> Result<u32, StepError> {
    if context.attempt() == 1 {
        Err("the registry hunter22 is away".into())
    } else {
        Ok(2)
    }
}

async fn works(_: StepContext, _: serde_json::Value) -> Result<u32, StepError> {
    Ok(1)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_one_trace_with_a_span_for_each_attempt() {
    let collector = Collector::start().await;
    let telemetry = Telemetry::start(collector.options()).unwrap();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Arc::new(SystemClock)));
    let handlers = Handlers::new()
        .with("works", handler_fn(works))
        .with("fails.once", handler_fn(fails_once));
    let folder = tempfile::tempdir().unwrap();
    let options = WorkerOptions {
        workspaces: folder.path().to_owned(),
        observer: Some(telemetry.observer()),
        keys: Some(surefoot::SecretKeys::random().unwrap()),
        ..WorkerOptions::default()
    };
    let worker = Worker::start(store, handlers, options).await.unwrap();
    let wait = Duration::from_millis(5);
    let retry = RetryPolicy {
        attempts: 3,
        backoff: Backoff {
            initial: wait,
            factor: 1,
            max: wait,
            jitter: 0.0,
        },
    };
    let workflow = Workflow::builder("shop")
        .parameters(
            json!({ "properties": { "registry": { "type": "string", "writeOnly": true } } }),
        )
        .step("build", "works")
        .step_with("push", "fails.once", |step| step.retry(retry))
        .build()
        .unwrap();
    let client = worker.client();
    let submit = Submit::new(Arc::new(workflow))
        .key("order-1")
        .parameters(json!({ "registry": "hunter22" }));
    let run = client.submit(submit).await.unwrap().run;
    assert_eq!(
        client.wait(run.id).await.unwrap().head.status,
        RunStatus::Completed
    );
    worker.stop().await;
    telemetry.stop().await;

    let spans = collector.spans();
    assert!(
        spans.iter().all(|span| span.trace_id == run.id.as_bytes()),
        "one trace, and its id is the run's"
    );
    let ids: std::collections::BTreeSet<_> =
        spans.iter().map(|span| span.span_id.clone()).collect();
    assert_eq!(
        (spans.len(), ids.len()),
        (4, 4),
        "the run, one attempt of build and two of push: {spans:?}"
    );

    let root = spans
        .iter()
        .find(|span| span.parent_span_id.is_empty())
        .unwrap();
    let said = texts(&root.attributes);
    assert_eq!(
        (root.name.as_str(), root.status.as_ref().unwrap().code),
        ("shop", 1)
    );
    assert_eq!(
        (
            said["surefoot.run.status"].as_str(),
            said["surefoot.run.key"].as_str()
        ),
        ("completed", "order-1")
    );
    let attempts: Vec<&Span> = spans
        .iter()
        .filter(|span| !span.parent_span_id.is_empty())
        .collect();
    assert!(
        attempts
            .iter()
            .all(|span| span.parent_span_id == root.span_id)
    );
    assert!(
        attempts
            .iter()
            .all(|span| span.start_time_unix_nano >= root.start_time_unix_nano)
    );
    assert!(
        spans
            .iter()
            .all(|span| span.end_time_unix_nano >= span.start_time_unix_nano)
    );
    let outcome = |span: &&Span| {
        let said = texts(&span.attributes);
        (
            span.name.clone(),
            said["surefoot.step.attempt"].clone(),
            said["surefoot.attempt.outcome"].clone(),
        )
    };
    let of = |step: &str, attempt: &str, end: &str| {
        (step.to_owned(), attempt.to_owned(), end.to_owned())
    };
    let mut outcomes: Vec<_> = attempts.iter().map(outcome).collect();
    outcomes.sort();
    assert_eq!(
        outcomes,
        [
            of("build", "1", "completed"),
            of("push", "1", "failed"),
            of("push", "2", "completed")
        ]
    );
    let failed = attempts
        .iter()
        .find(|span| texts(&span.attributes)["surefoot.attempt.outcome"] == "failed")
        .unwrap();
    let status = failed.status.as_ref().unwrap();
    let hidden = "the registry *** is away".to_owned();
    assert_eq!(
        (status.code, status.message.as_str()),
        (2, hidden.as_str()),
        "a secret parameter stays here"
    );
    assert_eq!(
        texts(&failed.events[0].attributes)["exception.message"],
        hidden
    );

    let received = collector.received.lock().unwrap();
    let (head, request) = &received[0];
    assert!(
        head.starts_with("post /v1/traces http/1.1") && head.contains("x-account: s3cret"),
        "{head}"
    );
    let resource = texts(
        &request.resource_spans[0]
            .resource
            .as_ref()
            .unwrap()
            .attributes,
    );
    assert_eq!(
        (
            resource["service.name"].as_str(),
            resource["service.instance.id"].as_str()
        ),
        ("platform", "host 1")
    );
}

#[tokio::test]
async fn an_address_that_is_none_is_refused() {
    for endpoint in ["", "collector:4318/v1/traces", "ftp://collector/v1/traces"] {
        let service = "s".to_owned();
        let instance = "i".to_owned();
        let options = TelemetryOptions {
            endpoint: endpoint.to_owned(),
            headers: HashMap::new(),
            service,
            instance,
        };
        assert!(
            matches!(Telemetry::start(options), Err(TelemetryError::Endpoint(_))),
            "{endpoint}"
        );
    }
}
