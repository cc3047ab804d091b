//! Looks at the rules every few seconds, and makes the alerts agree with what they find.
//!
//! Every server does this, and none knows of the others: an alert is changed only when it is as it was read, so one of them
//! does it. What must be sent is noted in that same change, and whoever looks next sends it: a crash in between loses nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use surefoot::document::{Expect, NewDocument};
use surefoot::{Client, Store, StoreError, Timestamp};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::alert::{self, Alert, AlertState, Finding};
use super::goes::Goes;
use super::rules::Rule;
use super::{AlertOptions, judge, look, send};

/// Resolved alerts that are kept; beyond, those that fired longest ago are let go before their time.
const RESOLVED: usize = 1000;

/// How often it is noted that a lingering alert was seen again: each note is a write.
const NOTE: Duration = Duration::from_secs(10);

/// Looks until told to stop.
pub(crate) async fn run(client: Client, options: AlertOptions, stop: CancellationToken) {
    let mut evaluator = Evaluator::new(client, options);
    loop {
        let every = evaluator.options.every;
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
        // A look that is cut short leaves nothing half done: each change is one write.
        tokio::select! {
            () = stop.cancelled() => return,
            looked = evaluator.look() => if let Err(error) = looked {
                tracing::warn!(%error, "cannot look at the alert rules; trying again");
            }
        }
    }
}

/// What looks at the rules.
pub(super) struct Evaluator {
    client: Client,
    options: AlertOptions,
    goes: Goes,
    /// The queue of notifications has its limits.
    configured: bool,
}

impl Evaluator {
    pub(super) fn new(client: Client, options: AlertOptions) -> Self {
        Self {
            client,
            options,
            goes: Goes::default(),
            configured: false,
        }
    }

    fn store(&self) -> &dyn Store {
        self.client.store().as_ref()
    }

    /// One look.
    pub(super) async fn look(&mut self) -> Result<(), StoreError> {
        // Before anything is put into it: without limits one notifier that does not answer would hold up the others.
        if !self.configured {
            send::configure(self.store()).await?;
            self.configured = true;
        }
        let slow = self.probe().await?;
        let mut known: BTreeMap<String, Alert> = BTreeMap::new();
        for alert in alert::all(self.store()).await? {
            // What an earlier look, or another server's, could not send is sent before anything else changes it.
            let alert = if alert.sent {
                alert
            } else {
                self.send(alert).await?
            };
            known.insert(alert.id.clone(), alert);
        }
        let mut found = look::look(
            self.client.store().as_ref(),
            &self.options.rules,
            &mut self.goes,
        )
        .await?;
        found.extend(slow);
        let mut seen = std::collections::BTreeSet::new();
        for finding in found {
            if seen.insert(finding.id()) {
                let before = known.remove(&finding.id());
                self.found(finding, before).await?;
            }
        }
        let (firing, resolved): (Vec<_>, Vec<_>) = known
            .into_values()
            .partition(|alert| alert.state == AlertState::Firing);
        for alert in firing {
            self.not_found(alert).await?;
        }
        self.tidy(resolved).await
    }

    /// Measures how long a commit takes, by making a small one.
    async fn probe(&self) -> Result<Option<Finding>, StoreError> {
        let Some(limit) = self.options.rules.slow_store else {
            return Ok(None);
        };
        let (kind, id) = ("server".to_owned(), "probe".to_owned());
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
                judge::people(took),
                judge::people(limit)
            ),
            run: None,
            queue: None,
        }))
    }

    pub(super) async fn found(
        &self,
        finding: Finding,
        before: Option<Alert>,
    ) -> Result<(), StoreError> {
        let now = self.store().now();
        let version = before.as_ref().map_or(0, |alert| alert.version);
        let next = match before {
            Some(alert) if alert.state == AlertState::Firing => {
                if finding.rule.lingers().is_zero() || now.since(alert.seen_at) < NOTE {
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

    /// A listing shows the oldest, so an alert that is not among what was found may still be so: its own run says.
    async fn not_found(&mut self, alert: Alert) -> Result<(), StoreError> {
        let now = self.store().now();
        if now.since(alert.seen_at) < alert.rule.lingers() || self.still(&alert, now).await? {
            return Ok(());
        }
        self.write_and_send(alert.resolved(now)).await
    }

    async fn still(&mut self, alert: &Alert, now: Timestamp) -> Result<bool, StoreError> {
        let Some(run) = alert.run else {
            return Ok(false);
        };
        let store = self.client.store().as_ref();
        let Some(run) = store.run(run).await? else {
            return Ok(false);
        };
        let began = self
            .goes
            .began(store, &self.options.rules, &run, now)
            .await?;
        Ok(judge::run(&run, &self.options.rules, now, began)
            .iter()
            .any(|finding| finding.rule == alert.rule))
    }

    async fn write_and_send(&self, alert: Alert) -> Result<(), StoreError> {
        // Another server, or a person, was first: the next look sees what is so then.
        let Some(written) = alert.write(self.store()).await? else {
            return Ok(());
        };
        if !written.sent {
            self.send(written).await?;
        }
        Ok(())
    }

    /// Hands the notifications to the store, and notes that it was done.
    async fn send(&self, alert: Alert) -> Result<Alert, StoreError> {
        send::submit(&self.client, &self.options, &alert).await?;
        let sent = Alert {
            sent: true,
            ..alert
        };
        Ok(sent.clone().write(self.store()).await?.unwrap_or(sent))
    }

    async fn tidy(&self, mut resolved: Vec<Alert>) -> Result<(), StoreError> {
        resolved.sort_by_key(|alert| std::cmp::Reverse(alert.fired_at));
        for alert in resolved.into_iter().skip(RESOLVED) {
            alert.forget(self.store()).await?;
        }
        Ok(())
    }
}
