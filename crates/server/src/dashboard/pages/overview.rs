//! `GET /`: active runs, recent outcomes, queues, workers, open alerts.

use std::time::Duration;

use axum::extract::{Query, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use surefoot::statistics::{Outcome, Span, Tally};
use surefoot::store::RunFilter;
use surefoot::{QueueInfo, Run, RunStatus, Store, StoreError};

use super::alerts::{AlertView, open};
use super::runs::TODAY;
use crate::dashboard::charts::{Chart, ChartBuilder, Window};
use crate::dashboard::page_context::{Live, PageContext};
use crate::dashboard::text::{number, url};
use crate::dashboard::view::{Choice, QueueView, RunRow, WorkerView};
use crate::http::Problem;
use crate::state::App;

#[derive(Deserialize)]
pub(super) struct OverviewQuery {
    span: Option<String>,
}

#[derive(Serialize)]
struct View {
    alerts: Vec<AlertView>,
    tiles: Vec<Tile>,
    spans: Vec<Choice>,
    charts: Vec<Chart>,
    live_runs: Vec<RunRow>,
    queues: Vec<QueueView>,
    workers: Vec<WorkerView>,
}

#[derive(Serialize)]
struct Tile {
    title: String,
    value: String,
    sub: String,
    href: String,
    bad: bool,
}

/// Number of active runs listed, of runs read to show what workers hold, and of those shown per
/// worker.
const LISTED: usize = 12;
const MAX_HELD: usize = 60;
const HELD_PER_WORKER: usize = 5;
const DAY: Duration = Duration::from_secs(86_400);

pub(super) async fn overview(
    context: PageContext,
    State(app): State<App>,
    Query(query): Query<OverviewQuery>,
) -> Result<Response, Problem> {
    let store = app.store();
    let now = context.now;
    let window = Window::parse(query.span.as_deref());
    let day = surefoot::Timestamp::from_micros(
        now.as_micros() - i64::try_from(DAY.as_micros()).unwrap_or(0),
    );
    let midnight = context.zone().midnight(now);
    let (queues, workers, held, waiting, tallies, hours, alerts) = tokio::try_join!(
        store.queues(),
        store.workers(),
        listed(store, RunStatus::Running, MAX_HELD),
        queued_and_waiting(store),
        store.tallies(window.span(), window.since(now)),
        store.tallies(Span::Hour, Span::Hour.beginning(day.min(midnight))),
        open(&app),
    )?;
    let since = app.page_cache().held_since(store, &held).await?;
    let under_way = held.iter().chain(&waiting).take(LISTED);
    let view = View {
        alerts: alerts
            .iter()
            .map(|alert| AlertView::new(&context, alert))
            .collect(),
        tiles: tiles(&context, &queues, workers.len(), &hours),
        spans: Window::ALL
            .map(|one| Choice {
                value: one.word(),
                title: String::new(),
                on: one == window,
            })
            .into_iter()
            .collect(),
        charts: ChartBuilder::new(context.lang(), context.zone(), window, now, tallies).all(),
        live_runs: under_way.map(|run| RunRow::new(&context, run)).collect(),
        queues: queues
            .iter()
            .map(|queue| QueueView::new(&context, queue))
            .collect(),
        workers: workers
            .iter()
            .map(|worker| WorkerView::new(&context, worker, &held, &since, HELD_PER_WORKER))
            .collect(),
    };
    context
        .page(
            "overview.html",
            Live {
                without_script: Some(10),
                ..Live::any()
            },
            view,
        )
        .await
}

async fn listed(
    store: &dyn Store,
    status: RunStatus,
    limit: usize,
) -> Result<Vec<Run>, StoreError> {
    store
        .runs(RunFilter {
            status: Some(status),
            limit,
            ..RunFilter::default()
        })
        .await
}

async fn queued_and_waiting(store: &dyn Store) -> Result<Vec<Run>, StoreError> {
    let mut runs = listed(store, RunStatus::Waiting, LISTED).await?;
    runs.extend(listed(store, RunStatus::Queued, LISTED).await?);
    Ok(runs)
}

fn tiles(
    context: &PageContext,
    queues: &[QueueInfo],
    workers: usize,
    hours: &[Tally],
) -> Vec<Tile> {
    let sum = |of: fn(&QueueInfo) -> u64| queues.iter().map(of).sum::<u64>();
    let queued = sum(|queue| queue.queued);
    let waiting = sum(|queue| queue.waiting);
    let running = sum(|queue| queue.running);
    let midnight = Span::Hour.beginning(context.zone().midnight(context.now));
    let day = Span::Hour.beginning(surefoot::Timestamp::from_micros(
        context.now.as_micros() - 23 * 3_600_000_000,
    ));
    let count = |outcome, since| -> u64 {
        hours
            .iter()
            .filter(|tally| tally.outcome == outcome && tally.at >= since)
            .map(|tally| tally.count)
            .sum()
    };
    let failed = count(Outcome::Failed, midnight);
    let completed = count(Outcome::Completed, midnight);
    let completed_in_day = count(Outcome::Completed, day);
    let failed_in_day = count(Outcome::Failed, day);
    let tile = |name: &str, value: String, href: String, values: &[(&str, &str)]| Tile {
        title: format!("tile.{name}"),
        value,
        sub: context.t(&format!("tile.{name}.sub"), values),
        href,
        bad: false,
    };
    let since = url("24h");
    vec![
        tile(
            "running",
            number(running),
            "/runs?status=running".into(),
            &[("count", &workers.to_string())],
        ),
        tile(
            "waiting",
            number(queued + waiting),
            "/runs?status=queued".into(),
            &[("queued", &number(queued)), ("waiting", &number(waiting))],
        ),
        Tile {
            bad: failed > 0,
            ..tile(
                "failed",
                number(failed),
                format!("/runs?status=failed&since={TODAY}"),
                &[("count", &number(completed))],
            )
        },
        tile(
            "success",
            rate(completed_in_day, failed_in_day, context),
            format!("/runs?since={since}"),
            &[("count", &number(completed_in_day + failed_in_day))],
        ),
        tile(
            "recovered",
            number(count(Outcome::Recovered, day)),
            "/workers".into(),
            &[],
        ),
    ]
}

/// The rate of success, rounded down: with one failure in a thousand it is not 100 %.
fn rate(completed_in_day: u64, failed_in_day: u64, context: &PageContext) -> String {
    match (completed_in_day * 1000).checked_div(completed_in_day + failed_in_day) {
        None => context.t("tile.none", &[]),
        Some(1000) => "100 %".to_owned(),
        Some(rate) => format!("{}.{} %", rate / 10, rate % 10),
    }
}
