//! API tokens: created once, shown once, stored only as a digest.

use std::time::Duration;

use serde_json::{Value, json};
use surefoot::document::{Document, DocumentFilter, Expect, NewDocument};
use surefoot::{AllowList, AllowLists, Store, StoreError, Timestamp};

use super::{Role, random};

const KIND: &str = "token";

/// The prefix of every token, so that secret scanners recognise one.
pub const PREFIX: &str = "sf_";

/// Precision of the recorded last use. Each record is a write.
const LAST_USE_PRECISION: Duration = Duration::from_secs(600);

/// Limit of tokens read; far more than an installation has.
const MAX_TOKENS: usize = 10_000;

/// Length of a token's id, a prefix of its digest. Collisions are practically impossible.
const ID_LENGTH: usize = 12;

/// A token's stored description. The token itself is not stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The beginning of its digest.
    pub id: String,
    /// The token's name.
    pub name: String,
    /// The token's role.
    pub role: Role,
    /// The workflows and actions that it may make run.
    pub allow: AllowLists,
    /// Time of creation.
    pub created_at: Timestamp,
    /// The actor that created it.
    pub created_by: String,
    /// Expiry time.
    pub expires_at: Option<Timestamp>,
    /// Last use, to within ten minutes.
    pub last_used_at: Option<Timestamp>,
}

/// A token that was just created.
#[derive(Debug)]
pub struct NewToken {
    /// The token itself. This is the only time it is available.
    pub secret: surefoot::Secret,
    /// Its description.
    pub token: Token,
}

