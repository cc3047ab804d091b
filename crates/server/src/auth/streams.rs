//! Ends event streams whose reader may no longer read them: a token is revoked, a session ends.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Version};
use axum::response::Response;
use futures_util::{StreamExt as _, stream};
use tokio::time::{Instant, Interval, interval_at};

use super::{Auth, Refusal, Role};

/// Interval at which the reader of a stream is looked at again: what a revoked token still sees ends within it.
const RECHECK: Duration = Duration::from_secs(5);

/// The reader of an event stream, as it asked for it.
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

    /// The response; an event stream ends when its reader may no longer read it. Any other is left as it is.
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

    /// The next piece; `None` at the end, or when the reader may read no further.
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

    /// While the store is away nothing new is told, so the stream stays.
    async fn may_read(&self) -> bool {
        match self.auth.actor(self.version, &self.headers).await {
            Ok(actor) => actor.is_some_and(|actor| actor.may(self.needs)),
            Err(Refusal::Store(_)) => true,
            Err(_) => false,
        }
    }
}
