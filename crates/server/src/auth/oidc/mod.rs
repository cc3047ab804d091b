//! Sign-in at an OpenID Connect provider: the code flow, with PKCE, state and nonce.
//!
//! The state between leaving for the provider and coming back is kept in a signed cookie. Nothing
//! is stored before a person is authenticated, and any server on the store can finish a sign-in
//! that another began.

mod claims;
mod http;
mod state;

use std::time::Duration;

use openidconnect::core::{
    CoreAuthenticationFlow, CoreClient, CoreClientAuthMethod, CoreProviderMetadata,
};
use openidconnect::{
    AccessToken, AccessTokenHash, AuthType, AuthorizationCode, ClientId, ClientSecret, CsrfToken,
    IssuerUrl, Nonce, OAuth2TokenResponse as _, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl,
    Scope, TokenResponse as _,
};
use reqwest::Url;
use serde::Deserialize;
use serde_json::{Value, json};
use surefoot::{Secret, Timestamp};
use tokio::sync::Mutex;
use tokio::time::Instant;

pub(super) use claims::Identity;
pub use claims::RoleMapping;
pub(super) use state::{SIGN_IN_TIME_LIMIT, State};

use super::{Role, random};
use http::Http;

/// The path that the provider redirects back to.
const CALLBACK: &str = "sign-in/oidc/callback";

/// Lifetime of the cached discovery document. A signature by an unknown key refreshes it earlier.
const METADATA_LIFETIME: Duration = Duration::from_secs(3600);

/// An identity provider, and how its claims become roles.
#[derive(Clone, Debug)]
pub struct OidcOptions {
    /// Display name on the sign-in button.
    pub name: String,
    /// The issuer URL, exactly as in its discovery document.
    pub issuer: String,
    /// The client id registered at the provider.
    pub client_id: String,
    /// The client secret; `None` for a public client.
    pub client_secret: Option<Secret>,
    /// Scopes requested beside `openid`.
    pub scopes: Vec<String>,
    /// The claim used as the person's name. Default: `preferred_username`, a verified `email`, or
    /// `sub`.
    pub name_claim: Option<String>,
    /// Maps claims to roles.
    pub roles: RoleMapping,
}

/// Why the settings of the identity provider cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OidcConfigError {
    /// The server has no public URL.
    #[error("set server.public_url: the provider sends people back to it")]
    NoPublicUrl,
    /// The public URL cannot be parsed.
    #[error("server.public_url: {0}")]
    PublicUrl(#[source] openidconnect::url::ParseError),
    /// The issuer is not a URL.
    #[error("issuer: `{issuer}`: {source}")]
    Issuer {
        /// The issuer as configured.
        issuer: String,
        /// The cause.
        source: openidconnect::url::ParseError,
    },
    /// The HTTP client cannot be created.
    #[error("cannot create an HTTP client: {0}")]
    Client(#[source] reqwest::Error),
}

/// Why a sign-in failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum OidcError {
    #[error("the sign-in took too long, or was begun in another browser")]
    TooOld,
    #[error("the provider says: {0}")]
    Denied(String),
    #[error("the provider cannot be reached or gave an unusable answer: {0}")]
    Provider(String),
    #[error("the provider's answer cannot be trusted: {0}")]
    Untrusted(String),
    #[error("{0} has no role here: the claim `{1}` gives none")]
    NoRole(String, String),
}

impl OidcError {
    /// The code by which the sign-in page identifies the error.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::TooOld => "state",
            Self::Denied(_) => "denied",
            Self::Provider(_) | Self::Untrusted(_) => "provider",
            Self::NoRole(..) => "role",
        }
    }
}

/// The query of the request that starts a sign-in.
#[derive(Debug, Deserialize)]
pub(super) struct StartQuery {
    #[serde(default)]
    pub(super) next: String,
}