/// Why a token was not found or created.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The name cannot be used.
    #[error(
        "`{0}` is not the name of a token: 1 to 100 characters, none of them a control character"
    )]
    Name(String),
    /// The name is taken.
    #[error("there is a token named `{0}` already: revoke it first, or take another name")]
    Taken(String),
    /// There is no such token.
    #[error("there is no token `{0}`: `surefoot token list` shows them")]
    Unknown(String),
    /// Several tokens have the name.
    #[error("there are several tokens named `{0}`: give the id, which `surefoot token list` shows")]
    Ambiguous(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Creates a token. Without `lifetime` it is valid until it is revoked.
///
/// # Errors
/// [`TokenError::Name`], [`TokenError::Taken`], or a store error.
pub async fn create(
    store: &dyn Store,
    name: &str,
    role: Role,
    lifetime: Option<Duration>,
    by: &str,
) -> Result<NewToken, TokenError> {
    create_limited(store, name, role, AllowLists::default(), lifetime, by).await
}

/// Makes a token that may make only these workflows and actions run.
///
/// # Errors
/// See [`create`].
pub async fn create_limited(
    store: &dyn Store,
    name: &str,
    role: Role,
    allow: AllowLists,
    lifetime: Option<Duration>,
    by: &str,
) -> Result<NewToken, TokenError> {
    if name.trim().is_empty() || name.chars().count() > 100 || name.chars().any(char::is_control) {
        return Err(TokenError::Name(name.to_owned()));
    }
    if list(store).await?.iter().any(|token| token.name == name) {
        return Err(TokenError::Taken(name.to_owned()));
    }
    let now = store.now();
    let secret = format!("{PREFIX}{}", random::text());
    let digest = random::digest(&secret);
    let token = Token {
        id: digest[..ID_LENGTH].to_owned(),
        name: name.to_owned(),
        role,
        allow,
        created_at: now,
        created_by: by.to_owned(),
        expires_at: lifetime.map(|lifetime| now + lifetime),
        last_used_at: None,
    };
    store
        .put_document(document(digest, &token), Expect::Nothing)
        .await?;
    Ok(NewToken {
        secret: surefoot::Secret::new(secret),
        token,
    })
}

/// Every unexpired token, by name.
///
/// # Errors
/// Store errors.
pub async fn list(store: &dyn Store) -> Result<Vec<Token>, StoreError> {
    let mut tokens: Vec<Token> = all(store).await?.iter().filter_map(read).collect();
    tokens.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(tokens)
}

/// Revokes a token by its name or id. Sessions begun with it end too.
///
/// # Errors
/// [`TokenError::Unknown`], [`TokenError::Ambiguous`], or a store error.
pub async fn revoke(store: &dyn Store, which: &str) -> Result<Token, TokenError> {
    let mut found = Vec::new();
    for document in all(store).await? {
        let Some(token) = read(&document) else {
            continue;
        };
        if token.id == which || token.name == which {
            found.push((document.id, token));
        }
    }
    match found.pop() {
        None => Err(TokenError::Unknown(which.to_owned())),
        Some(_) if !found.is_empty() => Err(TokenError::Ambiguous(which.to_owned())),
        Some((digest, token)) => {
            store.delete_document(KIND, &digest).await?;
            Ok(token)
        }
    }
}

/// Returns true if there is an admin token. Without one, no one could create further tokens.
///
/// # Errors
/// Store errors.
pub async fn has_admin(store: &dyn Store) -> Result<bool, StoreError> {
    Ok(all(store)
        .await?
        .iter()
        .filter_map(read)
        .any(|token| token.role == Role::Admin))
}

/// The token with this secret, and its digest. Records its use.
pub(crate) async fn find(
    store: &dyn Store,
    secret: &str,
) -> Result<Option<(String, Token)>, StoreError> {
    if !secret.starts_with(PREFIX) {
        return Ok(None);
    }
    let digest = random::digest(secret);
    let Some(document) = store.document(KIND, &digest).await? else {
        return Ok(None);
    };
    let Some(token) = read(&document) else {
        return Ok(None);
    };
    // A full disk or a read-only database must not lock people out.
    if let Err(error) = record_use(store, &document, &token).await {
        tracing::debug!(%error, token = token.id, "failed to record the use of a token");
    }
    Ok(Some((digest, token)))
}

/// The token with this digest, if it is valid.
pub(crate) async fn by_digest(
    store: &dyn Store,
    digest: &str,
) -> Result<Option<Token>, StoreError> {
    Ok(store.document(KIND, digest).await?.as_ref().and_then(read))
}

async fn record_use(store: &dyn Store, stored: &Document, token: &Token) -> Result<(), StoreError> {
    let now = store.now();
    if token
        .last_used_at
        .is_some_and(|at| now.since(at) < LAST_USE_PRECISION)
    {
        return Ok(());
    }
    let used = Token {
        last_used_at: Some(now),
        ..token.clone()
    };
    // A token that was revoked in between stays revoked: its version no longer exists.
    store
        .put_document(
            document(stored.id.clone(), &used),
            Expect::Version(stored.version),
        )
        .await?;
    Ok(())
}

async fn all(store: &dyn Store) -> Result<Vec<Document>, StoreError> {
    let filter = DocumentFilter {
        kind: KIND.to_owned(),
        after: None,
        descending: false,
        limit: MAX_TOKENS,
    };
    store.documents(filter).await
}

fn document(digest: String, token: &Token) -> NewDocument {
    let micros = |at: Timestamp| at.as_micros();
    let data = json!({
        "name": token.name,
        "role": token.role.as_str(),
        "workflows": token.allow.workflows.entries(),
        "actions": token.allow.actions.entries(),
        "created_at": micros(token.created_at),
        "created_by": token.created_by,
        "last_used_at": token.last_used_at.map(micros),
    });
    NewDocument {
        kind: KIND.to_owned(),
        id: digest,
        expires_at: token.expires_at,
        data,
    }
}

/// Reads a token. `None` if this build cannot read it; such a token grants no access.
fn read(document: &Document) -> Option<Token> {
    // Tokens of earlier versions have no lists.
    let list = |name: &str| match document.data.get(name) {
        None | Some(Value::Null) => Some(AllowList::everything()),
        Some(entries) => Some(AllowList::stored(
            serde_json::from_value(entries.clone()).ok()?,
        )),
    };
    let text = |name: &str| document.data.get(name).and_then(Value::as_str);
    let time = |name: &str| {
        document
            .data
            .get(name)
            .and_then(Value::as_i64)
            .map(Timestamp::from_micros)
    };
    Some(Token {
        id: document.id.get(..ID_LENGTH)?.to_owned(),
        name: text("name")?.to_owned(),
        role: text("role")?.parse().ok()?,
        allow: AllowLists {
            workflows: list("workflows")?,
            actions: list("actions")?,
        },
        created_at: time("created_at")?,
        created_by: text("created_by")?.to_owned(),
        expires_at: document.expires_at,
        last_used_at: time("last_used_at"),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use surefoot::ManualClock;
    use surefoot_store_tests::{FaultyStore, MemoryStore};

    use super::*;

    fn store() -> (Arc<ManualClock>, MemoryStore) {
        let clock = Arc::new(ManualClock::new(Timestamp::from_micros(
            1_800_000_000_000_000,
        )));
        (clock.clone(), MemoryStore::new(clock))
    }

    async fn kept(store: &MemoryStore) -> Document {
        all(store).await.unwrap().pop().unwrap()
    }

    #[tokio::test]
    async fn a_token_is_stored_only_as_its_digest() {
        let (_, store) = store();
        let made = create(&store, "ci", Role::Operator, None, "ann")
            .await
            .unwrap();
        let secret = made.secret.expose();
        assert!(secret.starts_with("sf_") && secret.len() == 46, "{secret}");
        let document = kept(&store).await;
        assert!(
            !format!("{document:?}").contains(&secret[3..]),
            "the token itself is nowhere"
        );
        let (_, found) = find(&store, secret).await.unwrap().unwrap();
        assert_eq!(
            (found.name.as_str(), found.role, found.created_by.as_str()),
            ("ci", Role::Operator, "ann")
        );
        for other in [
            "",
            "sf_",
            &secret[1..],
            &secret[..45],
            &document.id,
            &format!("sf_{}", document.id),
        ] {
            assert_eq!(find(&store, other).await.unwrap(), None, "{other}");
        }
    }

    #[tokio::test]
    async fn a_token_keeps_its_lists_and_one_of_an_earlier_version_has_none() {
        let (_, store) = store();
        let allow = AllowLists {
            workflows: AllowList::parse("project-*").unwrap(),
            actions: AllowList::parse("").unwrap(),
        };
        let made = create_limited(&store, "ci", Role::Operator, allow.clone(), None, "ann")
            .await
            .unwrap();
        let (_, found) = find(&store, made.secret.expose()).await.unwrap().unwrap();
        assert_eq!(found.allow, allow);
        let rewritten = async |data: Value| {
            let known = kept(&store).await;
            let document = NewDocument {
                kind: KIND.to_owned(),
                id: known.id,
                expires_at: None,
                data,
            };
            let expect = Expect::Version(known.version);
            store.put_document(document, expect).await.unwrap().unwrap();
            find(&store, made.secret.expose()).await.unwrap()
        };
        let mut data = kept(&store).await.data;
        // A list that cannot be read grants no access.
        for odd in [json!("project-*"), json!([1]), json!({})] {
            data["workflows"] = odd.clone();
            assert_eq!(rewritten(data.clone()).await, None, "{odd}");
        }
        let fields = data.as_object_mut().unwrap();
        fields.remove("workflows");
        fields.remove("actions");
        let (_, earlier) = rewritten(data).await.unwrap();
        assert!(earlier.allow.permit_everything());
    }

    #[tokio::test]
    async fn a_token_ends_when_it_expires_or_is_revoked() {
        let (clock, store) = store();
        let short = create(
            &store,
            "short",
            Role::Admin,
            Some(Duration::from_secs(60)),
            "ann",
        )
        .await
        .unwrap();
        let long = create(&store, "long", Role::Viewer, None, "ann")
            .await
            .unwrap();
        assert!(has_admin(&store).await.unwrap());
        clock.advance(Duration::from_secs(61));
        assert_eq!(find(&store, short.secret.expose()).await.unwrap(), None);
        assert!(!has_admin(&store).await.unwrap());
        assert_eq!(revoke(&store, &long.token.id).await.unwrap().name, "long");
        assert_eq!(find(&store, long.secret.expose()).await.unwrap(), None);
        assert!(matches!(
            revoke(&store, "long").await,
            Err(TokenError::Unknown(_))
        ));
    }

    #[tokio::test]
    async fn the_last_use_is_recorded_periodically() {
        let (clock, store) = store();
        let made = create(&store, "ci", Role::Viewer, None, "ann")
            .await
            .unwrap();
        let start = store.now();
        for (after, expect) in [(5, 5), (60, 5), (605, 605)] {
            clock.advance((start + Duration::from_secs(after)).since(store.now()));
            find(&store, made.secret.expose()).await.unwrap().unwrap();
            let used = list(&store).await.unwrap()[0].last_used_at.unwrap();
            assert_eq!(used.since(start).as_secs(), expect, "used after {after} s");
        }
    }

    #[tokio::test]
    async fn recording_a_use_does_not_revive_a_revoked_token() {
        let (_, store) = store();
        let made = create(&store, "ci", Role::Viewer, None, "ann")
            .await
            .unwrap();
        let stored = kept(&store).await;
        revoke(&store, "ci").await.unwrap();
        record_use(&store, &stored, &made.token).await.unwrap();
        assert_eq!(list(&store).await.unwrap(), []);
    }

    #[tokio::test]
    async fn names_are_unique_and_readable() {
        let (_, store) = store();
        create(&store, "ci", Role::Viewer, None, "ann")
            .await
            .unwrap();
        assert!(matches!(
            create(&store, "ci", Role::Admin, None, "ann").await,
            Err(TokenError::Taken(_))
        ));
        for name in ["", "  ", "a\nb", &"x".repeat(101)] {
            assert!(
                matches!(
                    create(&store, name, Role::Admin, None, "ann").await,
                    Err(TokenError::Name(_))
                ),
                "{name}"
            );
        }
    }

    #[tokio::test]
    async fn a_failure_to_record_a_use_does_not_refuse_access() {
        let (_, store) = store();
        let made = create(&store, "ci", Role::Viewer, None, "ann")
            .await
            .unwrap();
        let full = FaultyStore::sound(Arc::new(store));
        full.set_full(true);
        assert!(find(&full, made.secret.expose()).await.unwrap().is_some());
    }
}
