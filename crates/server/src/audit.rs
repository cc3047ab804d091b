//! The audit log: each action of a person or token is recorded before it is performed, and its
//! outcome afterwards.
//!
//! An entry whose outcome stays `asked` belongs to an action that a crash interrupted; it may or
//! may not have taken effect.

use std::time::Duration;

use serde_json::{Value, json};
use surefoot::document::{Document, DocumentFilter, Expect, NewDocument};
use surefoot::{Store, StoreError, Timestamp};
use uuid::Uuid;

use crate::auth::Actor;
use crate::state::App;

const KIND: &str = "audit";

/// Retention of entries.
const RETENTION: Duration = Duration::from_secs(400 * 24 * 3600);

/// Length limit of a stored reason.
const MAX_REASON_LENGTH: usize = 500;

/// An entry of the log.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    /// The entry's id. Later entries have greater ids, which orders listings.
    pub(crate) id: String,
    pub(crate) at: Timestamp,
    /// Name of the actor.
    pub(crate) actor: String,
    pub(crate) role: String,
    /// Authentication of the actor: a token, a session, this machine.
    pub(crate) via: String,
    /// The action, such as `run.cancel` or `queue.pause`.
    pub(crate) action: String,
    /// The object of the action: a run, a queue, a token.
    pub(crate) subject: String,
    /// Further details.
    pub(crate) detail: Value,
    pub(crate) outcome: Outcome,
}

/// The outcome of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Requested; nothing more is known.
    Requested,
    /// Performed.
    Done,
    /// Not performed, for this reason.
    Refused(String),
}

impl Outcome {
    /// The stored word.
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::Requested => "asked",
            Self::Done => "done",
            Self::Refused(_) => "refused",
        }
    }

    /// The reason of a refusal.
    pub(crate) fn reason(&self) -> Option<&str> {
        match self {
            Self::Refused(reason) => Some(reason),
            Self::Requested | Self::Done => None,
        }
    }
}

