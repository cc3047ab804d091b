//! `GET /live`: an event stream that signals when a page should refresh, without content. The page
//! then fetches itself again. There is thus one rendering of everything, and one place of
//! authorization.

use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;
use surefoot::RunId;

use crate::http::Problem;
use crate::sse;
use crate::state::App;

#[derive(Deserialize)]
pub(super) struct LiveQuery {
    /// Only signal changes of this run.
    run: Option<String>,
    /// The last event of the run that the page shows.
    #[serde(default)]
    after: u64,
}

/// The stream for a page that shows the run up to event `after`.
pub(super) fn of_run(run: RunId, after: u64) -> String {
    format!("/live?run={run}&after={after}")
}

pub(super) async fn live(
    State(app): State<App>,
    Query(query): Query<LiveQuery>,
) -> Result<Response, Problem> {
    let Some(id) = query.run else {
        return Ok(sse::changes(app.hub(), false));
    };
    let run = id.parse().map_err(|_| super::pages::no_run(&id))?;
    Ok(sse::changes_of(app.hub(), run, query.after).await?)
}
