//! One watcher's stream: a snapshot or what it missed, then what happens, until the run ends.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse as _, Response};
use futures_util::{StreamExt as _, stream};
use serde_json::json;
use surefoot::{RunId, StoreError};
use tokio::sync::watch;
use tokio::time::Instant;

use super::hub::{Counted, Hub};
use super::overview::Overview;
use super::text;
use super::topic::{News, Now, Topic};

/// Without anything to say, how often that is said.
const STILL_HERE: Duration = Duration::from_secs(15);

/// A stream ends after this long: whoever comes back shows anew that it may watch.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// Events read at a time for a watcher that is far behind.
const PAGE: usize = 256;

/// Watches a run: from a snapshot on, or from after the event that was seen last.
///
/// # Errors
/// When there is no such run, or the store cannot be read.
pub(crate) async fn stream(
    hub: &Hub,
    run: RunId,
    seen: Option<u64>,
) -> Result<Response, StoreError> {
    let topic = hub.topic(run);
    let changed = topic.changed.subscribe();
    let now = topic.now().await?;
    let seen = known(hub, run, seen, now.seq).await?;
    if seen.is_some_and(|seen| matches!(topic.news(seen), News::Ended(_))) {
        // What tells a browser not to come back.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let first = if seen.is_none() {
        now.snapshot()
    } else {
        Bytes::new()
    };
    let watcher = Watcher {
        seen: seen.unwrap_or(now.seq),
        counted: hub.watching(),
        hub: hub.clone(),
        topic,
        changed,
        until: Instant::now() + LONGEST,
        ended: false,
    };
    Ok(response(
        &first,
        stream::unfold(watcher, |mut watcher| async move {
            let chunk = watcher.next().await?;
            Some((Ok::<_, std::convert::Infallible>(chunk), watcher))
        }),
    ))
}

/// The event that was seen last, if this history has it: its reader may be behind what another server on the store has told.
/// A number that no event has is of another store, and the watcher begins anew.
async fn known(
    hub: &Hub,
    run: RunId,
    seen: Option<u64>,
    reached: u64,
) -> Result<Option<u64>, StoreError> {
    let Some(seen) = seen.filter(|seen| *seen > reached) else {
        return Ok(seen);
    };
    let found = hub.store().events(run, seen - 1, 1).await?;
    Ok(found
        .first()
        .filter(|event| event.seq == seen)
        .map(|event| event.seq))
}

/// Streams end now and then. A browser that is told nothing comes back after up to five seconds, and by then a page says that
/// it has no connection: so each stream begins with how soon to come back, and what is to be told first.
fn response<S>(first: &[u8], stream: S) -> Response
where
    S: futures_util::Stream<Item = Result<Bytes, std::convert::Infallible>> + Send + 'static,
{
    // Proxies that gather answers before they pass them on are asked not to.
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    let first = Bytes::from([text::COME_BACK.as_bytes(), first].concat());
    (
        headers,
        Body::from_stream(stream::once(async { Ok(first) }).chain(stream)),
    )
        .into_response()
}

struct Watcher {
    hub: Hub,
    topic: Arc<Topic>,
    changed: watch::Receiver<u64>,
    /// Told already, up to this event.
    seen: u64,
    until: Instant,
    ended: bool,
    /// Dropped with the stream.
    #[expect(dead_code, reason = "it counts by being there")]
    counted: Counted,
}

impl Watcher {
    /// The next piece of the stream; `None` at its end.
    async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        loop {
            self.changed.mark_unchanged();
            match self.topic.news(self.seen) {
                News::Messages(messages, seen) => {
                    self.seen = seen;
                    return Some(messages.concat().into());
                }
                News::Ended(now) => {
                    self.ended = true;
                    return Some(text::end(&now.run));
                }
                News::Behind(now) => match self.catch_up(&now).await {
                    Ok(Some(chunk)) => return Some(chunk),
                    // The details were removed, or the store is away: whoever comes back begins anew.
                    Ok(None) | Err(_) => return None,
                },
                News::None => {}
            }
            if let Some(chunk) = self.wait().await? {
                return Some(chunk);
            }
        }
    }

    /// Waits for news. `None` when the stream is to end; something to say when there was nothing for long.
    async fn wait(&mut self) -> Option<Option<Bytes>> {
        tokio::select! {
            biased;
            () = self.hub.stop().cancelled() => None,
            () = tokio::time::sleep_until(self.until) => None,
            changed = self.changed.changed() => changed.ok().map(|()| None),
            () = tokio::time::sleep(STILL_HERE) => Some(Some(Bytes::from_static(text::STILL_HERE.as_bytes()))),
        }
    }

    async fn catch_up(&mut self, now: &Now) -> Result<Option<Bytes>, StoreError> {
        let events = self
            .hub
            .store()
            .events(self.topic.run, self.seen, PAGE)
            .await?;
        let Some(last) = events.last() else {
            return Ok(None);
        };
        self.seen = last.seq;
        let messages: Vec<Bytes> = events
            .iter()
            .map(|event| text::change(event, &now.run))
            .collect();
        Ok(Some(messages.concat().into()))
    }
}