/// Records `action`, performs it, and records the outcome. An action that cannot be recorded is not
/// performed.
///
/// # Errors
/// Errors of `action`, and store errors when the entry cannot be written.
pub(crate) async fn audited<T, E>(
    app: &App,
    actor: &Actor,
    action: &str,
    subject: &str,
    detail: Value,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E>
where
    E: From<StoreError> + std::fmt::Display,
{
    let store = app.store();
    let mut entry = begin(store, actor, action, subject, detail).await?;
    let result = work.await;
    entry.outcome = match &result {
        Ok(_) => Outcome::Done,
        Err(error) => Outcome::Refused(error.to_string()),
    };
    finish(store, &entry).await;
    result
}

/// Records an action that was performed.
pub(crate) async fn record(
    app: &App,
    actor: &Actor,
    action: &str,
    subject: &str,
    detail: Value,
) -> Result<(), StoreError> {
    record_in_store(app.store(), actor, action, subject, detail).await
}

/// Like [`record`], for callers without an [`App`].
pub(crate) async fn record_in_store(
    store: &dyn Store,
    actor: &Actor,
    action: &str,
    subject: &str,
    detail: Value,
) -> Result<(), StoreError> {
    let entry = Entry {
        outcome: Outcome::Done,
        ..entry(store, actor, action, subject, detail)
    };
    write(store, &entry).await
}

/// Records an action of the command line (on runs, queues, tokens, alerts). `person` is the
/// operating system's user.
///
/// # Errors
/// Store errors.
pub async fn record_by_command(
    store: &dyn Store,
    person: &str,
    action: &str,
    subject: &str,
    detail: Value,
) -> Result<(), StoreError> {
    let actor = Actor {
        name: person.to_owned(),
        ..Actor::local()
    };
    let entry = entry(store, &actor, action, subject, detail);
    write(
        store,
        &Entry {
            via: "the command line".to_owned(),
            outcome: Outcome::Done,
            ..entry
        },
    )
    .await
}

/// Records that an action was requested. Must be followed by [`finish`].
pub(crate) async fn begin(
    store: &dyn Store,
    actor: &Actor,
    action: &str,
    subject: &str,
    detail: Value,
) -> Result<Entry, StoreError> {
    let entry = entry(store, actor, action, subject, detail);
    write(store, &entry).await?;
    Ok(entry)
}

/// Records the outcome. If that fails the entry stays `asked`, which remains true.
pub(crate) async fn finish(store: &dyn Store, entry: &Entry) {
    if let Err(error) = write(store, entry).await {
        tracing::warn!(%error, action = entry.action, subject = entry.subject, "failed to record the outcome of an action in the audit log");
    }
}

/// Entries, newest first. `after` is the id of the previous page's last entry.
pub(crate) async fn list(
    store: &dyn Store,
    after: Option<String>,
    limit: usize,
) -> Result<Vec<Entry>, StoreError> {
    let filter = DocumentFilter {
        kind: KIND.to_owned(),
        after,
        descending: true,
        limit,
    };
    Ok(store
        .documents(filter)
        .await?
        .into_iter()
        .filter_map(read)
        .collect())
}

fn entry(store: &dyn Store, actor: &Actor, action: &str, subject: &str, detail: Value) -> Entry {
    Entry {
        id: Uuid::now_v7().to_string(),
        at: store.now(),
        actor: actor.name.clone(),
        role: actor.role.as_str().to_owned(),
        via: actor.via.short(),
        action: action.to_owned(),
        subject: subject.to_owned(),
        detail,
        outcome: Outcome::Requested,
    }
}

async fn write(store: &dyn Store, entry: &Entry) -> Result<(), StoreError> {
    let reason = entry
        .outcome
        .reason()
        .map(|reason| reason.chars().take(MAX_REASON_LENGTH).collect::<String>());
    let data = json!({
        "at": entry.at.as_micros(),
        "actor": entry.actor,
        "role": entry.role,
        "via": entry.via,
        "action": entry.action,
        "subject": entry.subject,
        "detail": entry.detail,
        "outcome": entry.outcome.as_str(),
        "reason": reason,
    });
    let expires_at = Some(entry.at + RETENTION);
    let document = NewDocument {
        kind: KIND.to_owned(),
        id: entry.id.clone(),
        expires_at,
        data,
    };
    store
        .put_document(document, Expect::Anything)
        .await
        .map(drop)
}

fn read(document: Document) -> Option<Entry> {
    let text = |name: &str| {
        document
            .data
            .get(name)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let outcome = match text("outcome")?.as_str() {
        "done" => Outcome::Done,
        "refused" => Outcome::Refused(text("reason").unwrap_or_default()),
        _ => Outcome::Requested,
    };
    Some(Entry {
        at: Timestamp::from_micros(document.data.get("at")?.as_i64()?),
        actor: text("actor")?,
        role: text("role")?,
        via: text("via")?,
        action: text("action")?,
        subject: text("subject")?,
        outcome,
        detail: document.data.get("detail").cloned().unwrap_or_default(),
        id: document.id,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use surefoot::ManualClock;
    use surefoot_store_tests::MemoryStore;

    use super::*;

    fn store() -> MemoryStore {
        MemoryStore::new(Arc::new(ManualClock::new(Timestamp::from_micros(
            1_800_000_000_000_000,
        ))))
    }

    #[tokio::test]
    async fn the_newest_entries_come_first_page_by_page() {
        let store = store();
        for number in 0..5 {
            record_in_store(
                &store,
                &Actor::local(),
                "queue.pause",
                &format!("q{number}"),
                json!({}),
            )
            .await
            .unwrap();
        }
        let mut seen = Vec::new();
        let mut after = None;
        loop {
            let page = list(&store, after, 2).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.id.clone());
            seen.extend(page.into_iter().map(|entry| entry.subject));
        }
        assert_eq!(seen, ["q4", "q3", "q2", "q1", "q0"]);
    }

    #[tokio::test]
    async fn an_entry_exists_before_its_action_and_gets_its_outcome_afterwards() {
        let store = store();
        let mut entry = begin(
            &store,
            &Actor::local(),
            "run.cancel",
            "7",
            json!({ "mode": "undo" }),
        )
        .await
        .unwrap();
        assert_eq!(
            list(&store, None, 9).await.unwrap(),
            std::slice::from_ref(&entry)
        );
        assert_eq!(entry.outcome, Outcome::Requested);
        entry.outcome = Outcome::Refused("run 7 is completed".to_owned());
        finish(&store, &entry).await;
        assert_eq!(list(&store, None, 9).await.unwrap(), [entry]);
    }
}
