//! The audit log: every action of a person or token, written down before it is done, and how it came out after.
//!
//! An entry whose outcome stays `asked` is of an action that a crash cut short: it may or may not have been done.

use std::time::Duration;

use serde_json::{Value, json};
use surefoot::document::{Document, DocumentFilter, Expect, NewDocument};
use surefoot::{Store, StoreError, Timestamp};
use uuid::Uuid;

use crate::auth::Actor;
use crate::state::App;

const KIND: &str = "audit";

/// How long entries are kept.
const KEPT: Duration = Duration::from_secs(400 * 24 * 3600);

/// The longest reason that is kept.
const LONGEST_REASON: usize = 500;

/// One entry of the log.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    /// Also the place in the listing: entries of a later time have a later id.
    pub(crate) id: String,
    pub(crate) at: Timestamp,
    /// Who.
    pub(crate) actor: String,
    pub(crate) role: String,
    /// By what we knew: a token, a session, this machine.
    pub(crate) via: String,
    /// What: `run.cancel`, `queue.pause`.
    pub(crate) action: String,
    /// On what: a run, a queue, a token.
    pub(crate) subject: String,
    /// What else there is to say.
    pub(crate) detail: Value,
    pub(crate) outcome: Outcome,
}

/// How an action came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was asked for, and nothing more is known.
    Asked,
    /// It was done.
    Done,
    /// It was not done: why.
    Refused(String),
}

impl Outcome {
    /// The word for it.
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Done => "done",
            Self::Refused(_) => "refused",
        }
    }

    /// Why it was refused.
    pub(crate) fn reason(&self) -> Option<&str> {
        match self {
            Self::Refused(reason) => Some(reason),
            Self::Asked | Self::Done => None,
        }
    }
}

/// Does `action` between the two halves of its entry. What cannot be written down is not done.
///
/// # Errors
/// Those of `action`, and those of the store when the entry cannot be written.
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

/// Writes down what was done.
pub(crate) async fn record(
    app: &App,
    actor: &Actor,
    action: &str,
    subject: &str,
    detail: Value,
) -> Result<(), StoreError> {
    record_in(app.store(), actor, action, subject, detail).await
}

/// [`record`], for whoever has no [`App`].
pub(crate) async fn record_in(
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

/// What the command line did - to runs, queues, tokens, alerts - where the operating system says who it is.
///
/// # Errors
/// When the store does not take it.
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

/// Writes down that an action was asked for. Follow it with [`finish`].
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

/// Writes down how it came out. When that fails the entry stays `asked`, which is true as well.
pub(crate) async fn finish(store: &dyn Store, entry: &Entry) {
    if let Err(error) = write(store, entry).await {
        tracing::warn!(%error, action = entry.action, subject = entry.subject, "the audit log does not say how it came out");
    }
}

/// Entries, the newest first; `after` is the id of the last one of the page before.
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
        outcome: Outcome::Asked,
    }
}

async fn write(store: &dyn Store, entry: &Entry) -> Result<(), StoreError> {
    let reason = entry
        .outcome
        .reason()
        .map(|reason| reason.chars().take(LONGEST_REASON).collect::<String>());
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
    let expires_at = Some(entry.at + KEPT);
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
        _ => Outcome::Asked,
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
            record_in(
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
    async fn an_entry_is_there_before_the_action_and_says_afterwards_how_it_came_out() {
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
        assert_eq!(entry.outcome, Outcome::Asked);
        entry.outcome = Outcome::Refused("run 7 is completed".to_owned());
        finish(&store, &entry).await;
        assert_eq!(list(&store, None, 9).await.unwrap(), [entry]);
    }
}
