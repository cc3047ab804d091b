//! `GET /runs/{id}`: one run, with its whole plan drawn over time.

mod acts;
mod facts;
mod history;
mod log;
mod notes;
mod steps;
mod timeline;

pub(super) use acts::{answer, cancel, link, retry};
pub(super) use log::log;

use std::collections::HashMap;

use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use surefoot::store::{RecordFilter, WorkerInfo};
use surefoot::workflow::MASK;
use surefoot::{Record, Run, RunId};

use crate::dashboard::page_context::{Live, PageContext};
use crate::dashboard::recent_events::{RecentEvents, recent_events};
use crate::dashboard::size_budget::{SizeBudget, size};
use crate::dashboard::step_timeline::RunTimeline;
use crate::dashboard::text::{first_line, url};
use crate::dashboard::view::{Pair, asks, safe_link, short_id};
use crate::dashboard::{live, pages::widget};
use crate::http::Problem;
use crate::state::App;

use facts::{Actions, RunView};
use history::EventView;
use notes::{Question, RecoveryView};
use timeline::TimelineView;

#[derive(Deserialize)]
pub(super) struct RunPageQuery {
    /// A link that was just created.
    link: Option<String>,
    /// The selected step, shown in addition to active ones.
    step: Option<String>,
}

#[derive(Serialize)]
struct View {
    run: RunView,
    actions: Actions,
    cancelling: bool,
    waits: Option<String>,
    /// The required resources that live workers lack, one line per worker.
    lacking: Vec<String>,
    questions: Vec<Question>,
    recoveries: Vec<RecoveryView>,
    recoveries_more: usize,
    link: Option<widget::LinkView>,
    timeline: TimelineView,
    output: Option<String>,
    records: Vec<RecordView>,
    /// True if only the first records are shown.
    records_more: bool,
    parameters: Vec<Pair>,
    history: Vec<EventView>,
    history_note: Option<String>,
}

#[derive(Serialize)]
struct RecordView {
    kind: String,
    name: String,
    href: String,
    #[serde(rename = "where")]
    place: String,
    link: Option<String>,
}

/// The data of the page.
struct Subject<'a> {
    context: &'a PageContext,
    run: &'a Run,
    run_timeline: RunTimeline,
    /// True if the beginning of the history was not read.
    cut: bool,
    /// The names of live workers, by id.
    workers: HashMap<String, String>,
}

/// Size budget in bytes for content of runs; the layout takes about 15,000 more.
const PAGE_BUDGET: usize = 76_000;
/// Maximum number of characters of a value.
const MAX_VALUE_LENGTH: usize = 6000;
const MAX_RECORDS: usize = 40;
/// Size of a table row and of a pair without their contents.
const ROW_SIZE: usize = 300;
const PAIR_SIZE: usize = 80;

pub(super) async fn run(
    context: PageContext,
    State(app): State<App>,
    Path(id): Path<String>,
    Query(query): Query<RunPageQuery>,
) -> Result<Response, Problem> {
    let id: RunId = id.parse().map_err(|_| super::no_run(&id))?;
    let store = app.store();
    let records = RecordFilter {
        run: Some(id),
        limit: Some(MAX_RECORDS + 1),
        ..RecordFilter::default()
    };
    let (history, records, workers) = tokio::try_join!(
        recent_events(store, id),
        store.records(records),
        store.workers()
    )?;
    // Read after its events: a client that continues after the last event then misses nothing.
    let run = app.client().run(id).await?;
    let waiting = app.client().waiting(&run).await?;
    let live = live::of_run(id, history.events.last().map_or(0, |event| event.seq));
    let run_timeline = RunTimeline::of(&run, &history.events);
    let subject = Subject {
        context: &context,
        run: &run,
        run_timeline,
        cut: history.cut,
        workers: workers
            .into_iter()
            .map(|WorkerInfo { id, name, .. }| (id.to_string(), name))
            .collect(),
    };
    let link = query
        .link
        .as_deref()
        .and_then(|link| widget::link_view(&app, &context, id, link));
    let selected = query
        .step
        .as_deref()
        .and_then(|step| run.plan.position(step));
    let view = subject.view(&app, &history, &records, waiting.as_ref(), link, selected);
    // Reloading by the browser would discard text being typed.
    let without_script = (!run.head.status.is_ended() && !asks(&run)).then_some(3);
    context
        .page(
            "run.html",
            Live {
                events: Some(live),
                without_script,
            },
            view,
        )
        .await
}

