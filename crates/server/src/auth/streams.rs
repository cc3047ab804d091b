//! Ends event streams whose reader has lost access: its token was revoked, or its session ended.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Version};
use axum::response::Response;
use futures_util::{StreamExt as _, stream};
use tokio::time::{Instant, Interval, interval_at};

use super::{Auth, Refusal, Role};

/// Interval between access checks of an open stream. A revoked token sees new events for at most
/// this long.
const RECHECK: Duration = Duration::from_secs(5);

/// The reader of an event stream, with the credentials of its request.
pub(super) struct Reader {
    auth: Auth,
    version: Version,
    headers: HeaderMap,
    needs: Role,
}

impl Reader {
    pub(super) fn new(auth: Auth, version: Version, headers: HeaderMap, needs: Role) -> Self {
        Self {
            auth,
            version,
            headers,
            needs,
        }
    }

    /// Wraps an event stream so that it ends when its reader loses access. Other responses stay as
    /// they are.
    pub(super) fn guard(self, response: Response) -> Response {
        let kind = response.headers().get(CONTENT_TYPE);
        if kind.is_none_or(|kind| kind != "text/event-stream") {
            return response;
        }
        response.map(|body| {
            let recheck = interval_at(Instant::now() + RECHECK, RECHECK);
            let guarded = stream::unfold(
                (self, body.into_data_stream(), recheck),
                |(reader, mut body, mut recheck)| async move {
                    let chunk = reader.next(&mut body, &mut recheck).await?;
                    Some((chunk, (reader, body, recheck)))
                },
            );
            Body::from_stream(guarded)
        })
    }

    /// The next chunk; `None` at the end, or when the reader has lost access.
    async fn next(
        &self,
        body: &mut axum::body::BodyDataStream,
        recheck: &mut Interval,
    ) -> Option<Result<Bytes, axum::Error>> {
        loop {
            tokio::select! {
                biased;
                _ = recheck.tick() => {
                    if !self.may_read().await {
                        return None;
                    }
                }
                chunk = body.next() => return chunk,
            }
        }
    }

    /// Without the store there are no new events to protect, so the stream stays open.
    async fn may_read(&self) -> bool {
        match self.auth.actor(self.version, &self.headers).await {
            Ok(actor) => actor.is_some_and(|actor| actor.may(self.needs)),
            Err(Refusal::Store(_)) => true,
            Err(_) => false,
        }
    }
}
