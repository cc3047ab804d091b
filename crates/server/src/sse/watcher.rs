//! The stream of one watcher: a snapshot or the missed events, then live events until the run ends.

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

use super::hub::{CountGuard, Hub};
use super::overview::Overview;
use super::text;
use super::topic::{CurrentState, Topic, Updates};

/// Keep-alive interval of an idle stream.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// Lifetime of a stream. The client then reconnects and is authorized again.
const STREAM_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// Events read at a time for a watcher that is far behind.
const PAGE: usize = 256;

/// Watches a run, starting with a snapshot or after the event that was seen last.
///
/// # Errors
/// If there is no such run, or the store cannot be read.
pub(crate) async fn stream(
    hub: &Hub,
    run: RunId,
    seen: Option<u64>,
) -> Result<Response, StoreError> {
    let topic = hub.topic(run);
    let changed = topic.changed.subscribe();
    let now = topic.now().await?;
    let seen = known_event(hub, run, seen, now.seq).await?;
    if seen.is_some_and(|seen| matches!(topic.updates_after(seen), Updates::Ended(_))) {
        // This status tells the browser not to reconnect.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let first = if seen.is_none() {
        now.snapshot()
    } else {
        Bytes::new()
    };
    let watcher = Watcher {
        seen: seen.unwrap_or(now.seq),
        count: hub.count_watcher(),
        hub: hub.clone(),
        topic,
        changed,
        until: Instant::now() + STREAM_LIFETIME,
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

/// Checks that the event seen last belongs to this history. Another server on the store may have
/// sent events that this server's reader has not reached yet. A number without an event belongs to
/// another store, and the watcher starts again with a snapshot.
async fn known_event(
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

/// Each stream starts with the reconnect delay and `first`. Streams end now and then. By default
/// browsers reconnect only after up to five seconds, and by then the page shows that the connection
/// is lost.
fn response<S>(first: &[u8], stream: S) -> Response
where
    S: futures_util::Stream<Item = Result<Bytes, std::convert::Infallible>> + Send + 'static,
{
    // Asks buffering proxies to pass data on at once.
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    let first = Bytes::from([text::RECONNECT.as_bytes(), first].concat());
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
    /// The last event that was sent.
    seen: u64,
    until: Instant,
    ended: bool,
    /// Dropped with the stream.
    #[expect(dead_code, reason = "decrements the count when dropped")]
    count: CountGuard,
}

impl Watcher {
    /// The next chunk of the stream; `None` at its end.
    async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        loop {
            self.changed.mark_unchanged();
            match self.topic.updates_after(self.seen) {
                Updates::Messages(messages, seen) => {
                    self.seen = seen;
                    return Some(messages.concat().into());
                }
                Updates::Ended(now) => {
                    self.ended = true;
                    return Some(text::end(&now.run));
                }
                Updates::Behind(now) => match self.catch_up(&now).await {
                    Ok(Some(chunk)) => return Some(chunk),
                    // The details were removed, or the store is unavailable. The client reconnects
                    // and starts again.
                    Ok(None) | Err(_) => return None,
                },
                Updates::None => {}
            }
            if let Some(chunk) = self.wait().await? {
                return Some(chunk);
            }
        }
    }

    /// Waits for news. `None` when the stream must end; a keep-alive after a long idle time.
    async fn wait(&mut self) -> Option<Option<Bytes>> {
        tokio::select! {
            biased;
            () = self.hub.stop().cancelled() => None,
            () = tokio::time::sleep_until(self.until) => None,
            changed = self.changed.changed() => changed.ok().map(|()| None),
            () = tokio::time::sleep(KEEP_ALIVE_INTERVAL) => Some(Some(Bytes::from_static(text::KEEP_ALIVE.as_bytes()))),
        }
    }

    async fn catch_up(&mut self, now: &CurrentState) -> Result<Option<Bytes>, StoreError> {
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

/// Signals when a run's history grows beyond event `seen`, without the events themselves.
///
/// # Errors
/// If there is no such run, or the store cannot be read.
pub(crate) async fn changes_of(hub: &Hub, run: RunId, seen: u64) -> Result<Response, StoreError> {
    let topic = hub.topic(run);
    let changed = topic.changed.subscribe();
    topic.now().await?;
    let until = Instant::now() + STREAM_LIFETIME;
    let watcher = ChangeWatcher {
        count: hub.count_watcher(),
        hub: hub.clone(),
        topic,
        changed,
        seen,
        until,
    };
    Ok(response(
        &[],
        stream::unfold(watcher, |mut watcher| async move {
            let chunk = watcher.next().await?;
            Some((Ok::<_, std::convert::Infallible>(chunk), watcher))
        }),
    ))
}

/// Minimum delay before a page is asked to refresh.
const MIN_CHANGE_INTERVAL: Duration = Duration::from_millis(300);

struct ChangeWatcher {
    hub: Hub,
    topic: Arc<Topic>,
    changed: watch::Receiver<u64>,
    /// The last event that was signalled.
    seen: u64,
    until: Instant,
    #[expect(dead_code, reason = "decrements the count when dropped")]
    count: CountGuard,
}

impl ChangeWatcher {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            self.changed.mark_unchanged();
            let last = self.topic.now().await.ok()?.seq;
            if last > self.seen {
                self.seen = last;
                tokio::select! {
                    () = self.hub.stop().cancelled() => return None,
                    () = tokio::time::sleep(MIN_CHANGE_INTERVAL) => return Some(text::message(None, "changed", &json!({ "seq": last }))),
                }
            }
            tokio::select! {
                biased;
                () = self.hub.stop().cancelled() => return None,
                () = tokio::time::sleep_until(self.until) => return None,
                // A run that has ended is silent. If a person retries it, the page refreshes by
                // itself.
                changed = self.changed.changed() => changed.ok()?,
                () = tokio::time::sleep(KEEP_ALIVE_INTERVAL) => return Some(Bytes::from_static(text::KEEP_ALIVE.as_bytes())),
            }
        }
    }
}

/// Signals when a listing may have changed. With `at_once`, also sends the current state.
pub(crate) fn changes(hub: &Hub, at_once: bool) -> Response {
    let overview = hub.overview();
    let mut changed = overview.0.subscribe();
    if at_once {
        changed.mark_changed();
    }
    let watcher = ListingWatcher {
        count: hub.count_watcher(),
        hub: hub.clone(),
        overview,
        changed,
        until: Instant::now() + STREAM_LIFETIME,
    };
    response(
        &[],
        stream::unfold(watcher, |mut watcher| async move {
            let chunk = watcher.next().await?;
            Some((Ok::<_, std::convert::Infallible>(chunk), watcher))
        }),
    )
}

struct ListingWatcher {
    hub: Hub,
    /// Keeps the overview's reader running.
    #[expect(dead_code, reason = "keeps the reader alive")]
    overview: Arc<Overview>,
    changed: watch::Receiver<Bytes>,
    until: Instant,
    #[expect(dead_code, reason = "decrements the count when dropped")]
    count: CountGuard,
}

impl ListingWatcher {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            tokio::select! {
                biased;
                () = self.hub.stop().cancelled() => return None,
                () = tokio::time::sleep_until(self.until) => return None,
                changed = self.changed.changed() => changed.ok()?,
                () = tokio::time::sleep(KEEP_ALIVE_INTERVAL) => return Some(Bytes::from_static(text::KEEP_ALIVE.as_bytes())),
            }
            let message = self.changed.borrow_and_update().clone();
            // Nothing has been read yet.
            if !message.is_empty() {
                return Some(message);
            }
        }
    }
}
