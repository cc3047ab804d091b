//! Authentication and authorization: roles, tokens, sessions, sign-in, and the guard in front of
//! every request.
//!
//! `guard` consults the table of routes (`http/routes.rs`); routes that are missing there are not
//! served. It authenticates the caller, compares its role with the route's, and checks that a
//! request which changes something was made by one of the server's own pages. Handlers take the
//! resulting `Actor`. For users this is described in `docs/authentication.md`.

mod actor;
mod cookie;
mod csrf;
pub(crate) mod encoding;
mod guard;
mod headers;
mod keys;
pub(crate) mod links;
mod oidc;
mod origin;
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
pub use oidc::{OidcConfigError, OidcOptions, RoleMapping};
pub(crate) use refusal::Refusal;
pub(crate) use role::Access;
pub use role::{Role, RoleLists, UnknownRole};
pub use session::SessionLimits;
pub(crate) use sign_in::router;
pub use surefoot::Network;
pub use throttle::SignInLimits;
pub(crate) use throttle::network as network_of;

use oidc::Oidc;
use throttle::Throttle;

/// Configuration of authentication.
#[derive(Clone, Debug)]
pub struct AuthOptions {
    /// Signs form tokens, widget links and the like. Several servers on one store share it.
    pub secret: ServerSecret,
    /// Lifetimes of sessions.
    pub sessions: SessionLimits,
    /// Rate limits of sign-in attempts.
    pub sign_in: SignInLimits,
    /// Sign-in at an identity provider.
    pub oidc: Option<OidcOptions>,
    /// Proxies whose `X-Forwarded-For` is trusted.
    pub trusted_proxies: Vec<Network>,
    /// The allow-lists of roles.
    pub lists: RoleLists,
}

impl AuthOptions {
    /// Sign-in with tokens only, with the default limits.
    pub fn new(secret: ServerSecret) -> Self {
        let sessions = SessionLimits::default();
        let sign_in = SignInLimits::default();
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
    /// Other machines could reach the server, and no sign-in is configured.
    #[error(
        "{listen} can be reached from other machines, and no sign-in is configured: create a token first \
         (surefoot token create --role admin NAME), or configure [auth.oidc]; or listen on 127.0.0.1"
    )]
    Open {
        /// The listening address, or the public URL.
        listen: String,
    },
    /// `public_url` cannot be used.
    #[error(
        "public_url: `{0}` is not an address such as https://surefoot.example, without a path: give the proxy a name of its own"
    )]
    PublicUrl(String),
    /// The identity provider's settings cannot be used.
    #[error("auth.oidc: {0}")]
    Oidc(#[from] OidcConfigError),
    /// The secret cannot be used.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Checks whether [`crate::serve`] would accept these options, before anything is started.
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

/// Authenticates and authorizes requests. Cheap to clone.
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
    /// The public scheme and host.
    origin: Option<String>,
    secure: bool,
    /// True if only this machine can reach the server.
    local: bool,
    /// True once a sign-in is possible; stays true for the life of this process.
    closed: AtomicBool,
    checked_at: Mutex<Option<Instant>>,
}

/// Interval between checks for a first token.
const OPEN_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Lifetime of a server's fingerprint after its last write.
const FINGERPRINT_LIFETIME: Duration = Duration::from_secs(60);

/// Time limit between opening the sign-in page and sending its form.
const SIGN_IN_FORM_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);

impl Auth {
    /// Prepares authentication for a server listening on `listen`.
    ///
    /// # Errors
    /// [`AuthError::Open`] if other machines could reach the server and no sign-in is configured.
    pub(crate) async fn new(
        store: Arc<dyn Store>,
        options: AuthOptions,
        listen: SocketAddr,
        public_url: Option<&str>,
    ) -> Result<Self, AuthError> {
        let bad_url = || AuthError::PublicUrl(public_url.unwrap_or_default().to_owned());
        let origin = public_url
            .map(|url| origin::of_public_url(url).ok_or_else(bad_url))
            .transpose()?;
        let oidc = options
            .oidc
            .map(|oidc| Oidc::new(oidc, public_url))
            .transpose()?;
        let auth = Self(Arc::new(Inner {
            secret: options.secret,
            sessions: options.sessions,
            throttle: Throttle::new(options.sign_in),
            trusted_proxies: options.trusted_proxies,
            lists: options.lists,
            closed: AtomicBool::new(oidc.is_some()),
            oidc,
            origin,
            secure: origin::is_secure(public_url),
            local: origin::is_local(listen, public_url),
            checked_at: Mutex::new(None),
            store,
        }));
        if !auth.0.local && auth.is_open().await? {
            let listen = match public_url {
                Some(url) if listen.ip().is_loopback() => url.to_owned(),
                _ => listen.to_string(),
            };
            return Err(AuthError::Open { listen });
        }
        auth.agree_on_secret().await?;
        Ok(auth)
    }

