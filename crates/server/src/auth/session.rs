//! Sessions of people who signed in to the dashboard. The browser holds the id, the store only its
//! digest.

use std::time::Duration;

use serde_json::{Value, json};
use surefoot::document::{Document, Expect, NewDocument};
use surefoot::{AllowLists, Store, StoreError, Timestamp};

use super::{Role, random, token};

const KIND: &str = "session";

/// Lifetimes of sessions.
#[derive(Clone, Debug)]
pub struct SessionLimits {
    /// Limit without any use.
    pub idle: Duration,
    /// Limit in all.
    pub longest: Duration,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(12 * 3600),
            longest: Duration::from_secs(7 * 24 * 3600),
        }
    }
}

/// A use is recorded once per this fraction of the idle limit, since each record is a write.
const USES_RECORDED_PER_IDLE_LIMIT: u32 = 20;

/// A person's session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    /// The digest of the cookie's value. Form tokens are bound to it.
    pub(crate) id: String,
    /// Display name of the person.
    pub(crate) name: String,
    pub(crate) role: Role,
    /// The name and the allow-lists of its token, as they are now.
    pub(crate) token: Option<(String, AllowLists)>,
    pub(crate) created_at: Timestamp,
    pub(crate) used_at: Timestamp,
    pub(crate) basis: Basis,
}

/// The credential that a session depends on. The session ends when it becomes invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Basis {
    /// A token, by its digest. The session has the token's role.
    Token(String),
    /// The identity provider, by its fingerprint ([`super::oidc::Oidc::fingerprint`]).
    Provider(String),
}

/// Begins a session. Also returns the cookie's value.
pub(crate) async fn begin(
    store: &dyn Store,
    limits: &SessionLimits,
    name: &str,
    role: Role,
    basis: Basis,
) -> Result<(String, Session), StoreError> {
    let now = store.now();
    let value = random::text();
    let id = random::digest(&value);
    let session = Session {
        id,
        name: name.to_owned(),
        role,
        token: None,
        created_at: now,
        used_at: now,
        basis,
    };
    store
        .put_document(document(&session, limits), Expect::Nothing)
        .await?;
    Ok((value, session))
}

/// The session of a cookie's value, if it is still valid. Records its use. `provider` is the
/// fingerprint of the identity provider as configured now.
pub(crate) async fn find(
    store: &dyn Store,
    limits: &SessionLimits,
    provider: Option<&str>,
    value: &str,
) -> Result<Option<Session>, StoreError> {
    let Some(stored) = store.document(KIND, &random::digest(value)).await? else {
        return Ok(None);
    };
    let Some(mut session) = read(&stored).filter(|session| is_within(session, limits, store.now()))
    else {
        return Ok(None);
    };
    match &session.basis {
        Basis::Token(digest) => {
            let Some(token) = token::by_digest(store, digest).await? else {
                return Ok(None);
            };
            session.role = token.role;
            session.token = Some((token.name, token.allow));
        }
        Basis::Provider(fingerprint) if provider != Some(fingerprint) => return Ok(None),
        Basis::Provider(_) => {}
    }
    // A full disk or a read-only database must not lock people out.
    if let Err(error) = record_use(store, limits, &stored, &session).await {
        tracing::debug!(%error, "failed to record the use of a session");
    }
    Ok(Some(session))
}

/// Ends the session of a cookie's value.
pub(crate) async fn end(store: &dyn Store, value: &str) -> Result<(), StoreError> {
    store
        .delete_document(KIND, &random::digest(value))
        .await
        .map(drop)
}

/// Checked here beside the document's expiry, so that shortened limits also apply to sessions that
/// exist already.
fn is_within(session: &Session, limits: &SessionLimits, now: Timestamp) -> bool {
    now.since(session.created_at) < limits.longest && now.since(session.used_at) < limits.idle
}

async fn record_use(
    store: &dyn Store,
    limits: &SessionLimits,
    stored: &Document,
    session: &Session,
) -> Result<(), StoreError> {
    let now = store.now();
    if now.since(session.used_at) < limits.idle / USES_RECORDED_PER_IDLE_LIMIT {
        return Ok(());
    }
    let used = Session {
        used_at: now,
        ..session.clone()
    };
    // A session that ended in between stays ended: its version no longer exists.
    store
        .put_document(document(&used, limits), Expect::Version(stored.version))
        .await
        .map(drop)
}

fn document(session: &Session, limits: &SessionLimits) -> NewDocument {
    let expires_at = (session.created_at + limits.longest).min(session.used_at + limits.idle);
    let (token, provider) = match &session.basis {
        Basis::Token(digest) => (Some(digest), None),
        Basis::Provider(fingerprint) => (None, Some(fingerprint)),
    };
    let data = json!({
        "name": session.name,
        "role": session.role.as_str(),
        "created_at": session.created_at.as_micros(),
        "used_at": session.used_at.as_micros(),
        "token": token,
        "provider": provider,
    });
    NewDocument {
        kind: KIND.to_owned(),
        id: session.id.clone(),
        expires_at: Some(expires_at),
        data,
    }
}

