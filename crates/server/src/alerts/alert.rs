//! An alert and its storage: one document per rule and subject, changed only by compare-and-set. It
//! therefore fires once, however many servers observe the same fact.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde_json::{Value, json};
use surefoot::document::{Document, DocumentFilter, Expect, NewDocument};
use surefoot::{RunId, Store, StoreError, Timestamp};

use super::rules::Rule;

const KIND: &str = "alert";

/// Retention of resolved alerts.
const RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);

/// Page size of listings.
const PAGE: usize = 1000;

/// A fact found by a rule.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Finding {
    pub(crate) rule: Rule,
    /// The object of the fact: a run, a queue, the store.
    pub(crate) subject: String,
    pub(crate) title: String,
    pub(crate) text: String,
    pub(crate) run: Option<RunId>,
    pub(crate) queue: Option<String>,
}

impl Finding {
    pub(super) fn id(&self) -> String {
        format!("{}/{}", self.rule, self.subject)
    }
}

/// An alert.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// The rule and the subject, such as `long_run/0198...`.
    pub id: String,
    /// The rule that fired.
    pub rule: Rule,
    /// The object of the alert: a run's id, the name of a queue, or `store`.
    pub subject: String,
    /// A title of a few words.
    pub title: String,
    /// A description of one sentence.
    pub text: String,
    /// The run concerned.
    pub run: Option<RunId>,
    /// The queue concerned.
    pub queue: Option<String>,
    /// The state.
    pub state: AlertState,
    /// When it fired. Together with the id, this identifies the firing.
    pub fired_at: Timestamp,
    /// When it was resolved.
    pub resolved_at: Option<Timestamp>,
    /// The actor that acknowledged it, and when.
    pub acknowledged: Option<(String, Timestamp)>,
    /// True once the notifications of the current state have been submitted as runs.
    pub(super) sent: bool,
    /// When a server last observed the fact; maintained only for rules with a resolve delay.
    pub(super) seen_at: Timestamp,
    pub(super) version: u64,
}

/// The state of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlertState {
    /// The fact still holds.
    Firing,
    /// The fact no longer holds.
    Resolved,
}

impl AlertState {
    /// The stored word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

/// A word that names no state of an alert.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a state of an alert: use firing or resolved")]
pub struct UnknownAlertState(pub String);

impl fmt::Display for AlertState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for AlertState {
    type Err = UnknownAlertState;

    fn from_str(word: &str) -> Result<Self, UnknownAlertState> {
        match word {
            "firing" => Ok(Self::Firing),
            "resolved" => Ok(Self::Resolved),
            _ => Err(UnknownAlertState(word.to_owned())),
        }
    }
}

impl Alert {
    /// A new alert, firing since `now`.
    pub(super) fn fired(finding: Finding, now: Timestamp) -> Self {
        Self {
            id: finding.id(),
            rule: finding.rule,
            subject: finding.subject,
            title: finding.title,
            text: finding.text,
            run: finding.run,
            queue: finding.queue,
            state: AlertState::Firing,
            fired_at: now,
            resolved_at: None,
            acknowledged: None,
            sent: false,
            seen_at: now,
            version: 0,
        }
    }

    pub(super) fn resolved(self, now: Timestamp) -> Self {
        Self {
            state: AlertState::Resolved,
            resolved_at: Some(now),
            sent: false,
            ..self
        }
    }

    /// Returns true if the alert fires and is not acknowledged.
    pub fn is_open(&self) -> bool {
        self.state == AlertState::Firing && self.acknowledged.is_none()
    }

    fn document(&self) -> NewDocument {
        let acknowledged = self.acknowledged.as_ref();
        let data = json!({
            "rule": self.rule.as_str(),
            "subject": self.subject,
            "title": self.title,
            "text": self.text,
            "run": self.run.map(|run| run.to_string()),
            "queue": self.queue,
            "state": self.state.as_str(),
            "fired_at": self.fired_at.as_micros(),
            "resolved_at": self.resolved_at.map(Timestamp::as_micros),
            "acknowledged_by": acknowledged.map(|(by, _)| by),
            "acknowledged_at": acknowledged.map(|(_, at)| at.as_micros()),
            "sent": self.sent,
            "seen_at": self.seen_at.as_micros(),
        });
        let expires_at = self.resolved_at.map(|at| at + RETENTION);
        NewDocument {
            kind: KIND.to_owned(),
            id: self.id.clone(),
            expires_at,
            data,
        }
    }

    fn read(document: Document) -> Option<Self> {
        let data = &document.data;
        let text = |name: &str| data.get(name).and_then(Value::as_str).map(str::to_owned);
        let time = |name: &str| {
            data.get(name)
                .and_then(Value::as_i64)
                .map(Timestamp::from_micros)
        };
        Some(Self {
            rule: text("rule")?.parse().ok()?,
            subject: text("subject")?,
            title: text("title")?,
            text: text("text")?,
            run: text("run").and_then(|run| run.parse().ok()),
            queue: text("queue"),
            state: text("state")?.parse().ok()?,
            fired_at: time("fired_at")?,
            resolved_at: time("resolved_at"),
            acknowledged: text("acknowledged_by").zip(time("acknowledged_at")),
            sent: data.get("sent").and_then(Value::as_bool)?,
            seen_at: time("seen_at")?,
            version: document.version,
            id: document.id,
        })
    }

    /// Writes the alert unless it changed since it was read. Returns it with its new version.
    pub(super) async fn write(self, store: &dyn Store) -> Result<Option<Self>, StoreError> {
        let expect = if self.version == 0 {
            Expect::Nothing
        } else {
            Expect::Version(self.version)
        };
        let version = store.put_document(self.document(), expect).await?;
        Ok(version.map(|version| Self { version, ..self }))
    }

    /// Expires the alert unless it changed since it was read.
    pub(super) async fn expire(self, store: &dyn Store) -> Result<(), StoreError> {
        let document = NewDocument {
            expires_at: Some(store.now()),
            ..self.document()
        };
        store
            .put_document(document, Expect::Version(self.version))
            .await
            .map(drop)
    }
}

/// Every alert that fires or was resolved within the retention, latest first.
pub(super) async fn all(store: &dyn Store) -> Result<Vec<Alert>, StoreError> {
    let mut filter = DocumentFilter {
        kind: KIND.to_owned(),
        after: None,
        descending: false,
        limit: PAGE,
    };
    let mut alerts = Vec::new();
    loop {
        let page = store.documents(filter.clone()).await?;
        filter.after = page.last().map(|document| document.id.clone());
        let full = page.len() == PAGE;
        alerts.extend(page.into_iter().filter_map(Alert::read));
        if !full {
            break;
        }
    }
    alerts.sort_by(|a, b| (b.fired_at, &b.id).cmp(&(a.fired_at, &a.id)));
    Ok(alerts)
}

/// The alert of that id.
pub(super) async fn get(store: &dyn Store, id: &str) -> Result<Option<Alert>, StoreError> {
    Ok(store.document(KIND, id).await?.and_then(Alert::read))
}
