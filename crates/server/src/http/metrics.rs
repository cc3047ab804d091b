//! `/metrics` for Prometheus.
//!
//! Metrics of the store (queues, outcomes, durations of runs) are the same on every server:
//! aggregate them with `max`, not `sum`. Metrics of the process (attempts, claims, commits) start
//! again at zero with it.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use surefoot::metrics::{Histogram, StoreMetrics, WorkerMetrics};
use surefoot::statistics::{Outcome, Span, Tally, duration_of};
use surefoot::{QueueInfo, StoreError, Timestamp};

use super::exposition::{self, Page};
use crate::state::App;
use crate::{alerts, due};

pub(crate) async fn metrics(State(app): State<App>) -> Response {
    let mut page = Page::default();
    page.metric("surefoot_build_info", "gauge", "Version of the server.");
    page.sample(
        "surefoot_build_info",
        &[("version", env!("CARGO_PKG_VERSION"))],
        1.0,
    );
    let read = StoredFigures::of(&app).await;
    page.metric("surefoot_store_up", "gauge", "Whether the store responds.");
    page.sample(
        "surefoot_store_up",
        &[],
        if read.is_ok() { 1.0 } else { 0.0 },
    );
    match read {
        Ok(read) => read.write(&mut page),
        Err(error) => tracing::warn!(%error, "failed to read the metrics of the store"),
    }
    if let Some(metrics) = app.client().worker_metrics() {
        write_worker(&mut page, metrics);
    }
    if let Some(metrics) = app.store().metrics() {
        write_commits(&mut page, &metrics);
    }
    write_streams(&mut page, &app);
    ([(CONTENT_TYPE, exposition::CONTENT_TYPE)], page.finish()).into_response()
}

/// The metrics read from the store.
struct StoredFigures {
    queues: Vec<QueueInfo>,
    /// Seconds that the longest-waiting claimable run has waited, by queue.
    oldest: BTreeMap<String, f64>,
    workers: usize,
    ends: Vec<Tally>,
    /// Firing alerts by rule.
    alerts: BTreeMap<String, usize>,
}

impl StoredFigures {
    async fn of(app: &App) -> Result<Self, StoreError> {
        let store = app.store();
        let (queues, workers, ends, alerts) = tokio::try_join!(
            store.queues(),
            store.workers(),
            store.tallies(Span::All, Timestamp::from_micros(0)),
            alerts::list(store),
        )?;
        let mut oldest = BTreeMap::new();
        for queue in queues.iter().filter(|queue| queue.queued > 0) {
            oldest.insert(queue.name.clone(), longest_wait(app, &queue.name).await?);
        }
        let mut firing = BTreeMap::new();
        for alert in alerts.iter().filter(|alert| alert.is_open()) {
            *firing.entry(alert.rule.to_string()).or_default() += 1;
        }
        Ok(Self {
            queues,
            oldest,
            workers: workers.len(),
            ends,
            alerts: firing,
        })
    }

    fn write(&self, page: &mut Page) {
        self.write_queues(page);
        page.metric("surefoot_workers", "gauge", "Live workers.");
        page.sample("surefoot_workers", &[], count(self.workers as u64));
        page.metric("surefoot_alerts_firing", "gauge", "Firing alerts.");
        for (rule, number) in &self.alerts {
            page.sample(
                "surefoot_alerts_firing",
                &[("rule", rule)],
                count(*number as u64),
            );
        }
        self.write_ends(page);
    }

    fn write_queues(&self, page: &mut Page) {
        page.metric("surefoot_queue_runs", "gauge", "Runs that have not ended.");
        for queue in &self.queues {
            for (status, number) in [
                ("queued", queue.queued),
                ("waiting", queue.waiting),
                ("running", queue.running),
            ] {
                page.sample(
                    "surefoot_queue_runs",
                    &[("queue", &queue.name), ("status", status)],
                    count(number),
                );
            }
        }
        let help = "How long the longest-waiting claimable run has waited.";
        page.metric("surefoot_queue_oldest_waiting_seconds", "gauge", help);
        for queue in &self.queues {
            let waited = self.oldest.get(&queue.name).copied().unwrap_or(0.0);
            page.sample(
                "surefoot_queue_oldest_waiting_seconds",
                &[("queue", &queue.name)],
                waited,
            );
        }
        page.metric(
            "surefoot_queue_paused",
            "gauge",
            "Whether the queue is paused.",
        );
        for queue in &self.queues {
            let paused = if queue.paused { 1.0 } else { 0.0 };
            page.sample("surefoot_queue_paused", &[("queue", &queue.name)], paused);
        }
    }

