//! What people do to one run.

use serde_json::json;
use surefoot::state::{Answer, CancelMode};
use surefoot::{Run, RunId, StoreError, Submit, SubmitError, SubmittedRun};

use crate::audit::{self, Outcome, audited};
use crate::auth::Actor;
use crate::state::App;

/// Submits a run. A run that was there before is given as it is.
pub(crate) async fn submit(
    app: &App,
    actor: &Actor,
    submit: Submit,
) -> Result<SubmittedRun, SubmitError> {
    let (workflow, key) = (
        submit.workflow().name().to_owned(),
        submit.idempotency_key().map(str::to_owned),
    );
    let mut entry = audit::begin(
        app.store(),
        actor,
        "run.submit",
        &workflow,
        json!({ "key": key }),
    )
    .await?;
    let result = app.client().submit(submit).await;
    entry.outcome = match &result {
        Ok(submitted) => {
            entry.detail["run"] = submitted.run.id.to_string().into();
            Outcome::Done
        }
        Err(error) => Outcome::Refused(error.to_string()),
    };
    audit::finish(app.store(), &entry).await;
    result
}

/// Retries a failed run, from the step that failed or an earlier one.
pub(crate) async fn retry(
    app: &App,
    actor: &Actor,
    run: RunId,
    from: Option<&str>,
) -> Result<Run, StoreError> {
    let work = app.client().retry(run, from, &actor.name);
    audited(
        app,
        actor,
        "run.retry",
        &run.to_string(),
        json!({ "from": from }),
        work,
    )
    .await
}

/// Cancels a run.
pub(crate) async fn cancel(
    app: &App,
    actor: &Actor,
    run: RunId,
    mode: CancelMode,
) -> Result<Run, StoreError> {
    let work = app.client().cancel(run, mode, &actor.name);
    let detail = json!({ "undo": mode == CancelMode::Undo });
    audited(app, actor, "run.cancel", &run.to_string(), detail, work).await
}

/// Answers a step that waits for a person.
pub(crate) async fn answer(
    app: &App,
    actor: &Actor,
    run: RunId,
    step: &str,
    answer: Answer,
    note: Option<&str>,
) -> Result<Run, StoreError> {
    let detail = json!({ "step": step, "answer": answer.to_string(), "note": note });
    let work = app.client().answer(run, step, answer, &actor.name, note);
    audited(app, actor, "run.answer", &run.to_string(), detail, work).await
}
