//! An alert, and how it is kept: one document for each rule and subject, changed only by compare-and-set. So it fires once,
//! however many servers see the same.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde_json::{Value, json};
use surefoot::document::{Document, DocumentFilter, Expect, NewDocument};
use surefoot::{RunId, Store, StoreError, Timestamp};

use super::rules::Rule;

const KIND: &str = "alert";

/// How long resolved alerts are shown.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Alerts read at a time.
const PAGE: usize = 1000;

/// What a rule found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Finding {
    pub(crate) rule: Rule,
    /// What it is about: a run, a queue, the store.
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
    /// The rule and the subject: `long_run/0198...`.
    pub id: String,
    /// Which rule fired.
    pub rule: Rule,
    /// On what: a run's id, the name of a queue, `store`.
    pub subject: String,
    /// In a few words.
    pub title: String,
    /// In a sentence.
    pub text: String,
    /// The run that it is about.
    pub run: Option<RunId>,
    /// The queue that it is about.
    pub queue: Option<String>,
    /// Whether it is still so.
    pub state: AlertState,
    /// When it fired; with the id, names this firing.
    pub fired_at: Timestamp,
    /// When it was resolved.
    pub resolved_at: Option<Timestamp>,
    /// Who has seen it, and when.
    pub acknowledged: Option<(String, Timestamp)>,
    /// Whether the notifications of its present state were handed to the store as runs.
    pub(super) sent: bool,
    /// When a server last found it so; noted only for rules that linger.
    pub(super) seen_at: Timestamp,
    pub(super) version: u64,
}

/// Whether an alert is still so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlertState {
    /// It is.
    Firing,
    /// It no longer is.
    Resolved,
}

impl AlertState {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

impl fmt::Display for AlertState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for AlertState {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "firing" => Ok(Self::Firing),
            "resolved" => Ok(Self::Resolved),
            _ => Err(format!(
                "`{word}` is no state of an alert: firing or resolved"
            )),
        }
    }
}

impl Alert {
    /// It fires.
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

    /// Whether it fires and nobody has acknowledged it.
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
        let expires_at = self.resolved_at.map(|at| at + KEPT);
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

    /// Writes it unless somebody else wrote it since it was read. Gives it as it is then.
    pub(super) async fn write(self, store: &dyn Store) -> Result<Option<Self>, StoreError> {
        let expect = if self.version == 0 {
            Expect::Nothing
        } else {
            Expect::Version(self.version)
        };
        let version = store.put_document(self.document(), expect).await?;
        Ok(version.map(|version| Self { version, ..self }))
    }

    /// Lets go of it, unless somebody else wrote it since it was read.
    pub(super) async fn forget(self, store: &dyn Store) -> Result<(), StoreError> {
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

/// Every alert that fires, or was resolved in the last days; the last to fire first.
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
