//! `GET /live`: an event stream that says when a page should look again, and nothing more. What is new the page fetches as
//! it was fetched first, so there is one way in which each thing is shown, and one place where it is said who may see it.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use serde::Deserialize;
use surefoot::RunId;
use surefoot::store::Hints;

use super::visitor::Visitor;
use crate::state::App;

#[derive(Deserialize)]
pub(super) struct Asked {
    /// Only when this run changes.
    run: Option<String>,
}

/// Hints may be lost: how often to look all the same. And how often at most a page is told.
const POLL: Duration = Duration::from_secs(2);
const SOONEST: Duration = Duration::from_millis(300);

struct Watch {
    app: App,
    hints: Hints,
    run: Option<RunId>,
    /// The last event of the run that was told of.
    seen: Option<u64>,
}

pub(super) async fn live(_visitor: Visitor, State(app): State<App>, Query(asked): Query<Asked>) -> Response {
    let run = asked.run.and_then(|id| id.parse().ok());
    let watch = Watch { hints: app.store().hints(), run, seen: None, app };
    let events = stream::unfold(watch, |mut watch| async move {
        watch.changed().await.then(|| (Ok::<_, Infallible>(Event::default().event("changed").data("")), watch))
    });
    Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}

impl Watch {
    /// Waits for a change; `false` when the server stops.
    async fn changed(&mut self) -> bool {
        let stop = self.app.stop().clone();
        loop {
            let hinted = tokio::select! {
                () = stop.cancelled() => return false,
                hinted = self.hints.any.changed() => hinted.is_ok(),
                () = tokio::time::sleep(POLL) => false,
            };
            self.hints.any.mark_unchanged();
            if self.is_news(hinted).await {
                tokio::select! {
                    () = stop.cancelled() => return false,
                    () = tokio::time::sleep(SOONEST) => return true,
                }
            }
        }
    }

    /// Of a run, whether its history went on; of everything, whether there was a hint.
    async fn is_news(&mut self, hinted: bool) -> bool {
        let Some(run) = self.run else { return hinted };
        let Some(seen) = self.seen else {
            // What happened between the page and this stream is news to the page.
            self.seen = Some(self.last_event(run, 0).await);
            return true;
        };
        let last = self.last_event(run, seen).await;
        self.seen = Some(last);
        last > seen
    }

    async fn last_event(&self, run: RunId, after: u64) -> u64 {
        const PAGE: usize = 1000;
        let mut last = after;
        while let Ok(events) = self.app.store().events(run, last, PAGE).await {
            last = events.last().map_or(last, |event| event.seq);
            if events.len() < PAGE {
                break;
            }
        }
        last
    }
}