    fn write_ends(&self, page: &mut Page) {
        let mut ends: BTreeMap<(&str, &str), BTreeMap<u16, u64>> = BTreeMap::new();
        let mut recovered: BTreeMap<&str, u64> = BTreeMap::new();
        for tally in &self.ends {
            if tally.outcome == Outcome::Recovered {
                *recovered.entry(&tally.queue).or_default() += tally.count;
            } else {
                let slots = ends
                    .entry((&tally.queue, tally.outcome.as_str()))
                    .or_default();
                *slots.entry(tally.slot).or_default() += tally.count;
            }
        }
        page.metric(
            "surefoot_runs_total",
            "counter",
            "Runs that ended, since the store was created.",
        );
        for ((queue, outcome), slots) in &ends {
            let labels = [("queue", *queue), ("outcome", *outcome)];
            page.sample("surefoot_runs_total", &labels, count(slots.values().sum()));
        }
        page.metric(
            "surefoot_recoveries_total",
            "counter",
            "Runs reclaimed from dead workers.",
        );
        for (queue, number) in recovered {
            page.sample(
                "surefoot_recoveries_total",
                &[("queue", queue)],
                count(number),
            );
        }
        let help = "Time from first start to end of a run, to within a tenth.";
        page.metric("surefoot_run_duration_seconds", "histogram", help);
        for ((queue, outcome), slots) in &ends {
            let labels = [("queue", *queue), ("outcome", *outcome)];
            let sum = slots
                .iter()
                .map(|(slot, number)| duration_of(*slot).as_secs_f64() * count(*number))
                .sum();
            page.histogram(
                "surefoot_run_duration_seconds",
                &labels,
                bounds(slots),
                slots.values().sum(),
                sum,
            );
        }
    }
}

/// Slots end at quarters of powers of two of a millisecond. The whole powers serve as bounds, from
/// 1 ms to about 4 h.
fn bounds(slots: &BTreeMap<u16, u64>) -> impl Iterator<Item = (f64, u64)> + '_ {
    (0..=24_u16).map(|power| {
        (
            f64::from(power).exp2() / 1000.0,
            slots.range(..=power * 4).map(|(_, number)| number).sum(),
        )
    })
}

async fn longest_wait(app: &App, queue: &str) -> Result<f64, StoreError> {
    let now = app.store().now();
    let since = due::longest_waiting_since(app.store(), queue, now).await?;
    Ok(since.map_or(0.0, |since| now.since(since).as_secs_f64()))
}

fn write_worker(page: &mut Page, metrics: &WorkerMetrics) {
    let counters = [
        (
            "surefoot_worker_runs_claimed_total",
            "Runs that this worker claimed.",
            &metrics.claimed,
        ),
        (
            "surefoot_worker_runs_started_here_total",
            "Runs that were submitted directly to this worker.",
            &metrics.started_here,
        ),
        (
            "surefoot_worker_runs_recovered_total",
            "Runs that this worker reclaimed from dead workers.",
            &metrics.recovered,
        ),
        (
            "surefoot_worker_leases_lost_total",
            "Leases that this worker lost.",
            &metrics.leases_lost,
        ),
        (
            "surefoot_step_retries_total",
            "Failed attempts that are followed by another.",
            &metrics.retried,
        ),
        (
            "surefoot_step_deferrals_total",
            "Attempts deferred because a dependency was unavailable.",
            &metrics.deferred,
        ),
    ];
    for (name, help, counter) in counters {
        page.metric(name, "counter", help);
        page.sample(name, &[], count(counter.get()));
    }
    page.metric(
        "surefoot_claim_loop_age_seconds",
        "gauge",
        "Time since the last round of the claim loop.",
    );
    let age = metrics
        .claim_loop()
        .map_or(f64::INFINITY, |age| age.as_secs_f64());
    page.sample("surefoot_claim_loop_age_seconds", &[], age);
    page.metric(
        "surefoot_step_attempt_seconds",
        "histogram",
        "Duration of step attempts on this worker.",
    );
    for ((action, outcome), histogram) in metrics.attempts() {
        let labels = [("action", action.as_str()), ("outcome", outcome.as_str())];
        write_histogram(page, "surefoot_step_attempt_seconds", &labels, &histogram);
    }
}

fn write_commits(page: &mut Page, metrics: &StoreMetrics) {
    let name = "surefoot_store_commit_seconds";
    page.metric(
        name,
        "histogram",
        "Time from the beginning of a commit until it is durable.",
    );
    write_histogram(page, name, &[], &metrics.commit());
    let name = "surefoot_store_commit_operations";
    page.metric(name, "histogram", "Operations per commit.");
    write_histogram(page, name, &[], &metrics.group());
    page.metric(
        "surefoot_store_rollbacks_total",
        "counter",
        "Batches rolled back and repeated one by one.",
    );
    page.sample(
        "surefoot_store_rollbacks_total",
        &[],
        count(metrics.rolled_back.get()),
    );
}

fn write_streams(page: &mut Page, app: &App) {
    page.metric(
        "surefoot_event_readers",
        "gauge",
        "Watched runs; each is read once for all watchers.",
    );
    page.sample(
        "surefoot_event_readers",
        &[],
        count(app.hub().readers() as u64),
    );
    page.metric("surefoot_event_watchers", "gauge", "Open event streams.");
    page.sample(
        "surefoot_event_watchers",
        &[],
        count(app.hub().watchers() as u64),
    );
}

fn write_histogram(
    page: &mut Page,
    name: &str,
    labels: exposition::Labels<'_>,
    histogram: &Histogram,
) {
    page.histogram(
        name,
        labels,
        histogram.cumulative(),
        histogram.count(),
        histogram.sum(),
    );
}

/// Converts to floating point, which Prometheus uses for all values.
#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
fn count(number: u64) -> f64 {
    number as f64
}
