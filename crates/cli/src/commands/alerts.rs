//! `surefoot alerts`: what is wrong now, who has seen it, and whether those who are to be told can
//! be.

use serde_json::json;
use surefoot_server::alerts::{self, AcknowledgeError, Alert, AlertState};

use super::serve::documents;
use crate::app::{App, person};
use crate::args::Alerts;
use crate::credentials::EnvironmentAndFiles;
use crate::errors::{Exit, Failure};
use crate::progress::clean;
use crate::table::table;
use crate::{audit, out, serving, summary};

/// Lists alerts, acknowledges one, or sends a test message.
pub(crate) async fn alerts(app: &App, args: Option<&Alerts>) -> Result<Exit, Failure> {
    match args {
        None | Some(Alerts::List) => list(app).await,
        Some(Alerts::Ack { alert }) => acknowledge(app, alert).await,
        Some(Alerts::Test { notifier }) => test(app, notifier.as_deref()).await,
    }
}

async fn list(app: &App) -> Result<Exit, Failure> {
    let all = alerts::list(documents(app).await?.as_ref()).await?;
    if app.json {
        summary::json(&all.iter().map(shown).collect::<Vec<_>>())?;
    } else if all.is_empty() {
        out::say("no alert fires, and none was resolved in the last seven days");
    } else {
        let rows = all.iter().map(row).collect::<Vec<_>>();
        out::print(&table(
            &["ALERT", "STATE", "FIRED", "SEEN BY", "WHAT"],
            &rows,
        ))?;
    }
    Ok(Exit::Done)
}

async fn acknowledge(app: &App, id: &str) -> Result<Exit, Failure> {
    let store = documents(app).await?;
    let by = person();
    let alert = alerts::acknowledge_as(store.as_ref(), id, &by)
        .await
        .map_err(|error| match error {
            AcknowledgeError::Store(error) => error.into(),
            other => Failure::usage(other.to_string()).hint("`surefoot alerts` lists them"),
        })?;
    audit::record(store.as_ref(), "alert.acknowledge", id, json!({})).await;
    if app.json {
        summary::json(&shown(&alert))?;
    } else {
        out::print(&format!("{id} is seen by {}\n", seen_by(&alert)))?;
    }
    Ok(Exit::Done)
}

/// Sends at once and without a run, so that it works without a worker.
async fn test(app: &App, only: Option<&str>) -> Result<Exit, Failure> {
    let mut options = app.settings.alerts.clone();
    options
        .public_url
        .get_or_insert_with(|| app.settings.server.url());
    let notifiers = options
        .notifiers
        .iter()
        .filter(|notifier| only.is_none_or(|name| notifier.name == name));
    let notifiers = notifiers.collect::<Vec<_>>();
    if notifiers.is_empty() {
        let what = only.map_or_else(
            || "no notification".to_owned(),
            |name| format!("there is no notifier `{name}`"),
        );
        return Err(Failure::usage(what)
            .hint("[alerts.notifiers.NAME] in the configuration: see docs/alerts.md"));
    }
    let credentials = EnvironmentAndFiles::new(app.settings.credentials.clone());
    let run_command = serving::run_command();
    let mut exit = Exit::Done;
    for notifier in notifiers {
        let now = surefoot::Clock::now(&surefoot::SystemClock);
        match alerts::test(&options, notifier, &credentials, Some(&run_command), now).await {
            Ok(answer) => out::print(&format!("{}: told: {}\n", notifier.name, clean(&answer)))?,
            Err(error) => {
                out::say(&format!(
                    "{}: not told: {}",
                    notifier.name,
                    clean(&error.to_string())
                ));
                exit = Exit::Broken;
            }
        }
    }
    Ok(exit)
}

fn state(alert: &Alert) -> &'static str {
    if alert.state == AlertState::Resolved {
        "resolved"
    } else {
        "firing"
    }
}

fn seen_by(alert: &Alert) -> String {
    alert
        .acknowledged
        .as_ref()
        .map(|(by, _)| by.clone())
        .unwrap_or_default()
}

fn shown(alert: &Alert) -> serde_json::Value {
    json!({
        "id": alert.id,
        "rule": alert.rule.as_str(),
        "subject": alert.subject,
        "title": alert.title,
        "text": alert.text,
        "run": alert.run.map(|run| run.to_string()),
        "queue": alert.queue,
        "state": state(alert),
        "fired_at": alert.fired_at.to_string(),
        "resolved_at": alert.resolved_at.map(|at| at.to_string()),
        "acknowledged_by": alert.acknowledged.as_ref().map(|(by, _)| by),
        "acknowledged_at": alert.acknowledged.as_ref().map(|(_, at)| at.to_string()),
    })
}

fn row(alert: &Alert) -> Vec<String> {
    let fired = super::show::time(alert.fired_at);
    vec![
        clean(&alert.id),
        state(alert).to_owned(),
        fired,
        clean(&seen_by(alert)),
        clean(&alert.title),
    ]
}
