//! Takes spans from the queue and sends them in batches.

use std::time::Duration;

use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

/// Spans in one request.
const MOST: usize = 512;

/// Time that the first span of a request waits for others.
const GATHER: Duration = Duration::from_secs(1);

/// Sends until it is stopped, then sends the spans still queued.
pub(crate) async fn run(
    exporter: SpanExporter,
    mut waiting: Receiver<SpanData>,
    stop: CancellationToken,
) {
    loop {
        let batch = gather(&mut waiting, &stop).await;
        if batch.is_empty() {
            return;
        }
        let spans = batch.len();
        if let Err(error) = exporter.export(batch).await {
            tracing::warn!(%error, spans, "the collector did not accept spans: they are lost");
        }
    }
}

/// Collects the next batch; empty at the end.
async fn gather(waiting: &mut Receiver<SpanData>, stop: &CancellationToken) -> Vec<SpanData> {
    let mut batch = Vec::new();
    tokio::select! {
        biased;
        _ = waiting.recv_many(&mut batch, MOST) => {}
        () = stop.cancelled() => return batch,
    }
    let gathering = tokio::time::sleep(GATHER);
    tokio::pin!(gathering);
    while batch.len() < MOST {
        let room = MOST - batch.len();
        tokio::select! {
            biased;
            more = waiting.recv_many(&mut batch, room) => if more == 0 { break },
            () = &mut gathering => break,
            () = stop.cancelled() => break,
        }
    }
    batch
}
