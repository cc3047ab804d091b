//! Notifications as durable runs: a workflow of one step, a run for each alert, state and notifier. The key makes each of
//! them once; a notifier that does not answer holds up only its own.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use surefoot::workflow::{Backoff, RetryPolicy};
use surefoot::{
    Client, Handlers, Keep, KeptPlaces, Outcome, Output, QueueLimits, Retention, StepContext,
    StepError, StepHandler, Store, StoreError, Submit, SubmitError, Workflow,
};

use super::AlertOptions;
use super::alert::{self, Alert, AlertState};
use super::judge::OWN_QUEUE;
use super::notify::{Message, Notifier, RunCommand, Tools, deliver};

/// The name of the workflow that delivers notifications.
pub const WORKFLOW: &str = "surefoot-alert";

const ACTION: &str = "alert.notify";

/// The first wait, the longest, and how many tries: some seven hours in all.
const FIRST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(3600);
const TRIES: u32 = 16;

const TIMEOUT: Duration = Duration::from_secs(60);

/// Notifications of one notifier that are under way at once.
const AT_ONCE: u32 = 2;

fn workflow() -> Arc<Workflow> {
    static MADE: OnceLock<Arc<Workflow>> = OnceLock::new();
    let make = || {
        let backoff = Backoff {
            initial: FIRST,
            factor: 2,
            max: LONGEST,
            jitter: 0.2,
        };
        let begun = Workflow::builder(WORKFLOW)
            .title("Alert notification")
            .queue(OWN_QUEUE);
        let retry = RetryPolicy {
            attempts: TRIES,
            backoff,
        };
        let whole = begun.step_with("notify", ACTION, |step| {
            step.title("Notify").timeout(TIMEOUT).retry(retry)
        });
        Arc::new(whole.build().expect("it is the same for all, and tested"))
    };
    MADE.get_or_init(make).clone()
}

/// Gives the queue of notifications its limits, when it is new.
pub(super) async fn configure(store: &dyn Store) -> Result<(), StoreError> {
    let keep = |days: u64| Keep {
        age: Some(Duration::from_secs(days * 24 * 3600)),
        count: Some(10_000),
    };
    let retention = Retention {
        completed: keep(7),
        failed: keep(30),
        cancelled: keep(7),
    };
    let limits = QueueLimits {
        concurrency_per_key: Some(AT_ONCE),
        retention,
        ..QueueLimits::default()
    };
    store.set_queue(OWN_QUEUE, limits, true).await
}

/// Submits what is to be sent of an alert. Doing it again does nothing.
pub(super) async fn submit(
    client: &Client,
    options: &AlertOptions,
    alert: &Alert,
) -> Result<(), StoreError> {
    let message = Message::of(alert, options.public_url.as_deref());
    for notifier in &options.notifiers {
        let key = format!(
            "{}@{}/{}/{}",
            alert.id,
            alert.fired_at.as_micros(),
            alert.state,
            notifier.name
        );
        let parameters = json!({ "notifier": notifier.name, "message": message.json() });
        let submit = Submit::new(workflow())
            .parameters(parameters)
            .key(key)
            .concurrency_key(&notifier.name);
        // Before all else that waits: where much waits, somebody must hear of it.
        let submit = submit.priority(i32::MAX);
        match client.submit(submit).await {
            // With other parameters, because another server has another `public_url`: it is under way all the same.
            Ok(_) | Err(SubmitError::KeyConflict { .. }) => {}
            Err(SubmitError::Store(error)) => return Err(error),
            Err(error) => {
                tracing::error!(%error, notifier = notifier.name, "a notification was not submitted")
            }
        }
    }
    Ok(())
}

/// The handlers that send notifications, for the worker of a process that serves. With the store, where alerts are, nobody is
/// told that one fires which was resolved meanwhile.
pub fn handlers(
    notifiers: &[Notifier],
    run_command: Option<RunCommand>,
    alerts: Option<Arc<dyn Store>>,
) -> Handlers {
    let notifiers = notifiers
        .iter()
        .map(|notifier| (notifier.name.clone(), notifier.clone()))
        .collect();
    Handlers::new().with(
        ACTION,
        Notify {
            notifiers,
            run_command,
            alerts,
        },
    )
}

/// Places for notifications in a worker that is full: where nothing moves any more, somebody must hear of it. As many as the
/// queue lets go on at once.
pub fn kept_places(notifiers: &[Notifier]) -> KeptPlaces {
    KeptPlaces {
        count: notifiers.len() * AT_ONCE as usize,
        actions: [ACTION.to_owned()].into(),
    }
}

struct Notify {
    notifiers: BTreeMap<String, Notifier>,
    run_command: Option<RunCommand>,
    alerts: Option<Arc<dyn Store>>,
}

impl Notify {
    /// Whether what the message says is still so. One that was tried again and again may be hours late, and those who were
    /// told of the end already would take it for a new beginning.
    async fn still_fires(&self, message: &Message) -> Result<bool, StepError> {
        let Some(store) = &self.alerts else {
            return Ok(true);
        };
        let known = alert::get(store.as_ref(), &message.alert)
            .await
            .map_err(|error| StepError::from(error.to_string()))?;
        let same = |known: Alert| {
            known.state == AlertState::Firing && known.fired_at.to_string() == message.fired_at
        };
        Ok(known.is_some_and(same))
    }
}

#[async_trait]
impl StepHandler for Notify {
    async fn run(&self, context: StepContext) -> Result<Outcome, StepError> {
        let parameters = context.parameters();
        let name = parameters
            .get("notifier")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let Some(notifier) = self.notifiers.get(name) else {
            let known: Vec<&str> = self.notifiers.keys().map(String::as_str).collect();
            let error = format!(
                "this server has no notifier `{name}`: it has {}",
                if known.is_empty() {
                    "none".to_owned()
                } else {
                    known.join(", ")
                }
            );
            return Err(error.into());
        };
        let message = parameters
            .get("message")
            .and_then(Message::from_json)
            .ok_or_else(|| {
                StepError::fatal(
                    "the notification was written by another version, which this one cannot read",
                )
            })?;
        if message.state == AlertState::Firing && !self.still_fires(&message).await? {
            return Ok(Output::new(
                json!({ "notifier": name, "answer": "not sent: resolved meanwhile" }),
            )?
            .into());
        }
        let credential = |name: &str| context.credential(name).map_err(|error| error.chain());
        let tools = Tools {
            id: format!("msg_{}", context.run_id()),
            credential: &credential,
            run_command: self.run_command.as_ref(),
            cancellation: context.cancellation(),
        };
        let said = deliver(notifier, &message, &tools)
            .await
            .map_err(StepError::from)?;
        Ok(Output::new(json!({ "notifier": name, "answer": said }))?.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_is_tried_for_hours() {
        let workflow = workflow();
        let policy = &workflow.steps()[0].retry;
        let waits: Duration = (1..policy.attempts)
            .map(|attempt| policy.delay(attempt, 0.5))
            .sum();
        assert!(
            (5 * 3600..10 * 3600).contains(&waits.as_secs()),
            "{waits:?}"
        );
    }

    #[test]
    fn the_plan_needs_only_what_a_server_has() {
        let handlers = handlers(&[], None, None).actions();
        assert!(
            workflow()
                .actions()
                .iter()
                .all(|action| handlers.contains(*action))
        );
        assert_eq!(workflow().queue(), OWN_QUEUE);
    }
}