impl Subject<'_> {
    fn view(
        &self,
        app: &App,
        history: &RecentEvents,
        records: &[Record],
        waiting: Option<&surefoot::Waiting>,
        link: Option<widget::LinkView>,
        selected: Option<usize>,
    ) -> View {
        let mut budget = SizeBudget::new(PAGE_BUDGET);
        let run = self.facts(&mut budget);
        let questions = self.questions(&mut budget);
        let (recoveries, recoveries_more) = self.recoveries();
        // The most important parts take their share first; completed steps share the rest.
        let mut timeline = self.timeline(selected, &mut budget);
        timeline.draw_selected(&mut budget);
        let output = self.output(&mut budget);
        let parameters = self.parameters(&mut budget);
        let all = records.len();
        let records = self.records(records, &mut budget);
        let (history, history_note) = self.history(&history.events, &mut budget);
        timeline.draw_others(&mut budget);
        View {
            run,
            actions: self.actions(app),
            cancelling: self.run.head.cancel.is_some() && !self.run.head.status.is_ended(),
            waits: waiting.and_then(|waiting| self.waits(waiting)),
            lacking: self.lacking(waiting.map(surefoot::Waiting::lacking).unwrap_or_default()),
            questions,
            recoveries,
            recoveries_more,
            link,
            timeline: timeline.finish(),
            output,
            records_more: all > records.len(),
            records,
            parameters,
            history,
            history_note,
        }
    }

    /// Display form of a worker: its name while it is alive, and the beginning of its id.
    fn worker(&self, id: &str) -> String {
        match self.workers.get(id) {
            Some(name) => format!("{name} ({})", short_id(id)),
            None => short_id(id).to_owned(),
        }
    }

    /// The workflow's output, computed from the outputs of the steps.
    fn output(&self, budget: &mut SizeBudget) -> Option<String> {
        if self.run.head.status != surefoot::RunStatus::Completed
            || self.run.plan.output().is_null()
        {
            return None;
        }
        Some(budget.fit(pretty_json(&self.run.output()), MAX_VALUE_LENGTH))
    }

    fn parameters(&self, budget: &mut SizeBudget) -> Vec<Pair> {
        let mut part = budget.part(budget.left() / 3);
        let shown = self.run.shown_parameters();
        let mut pair = |(name, shown): (&String, &Value)| {
            let text = shown
                .as_str()
                .map_or_else(|| pretty_json(shown), str::to_owned);
            part.take(PAIR_SIZE).then(|| Pair {
                name: first_line(name, 100),
                value: part.fit(text, MAX_VALUE_LENGTH),
                code: !shown.is_string(),
                masked: *shown == MASK,
            })
        };
        let pairs = shown
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(&mut pair)
            .collect();
        budget.give_back(&part);
        pairs
    }

    fn records(&self, records: &[Record], budget: &mut SizeBudget) -> Vec<RecordView> {
        let mut part = budget.part(budget.left() / 3);
        let views = records.iter().take(MAX_RECORDS).map(record);
        let views = views
            .take_while(|view| part.take(ROW_SIZE + size(&view.href) + 2 * size(&view.place)))
            .collect();
        budget.give_back(&part);
        views
    }
}

/// A value as indented JSON.
fn pretty_json(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

fn record(record: &Record) -> RecordView {
    let text = |name: &str| record.data[name].as_str().map(str::to_owned);
    let place = ["url", "repository", "cluster_url", "path"]
        .into_iter()
        .find_map(text)
        .unwrap_or_default();
    RecordView {
        kind: record.kind.clone(),
        name: first_line(&record.name, 200),
        href: format!(
            "/projects?kind={}&prefix={}",
            url(&record.kind),
            url(&record.name)
        ),
        link: safe_link(&place),
        place: first_line(&place, 300),
    }
}
