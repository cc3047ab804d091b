//! `GET /runs/{id}/log`: every line that a run logged, as plain text, sent as it is read: a run may log for hours.

use std::collections::VecDeque;
use std::fmt::Write as _;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use serde::Deserialize;
use serde_json::Value;
use surefoot::{Event, RunId, StoreError};

use crate::dashboard::visitor::Visitor;
use crate::http::Problem;
use crate::state::App;

#[derive(Deserialize)]
pub(in crate::dashboard::pages) struct Asked {
    step: Option<String>,
}

/// Events read at a time.
const EVENTS: usize = 1000;

/// Where in the history the reading is.
struct Reading {
    app: App,
    run: RunId,
    step: Option<String>,
    after: u64,
    ends: bool,
}

pub(in crate::dashboard::pages) async fn log(
    _visitor: Visitor,
    State(app): State<App>,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let id: RunId = id
        .parse()
        .map_err(|_| crate::dashboard::pages::no_run(&id))?;
    app.client().run(id).await?;
    let mut reading = Reading {
        app,
        run: id,
        step: asked.step,
        after: 0,
        ends: false,
    };
    // A store that is away is told by the answer's status while that can be done.
    let first = VecDeque::from_iter(reading.next().await?);
    let chunks = stream::try_unfold((first, reading), |(mut first, mut reading)| async move {
        let next = match first.pop_front() {
            Some(chunk) => Some(chunk),
            None => reading.next().await?,
        };
        Ok::<_, StoreError>(next.map(|chunk| (chunk, (first, reading))))
    });
    let headers = [
        (CONTENT_TYPE, "text/plain; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, Body::from_stream(chunks)).into_response())
}

impl Reading {
    /// The next lines; `None` at the end of the history.
    async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        while !self.ends {
            let events = self
                .app
                .store()
                .events(self.run, self.after, EVENTS)
                .await?;
            self.ends = events.len() < EVENTS;
            self.after = events.last().map_or(self.after, |event| event.seq);
            let mut text = String::new();
            let told = |event: &&Event| {
                event.kind == "step.log" && (self.step.is_none() || self.step == event.step)
            };
            events
                .iter()
                .filter(told)
                .for_each(|event| self.write(event, &mut text));
            if !text.is_empty() {
                return Ok(Some(text.into()));
            }
        }
        Ok(None)
    }

    fn write(&self, event: &Event, text: &mut String) {
        let step = event.step.as_deref().unwrap_or_default();
        for line in event.data["lines"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            // Writing into a text cannot fail.
            let _ = writeln!(
                text,
                "{} {step} [{}] {}",
                event.at, event.data["attempt"], line
            );
        }
    }
}
