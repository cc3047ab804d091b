//! Actions on one run.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use surefoot::state::{Answer, CancelMode};
use surefoot::store::RunFilter;
use surefoot::{
    Run, RunId, RunStatus, StoreError, Submit, SubmitError, SubmittedRun, Timestamp, Workflow,
};

use crate::audit::{self, Outcome, audited};
use crate::auth::{Actor, links};
use crate::state::App;
use crate::submission::NotSubmitted;

/// Default lifetime of a link.
pub(crate) const LINK_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// Maximum lifetime of a link.
pub(crate) const MAX_LINK_LIFETIME: Duration = Duration::from_secs(31 * 24 * 3600);

/// Submits a run. Returns the existing run if the key is known.
pub(crate) async fn submit(
    app: &App,
    actor: &Actor,
    submit: Submit,
) -> Result<SubmittedRun, NotSubmitted> {
    let workflow = submit.workflow().name().to_owned();
    let key = submit.idempotency_key().map(str::to_owned);
    let mut entry = audit::begin(
        app.store(),
        actor,
        "run.submit",
        &workflow,
        json!({ "key": key }),
    )
    .await
    .map_err(SubmitError::from)?;
    let key = key.as_deref();
    let permitted = actor.check(submit.workflow()).map_err(StoreError::from);
    let checked = match permitted {
        Ok(()) => check(app, submit.workflow(), submit.given_parameters(), key).await,
        Err(refusal) => Err(SubmitError::from(refusal).into()),
    };
    let result = match checked {
        Ok(()) => app
            .client()
            .submit(submit)
            .await
            .map_err(NotSubmitted::from),
        Err(refused) => Err(refused),
    };
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

/// Checks parameters beyond the schema, which is checked by the submission itself. A request that
/// has been accepted under its key before is no longer checked: what it names may have changed
/// since.
pub(crate) async fn check(
    app: &App,
    workflow: &Arc<Workflow>,
    parameters: &Value,
    key: Option<&str>,
) -> Result<(), NotSubmitted> {
    let Some(check) = &app.options().submission_check else {
        return Ok(());
    };
    let Ok(parameters) = workflow.check_parameters(parameters.clone()) else {
        return Ok(());
    };
    let Err(refused) = check.check(workflow, parameters).await else {
        return Ok(());
    };
    if let Some(key) = key
        && is_taken(app, workflow.name(), key).await?
    {
        return Ok(());
    }
    Err(NotSubmitted::Refused(refused))
}

/// Returns true if a run of the workflow has the key.
async fn is_taken(app: &App, workflow: &str, key: &str) -> Result<bool, SubmitError> {
    let filter = RunFilter {
        workflow: Some(workflow.to_owned()),
        key: Some(key.to_owned()),
        ..RunFilter::default()
    };
    let runs = app.store().runs(filter).await?;
    Ok(runs
        .iter()
        .any(|run| run.head.status != RunStatus::Cancelled))
}

/// Checks that the actor's allow-lists permit the actions of a run.
pub(super) async fn expect_permitted(
    app: &App,
    actor: &Actor,
    run: RunId,
) -> Result<(), StoreError> {
    if actor.lists.is_empty() {
        return Ok(());
    }
    let run = app.client().run(run).await?;
    // The actions of an unreadable plan are unknown.
    run.check_readable()?;
    Ok(actor.check(&run.plan)?)
}

/// Retries a failed run, from the step that failed or an earlier one.
pub(crate) async fn retry(
    app: &App,
    actor: &Actor,
    run: RunId,
    from: Option<&str>,
) -> Result<Run, StoreError> {
    let work = async {
        expect_permitted(app, actor, run).await?;
        app.client().retry(run, from, &actor.name).await
    };
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
    let work = async {
        // A cancel without undo runs nothing.
        if mode == CancelMode::Undo {
            expect_permitted(app, actor, run).await?;
        }
        app.client().cancel(run, mode, &actor.name).await
    };
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
    let work = async {
        expect_permitted(app, actor, run).await?;
        let client = app.client();
        client.answer(run, step, answer, &actor.name, note).await
    };
    audited(app, actor, "run.answer", &run.to_string(), detail, work).await
}

/// Creates a link to the progress of a run, valid without sign-in. Returns its signed part and the
/// time of its end.
pub(crate) async fn link(
    app: &App,
    actor: &Actor,
    run: RunId,
    lifetime: Duration,
) -> Result<(String, Timestamp), StoreError> {
    app.client().run(run).await?;
    let expires_at = app.store().now() + lifetime;
    let detail = json!({ "expires_at": expires_at.to_string() });
    audit::record(app, actor, "run.link", &run.to_string(), detail).await?;
    let link = links::sign(app.auth().secret(), run, expires_at);
    Ok((link, expires_at))
}