fn read(document: &Document) -> Option<Session> {
    let text = |name: &str| document.data.get(name).and_then(Value::as_str);
    let time = |name: &str| {
        document
            .data
            .get(name)
            .and_then(Value::as_i64)
            .map(Timestamp::from_micros)
    };
    Some(Session {
        id: document.id.clone(),
        name: text("name")?.to_owned(),
        role: text("role")?.parse().ok()?,
        token: None,
        created_at: time("created_at")?,
        used_at: time("used_at")?,
        basis: match (text("token"), text("provider")) {
            (Some(digest), _) => Basis::Token(digest.to_owned()),
            (None, fingerprint) => Basis::Provider(fingerprint?.to_owned()),
        },
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use surefoot::ManualClock;
    use surefoot_store_tests::{FaultyStore, MemoryStore};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn limits() -> SessionLimits {
        SessionLimits {
            idle: HOUR,
            longest: 5 * HOUR,
        }
    }

    fn provider() -> Basis {
        Basis::Provider("p".to_owned())
    }

    fn store() -> (Arc<ManualClock>, MemoryStore) {
        let clock = Arc::new(ManualClock::new(Timestamp::from_micros(
            1_800_000_000_000_000,
        )));
        (clock.clone(), MemoryStore::new(clock))
    }

    async fn holds(store: &MemoryStore, value: &str) -> bool {
        find(store, &limits(), Some("p"), value)
            .await
            .unwrap()
            .is_some()
    }

    #[tokio::test]
    async fn an_unused_session_ends() {
        let (clock, store) = store();
        let (value, session) = begin(&store, &limits(), "ann", Role::Operator, provider())
            .await
            .unwrap();
        assert_eq!(
            find(&store, &limits(), Some("p"), &value).await.unwrap(),
            Some(session)
        );
        clock.advance(HOUR);
        assert!(!holds(&store, &value).await);
    }

    #[tokio::test]
    async fn a_used_session_ends_at_the_maximum_lifetime() {
        let (clock, store) = store();
        let (value, _) = begin(&store, &limits(), "ann", Role::Operator, provider())
            .await
            .unwrap();
        for _ in 0..9 {
            clock.advance(HOUR / 2);
            assert!(holds(&store, &value).await);
        }
        clock.advance(HOUR / 2);
        assert!(!holds(&store, &value).await);
    }

    #[tokio::test]
    async fn shorter_limits_apply_to_existing_sessions() {
        let (clock, store) = store();
        let (value, _) = begin(&store, &limits(), "ann", Role::Operator, provider())
            .await
            .unwrap();
        clock.advance(HOUR / 2);
        let shorter = SessionLimits {
            idle: HOUR / 4,
            longest: 5 * HOUR,
        };
        assert_eq!(
            find(&store, &shorter, Some("p"), &value).await.unwrap(),
            None
        );
    }

    #[tokio::test]
    async fn only_the_cookies_value_identifies_a_session() {
        let (_, store) = store();
        let (value, session) = begin(&store, &limits(), "ann", Role::Operator, provider())
            .await
            .unwrap();
        assert!(holds(&store, &value).await);
        assert!(
            !holds(&store, &session.id).await,
            "what the store has is no use"
        );
        end(&store, &value).await.unwrap();
        assert!(!holds(&store, &value).await);
    }

    #[tokio::test]
    async fn a_session_ends_with_its_token() {
        let (_, store) = store();
        let made = token::create(&store, "ann", Role::Admin, None, "x")
            .await
            .unwrap();
        let (digest, found) = token::find(&store, made.secret.expose())
            .await
            .unwrap()
            .unwrap();
        let (value, _) = begin(&store, &limits(), "ann", found.role, Basis::Token(digest))
            .await
            .unwrap();
        assert!(holds(&store, &value).await);
        token::revoke(&store, "ann").await.unwrap();
        assert!(!holds(&store, &value).await);
    }

    #[tokio::test]
    async fn recording_a_use_does_not_revive_an_ended_session() {
        let (clock, store) = store();
        let (value, session) = begin(&store, &limits(), "ann", Role::Admin, provider())
            .await
            .unwrap();
        let stored = store.document(KIND, &session.id).await.unwrap().unwrap();
        clock.advance(HOUR / 2);
        end(&store, &value).await.unwrap();
        record_use(&store, &limits(), &stored, &session)
            .await
            .unwrap();
        assert!(!holds(&store, &value).await);
    }

    #[tokio::test]
    async fn a_session_ends_when_its_provider_changes() {
        let (_, store) = store();
        let (value, _) = begin(&store, &limits(), "ann", Role::Admin, provider())
            .await
            .unwrap();
        for other in [Some("another mapping of roles"), None] {
            assert_eq!(find(&store, &limits(), other, &value).await.unwrap(), None);
        }
        assert!(holds(&store, &value).await);
    }

    #[tokio::test]
    async fn a_failure_to_record_a_use_does_not_refuse_access() {
        let (clock, store) = store();
        let (value, _) = begin(&store, &limits(), "ann", Role::Admin, provider())
            .await
            .unwrap();
        clock.advance(HOUR / 2);
        let full = FaultyStore::sound(Arc::new(store));
        full.set_full(true);
        assert!(
            find(&full, &limits(), Some("p"), &value)
                .await
                .unwrap()
                .is_some()
        );
    }
}