/// The query of the provider's redirect back.
#[derive(Debug, Deserialize)]
pub(super) struct CallbackQuery {
    code: Option<String>,
    state: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

/// An identity provider.
#[derive(Debug)]
pub(super) struct Oidc {
    options: OidcOptions,
    fingerprint: String,
    issuer: IssuerUrl,
    redirect: RedirectUrl,
    http: Http,
    cached: Mutex<Option<(Instant, CoreProviderMetadata)>>,
}

impl Oidc {
    pub(super) fn new(
        options: OidcOptions,
        public_url: Option<&str>,
    ) -> Result<Self, OidcConfigError> {
        let public_url = public_url.ok_or(OidcConfigError::NoPublicUrl)?;
        let base = format!("{}/", public_url.trim_end_matches('/'));
        let redirect = Url::parse(&base)
            .and_then(|base| base.join(CALLBACK))
            .map_err(OidcConfigError::PublicUrl)?;
        let issuer = IssuerUrl::new(options.issuer.clone());
        Ok(Self {
            issuer: issuer.map_err(|source| OidcConfigError::Issuer {
                issuer: options.issuer.clone(),
                source,
            })?,
            redirect: RedirectUrl::from_url(redirect),
            http: Http::new().map_err(OidcConfigError::Client)?,
            fingerprint: fingerprint(&options),
            options,
            cached: Mutex::new(None),
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.options.name
    }

    /// A digest of the provider and its role mapping. Sessions begun under another one end, so that
    /// a changed mapping applies at once.
    pub(super) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The address to redirect a person to, and the state to keep until they come back.
    pub(super) async fn start(
        &self,
        next: &str,
        now: Timestamp,
    ) -> Result<(Url, State), OidcError> {
        let provider = self.provider(false).await?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let state = State::new(verifier.into_secret(), next, now);
        let csrf = CsrfToken::new(state.state.clone());
        let nonce = Nonce::new(state.nonce.clone());
        let client =
            CoreClient::from_provider_metadata(provider, self.client_id(), self.client_secret())
                .set_redirect_uri(self.redirect.clone());
        let flow = CoreAuthenticationFlow::AuthorizationCode;
        let request = client
            .authorize_url(flow, || csrf, || nonce)
            .set_pkce_challenge(challenge);
        let scopes = self
            .options
            .scopes
            .iter()
            .filter(|scope| *scope != "openid")
            .cloned()
            .map(Scope::new);
        let (url, ..) = request.add_scopes(scopes).url();
        Ok((url, state))
    }

    /// Authenticates a person who came back from the provider.
    pub(super) async fn finish(
        &self,
        state: &State,
        query: CallbackQuery,
    ) -> Result<Identity, OidcError> {
        if query.state.as_deref() != Some(&state.state) {
            return Err(OidcError::TooOld);
        }
        if let Some(error) = query.error {
            return Err(OidcError::Denied(query.error_description.unwrap_or(error)));
        }
        let code = query
            .code
            .ok_or_else(|| OidcError::Untrusted("it contains no code".to_owned()))?;
        let (mut claims, access) = self.exchange(state, code).await?;
        if !self.options.roles.is_in(&claims) {
            self.add_user_info(&mut claims, &access).await?;
        }
        self.options
            .roles
            .identify(&claims, self.options.name_claim.as_deref())
    }

    /// Exchanges the code for an ID token and verifies it; returns its claims.
    async fn exchange(
        &self,
        state: &State,
        code: String,
    ) -> Result<(Value, AccessToken), OidcError> {
        let provider = self.provider(false).await?;
        let by_body = prefers_body(&provider);
        let client =
            CoreClient::from_provider_metadata(provider, self.client_id(), self.client_secret())
                .set_redirect_uri(self.redirect.clone())
                .set_auth_type(if by_body {
                    AuthType::RequestBody
                } else {
                    AuthType::BasicAuth
                });
        let request = client
            .exchange_code(AuthorizationCode::new(code))
            .map_err(provider_error)?;
        let request = request.set_pkce_verifier(PkceCodeVerifier::new(state.verifier.clone()));
        let tokens = request
            .request_async(&self.http)
            .await
            .map_err(provider_error)?;
        let signed = tokens
            .id_token()
            .ok_or_else(|| OidcError::Provider("it contains no ID token".to_owned()))?;
        let nonce = Nonce::new(state.nonce.clone());
        let mut fresh = client;
        if signed.claims(&fresh.id_token_verifier(), &nonce).is_err() {
            // The signing key may be newer than the cached key set.
            let provider = self.provider(true).await?;
            fresh = CoreClient::from_provider_metadata(
                provider,
                self.client_id(),
                self.client_secret(),
            )
            .set_redirect_uri(self.redirect.clone());
        }
        let verifier = fresh.id_token_verifier();
        let claims = signed.claims(&verifier, &nonce).map_err(untrusted)?;
        if let Some(expected) = claims.access_token_hash() {
            let key = signed.signing_key(&verifier).map_err(untrusted)?;
            let algorithm = signed.signing_alg().map_err(untrusted)?;
            let found = AccessTokenHash::from_token(tokens.access_token(), algorithm, key)
                .map_err(untrusted)?;
            if found != *expected {
                return Err(OidcError::Untrusted(
                    "the access token belongs to another sign-in".to_owned(),
                ));
            }
        }
        let claims =
            claims::of_token(&signed.to_string()).ok_or_else(|| untrusted("it has no claims"))?;
        Ok((claims, tokens.access_token().clone()))
    }

    /// Adds the claims of the user info endpoint: many providers keep the ID token small.
    async fn add_user_info(
        &self,
        claims: &mut Value,
        access: &AccessToken,
    ) -> Result<(), OidcError> {
        let provider = self.provider(false).await?;
        let Some(address) = provider.userinfo_endpoint() else {
            return Ok(());
        };
        let more = self
            .http
            .get_json(address.url(), access.secret())
            .await
            .map_err(provider_error)?;
        if more.get("sub") != claims.get("sub") {
            return Err(OidcError::Untrusted(
                "the user info belongs to another person".to_owned(),
            ));
        }
        if let (Value::Object(claims), Value::Object(more)) = (claims, more) {
            // Claims of the signed token take precedence.
            for (name, value) in more {
                claims.entry(name).or_insert(value);
            }
        }
        Ok(())
    }

    async fn provider(&self, refresh: bool) -> Result<CoreProviderMetadata, OidcError> {
        let mut cached = self.cached.lock().await;
        if !refresh
            && let Some((at, provider)) = cached.as_ref()
            && at.elapsed() < METADATA_LIFETIME
        {
            return Ok(provider.clone());
        }
        let found = CoreProviderMetadata::discover_async(self.issuer.clone(), &self.http).await;
        let provider = found.map_err(provider_error)?;
        *cached = Some((Instant::now(), provider.clone()));
        Ok(provider)
    }

    fn client_id(&self) -> ClientId {
        ClientId::new(self.options.client_id.clone())
    }

    fn client_secret(&self) -> Option<ClientSecret> {
        self.options
            .client_secret
            .as_ref()
            .map(|secret| ClientSecret::new(secret.expose().to_owned()))
    }
}

fn fingerprint(options: &OidcOptions) -> String {
    let roles = &options.roles;
    let everybody = roles.everybody.map(Role::as_str);
    let parts = json!([
        options.issuer,
        options.client_id,
        [
            json!(roles.claim),
            json!(roles.admin),
            json!(roles.operator),
            json!(roles.viewer),
            json!(everybody)
        ],
    ]);
    random::digest(&parts.to_string())
}

fn prefers_body(provider: &CoreProviderMetadata) -> bool {
    let methods = provider.token_endpoint_auth_methods_supported();
    methods.is_some_and(|methods| {
        !methods.contains(&CoreClientAuthMethod::ClientSecretBasic)
            && methods.contains(&CoreClientAuthMethod::ClientSecretPost)
    })
}

/// Includes the chain of causes: the outermost error alone says little.
fn provider_error(error: impl std::error::Error) -> OidcError {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    OidcError::Provider(text)
}

fn untrusted(error: impl std::fmt::Display) -> OidcError {
    OidcError::Untrusted(error.to_string())
}
