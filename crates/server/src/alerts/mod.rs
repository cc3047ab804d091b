//! Alerts: rules evaluated every few seconds, alerts that fire once over all servers and resolve by
//! themselves, and notifications, each of which is a durable run. `docs/alerts.md` describes them
//! for users.

mod alert;
#[cfg(test)]
mod delivery_tests;
mod evaluate;
mod evaluator;
mod notify;
mod rules;
mod run_age;
mod run_rules;
mod send;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde_json::json;
use surefoot::{Store, StoreError};
use tokio::task::JoinSet;

pub use alert::{Alert, AlertState, UnknownAlertState};
pub use notify::{
    Command, CommandCall, Email, Notifier, NotifierKind, RunCommand, SmtpSecurity, Source, test,
};
pub use rules::{FailureRate, Rule, Rules, UnknownRule};
pub use send::{WORKFLOW, handlers, reserved_slots};

use crate::audit;
use crate::auth::Actor;
use crate::state::App;

/// Configuration of alerts.
#[derive(Clone, Debug)]
pub struct AlertOptions {
    /// Interval between evaluations.
    pub every: Duration,
    /// The rules.
    pub rules: Rules,
    /// The notifiers. Every server on a store has the same.
    pub notifiers: Vec<Notifier>,
    /// The public address of the dashboard, for links in notifications. `None` means the server's
    /// own.
    pub public_url: Option<String>,
}

impl Default for AlertOptions {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(5),
            rules: Rules::default(),
            notifiers: Vec::new(),
            public_url: None,
        }
    }
}

/// Starts the evaluator, which runs until the server stops.
pub(crate) fn start(app: &App, tasks: &mut JoinSet<()>) {
    let mut options = app.options().alerts.clone();
    options.public_url.get_or_insert_with(|| app.public_url());
    tasks.spawn(evaluator::run(
        app.client().clone(),
        options,
        app.stop().clone(),
    ));
}

/// Evaluates the rules once.
#[cfg(test)]
pub(crate) async fn evaluate_once(client: surefoot::Client) -> Result<(), StoreError> {
    let mut evaluator = evaluator::Evaluator::new(client, AlertOptions::default());
    evaluator.evaluate().await
}

/// Why an alert was not acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum AcknowledgeError {
    /// There is no such alert.
    #[error("there is no alert `{0}`")]
    Unknown(String),
    /// The alert is resolved.
    #[error("the alert `{0}` is resolved: there is nothing to acknowledge")]
    Resolved(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Every alert that fires or was resolved in the last seven days, latest first.
///
/// # Errors
/// Store errors.
pub async fn list(store: &dyn Store) -> Result<Vec<Alert>, StoreError> {
    alert::all(store).await
}

/// Acknowledges an alert. The first acknowledgement stays.
///
/// # Errors
/// See [`AcknowledgeError`].
pub async fn acknowledge_as(
    store: &dyn Store,
    id: &str,
    by: &str,
) -> Result<Alert, AcknowledgeError> {
    loop {
        let stored = alert::get(store, id)
            .await?
            .ok_or_else(|| AcknowledgeError::Unknown(id.to_owned()))?;
        if stored.state == AlertState::Resolved {
            return Err(AcknowledgeError::Resolved(id.to_owned()));
        }
        if stored.acknowledged.is_some() {
            return Ok(stored);
        }
        let acknowledged = Alert {
            acknowledged: Some((by.to_owned(), store.now())),
            ..stored
        };
        // The evaluator may have written it in between.
        if let Some(written) = acknowledged.write(store).await? {
            return Ok(written);
        }
    }
}

/// Like [`acknowledge_as`], by the calling actor, with an entry in the audit log.
pub(crate) async fn acknowledge(
    app: &App,
    actor: &Actor,
    id: &str,
) -> Result<Alert, AcknowledgeError> {
    let work = acknowledge_as(app.store(), id, &actor.name);
    audit::audited(app, actor, "alert.acknowledge", id, json!({}), work).await
}
