//! Who may do what: roles, tokens, sessions, sign-in, and the one place where every request is judged.
//!
//! `guard` goes by the table of routes (`http/routes.rs`): what is not in it is not served. It finds out who asks, whether
//! that is enough for the route, and, when the request changes something, whether one of our own pages made it. Handlers
//! take the `Actor` that it found. `docs/authentication.md` says it for people.

mod actor;
mod cookie;
mod csrf;
pub(crate) mod encoding;
mod guard;
mod headers;
mod keys;
pub(crate) mod links;
mod oidc;
mod place;
mod proxy;
mod random;
mod refusal;
mod role;
mod session;
mod sign_in;
mod streams;
#[cfg(test)]
mod tests;
mod throttle;
pub mod token;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue, Version};
use serde_json::{Value, json};
use surefoot::document::{Expect, NewDocument};
use surefoot::{AllowLists, ListOwner, Store, StoreError};
use tokio::sync::Mutex;
use tokio::time::Instant;

pub(crate) use actor::{Actor, Via};
pub(crate) use csrf::FIELD as CSRF_FIELD;
pub(crate) use guard::guard;
pub(crate) use headers::layer as security_headers;
pub use keys::{SecretError, ServerSecret};
pub use oidc::{OidcOptions, RoleMapping};
pub(crate) use refusal::Refusal;
pub(crate) use role::Need;
pub use role::{Role, RoleLists};
pub use session::SessionLimits;
pub(crate) use sign_in::router;
pub use surefoot::Network;
pub use throttle::SignInLimits;
pub(crate) use throttle::network as network_of;

use oidc::Oidc;
use throttle::Throttle;

/// Who is let in, and how.
#[derive(Clone, Debug)]
pub struct AuthOptions {
    /// Signs form tokens, widget links and the like. Several servers on one store have the same.
    pub secret: ServerSecret,
    /// How long sessions last.
    pub sessions: SessionLimits,
    /// How often one may try to sign in.
    pub sign_in: SignInLimits,
    /// Sign-in at an identity provider.
    pub oidc: Option<OidcOptions>,
    /// Proxies whose `X-Forwarded-For` says who asks.
    pub trusted_proxies: Vec<Network>,
    /// The allow-lists of roles.
    pub lists: RoleLists,
}

impl AuthOptions {
    /// Tokens only, with the usual limits.
    pub fn new(secret: ServerSecret) -> Self {
        let (sessions, sign_in) = (SessionLimits::default(), SignInLimits::default());
        Self {
            secret,
            sessions,
            sign_in,
            oidc: None,
            trusted_proxies: Vec::new(),
            lists: RoleLists::default(),
        }
    }
}

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// Others could reach it, and nobody would be asked who they are.
    #[error(
        "{listen} can be reached from other machines, and nobody could sign in: make a token first \
         (surefoot token create --role admin NAME), or configure [auth.oidc]; or listen on 127.0.0.1"
    )]
    Open {
        /// Where it would listen, or the name by which it is reached.
        listen: String,
    },
    /// `public_url` cannot be used.
    #[error(
        "public_url: `{0}` is not an address such as https://surefoot.example, without a path: give the proxy a name of its own"
    )]
    PublicUrl(String),
    /// The identity provider's settings cannot be used.
    #[error("auth.oidc: {0}")]
    Oidc(String),
    /// The secret cannot be used.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether a server may listen there with these: what [`crate::serve`] would refuse, to be said before anything is started.
///
/// # Errors
/// See [`AuthError`].
pub async fn check(
    store: Arc<dyn Store>,
    options: &AuthOptions,
    listen: SocketAddr,
    public_url: Option<&str>,
) -> Result<(), AuthError> {
    Auth::new(store, options.clone(), listen, public_url)
        .await
        .map(drop)
}

/// Judges requests. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Auth(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Arc<dyn Store>,
    secret: ServerSecret,
    sessions: SessionLimits,
    throttle: Throttle,
    oidc: Option<Oidc>,
    trusted_proxies: Vec<Network>,
    lists: RoleLists,
    /// The scheme and host that people see.
    origin: Option<String>,
    secure: bool,
    /// Only this machine reaches the server.
    local: bool,
    /// Somebody can sign in; once so, it stays so for this process.
    closed: AtomicBool,
    looked: Mutex<Option<Instant>>,
}

