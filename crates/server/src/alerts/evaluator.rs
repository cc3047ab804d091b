//! Evaluates the rules every few seconds and updates the alerts accordingly.
//!
//! Every server does so, without knowledge of the others. An alert is written only if it is
//! unchanged since it was read, so exactly one server changes it. The same write marks its
//! notifications as unsent, and the next evaluation of any server sends them: a crash in between
//! loses none.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use surefoot::document::{Expect, NewDocument};
use surefoot::{Client, Store, StoreError, Timestamp};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::alert::{self, Alert, AlertState, Finding};
use super::rules::Rule;
use super::run_age::RunAges;
use super::{AlertOptions, evaluate, run_rules, send};

/// Number of resolved alerts kept. Beyond it, those that fired earliest expire early.
const MAX_RESOLVED: usize = 1000;

/// Interval at which the observation of a firing alert is recorded. Each record is a write.
const OBSERVATION_INTERVAL: Duration = Duration::from_secs(10);

/// Evaluates the rules until `stop` is cancelled.
pub(crate) async fn run(client: Client, options: AlertOptions, stop: CancellationToken) {
    let mut evaluator = Evaluator::new(client, options);
    loop {
        let every = evaluator.options.every;
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
        // An interrupted evaluation leaves nothing half done: each change is one write.
        tokio::select! {
            () = stop.cancelled() => return,
            evaluated = evaluator.evaluate() => if let Err(error) = evaluated {
                tracing::warn!(%error, "failed to evaluate the alert rules; trying again");
            }
        }
    }
}

/// Evaluates the rules.
pub(super) struct Evaluator {
    client: Client,
    options: AlertOptions,
    run_ages: RunAges,
    /// True once the queue of notifications has its limits.
    configured: bool,
}

impl Evaluator {
    pub(super) fn new(client: Client, options: AlertOptions) -> Self {
        Self {
            client,
            options,
            run_ages: RunAges::default(),
            configured: false,
        }
    }

    fn store(&self) -> &dyn Store {
        self.client.store().as_ref()
    }

    /// Evaluates all rules once.
    pub(super) async fn evaluate(&mut self) -> Result<(), StoreError> {
        // Before any notification is submitted. Without limits, one notifier that does not respond
        // would delay the others.
        if !self.configured {
            send::configure(self.store()).await?;
            self.configured = true;
        }
        let slow = self.probe().await?;
        let mut alerts: BTreeMap<String, Alert> = BTreeMap::new();
        for alert in alert::all(self.store()).await? {
            // Notifications that an earlier evaluation or another server did not submit come first,
            // before the alert changes.
            let alert = if alert.sent {
                alert
            } else {
                self.send(alert).await?
            };
            alerts.insert(alert.id.clone(), alert);
        }
        let mut found = evaluate::evaluate(
            self.client.store().as_ref(),
            &self.options.rules,
            &mut self.run_ages,
        )
        .await?;
        found.extend(slow);
        let mut seen = std::collections::BTreeSet::new();
        for finding in found {
            if seen.insert(finding.id()) {
                let before = alerts.remove(&finding.id());
                self.raise(finding, before).await?;
            }
        }
        let (firing, resolved): (Vec<_>, Vec<_>) = alerts
            .into_values()
            .partition(|alert| alert.state == AlertState::Firing);
        for alert in firing {
            self.resolve_if_over(alert).await?;
        }
        self.expire_oldest(resolved).await
    }

    /// Measures the time of a commit by making a small one.
    async fn probe(&self) -> Result<Option<Finding>, StoreError> {
        let Some(limit) = self.options.rules.slow_store else {
            return Ok(None);
        };
        let kind = "server".to_owned();
        let id = "probe".to_owned();
        let document = NewDocument {
            kind,
            id,
            expires_at: None,
            data: json!({}),
        };
        let began = Instant::now();
        self.store()
            .put_document(document, Expect::Anything)
            .await?;
        let took = began.elapsed();
        Ok((took > limit).then(|| Finding {
            rule: Rule::SlowStore,
            subject: "store".to_owned(),
            title: "the store is slow".to_owned(),
            text: format!(
                "a commit took {}, more than {}",
                run_rules::format_rounded(took),
                run_rules::format_rounded(limit)
            ),
            run: None,
            queue: None,
        }))
    }

    pub(super) async fn raise(
        &self,
        finding: Finding,
        before: Option<Alert>,
    ) -> Result<(), StoreError> {
        let now = self.store().now();
        let version = before.as_ref().map_or(0, |alert| alert.version);
        let next = match before {
            Some(alert) if alert.state == AlertState::Firing => {
                if finding.rule.resolve_delay().is_zero()
                    || now.since(alert.seen_at) < OBSERVATION_INTERVAL
                {
                    return Ok(());
                }
                Alert {
                    seen_at: now,
                    ..alert
                }
            }
            _ => Alert {
                version,
                ..Alert::fired(finding, now)
            },
        };
        self.write_and_send(next).await
    }

    /// Resolves an alert whose fact was not found. Listings hold only the oldest runs, so the
    /// alert's own run is checked first.
    async fn resolve_if_over(&mut self, alert: Alert) -> Result<(), StoreError> {
        let now = self.store().now();
        if now.since(alert.seen_at) < alert.rule.resolve_delay()
            || self.still_holds(&alert, now).await?
        {
            return Ok(());
        }
        self.write_and_send(alert.resolved(now)).await
    }

    async fn still_holds(&mut self, alert: &Alert, now: Timestamp) -> Result<bool, StoreError> {
        let Some(run) = alert.run else {
            return Ok(false);
        };
        let store = self.client.store().as_ref();
        let Some(run) = store.run(run).await? else {
            return Ok(false);
        };
        let began = self
            .run_ages
            .began_at(store, &self.options.rules, &run, now)
            .await?;
        Ok(run_rules::findings(&run, &self.options.rules, now, began)
            .iter()
            .any(|finding| finding.rule == alert.rule))
    }

    async fn write_and_send(&self, alert: Alert) -> Result<(), StoreError> {
        // Another server or a person changed the alert. The next evaluation sees the result.
        let Some(written) = alert.write(self.store()).await? else {
            return Ok(());
        };
        if !written.sent {
            self.send(written).await?;
        }
        Ok(())
    }

    /// Submits the notifications and records that.
    async fn send(&self, alert: Alert) -> Result<Alert, StoreError> {
        send::submit(&self.client, &self.options, &alert).await?;
        let sent = Alert {
            sent: true,
            ..alert
        };
        Ok(sent.clone().write(self.store()).await?.unwrap_or(sent))
    }

    async fn expire_oldest(&self, mut resolved: Vec<Alert>) -> Result<(), StoreError> {
        resolved.sort_by_key(|alert| std::cmp::Reverse(alert.fired_at));
        for alert in resolved.into_iter().skip(MAX_RESOLVED) {
            alert.expire(self.store()).await?;
        }
        Ok(())
    }
}
