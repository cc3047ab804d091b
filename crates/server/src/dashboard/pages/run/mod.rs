//! `GET /runs/{id}`: one run, with the whole of its plan drawn over time.

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

use crate::dashboard::course::Course;
use crate::dashboard::room::{Room, size};
use crate::dashboard::tail::{Tail, tail};
use crate::dashboard::text::{first_line, url};
use crate::dashboard::view::{Pair, asks, safe_link, short_id};
use crate::dashboard::visitor::{Live, Visitor};
use crate::dashboard::{live, pages::widget};
use crate::http::Problem;
use crate::state::App;

use facts::{Actions, RunView};
use history::EventView;
use notes::{Question, RecoveryView};
use timeline::TimelineView;

#[derive(Deserialize)]
pub(super) struct Asked {
    /// A link that was just made.
    link: Option<String>,
    /// The step that is looked at, beside those that are under way.
    step: Option<String>,
}

#[derive(Serialize)]
struct View {
    run: RunView,
    actions: Actions,
    cancelling: bool,
    waits: Option<String>,
    /// What live workers lack of what the run requires, a line each.
    lacking: Vec<String>,
    questions: Vec<Question>,
    recoveries: Vec<RecoveryView>,
    recoveries_more: usize,
    link: Option<widget::LinkView>,
    timeline: TimelineView,
    output: Option<String>,
    records: Vec<RecordView>,
    /// The first of the records are shown.
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

/// All that the page is made of.
struct Subject<'a> {
    visitor: &'a Visitor,
    run: &'a Run,
    course: Course,
    /// The history was read from somewhere in its middle on.
    cut: bool,
    /// The names of live workers, by id.
    workers: HashMap<String, String>,
}

/// Bytes that the page has for what runs put into it; its frame takes some 15,000 more.
const ROOM: usize = 76_000;
/// A value that is written out is cut past this many letters.
const LONGEST: usize = 6000;
const RECORDS: usize = 40;
/// What a row of a table takes beside what is in it.
const ROW: usize = 300;
const PAIR: usize = 80;

pub(super) async fn run(
    visitor: Visitor,
    State(app): State<App>,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let id: RunId = id.parse().map_err(|_| super::no_run(&id))?;
    let store = app.store();
    let records = RecordFilter {
        run: Some(id),
        limit: Some(RECORDS + 1),
        ..RecordFilter::default()
    };
    let (history, records, workers) =
        tokio::try_join!(tail(store, id), store.records(records), store.workers())?;
    // After its events, so that whoever looks again after the last of them misses nothing.
    let run = app.client().run(id).await?;
    let waiting = app.client().waiting(&run).await?;
    let live = live::of_run(id, history.events.last().map_or(0, |event| event.seq));
    let course = Course::of(&run, &history.events);
    let subject = Subject {
        visitor: &visitor,
        run: &run,
        course,
        cut: history.cut,
        workers: workers
            .into_iter()
            .map(|WorkerInfo { id, name, .. }| (id.to_string(), name))
            .collect(),
    };
    let link = asked
        .link
        .as_deref()
        .and_then(|link| widget::shown(&app, &visitor, id, link));
    let asked = asked
        .step
        .as_deref()
        .and_then(|step| run.plan.position(step));
    let view = subject.view(&app, &history, &records, waiting.as_ref(), link, asked);
    // A page that the browser loads again by itself would take away what is being typed.
    let without_script = (!run.head.status.is_ended() && !asks(&run)).then_some(3);
    visitor
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
        history: &Tail,
        records: &[Record],
        waiting: Option<&surefoot::Waiting>,
        link: Option<widget::LinkView>,
        asked: Option<usize>,
    ) -> View {
        let mut room = Room::new(ROOM);
        let (run, questions) = (self.facts(&mut room), self.questions(&mut room));
        let (recoveries, recoveries_more) = self.recoveries();
        // What people look at first takes first; the steps that are over share what is left.
        let mut timeline = self.timeline(asked, &mut room);
        timeline.draw_looked_at(&mut room);
        let output = self.output(&mut room);
        let parameters = self.parameters(&mut room);
        let (all, records) = (records.len(), self.records(records, &mut room));
        let (history, history_note) = self.history(&history.events, &mut room);
        timeline.draw_others(&mut room);
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

    /// What people call a worker: its name while it lives, and the beginning of its id.
    fn worker(&self, id: &str) -> String {
        match self.workers.get(id) {
            Some(name) => format!("{name} ({})", short_id(id)),
            None => short_id(id).to_owned(),
        }
    }

    /// The run's output is said by its workflow, from what its steps gave.
    fn output(&self, room: &mut Room) -> Option<String> {
        if self.run.head.status != surefoot::RunStatus::Completed
            || self.run.plan.output().is_null()
        {
            return None;
        }
        Some(room.fit(written(&self.run.output()), LONGEST))
    }

    fn parameters(&self, room: &mut Room) -> Vec<Pair> {
        let mut part = room.part(room.left() / 3);
        let shown = self.run.shown_parameters();
        let mut pair = |(name, shown): (&String, &Value)| {
            let text = shown.as_str().map_or_else(|| written(shown), str::to_owned);
            part.take(PAIR).then(|| Pair {
                name: first_line(name, 100),
                value: part.fit(text, LONGEST),
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
        room.give(&part);
        pairs
    }

    fn records(&self, records: &[Record], room: &mut Room) -> Vec<RecordView> {
        let mut part = room.part(room.left() / 3);
        let views = records.iter().take(RECORDS).map(record);
        let views = views
            .take_while(|view| part.take(ROW + size(&view.href) + 2 * size(&view.place)))
            .collect();
        room.give(&part);
        views
    }
}

/// A value as people read it.
fn written(value: &Value) -> String {
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
