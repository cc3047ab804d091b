//! Handing a run to the store, and what the same request means the second time.

use serde_json::{Value, json};
use surefoot::state::CancelMode;
use surefoot::store::RunFilter;
use surefoot::workflow::without_secrets;
use surefoot::{Client, ListOwner, Run, RunStatus, Submit, SubmitError, SubmittedRun, Workflow};

use surefoot_initializer::project;
use surefoot_initializer::template::LoadError;

use crate::app::{App, person};
use crate::errors::{Exit, Failure, unusable};
use crate::host::{Host, Outcome, same_command};
use crate::out;
use crate::shipped;
use crate::summary;
use crate::{audit, follow};

/// Fits parameters to a workflow's schema, defaults filled in.
pub(crate) fn fit(workflow: &Workflow, parameters: Value) -> Result<Value, Failure> {
    workflow.check_parameters(parameters).map_err(|errors| {
        let meant = errors
            .iter()
            .find_map(|error| description(workflow, &error.parameter));
        let failure = Failure::from(SubmitError::Parameters(errors));
        match meant {
            Some(meant) => failure.hint(meant),
            None => failure,
        }
    })
}

/// The schema of a parameter.
fn description(workflow: &Workflow, parameter: &str) -> Option<String> {
    let name = parameter.split('/').next()?;
    let text = workflow.parameters()["properties"][name]["description"].as_str()?;
    Some(format!("{name}: {text}"))
}

/// Loads and renders the project's template as the first step does, so that a mistake is found
/// before anything is written. A run that has the key already was checked when it was submitted.
pub(crate) async fn check_content(
    app: &App,
    parameters: &Value,
    key: Option<&str>,
) -> Result<(), Failure> {
    if let Some(key) = key
        && is_taken(app, key).await
    {
        return Ok(());
    }
    let folder = tempfile::Builder::new()
        .prefix("surefoot-template.")
        .tempdir();
    let folder =
        folder.map_err(|error| unusable("make a folder in", &std::env::temp_dir(), &error))?;
    match project::check_content(parameters, folder.path(), &app.settings.addresses).await {
        // A worker on another host may reach what this one does not.
        Err(LoadError::Git(_)) if app.is_shared() => Ok(()),
        checked => checked.map_err(|error| Failure::usage(error.to_string())),
    }
}

/// Returns whether a run has the key. A store that is not there, or cannot be read, is for the
/// submission to tell of.
async fn is_taken(app: &App, key: &str) -> bool {
    let Ok(client) = app.client().await else {
        return false;
    };
    let filter = RunFilter {
        key: Some(key.to_owned()),
        limit: 100,
        ..RunFilter::default()
    };
    let runs = client.store().runs(filter).await.unwrap_or_default();
    runs.iter()
        .any(|run| run.head.status != RunStatus::Cancelled)
}

/// Hands a run to the store. The same request again gives the same run. A project's run that failed
/// before it created anything gives way to a request with other parameters.
pub(crate) async fn submit(
    app: &App,
    client: &Client,
    submit: Submit,
    parameters: &Value,
) -> Result<(Run, bool), Failure> {
    let submit = submit.parameters(parameters.clone());
    match client.submit(submit.clone()).await {
        Err(SubmitError::KeyConflict { run, .. } | SubmitError::Taken { run, .. })
            if shipped::has_failed_creating_nothing(&run) =>
        {
            check_content(app, parameters, None).await?;
            give_way(client, &run).await?;
            handed_over(client, client.submit(submit).await, parameters).await
        }
        submitted => handed_over(client, submitted, parameters).await,
    }
}

/// Cancels a run that failed before it created anything, so that its name is free.
async fn give_way(client: &Client, run: &Run) -> Result<(), Failure> {
    let reason = run.head.error.as_deref().map(plain_error);
    client.cancel(run.id, CancelMode::Stop, &person()).await?;
    let store = client.store().as_ref();
    let detail = json!({ "undo": false });
    audit::record(store, "run.cancel", &run.id.to_string(), detail).await;
    out::say(&format!(
        "run {} of this name had failed before it created anything{}: cancelled, for a run with the parameters given now",
        run.id,
        reason.unwrap_or_default()
    ));
    Ok(())
}

/// Result of a submission for its submitter.
async fn handed_over(
    client: &Client,
    submitted: Result<SubmittedRun, SubmitError>,
    parameters: &Value,
) -> Result<(Run, bool), Failure> {
    match submitted {
        Ok(submitted) => {
            if !submitted.existing {
                audit::submitted(client.store().as_ref(), &submitted.run).await;
            }
            Ok((submitted.run, submitted.existing))
        }
        Err(SubmitError::KeyConflict { key, run }) => Err(taken(&key, &run, parameters)),
        Err(SubmitError::Taken { unique, run }) => Err(taken(&unique, &run, parameters)),
        Err(other) => Err(other.into()),
    }
}

