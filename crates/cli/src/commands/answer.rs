//! `surefoot answer RUN STEP ANSWER`: answer a step that waits for a person.

use serde_json::json;

use crate::app::{App, person};
use crate::args::Answer;
use crate::errors::{Exit, Failure};
use crate::{audit, follow, refer};

/// Answers a step.
pub(crate) async fn answer(app: &App, args: &Answer) -> Result<Exit, Failure> {
    let client = app.client().await?;
    let run = refer::find(client.store().as_ref(), &args.run.run).await?;
    let seen = follow::last_event(client.store().as_ref(), run.id).await?;
    let run = client
        .answer(
            run.id,
            &args.step,
            args.answer,
            &person(),
            args.note.as_deref(),
        )
        .await?;
    let detail = json!({ "step": args.step, "answer": args.answer.to_string(), "note": args.note });
    audit::record(
        client.store().as_ref(),
        "run.answer",
        &run.id.to_string(),
        detail,
    )
    .await;
    super::changed(app, &client, run, seen, args.wait).await
}
