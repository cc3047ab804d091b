//! Sessions of people who signed in to the dashboard. The browser has the id, the store only its digest.

use std::time::Duration;

use serde_json::{Value, json};
use surefoot::document::{Document, Expect, NewDocument};
use surefoot::{AllowLists, Store, StoreError, Timestamp};

use super::{Role, random, token};

const KIND: &str = "session";

/// How long sessions last.
#[derive(Clone, Debug)]
pub struct SessionLimits {
    /// Without any use.
    pub idle: Duration,
    /// In all.
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

/// The share of the idle limit after which a use is noted: each note is a write.
const COARSE: u32 = 20;

/// Who signed in, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    /// The digest of the cookie's value; also what form tokens are bound to.
    pub(crate) id: String,
    /// What people call whoever signed in.
    pub(crate) name: String,
    pub(crate) role: Role,
    /// The name and the allow-lists of its token, as they are now.
    pub(crate) token: Option<(String, AllowLists)>,
    pub(crate) created_at: Timestamp,
    pub(crate) used_at: Timestamp,
    pub(crate) basis: Basis,
}

/// Whose word a session was begun on: it ends with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Basis {
    /// A token's, by its digest. The session has the token's role.
    Token(String),
    /// The identity provider's, by a digest of which one it is and what its word is worth ([`super::oidc::Oidc::fingerprint`]).
    Provider(String),
}

/// Begins a session. Gives what goes into the cookie.
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

/// The session of a cookie's value, as long as it holds; `provider` is the identity provider as it is configured now. Its use
/// is noted.
pub(crate) async fn find(
    store: &dyn Store,
    limits: &SessionLimits,
    provider: Option<&str>,
    value: &str,
) -> Result<Option<Session>, StoreError> {
    let Some(known) = store.document(KIND, &random::digest(value)).await? else {
        return Ok(None);
    };
    let Some(mut session) = read(&known).filter(|session| is_within(session, limits, store.now()))
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
    // A disk that is full, or a database that is read-only for a while, keeps nobody from looking.
    if let Err(error) = note_use(store, limits, &known, &session).await {
        tracing::debug!(%error, "the use of a session was not noted");
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

/// Checked as well as kept: limits that were made shorter hold for sessions that were there before.
fn is_within(session: &Session, limits: &SessionLimits, now: Timestamp) -> bool {
    now.since(session.created_at) < limits.longest && now.since(session.used_at) < limits.idle
}

async fn note_use(
    store: &dyn Store,
    limits: &SessionLimits,
    known: &Document,
    session: &Session,
) -> Result<(), StoreError> {
    let now = store.now();
    if now.since(session.used_at) < limits.idle / COARSE {
        return Ok(());
    }
    let used = Session {
        used_at: now,
        ..session.clone()
    };
    // A session that was ended meanwhile stays ended: its version is gone.
    store
        .put_document(document(&used, limits), Expect::Version(known.version))
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
    async fn a_session_ends_when_it_is_not_used() {
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
    async fn a_session_that_is_used_ends_at_its_longest() {
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
    async fn shorter_limits_hold_for_sessions_from_before() {
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
    async fn only_the_cookies_value_opens_it() {
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
    async fn a_session_goes_with_the_token_it_was_begun_with() {
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
    async fn noting_a_use_does_not_bring_an_ended_session_back() {
        let (clock, store) = store();
        let (value, session) = begin(&store, &limits(), "ann", Role::Admin, provider())
            .await
            .unwrap();
        let known = store.document(KIND, &session.id).await.unwrap().unwrap();
        clock.advance(HOUR / 2);
        end(&store, &value).await.unwrap();
        note_use(&store, &limits(), &known, &session).await.unwrap();
        assert!(!holds(&store, &value).await);
    }

    #[tokio::test]
    async fn a_session_goes_with_the_provider_whose_word_it_was_begun_on() {
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
    async fn a_use_that_cannot_be_noted_keeps_nobody_out() {
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
