//! `GET /`: what runs now, how runs ended lately, queues, workers, open alerts.

use std::time::Duration;

use axum::extract::{Query, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use surefoot::statistics::{Outcome, Span, Tally};
use surefoot::store::RunFilter;
use surefoot::{QueueInfo, Run, RunStatus, Store, StoreError};

use super::alerts::{AlertView, open};
use super::runs::TODAY;
use crate::dashboard::charts::{Chart, Draw, Window};
use crate::dashboard::text::{number, url};
use crate::dashboard::view::{Choice, QueueView, RunRow, WorkerView};
use crate::dashboard::visitor::{Live, Visitor};
use crate::http::Problem;
use crate::state::App;

#[derive(Deserialize)]
pub(super) struct Asked {
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

/// Runs under way that the page lists, and looks at to say what workers hold.
const LISTED: usize = 12;
const HELD: usize = 60;
const HELD_EACH: usize = 5;
const DAY: Duration = Duration::from_secs(86_400);

pub(super) async fn overview(
    visitor: Visitor,
    State(app): State<App>,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let (store, now) = (app.store(), visitor.now);
    let window = Window::parse(asked.span.as_deref());
    let day = surefoot::Timestamp::from_micros(
        now.as_micros() - i64::try_from(DAY.as_micros()).unwrap_or(0),
    );
    let midnight = visitor.zone().midnight(now);
    let (queues, workers, held, waiting, tallies, hours, alerts) = tokio::try_join!(
        store.queues(),
        store.workers(),
        listed(store, RunStatus::Running, HELD),
        held_back(store),
        store.tallies(window.span(), window.since(now)),
        store.tallies(Span::Hour, Span::Hour.beginning(day.min(midnight))),
        open(&app),
    )?;
    let since = app.known().held_since(store, &held).await?;
    let under_way = held.iter().chain(&waiting).take(LISTED);
    let view = View {
        alerts: alerts
            .iter()
            .map(|alert| AlertView::new(&visitor, alert))
            .collect(),
        tiles: tiles(&visitor, &queues, workers.len(), &hours),
        spans: Window::ALL
            .map(|one| Choice {
                value: one.word(),
                title: String::new(),
                on: one == window,
            })
            .into_iter()
            .collect(),
        charts: Draw::new(visitor.lang(), visitor.zone(), window, now, tallies).all(),
        live_runs: under_way.map(|run| RunRow::new(&visitor, run)).collect(),
        queues: queues
            .iter()
            .map(|queue| QueueView::new(&visitor, queue))
            .collect(),
        workers: workers
            .iter()
            .map(|worker| WorkerView::new(&visitor, worker, &held, &since, HELD_EACH))
            .collect(),
    };
    visitor
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

async fn held_back(store: &dyn Store) -> Result<Vec<Run>, StoreError> {
    let mut runs = listed(store, RunStatus::Waiting, LISTED).await?;
    runs.extend(listed(store, RunStatus::Queued, LISTED).await?);
    Ok(runs)
}

fn tiles(visitor: &Visitor, queues: &[QueueInfo], workers: usize, hours: &[Tally]) -> Vec<Tile> {
    let sum = |of: fn(&QueueInfo) -> u64| queues.iter().map(of).sum::<u64>();
    let (queued, waiting, running) = (
        sum(|queue| queue.queued),
        sum(|queue| queue.waiting),
        sum(|queue| queue.running),
    );
    let midnight = Span::Hour.beginning(visitor.zone().midnight(visitor.now));
    let day = Span::Hour.beginning(surefoot::Timestamp::from_micros(
        visitor.now.as_micros() - 23 * 3_600_000_000,
    ));
    let count = |outcome, since| -> u64 {
        hours
            .iter()
            .filter(|tally| tally.outcome == outcome && tally.at >= since)
            .map(|tally| tally.count)
            .sum()
    };
    let (failed, completed) = (
        count(Outcome::Failed, midnight),
        count(Outcome::Completed, midnight),
    );
    let (well, ill) = (count(Outcome::Completed, day), count(Outcome::Failed, day));
    let tile = |name: &str, value: String, href: String, values: &[(&str, &str)]| Tile {
        title: format!("tile.{name}"),
        value,
        sub: visitor.t(&format!("tile.{name}.sub"), values),
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
            rate(well, ill, visitor),
            format!("/runs?since={since}"),
            &[("count", &number(well + ill))],
        ),
        tile(
            "recovered",
            number(count(Outcome::Recovered, day)),
            "/workers".into(),
            &[],
        ),
    ]
}

/// Rounded down: one failure in a thousand is not 100 %.
fn rate(well: u64, ill: u64, visitor: &Visitor) -> String {
    match (well * 1000).checked_div(well + ill) {
        None => visitor.t("tile.none", &[]),
        Some(1000) => "100 %".to_owned(),
        Some(rate) => format!("{}.{} %", rate / 10, rate % 10),
    }
}