    pub(crate) fn store(&self) -> &dyn Store {
        self.0.store.as_ref()
    }

    /// Returns true if people reach the server over TLS.
    pub(crate) fn is_secure(&self) -> bool {
        self.0.secure
    }

    /// The secret that signs links and the like.
    pub(crate) fn secret(&self) -> &ServerSecret {
        &self.0.secret
    }

    /// The identity provider's display name; `None` when there is none.
    pub(crate) fn provider(&self) -> Option<&str> {
        self.0.oidc.as_ref().map(Oidc::name)
    }

    /// The token that the forms of this actor's pages carry in the field [`CSRF_FIELD`].
    pub(crate) fn form_token(&self, actor: &Actor) -> String {
        csrf::token(&self.0.secret, session_of(actor))
    }

    /// The token of the sign-in form, and the cookie that binds it to this browser if it has none
    /// yet. The binding prevents login CSRF: another site cannot sign this browser in with a token
    /// of its own.
    pub(crate) fn sign_in_form(&self, headers: &HeaderMap) -> (String, Option<HeaderValue>) {
        if let Some(value) = cookie::FORM.find(headers, self.0.secure) {
            return (csrf::token(&self.0.secret, &sign_in_binding(value)), None);
        }
        let value = random::text();
        let set = cookie::FORM.set(&value, SIGN_IN_FORM_LIFETIME, self.0.secure);
        (
            csrf::token(&self.0.secret, &sign_in_binding(&value)),
            Some(set),
        )
    }

    /// Returns true while no sign-in is possible, so that local connections are admitted.
    async fn is_open(&self) -> Result<bool, StoreError> {
        if self.0.closed.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let mut checked_at = self.0.checked_at.lock().await;
        if checked_at.is_some_and(|at| at.elapsed() < OPEN_CHECK_INTERVAL) {
            return Ok(!self.0.closed.load(Ordering::Relaxed));
        }
        // Once closed, a server stays closed, even when the last token expires.
        if token::has_admin(self.store()).await? {
            self.0.closed.store(true, Ordering::Relaxed);
        }
        *checked_at = Some(Instant::now());
        Ok(!self.0.closed.load(Ordering::Relaxed))
    }

    /// The caller of a request; `None` when it is not authenticated.
    async fn actor(&self, version: Version, headers: &HeaderMap) -> Result<Option<Actor>, Refusal> {
        if let Some(value) = headers.get(AUTHORIZATION) {
            // Reject an invalid bearer token even if a valid session cookie is present.
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
            let local = local_actor(version, headers)?;
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

    /// The fingerprint that sessions from the identity provider are bound to.
    fn provider_fingerprint(&self) -> Option<&str> {
        self.0.oidc.as_ref().map(Oidc::fingerprint)
    }

    /// Checks that every server on the store signs with the same secret. Called periodically: the
    /// fingerprint of a server that is gone expires after a minute.
    pub(crate) async fn agree_on_secret(&self) -> Result<(), AuthError> {
        let fingerprint = self.0.secret.fingerprint();
        loop {
            let stored = self.store().document("server", "secret").await?;
            let other = stored
                .as_ref()
                .and_then(|document| document.data.get("fingerprint"))
                .and_then(Value::as_str);
            if other.is_some_and(|other| other != fingerprint) {
                return Err(SecretError::Differs.into());
            }
            let document = NewDocument {
                kind: "server".to_owned(),
                id: "secret".to_owned(),
                expires_at: Some(self.store().now() + FINGERPRINT_LIFETIME),
                data: json!({ "fingerprint": fingerprint }),
            };
            let expect = stored.map_or(Expect::Nothing, |stored| Expect::Version(stored.version));
            // If another server wrote the document in between, read it again.
            if self.store().put_document(document, expect).await?.is_some() {
                return Ok(());
            }
        }
    }
}

/// The actor of a local connection while no sign-in is possible.
///
/// A proxy on this machine forwards requests from anywhere, so forwarded requests are refused. They
/// are recognised by the headers that proxies add, and by HTTP/1.0, which nginx speaks by default.
/// A proxy that shows neither cannot be detected.
fn local_actor(version: Version, headers: &HeaderMap) -> Result<Actor, Refusal> {
    if version < Version::HTTP_11 || proxy::is_forwarded(headers) {
        return Err(Refusal::Proxy);
    }
    if origin::is_addressed_to_loopback(headers) {
        Ok(Actor::local())
    } else {
        Err(Refusal::Host)
    }
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, rest) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| rest.trim())
}

/// The session that this actor's form tokens are bound to.
fn session_of(actor: &Actor) -> &str {
    match &actor.via {
        Via::Session(id) => id,
        Via::Token(_) | Via::Loopback => csrf::NO_SESSION,
    }
}

/// The value that the sign-in form's token is bound to. No session id has this form.
fn sign_in_binding(cookie: &str) -> String {
    format!("sign-in {cookie}")
}
