//! `GET /runs/{id}/log`: all log lines of a run as plain text, streamed, since a run may log for
//! hours.

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

use crate::dashboard::page_context::PageContext;
use crate::http::Problem;
use crate::state::App;

#[derive(Deserialize)]
pub(in crate::dashboard::pages) struct LogPageQuery {
    step: Option<String>,
}

/// Events read at a time.
const EVENTS: usize = 1000;

/// The reader position in the history.
struct LogReader {
    app: App,
    run: RunId,
    step: Option<String>,
    after: u64,
    ends: bool,
}

pub(in crate::dashboard::pages) async fn log(
    _context: PageContext,
    State(app): State<App>,
    Path(id): Path<String>,
    Query(query): Query<LogPageQuery>,
) -> Result<Response, Problem> {
    let id: RunId = id
        .parse()
        .map_err(|_| crate::dashboard::pages::no_run(&id))?;
    app.client().run(id).await?;
    let mut reader = LogReader {
        app,
        run: id,
        step: query.step,
        after: 0,
        ends: false,
    };
    // The first read comes before the response starts, so that a store error is reported by its
    // status.
    let first = VecDeque::from_iter(reader.next().await?);
    let chunks = stream::try_unfold((first, reader), |(mut first, mut reader)| async move {
        let next = match first.pop_front() {
            Some(chunk) => Some(chunk),
            None => reader.next().await?,
        };
        Ok::<_, StoreError>(next.map(|chunk| (chunk, (first, reader))))
    });
    let headers = [
        (CONTENT_TYPE, "text/plain; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, Body::from_stream(chunks)).into_response())
}

impl LogReader {
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
            let is_logged = |event: &&Event| {
                event.kind == "step.log" && (self.step.is_none() || self.step == event.step)
            };
            for event in events.iter().filter(is_logged) {
                self.write(event, &mut text);
            }
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
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "{} {step} [{}] {}",
                event.at, event.data["attempt"], line
            );
        }
    }
}
