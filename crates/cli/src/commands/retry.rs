//! `surefoot retry RUN`: run a failed run again.

use serde_json::json;

use crate::app::{App, person};
use crate::args::Retry;
use crate::errors::{Exit, Failure};
use crate::{audit, follow, refer};

/// Retries a run from the step that failed, or from an earlier one.
pub(crate) async fn retry(app: &App, args: &Retry) -> Result<Exit, Failure> {
    let client = app.client().await?;
    let run = refer::find(client.store().as_ref(), &args.run.run).await?;
    let seen = follow::last_event(client.store().as_ref(), run.id).await?;
    let run = client
        .retry(run.id, args.from.as_deref(), &person())
        .await?;
    let store = client.store().as_ref();
    let detail = json!({ "from": args.from });
    audit::record(store, "run.retry", &run.id.to_string(), detail).await;
    super::changed(app, &client, run, seen, args.wait).await
}
