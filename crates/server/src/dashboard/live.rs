//! `GET /live`: an event stream that says when a page should look again, and nothing more. What is new the page fetches as
//! it was fetched first, so there is one way in which each thing is shown, and one place where it is said who may see it.

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::response::Response;
use futures_util::{StreamExt as _, stream};
use serde::Deserialize;
use surefoot::{RunId, StoreError};

use crate::http::Problem;
use crate::sse;
use crate::state::App;

#[derive(Deserialize)]
pub(super) struct Asked {
    /// Only when this run changes.
    run: Option<String>,
    /// The last event of the run that the page shows.
    #[serde(default)]
    after: u64,
}

/// Where a page that shows the run up to this event is told of what comes after.
pub(super) fn of_run(run: RunId, after: u64) -> String {
    format!("/live?run={run}&after={after}")
}

pub(super) async fn live(State(app): State<App>, Query(asked): Query<Asked>) -> Result<Response, Problem> {
    let Some(id) = asked.run else { return Ok(coming_back(sse::changes(app.hub(), false))) };
    let run = id.parse().map_err(|_| super::pages::no_run(&id))?;
    let changes = sse::changes_of(app.hub(), run, asked.after).await;
    changes.map(coming_back).map_err(|error: StoreError| error.into())
}

/// Streams end now and then. A browser that is told nothing comes back after up to five seconds, and by then the page says
/// that it has no connection.
fn coming_back(response: Response) -> Response {
    let first = stream::once(async { Ok(Bytes::from_static(b"retry: 1000\n\n")) });
    response.map(|body| Body::from_stream(first.chain(body.into_data_stream())))
}
