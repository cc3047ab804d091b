//! `GET /runs/{id}`: one run, with the whole of its plan drawn over time.

mod acts;
mod facts;
mod history;
mod log;
mod notes;
mod steps;

pub(super) use acts::{answer, cancel, link, retry};
pub(super) use log::log;

use std::collections::HashMap;

use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use surefoot::store::{RecordFilter, WorkerInfo};
use surefoot::{Event, Record, Run, RunId, Store, StoreError};

use crate::dashboard::course::Course;
use crate::dashboard::mask::Masker;
use crate::dashboard::text::url;
use crate::dashboard::view::{Pair, asks, safe_link, short_id};
use crate::dashboard::visitor::{Live, Visitor};
use crate::dashboard::{live, mask, pages::widget};
use crate::http::Problem;
use crate::state::App;

use facts::{Actions, RunView};
use history::EventView;
use notes::{Question, RecoveryView};
use steps::StepView;

#[derive(Deserialize)]
pub(super) struct Asked {
    /// A link that was just made.
    link: Option<String>,
}

#[derive(Serialize)]
struct View {
    run: RunView,
    actions: Actions,
    cancelling: bool,
    waits: Option<String>,
    questions: Vec<Question>,
    recoveries: Vec<RecoveryView>,
    recoveries_more: usize,
    link: Option<widget::LinkView>,
    scale: Vec<String>,
    shortened: bool,
    steps: Vec<StepView>,
    output: Option<String>,
    records: Vec<RecordView>,
    parameters: Vec<Pair>,
    history: Vec<EventView>,
    history_more: usize,
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

/// All that the page is made of.
struct Subject<'a> {
    visitor: &'a Visitor,
    run: &'a Run,
    masker: Masker,
    course: Course,
    /// The names of live workers, by id.
    workers: HashMap<String, String>,
}

/// Events read at a time, and at most: a history beyond that is cut, for the page's sake.
const EVENTS: usize = 2000;
const MOST_EVENTS: usize = 40_000;
/// A value that is written out is cut past this many letters.
const LONGEST: usize = 6000;
const RECORDS: usize = 100;

pub(super) async fn run(
    visitor: Visitor,
    State(app): State<App>,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let id: RunId = id.parse().map_err(|_| super::no_run(&id))?;
    let store = app.store();
    let records = RecordFilter { run: Some(id), limit: Some(RECORDS), ..RecordFilter::default() };
    let (events, records, workers) = tokio::try_join!(events(store, id), store.records(records), store.workers())?;
    // After its events, so that whoever looks again after the last of them misses nothing.
    let run = app.client().run(id).await?;
    let waiting = app.client().waiting(&run).await?;
    let live = live::of_run(id, events.last().map_or(0, |event| event.seq));
    let course = Course::of(&run, &events);
    let subject = Subject {
        visitor: &visitor,
        run: &run,
        masker: Masker::new(run.plan.parameters(), &run.parameters),
        course,
        workers: workers.into_iter().map(|WorkerInfo { id, name, .. }| (id.to_string(), name)).collect(),
    };
    let link = asked.link.as_deref().and_then(|link| widget::shown(&app, &visitor, id, link));
    let view = subject.view(&app, &events, &records, waiting.as_ref(), link);
    // A page that the browser loads again by itself would take away what is being typed.
    let without_script = (!run.head.status.is_ended() && !asks(&run)).then_some(3);
    visitor.page("run.html", Live { events: Some(live), without_script }, view).await
}

async fn events(store: &dyn Store, run: RunId) -> Result<Vec<Event>, StoreError> {
    let mut all: Vec<Event> = Vec::new();
    loop {
        let page = store.events(run, all.last().map_or(0, |event| event.seq), EVENTS).await?;
        let ends = page.len() < EVENTS || all.len() >= MOST_EVENTS;
        all.extend(page);
        if ends {
            return Ok(all);
        }
    }
}

impl Subject<'_> {
    fn view(
        &self,
        app: &App,
        events: &[Event],
        records: &[Record],
        waiting: Option<&surefoot::Waiting>,
        link: Option<widget::LinkView>,
    ) -> View {
        let (steps, scale, shortened) = self.steps();
        let (history, history_more) = self.history(events);
        let (recoveries, recoveries_more) = self.recoveries();
        View {
            run: self.facts(),
            actions: self.actions(app),
            cancelling: self.run.head.cancel.is_some() && !self.run.head.status.is_ended(),
            waits: waiting.and_then(|waiting| self.waits(waiting)),
            questions: self.questions(),
            recoveries,
            recoveries_more,
            link,
            scale,
            shortened,
            steps,
            output: self.output(),
            records: records.iter().map(record).collect(),
            parameters: self.parameters(),
            history,
            history_more,
        }
    }

    /// A text, without the run's secrets.
    fn clean(&self, text: &str) -> String {
        self.masker.text(text)
    }

    /// A value as people read it, without the run's secrets.
    fn written(&self, value: &Value) -> String {
        let text = serde_json::to_string_pretty(&self.masker.value(value)).unwrap_or_default();
        cut(text, LONGEST)
    }

    /// What people call a worker: its name while it lives, and the beginning of its id.
    fn worker(&self, id: &str) -> String {
        match self.workers.get(id) {
            Some(name) => format!("{name} ({})", short_id(id)),
            None => short_id(id).to_owned(),
        }
    }

    /// The run's output is said by its workflow, from what its steps gave.
    fn output(&self) -> Option<String> {
        if self.run.head.status != surefoot::RunStatus::Completed || self.run.plan.output().is_null() {
            return None;
        }
        let scope = self.masked_scope();
        let output = surefoot::render_value(self.run.plan.output(), &scope).ok()?;
        Some(self.written(&output))
    }

    /// What expressions see, with secret parameters masked.
    fn masked_scope(&self) -> surefoot::Scope {
        let mut scope = self.run.scope(self.run.steps.len());
        scope.parameters = mask::parameters(self.run.plan.parameters(), &self.run.parameters);
        scope
    }

    fn parameters(&self) -> Vec<Pair> {
        let schema = &self.run.plan.parameters()["properties"];
        let pair = |(name, value): (&String, &Value)| {
            let shown = mask::parameters(&schema[name], value);
            Pair {
                name: name.clone(),
                value: shown.as_str().map_or_else(|| self.written(&shown), |text| cut(text.to_owned(), LONGEST)),
                code: !shown.is_string(),
                masked: mask::is_secret(&schema[name]),
            }
        };
        self.run.parameters.as_object().into_iter().flatten().map(pair).collect()
    }
}

fn record(record: &Record) -> RecordView {
    let text = |name: &str| record.data[name].as_str().map(str::to_owned);
    let place = ["url", "repository", "cluster_url", "path"].into_iter().find_map(text).unwrap_or_default();
    RecordView {
        kind: record.kind.clone(),
        name: record.name.clone(),
        href: format!("/projects?kind={}&prefix={}", url(&record.kind), url(&record.name)),
        link: safe_link(&place),
        place,
    }
}

fn cut(mut text: String, longest: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(longest) {
        text.truncate(end);
        text.push('\u{2026}');
    }
    text
}