/// Says when a run's history went on after the event `seen`, and nothing of what happened.
///
/// # Errors
/// When there is no such run, or the store cannot be read.
pub(crate) async fn changes_of(hub: &Hub, run: RunId, seen: u64) -> Result<Response, StoreError> {
    let topic = hub.topic(run);
    let changed = topic.changed.subscribe();
    topic.now().await?;
    let until = Instant::now() + LONGEST;
    let glance = Glance {
        counted: hub.watching(),
        hub: hub.clone(),
        topic,
        changed,
        seen,
        until,
    };
    Ok(response(
        &[],
        stream::unfold(glance, |mut glance| async move {
            let chunk = glance.next().await?;
            Some((Ok::<_, std::convert::Infallible>(chunk), glance))
        }),
    ))
}

/// How often at most a page is told to look again.
const GLANCE: Duration = Duration::from_millis(300);

struct Glance {
    hub: Hub,
    topic: Arc<Topic>,
    changed: watch::Receiver<u64>,
    /// Told already, up to this event.
    seen: u64,
    until: Instant,
    #[expect(dead_code, reason = "it counts by being there")]
    counted: Counted,
}

impl Glance {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            self.changed.mark_unchanged();
            let last = self.topic.now().await.ok()?.seq;
            if last > self.seen {
                self.seen = last;
                tokio::select! {
                    () = self.hub.stop().cancelled() => return None,
                    () = tokio::time::sleep(GLANCE) => return Some(text::message(None, "changed", &json!({ "seq": last }))),
                }
            }
            tokio::select! {
                biased;
                () = self.hub.stop().cancelled() => return None,
                () = tokio::time::sleep_until(self.until) => return None,
                // A run that has ended says nothing more; should a person retry it, the page looks again by itself.
                changed = self.changed.changed() => changed.ok()?,
                () = tokio::time::sleep(STILL_HERE) => return Some(Bytes::from_static(text::STILL_HERE.as_bytes())),
            }
        }
    }
}

/// Says when a listing may have changed; with `at_once`, how it stands as well.
pub(crate) fn changes(hub: &Hub, at_once: bool) -> Response {
    let overview = hub.overview();
    let mut changed = overview.0.subscribe();
    if at_once {
        changed.mark_changed();
    }
    let listener = Listener {
        counted: hub.watching(),
        hub: hub.clone(),
        overview,
        changed,
        until: Instant::now() + LONGEST,
    };
    response(
        &[],
        stream::unfold(listener, |mut listener| async move {
            let chunk = listener.next().await?;
            Some((Ok::<_, std::convert::Infallible>(chunk), listener))
        }),
    )
}

struct Listener {
    hub: Hub,
    /// Keeps the reader going.
    #[expect(dead_code, reason = "it is held")]
    overview: Arc<Overview>,
    changed: watch::Receiver<Bytes>,
    until: Instant,
    #[expect(dead_code, reason = "it counts by being there")]
    counted: Counted,
}

impl Listener {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            tokio::select! {
                biased;
                () = self.hub.stop().cancelled() => return None,
                () = tokio::time::sleep_until(self.until) => return None,
                changed = self.changed.changed() => changed.ok()?,
                () = tokio::time::sleep(STILL_HERE) => return Some(Bytes::from_static(text::STILL_HERE.as_bytes())),
            }
            let message = self.changed.borrow_and_update().clone();
            // Nothing was read yet.
            if !message.is_empty() {
                return Some(message);
            }
        }
    }
}
