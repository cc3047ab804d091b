//! Alerts: rules that are looked at every few seconds, alerts that fire once over all servers and resolve by themselves, and
//! notifications, each of which is a durable run of its own. `docs/alerts.md` says it for people.

mod alert;
#[cfg(test)]
mod delivery_tests;
mod evaluator;
mod goes;
mod judge;
mod look;
mod notify;
mod rules;
mod send;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde_json::json;
use surefoot::{Store, StoreError};
use tokio::task::JoinSet;

pub use alert::{Alert, AlertState};
pub use notify::{
    Command, CommandCall, Email, Notifier, NotifierKind, RunCommand, SmtpSecurity, Source, test,
};
pub use rules::{FailureRate, Rule, Rules};
pub use send::{WORKFLOW, handlers, kept_places};

use crate::audit;
use crate::auth::Actor;
use crate::state::App;

/// What is looked for, how often, and who is told.
#[derive(Clone, Debug)]
pub struct AlertOptions {
    /// How often the rules are looked at.
    pub every: Duration,
    /// The rules.
    pub rules: Rules,
    /// Who is told. Every server on a store has the same.
    pub notifiers: Vec<Notifier>,
    /// Where people reach the dashboard, for the links in what they are sent; the server's own when it is `None`.
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

/// Sets the evaluator to work, until the server stops.
pub(crate) fn start(app: &App, tasks: &mut JoinSet<()>) {
    let mut options = app.options().alerts.clone();
    options.public_url.get_or_insert_with(|| app.public_url());
    tasks.spawn(evaluator::run(
        app.client().clone(),
        options,
        app.stop().clone(),
    ));
}

/// Looks at the rules once.
#[cfg(test)]
pub(crate) async fn look_once(client: surefoot::Client) -> Result<(), StoreError> {
    let mut evaluator = evaluator::Evaluator::new(client, AlertOptions::default());
    evaluator.look().await
}

/// Why an alert was not acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum AcknowledgeError {
    /// There is none.
    #[error("there is no alert `{0}`")]
    Unknown(String),
    /// It is over.
    #[error("the alert `{0}` is resolved: there is nothing to acknowledge")]
    Resolved(String),
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Every alert that fires, or was resolved in the last seven days; the last to fire first.
///
/// # Errors
/// What the store says.
pub async fn list(store: &dyn Store) -> Result<Vec<Alert>, StoreError> {
    alert::all(store).await
}

/// Somebody has seen the alert. Who was first stays named.
///
/// # Errors
/// [`AcknowledgeError`] says why not.
pub async fn acknowledge_as(
    store: &dyn Store,
    id: &str,
    by: &str,
) -> Result<Alert, AcknowledgeError> {
    loop {
        let known = alert::get(store, id)
            .await?
            .ok_or_else(|| AcknowledgeError::Unknown(id.to_owned()))?;
        if known.state == AlertState::Resolved {
            return Err(AcknowledgeError::Resolved(id.to_owned()));
        }
        if known.acknowledged.is_some() {
            return Ok(known);
        }
        let seen = Alert {
            acknowledged: Some((by.to_owned(), store.now())),
            ..known
        };
        // The evaluator may have written it meanwhile.
        if let Some(written) = seen.write(store).await? {
            return Ok(written);
        }
    }
}

/// [`acknowledge_as`], by whoever asks, and kept in the audit log.
pub(crate) async fn acknowledge(
    app: &App,
    actor: &Actor,
    id: &str,
) -> Result<Alert, AcknowledgeError> {
    let work = acknowledge_as(app.store(), id, &actor.name);
    audit::audited(app, actor, "alert.acknowledge", id, json!({}), work).await
}
