//! `GET /live`: an event stream that says when a page should look again, and nothing more. What is new the page fetches as
//! it was fetched first, so there is one way in which each thing is shown, and one place where it is said who may see it.

use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;
use surefoot::RunId;

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

pub(super) async fn live(
    State(app): State<App>,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let Some(id) = asked.run else {
        return Ok(sse::changes(app.hub(), false));
    };
    let run = id.parse().map_err(|_| super::pages::no_run(&id))?;
    Ok(sse::changes_of(app.hub(), run, asked.after).await?)
}
