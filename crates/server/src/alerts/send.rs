//! Notifications as durable runs: a workflow of one step, one run per alert, state and notifier.
//! The key makes submissions idempotent. A notifier that does not respond delays only its own
//! notifications.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use surefoot::workflow::{Backoff, RetryPolicy};
use surefoot::{
    BoxError, Client, Handlers, Outcome, Output, QueueLimits, ReservedSlots, Retention,
    RetentionLimit, StepContext, StepError, StepHandler, Store, StoreError, Submit, SubmitError,
    Workflow,
};

use super::AlertOptions;
use super::alert::{self, Alert, AlertState};
use super::notify::{Message, Notifier, RunCommand, Tools, deliver};
use super::run_rules::OWN_QUEUE;

/// The name of the workflow that delivers notifications.
pub const WORKFLOW: &str = "surefoot-alert";

const ACTION: &str = "alert.notify";

/// First and longest backoff, and number of attempts: about seven hours in all.
const FIRST_BACKOFF: Duration = Duration::from_secs(5);
const MAX_BACKOFF: Duration = Duration::from_secs(3600);
const ATTEMPTS: u32 = 16;

const TIMEOUT: Duration = Duration::from_secs(60);

/// Maximum number of concurrent notifications per notifier.
const CONCURRENCY_PER_NOTIFIER: u32 = 2;

fn workflow() -> Arc<Workflow> {
    static MADE: OnceLock<Arc<Workflow>> = OnceLock::new();
    let make = || {
        let backoff = Backoff {
            initial: FIRST_BACKOFF,
            factor: 2,
            max: MAX_BACKOFF,
            jitter: 0.2,
        };
        let begun = Workflow::builder(WORKFLOW)
            .title("Alert notification")
            .queue(OWN_QUEUE);
        let retry = RetryPolicy {
            attempts: ATTEMPTS,
            backoff,
        };
        let whole = begun.step_with("notify", ACTION, |step| {
            step.title("Notify").timeout(TIMEOUT).retry(retry)
        });
        Arc::new(whole.build().expect("constant and tested"))
    };
    MADE.get_or_init(make).clone()
}

/// Sets the limits of the queue of notifications if it is new.
pub(super) async fn configure(store: &dyn Store) -> Result<(), StoreError> {
    let keep = |days: u64| RetentionLimit {
        age: Some(Duration::from_secs(days * 24 * 3600)),
        count: Some(10_000),
    };
    let retention = Retention {
        completed: keep(7),
        failed: keep(30),
        cancelled: keep(7),
    };
    let limits = QueueLimits {
        concurrency_per_key: Some(CONCURRENCY_PER_NOTIFIER),
        retention,
        ..QueueLimits::default()
    };
    store.set_queue(OWN_QUEUE, limits, true).await
}

/// Submits the notifications of an alert's current state. Idempotent.
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
        // Highest priority: when many runs wait, that must still be reported.
        let submit = submit.priority(i32::MAX);
        match client.submit(submit).await {
            // Another server with a different `public_url` has submitted the notification already.
            Ok(_) | Err(SubmitError::KeyConflict { .. }) => {}
            Err(SubmitError::Store(error)) => return Err(error),
            Err(error) => {
                tracing::error!(%error, notifier = notifier.name, "failed to submit a notification")
            }
        }
    }
    Ok(())
}

/// The handlers that send notifications, for the worker of a serving process. With `alerts`, the
/// store of the alerts, a firing that has been resolved in the meantime is not sent.
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

/// Slots reserved for notifications on a worker that is full, so that even a total standstill is
/// reported. The number equals the concurrency of the queue.
pub fn reserved_slots(notifiers: &[Notifier]) -> ReservedSlots {
    ReservedSlots {
        count: notifiers.len() * CONCURRENCY_PER_NOTIFIER as usize,
        actions: [ACTION.to_owned()].into(),
    }
}

struct Notify {
    notifiers: BTreeMap<String, Notifier>,
    run_command: Option<RunCommand>,
    alerts: Option<Arc<dyn Store>>,
}

impl Notify {
    /// Returns true if the firing in the message still holds. After repeated attempts it may be
    /// hours late, and recipients of the resolution would take it for a new firing.
    async fn still_fires(&self, message: &Message) -> Result<bool, StepError> {
        let Some(store) = &self.alerts else {
            return Ok(true);
        };
        let stored = alert::get(store.as_ref(), &message.alert)
            .await
            .map_err(|error| StepError::from(error.to_string()))?;
        let same = |stored: Alert| {
            stored.state == AlertState::Firing && stored.fired_at.to_string() == message.fired_at
        };
        Ok(stored.is_some_and(same))
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
            let names: Vec<&str> = self.notifiers.keys().map(String::as_str).collect();
            let error = format!(
                "this server has no notifier `{name}`: it has {}",
                if names.is_empty() {
                    "none".to_owned()
                } else {
                    names.join(", ")
                }
            );
            return Err(error.into());
        };
        let message = parameters
            .get("message")
            .and_then(Message::from_json)
            .ok_or_else(|| {
                StepError::fatal(
                    "the notification was written by another version, and this version cannot read it",
                )
            })?;
        if message.state == AlertState::Firing && !self.still_fires(&message).await? {
            return Ok(Output::new(
                json!({ "notifier": name, "answer": "not sent: resolved in the meantime" }),
            )?
            .into());
        }
        let credential = |name: &str| {
            context
                .credential(name)
                .map_err(|error| BoxError::from(error.chain()))
        };
        let tools = Tools {
            id: format!("msg_{}", context.run_id()),
            credential: &credential,
            run_command: self.run_command.as_ref(),
            cancellation: context.cancellation(),
        };
        let reply = deliver(notifier, &message, &tools)
            .await
            .map_err(StepError::from)?;
        Ok(Output::new(json!({ "notifier": name, "answer": reply }))?.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_is_retried_for_hours() {
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
    fn the_workflow_needs_only_handlers_of_the_server() {
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