/// How often to look whether a first token was made.
const LOOK: Duration = Duration::from_secs(1);

/// How long another server's secret counts after that server last said so.
const SECRET_HOLDS: Duration = Duration::from_secs(60);

/// How long a sign-in page may stand open before it is sent.
const FORM_LASTS: Duration = Duration::from_secs(7 * 24 * 3600);

impl Auth {
    /// Makes ready to judge.
    ///
    /// # Errors
    /// [`AuthError::Open`] when the server would stand open to other machines.
    pub(crate) async fn new(
        store: Arc<dyn Store>,
        options: AuthOptions,
        listen: SocketAddr,
        public_url: Option<&str>,
    ) -> Result<Self, AuthError> {
        let bad_url = || AuthError::PublicUrl(public_url.unwrap_or_default().to_owned());
        let origin = public_url
            .map(|url| place::origin(url).ok_or_else(bad_url))
            .transpose()?;
        let oidc = options
            .oidc
            .map(|oidc| Oidc::new(oidc, public_url))
            .transpose()
            .map_err(AuthError::Oidc)?;
        let auth = Self(Arc::new(Inner {
            secret: options.secret,
            sessions: options.sessions,
            throttle: Throttle::new(options.sign_in),
            trusted_proxies: options.trusted_proxies,
            lists: options.lists,
            closed: AtomicBool::new(oidc.is_some()),
            oidc,
            origin,
            secure: place::is_secure(public_url),
            local: place::is_local(listen, public_url),
            looked: Mutex::new(None),
            store,
        }));
        if !auth.0.local && auth.is_open().await? {
            let named = public_url.filter(|_| listen.ip().is_loopback());
            return Err(AuthError::Open {
                listen: named.map_or_else(|| listen.to_string(), str::to_owned),
            });
        }
        auth.agree_on_secret().await?;
        Ok(auth)
    }

    pub(crate) fn store(&self) -> &dyn Store {
        self.0.store.as_ref()
    }

    /// Whether people reach the server over TLS.
    pub(crate) fn is_secure(&self) -> bool {
        self.0.secure
    }

    /// What signs links and the like.
    pub(crate) fn secret(&self) -> &ServerSecret {
        &self.0.secret
    }

    /// What people call the identity provider; `None` when there is none.
    pub(crate) fn provider(&self) -> Option<&str> {
        self.0.oidc.as_ref().map(Oidc::name)
    }

    /// The token that the forms of this actor's pages carry, in the field [`CSRF_FIELD`].
    pub(crate) fn form_token(&self, actor: &Actor) -> String {
        csrf::token(&self.0.secret, bound_to(actor))
    }

    /// The token that the sign-in form carries, and the cookie that binds it to this browser when it has none yet: nobody
    /// can sign somebody else's browser in with a token of their own.
    pub(crate) fn sign_in_form(&self, headers: &HeaderMap) -> (String, Option<HeaderValue>) {
        if let Some(value) = cookie::FORM.find(headers, self.0.secure) {
            return (csrf::token(&self.0.secret, &sign_in_of(value)), None);
        }
        let value = random::text();
        let set = cookie::FORM.set(&value, FORM_LASTS, self.0.secure);
        (csrf::token(&self.0.secret, &sign_in_of(&value)), Some(set))
    }

    /// Whether nobody can sign in yet, so that whoever is on this machine is let in.
    async fn is_open(&self) -> Result<bool, StoreError> {
        if self.0.closed.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let mut looked = self.0.looked.lock().await;
        if looked.is_some_and(|at| at.elapsed() < LOOK) {
            return Ok(!self.0.closed.load(Ordering::Relaxed));
        }
        // A server that has once asked who people are does not stop asking when the last token ends.
        if token::has_admin(self.store()).await? {
            self.0.closed.store(true, Ordering::Relaxed);
        }
        *looked = Some(Instant::now());
        Ok(!self.0.closed.load(Ordering::Relaxed))
    }

