//! Traces for OpenTelemetry collectors, over OTLP (HTTP, protobuf): one trace for each run, one
//! span for each attempt of a step.
//!
//! The trace's id is the run's id. All workers that a run passes through agree on it without
//! communication, and either can be found from the other. The root span is sent when the run ends,
//! by the worker that ended it.
//!
//! Sending never delays a run: spans wait in memory, and while the collector is away for long they
//! are dropped with a warning.

mod sender;
mod span;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use surefoot::Run;
use surefoot::metrics::{AttemptReport, Observer};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Capacity of the queue of unsent spans; further ones are dropped.
const WAITING: usize = 8192;

/// Timeout of one request to the collector.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Time limit for sending the remaining spans at shutdown.
const LAST: Duration = Duration::from_secs(5);

/// Destination and source of the traces.
#[derive(Clone, Debug)]
pub struct TelemetryOptions {
    /// Full URL, such as `http://127.0.0.1:4318/v1/traces`.
    pub endpoint: String,
    /// Headers of each request, such as the key of an account.
    pub headers: HashMap<String, String>,
    /// Name of this service in the collector.
    pub service: String,
    /// Name of this process among those of the service.
    pub instance: String,
}

/// Reason for which no traces are sent.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The address cannot be used.
    #[error("`{0}` is not an address such as http://127.0.0.1:4318")]
    Endpoint(String),
    /// No HTTP client can be created.
    #[error("cannot make an HTTP client: {0}")]
    Client(#[from] reqwest::Error),
    /// The options cannot be used.
    #[error(transparent)]
    Exporter(#[from] ExporterBuildError),
}

/// Sends traces until it is stopped.
#[derive(Debug)]
pub struct Telemetry {
    observer: Arc<Tracer>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Telemetry {
    /// Prepares to send; nothing is sent before the first event. Needs a running tokio runtime.
    ///
    /// # Errors
    /// See [`TelemetryError`]. An unreachable collector is not an error here.
    pub fn start(options: TelemetryOptions) -> Result<Self, TelemetryError> {
        let exporter = exporter(options)?;
        let (queue, waiting) = mpsc::channel(WAITING);
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(sender::run(exporter, waiting, stop.clone()));
        Ok(Self {
            observer: Arc::new(Tracer {
                queue,
                dropped: AtomicU64::new(0),
            }),
            stop,
            tasks,
        })
    }

    /// The observer to register: [`surefoot::WorkerOptions::observer`].
    pub fn observer(&self) -> Arc<dyn Observer> {
        self.observer.clone()
    }

    /// Sends the queued spans and ends. Gives up after a few seconds.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if tokio::time::timeout(LAST, self.tasks.join_next())
            .await
            .is_err()
        {
            tracing::warn!("the collector did not accept the last spans in time");
        }
    }
}

fn exporter(options: TelemetryOptions) -> Result<SpanExporter, TelemetryError> {
    let url = reqwest::Url::parse(&options.endpoint).ok();
    if !url.is_some_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
        return Err(TelemetryError::Endpoint(options.endpoint));
    }
    // Another part of the process may have installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // The headers may hold the key of an account, so redirects of a collector are not followed.
    let elsewhere = reqwest::redirect::Policy::none();
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(elsewhere)
        .timeout(TIMEOUT)
        .build()?;
    let mut exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(options.endpoint)
        .with_headers(options.headers)
        .with_timeout(TIMEOUT)
        .build()?;
    exporter.set_resource(&resource(options.service, options.instance));
    Ok(exporter)
}

fn resource(service: String, instance: String) -> Resource {
    let attributes = [
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", instance),
    ];
    Resource::builder_empty()
        .with_service_name(service)
        .with_attributes(attributes)
        .build()
}

/// Converts the worker's reports into spans.
#[derive(Debug)]
struct Tracer {
    queue: mpsc::Sender<SpanData>,
    dropped: AtomicU64,
}

impl Tracer {
    fn send(&self, span: SpanData) {
        if self.queue.try_send(span).is_ok() {
            return;
        }
        let before = self.dropped.fetch_add(1, Ordering::Relaxed);
        if before.is_multiple_of(1000) {
            tracing::warn!(
                dropped = before + 1,
                "spans are dropped: the collector accepts them too slowly"
            );
        }
    }
}

impl Observer for Tracer {
    fn attempt(&self, attempt: &AttemptReport<'_>) {
        self.send(span::of_attempt(attempt));
    }

    fn run_ended(&self, run: &Run) {
        self.send(span::of_run(run));
    }
}