fn taken(name: &str, run: &Run, parameters: &Value) -> Failure {
    let id = run.id;
    let status = run.head.status;
    let differences = differences(run.plan.parameters(), &run.parameters, parameters);
    let why = match differences.as_str() {
        "" if run.plan.has_secret_parameters() => ", maybe with other secret parameters".to_owned(),
        "" => String::new(),
        differences => format!(", with other parameters: {differences}"),
    };
    let hint = match status {
        RunStatus::Completed | RunStatus::Cancelled => {
            format!("that run has ended: choose another name; see `surefoot show {id}`")
        }
        _ => format!(
            "`surefoot cancel {id} --undo --wait` takes back what that run made and frees the name, then `{}`; or give the \
             earlier parameters to carry that run on",
            same_command()
        ),
    };
    Failure::usage(format!(
        "the name `{name}` is taken by run {id} ({status}){why}"
    ))
    .hint(hint)
}

/// `description was "a", is "b"` for each parameter that differs and is not secret.
fn differences(schema: &Value, was: &Value, is: &Value) -> String {
    let fields = |value: &Value| {
        without_secrets(schema, value)
            .as_object()
            .cloned()
            .unwrap_or_default()
    };
    let was = fields(was);
    let is = fields(is);
    let names = was
        .keys()
        .chain(is.keys().filter(|name| !was.contains_key(*name)));
    let shown = |value: Option<&Value>| value.map_or_else(|| "absent".to_owned(), Value::to_string);
    let differs = |name: &String| {
        format!(
            "{name} was {}, is {}",
            shown(was.get(name)),
            shown(is.get(name))
        )
    };
    names
        .filter(|name| was.get(*name) != is.get(*name))
        .map(differs)
        .collect::<Vec<_>>()
        .join("; ")
}

/// Submits a run and carries it to its end: the whole of `init`, `run` and `submit --wait`.
pub(crate) async fn to_the_end(
    app: &App,
    request: Submit,
    workflow: &Workflow,
    parameters: Value,
) -> Result<Exit, Failure> {
    expect_permitted(app, workflow)?;
    let store = app.store().await?;
    crate::queues::configure(store.as_ref(), &app.settings).await?;
    let client = app.submitter(store.clone(), workflow)?;
    let (run, existing) = submit(app, &client, request, &parameters).await?;
    let run = if existing {
        take_up(&client, run, workflow).await?
    } else {
        run
    };
    if run.head.status.is_ended() {
        return summary::print(app, &Outcome::Ended(Box::new(run)));
    }
    let seen = if existing {
        follow::last_event(store.as_ref(), run.id).await?
    } else {
        0
    };
    let mut host = Host::new(app, store);
    let outcome = follow::carry(app, &mut host, &client, &run, seen).await?;
    summary::print(app, &outcome)
}

/// Refuses a workflow that the one worker of an embedded store, which is of this configuration,
/// does not permit: it would wait for ever.
fn expect_permitted(app: &App, workflow: &Workflow) -> Result<(), Failure> {
    if app.is_shared() {
        return Ok(());
    }
    let checked = app.settings.allow.check(workflow, &ListOwner::Worker);
    checked.map_err(|refusal| {
        Failure::usage(refusal.to_string())
            .hint("`workflows` and `actions` under [worker] in the configuration file permit it")
    })
}

/// The same request again: what that means by how far the run is.
async fn take_up(client: &Client, run: Run, workflow: &Workflow) -> Result<Run, Failure> {
    let name = run.key.clone().unwrap_or_else(|| run.id.to_string());
    match run.head.status {
        RunStatus::Completed => {
            out::say(&format!("{name} is completed already, by run {}", run.id));
            return Ok(run);
        }
        RunStatus::Failed => {
            let reason = run
                .head
                .error
                .as_deref()
                .map(plain_error)
                .unwrap_or_default();
            out::say(&format!(
                "{name} had failed{reason}: trying again from there, as run {}",
                run.id
            ));
        }
        _ => out::say(&format!(
            "{name} is unfinished: carrying on with run {}",
            run.id
        )),
    }
    if run.plan.digest() != workflow.digest() {
        out::say("note: the workflow has changed since; this run goes on as it was submitted");
    }
    if run.head.status == RunStatus::Failed {
        let run = client.retry(run.id, None, &person()).await?;
        let store = client.store().as_ref();
        let detail = json!({ "from": null });
        audit::record(store, "run.retry", &run.id.to_string(), detail).await;
        return Ok(run);
    }
    Ok(run)
}

fn plain_error(error: &str) -> String {
    format!(" ({})", crate::progress::clean(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_name_what_changed_came_and_went() {
        let was = json!({ "name": "shop", "description": "a", "port": 80 });
        let is = json!({ "name": "shop", "description": "b", "public": true });
        let expect =
            "description was \"a\", is \"b\"; port was 80, is absent; public was absent, is true";
        assert_eq!(differences(&json!({}), &was, &is), expect);
        let schema = json!({ "properties": { "description": { "writeOnly": true } } });
        let expect = "port was 80, is absent; public was absent, is true";
        assert_eq!(differences(&schema, &was, &is), expect);
    }
}