    /// Who asks; `None` when nobody is signed in.
    async fn actor(&self, version: Version, headers: &HeaderMap) -> Result<Option<Actor>, Refusal> {
        if let Some(value) = headers.get(AUTHORIZATION) {
            // A token that is no good is said so, even beside a session that is.
            let found = match bearer(value.to_str().unwrap_or_default()) {
                Some(secret) => token::find(self.store(), secret).await?,
                None => None,
            };
            let (_, token) = found.ok_or(Refusal::SignIn { bad_token: true })?;
            return Ok(Some(Actor {
                lists: self.lists(token.role, Some((token.name.as_str(), &token.allow))),
                name: token.name,
                role: token.role,
                via: Via::Token(token.id),
            }));
        }
        if let Some(value) = cookie::SESSION.find(headers, self.0.secure)
            && let Some(found) = session::find(
                self.store(),
                &self.0.sessions,
                self.provider_fingerprint(),
                value,
            )
            .await?
        {
            let token = found.token.as_ref();
            return Ok(Some(Actor {
                lists: self.lists(
                    found.role,
                    token.map(|(name, allow)| (name.as_str(), allow)),
                ),
                name: found.name,
                role: found.role,
                via: Via::Session(found.id),
            }));
        }
        if self.0.local && self.is_open().await? {
            let local = whoever_is_here(version, headers)?;
            return Ok(Some(Actor {
                lists: self.lists(local.role, None),
                ..local
            }));
        }
        Ok(None)
    }

    /// The allow-lists that hold for a role and a token, as they are now.
    fn lists(
        &self,
        role: Role,
        token: Option<(&str, &AllowLists)>,
    ) -> Vec<(ListOwner, AllowLists)> {
        let of_role = self.0.lists.of(role);
        let of_role = of_role.map(|lists| (ListOwner::Role(role.to_string()), lists));
        let of_token = token
            .filter(|(_, lists)| !lists.permit_everything())
            .map(|(name, lists)| (ListOwner::Token(name.to_owned()), lists));
        let all = of_role.into_iter().chain(of_token);
        all.map(|(owner, lists)| (owner, lists.clone())).collect()
    }

    /// What sessions from the identity provider are bound to.
    fn provider_fingerprint(&self) -> Option<&str> {
        self.0.oidc.as_ref().map(Oidc::fingerprint)
    }

    /// Makes sure that every server on the store signs with the same secret. Called now and then: what a server that is
    /// gone said is forgotten after a minute.
    pub(crate) async fn agree_on_secret(&self) -> Result<(), AuthError> {
        let fingerprint = self.0.secret.fingerprint();
        loop {
            let known = self.store().document("server", "secret").await?;
            let said = known
                .as_ref()
                .and_then(|document| document.data.get("fingerprint"))
                .and_then(Value::as_str);
            if said.is_some_and(|said| said != fingerprint) {
                return Err(SecretError::Differs.into());
            }
            let document = NewDocument {
                kind: "server".to_owned(),
                id: "secret".to_owned(),
                expires_at: Some(self.store().now() + SECRET_HOLDS),
                data: json!({ "fingerprint": fingerprint }),
            };
            let expect = known.map_or(Expect::Nothing, |known| Expect::Version(known.version));
            // When another server wrote it meanwhile, what it said is looked at.
            if self.store().put_document(document, expect).await?.is_some() {
                return Ok(());
            }
        }
    }
}

/// Whoever is on this machine, while nobody can sign in. A proxy on this machine speaks for others, from anywhere: what it
/// adds gives it away, or that it speaks HTTP/1.0, as nginx does unless told otherwise. One that does neither cannot be seen.
fn whoever_is_here(version: Version, headers: &HeaderMap) -> Result<Actor, Refusal> {
    if version < Version::HTTP_11 || proxy::was_handed_on(headers) {
        return Err(Refusal::Proxy);
    }
    if place::names_loopback(headers) {
        Ok(Actor::local())
    } else {
        Err(Refusal::Host)
    }
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, rest) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| rest.trim())
}

/// What the form tokens of this actor are bound to.
fn bound_to(actor: &Actor) -> &str {
    match &actor.via {
        Via::Session(id) => id,
        Via::Token(_) | Via::Loopback => csrf::NO_SESSION,
    }
}

/// What the token of a sign-in form is bound to: nobody's session has such an id.
fn sign_in_of(cookie: &str) -> String {
    format!("sign-in {cookie}")
}
