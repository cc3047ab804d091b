//! Sign-in at an OpenID Connect provider: the code flow, with PKCE, state and nonce.
//!
//! What must be remembered between leaving for the provider and coming back is in a signed cookie: nothing is written before
//! somebody has shown who they are, and any server on the store can finish what another began.

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
pub(super) use state::{LONGEST, State};

use super::{Role, random};
use http::Http;

/// Where the provider sends people back to.
const CALLBACK: &str = "sign-in/oidc/callback";

/// How long what the provider says of itself is taken as said; its keys are asked for again when a signature needs it.
const KNOWN: Duration = Duration::from_secs(3600);

/// An identity provider, and what its word is worth.
#[derive(Clone, Debug)]
pub struct OidcOptions {
    /// What people call it, on the button.
    pub name: String,
    /// Its address, as its own discovery document has it.
    pub issuer: String,
    /// How it knows us.
    pub client_id: String,
    /// What we show it; `None` for a client without a secret.
    pub client_secret: Option<Secret>,
    /// What to ask for beside `openid`.
    pub scopes: Vec<String>,
    /// The claim that people go by; by default `preferred_username`, a verified `email`, or `sub`.
    pub name_claim: Option<String>,
    /// Which role somebody has.
    pub roles: RoleMapping,
}

/// Why nobody was signed in.
#[derive(Debug, thiserror::Error)]
pub(super) enum OidcError {
    #[error("the sign-in took too long, or was begun in another browser")]
    TooOld,
    #[error("the provider says: {0}")]
    Denied(String),
    #[error("the provider cannot be reached or does not do its part: {0}")]
    Provider(String),
    #[error("the provider's answer is not to be trusted: {0}")]
    Untrusted(String),
    #[error("{0} has no role here: the claim `{1}` gives none")]
    NoRole(String, String),
}

impl OidcError {
    /// What the sign-in page knows it by.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::TooOld => "state",
            Self::Denied(_) => "denied",
            Self::Provider(_) | Self::Untrusted(_) => "provider",
            Self::NoRole(..) => "role",
        }
    }
}

/// A person asks to sign in.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    pub(super) next: String,
}

/// What a person comes back with.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
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
    known: Mutex<Option<(Instant, CoreProviderMetadata)>>,
}

impl Oidc {
    pub(super) fn new(options: OidcOptions, public_url: Option<&str>) -> Result<Self, String> {
        let public_url =
            public_url.ok_or("set server.public_url: the provider sends people back to it")?;
        let base = format!("{}/", public_url.trim_end_matches('/'));
        let redirect = Url::parse(&base)
            .and_then(|base| base.join(CALLBACK))
            .map_err(|error| error.to_string())?;
        let issuer = IssuerUrl::new(options.issuer.clone());
        Ok(Self {
            issuer: issuer.map_err(|error| format!("issuer: `{}`: {error}", options.issuer))?,
            redirect: RedirectUrl::from_url(redirect),
            http: Http::new()?,
            fingerprint: fingerprint(&options),
            options,
            known: Mutex::new(None),
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.options.name
    }

    /// A digest of which provider this is and what its word is worth. Sessions that were begun on another end: whom a new
    /// mapping of roles would not let in is not let in any more.
    pub(super) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Where to send a person who wants to sign in, and what to remember until they come back.
    pub(super) async fn start(
        &self,
        next: &str,
        now: Timestamp,
    ) -> Result<(Url, State), OidcError> {
        let provider = self.provider(false).await?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let state = State::new(verifier.into_secret(), next, now);
        let (csrf, nonce) = (
            CsrfToken::new(state.state.clone()),
            Nonce::new(state.nonce.clone()),
        );
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

    /// Who came back.
    pub(super) async fn finish(
        &self,
        state: &State,
        answer: Answer,
    ) -> Result<Identity, OidcError> {
        if answer.state.as_deref() != Some(&state.state) {
            return Err(OidcError::TooOld);
        }
        if let Some(error) = answer.error {
            return Err(OidcError::Denied(answer.error_description.unwrap_or(error)));
        }
        let code = answer
            .code
            .ok_or_else(|| OidcError::Untrusted("it gives no code".to_owned()))?;
        let (mut claims, access) = self.exchange(state, code).await?;
        if !self.options.roles.is_in(&claims) {
            self.add_user_info(&mut claims, &access).await?;
        }
        self.options
            .roles
            .identify(&claims, self.options.name_claim.as_deref())
    }

    /// Gives the code back for what it stands for: the claims of a token that the provider has signed for us, for this
    /// sign-in.
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
            .map_err(broken)?;
        let request = request.set_pkce_verifier(PkceCodeVerifier::new(state.verifier.clone()));
        let tokens = request.request_async(&self.http).await.map_err(broken)?;
        let signed = tokens
            .id_token()
            .ok_or_else(|| OidcError::Provider("it gives no ID token".to_owned()))?;
        let nonce = Nonce::new(state.nonce.clone());
        let mut fresh = client;
        if signed.claims(&fresh.id_token_verifier(), &nonce).is_err() {
            // It may have been signed with a key that is newer than what we know.
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

    /// Many providers keep an ID token small, and tell the rest when asked.
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
            .map_err(OidcError::Provider)?;
        if more.get("sub") != claims.get("sub") {
            return Err(OidcError::Untrusted(
                "the user info is of somebody else".to_owned(),
            ));
        }
        if let (Value::Object(claims), Value::Object(more)) = (claims, more) {
            // What was signed has precedence.
            for (name, value) in more {
                claims.entry(name).or_insert(value);
            }
        }
        Ok(())
    }

    async fn provider(&self, anew: bool) -> Result<CoreProviderMetadata, OidcError> {
        let mut known = self.known.lock().await;
        if let Some((at, provider)) = known.as_ref().filter(|_| !anew)
            && at.elapsed() < KNOWN
        {
            return Ok(provider.clone());
        }
        let found = CoreProviderMetadata::discover_async(self.issuer.clone(), &self.http).await;
        let provider = found.map_err(broken)?;
        *known = Some((Instant::now(), provider.clone()));
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

/// With its causes: the outermost alone says little.
fn broken(error: impl std::error::Error) -> OidcError {
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
