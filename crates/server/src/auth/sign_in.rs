//! Sign-in with a token or at an identity provider, and sign-out. The page itself is in the
//! dashboard.

use std::net::{IpAddr, SocketAddr};

use axum::Form;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::HeaderMap;
use axum::http::header::SET_COOKIE;
use axum::response::{AppendHeaders, IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::session::Basis;
use super::{Actor, Auth, Refusal, Role, Via, cookie, oidc, proxy, session, token};
use crate::audit;
use crate::safe_redirect::safe_redirect;

/// Tries that a complete sign-in at the provider spends.
const TRIES_AT_PROVIDER: u32 = 2;

/// The address that the sign-in form is sent to.
pub(super) const PATH: &str = "/sign-in";

/// The routes of sign-in and sign-out.
pub(crate) fn router() -> Router<crate::state::App> {
    Router::new()
        .route("/sign-in", post(with_token))
        .route("/sign-in/oidc", get(at_provider))
        .route("/sign-in/oidc/callback", get(from_provider))
        .route("/sign-out", post(sign_out))
}

/// The address of the sign-in page. `error` is an error code, `next` the page to open afterwards.
pub(super) fn page(error: &str, next: &str) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    if !error.is_empty() {
        query.append_pair("error", error);
    }
    if page_after_sign_in(next) != "/" {
        query.append_pair("next", page_after_sign_in(next));
    }
    let query = query.finish();
    if query.is_empty() {
        "/sign-in".to_owned()
    } else {
        format!("/sign-in?{query}")
    }
}

/// The page to open after the sign-in: a path on this server other than the sign-in itself.
fn page_after_sign_in(next: &str) -> &str {
    match safe_redirect(Some(next)) {
        again if again.starts_with(PATH) => "/",
        path => path,
    }
}

#[derive(Debug, Deserialize)]
struct TokenForm {
    #[serde(default)]
    token: String,
    #[serde(default)]
    next: String,
}

async fn with_token(
    State(auth): State<Auth>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Form(form): Form<TokenForm>,
) -> Result<Response, Refusal> {
    let Some((digest, found)) = token::find(auth.store(), form.token.trim()).await? else {
        auth.spend(auth.client(&headers, address))?;
        return Ok(Redirect::to(&page("token", &form.next)).into_response());
    };
    let detail = json!({ "token": found.id });
    let person = Authenticated {
        name: found.name,
        role: found.role,
        basis: Basis::Token(digest),
        detail,
    };
    auth.begin(&headers, person, &form.next).await
}

async fn at_provider(
    State(auth): State<Auth>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Query(query): Query<oidc::StartQuery>,
) -> Result<Response, Refusal> {
    let Some(oidc) = &auth.0.oidc else {
        return Ok(Redirect::to("/sign-in").into_response());
    };
    auth.spend(auth.client(&headers, address))?;
    match oidc
        .start(page_after_sign_in(&query.next), auth.store().now())
        .await
    {
        Ok((url, state)) => {
            let value = state.seal(&auth.0.secret);
            let set = cookie::SIGN_IN.set(&value, oidc::SIGN_IN_TIME_LIMIT, auth.0.secure);
            Ok((
                AppendHeaders([(SET_COOKIE, set)]),
                Redirect::to(url.as_str()),
            )
                .into_response())
        }
        Err(error) => Ok(failed(&auth, &error, &query.next)),
    }
}

async fn from_provider(
    State(auth): State<Auth>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Query(query): Query<oidc::CallbackQuery>,
) -> Result<Response, Refusal> {
    let Some(oidc) = &auth.0.oidc else {
        return Ok(Redirect::to("/sign-in").into_response());
    };
    let sealed = cookie::SIGN_IN
        .find(&headers, auth.0.secure)
        .unwrap_or_default();
    let Some(state) = oidc::State::open(&auth.0.secret, sealed, auth.store().now()) else {
        return Ok(failed(&auth, &oidc::OidcError::TooOld, "/"));
    };
    // Anyone who went to the provider can come back with any code, and each costs a request to it.
    let client = auth.client(&headers, address);
    auth.spend(client)?;
    let mut response = match oidc.finish(&state, query).await {
        Ok(found) => {
            auth.0.throttle.refund(client, TRIES_AT_PROVIDER);
            let detail = json!({ "provider": oidc.name(), "subject": found.subject });
            let person = Authenticated {
                name: found.name,
                role: found.role,
                basis: Basis::Provider(oidc.fingerprint().to_owned()),
                detail,
            };
            auth.begin(&headers, person, &state.next).await?
        }
        Err(error) => failed(&auth, &error, &state.next),
    };
    response
        .headers_mut()
        .append(SET_COOKIE, cookie::SIGN_IN.remove(auth.0.secure));
    Ok(response)
}

fn failed(auth: &Auth, error: &oidc::OidcError, next: &str) -> Response {
    tracing::warn!(provider = auth.provider(), %error, "sign-in failed");
    Redirect::to(&page(error.code(), next)).into_response()
}

async fn sign_out(
    State(auth): State<Auth>,
    actor: Option<Extension<Actor>>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    if let Some(value) = cookie::SESSION.find(&headers, auth.0.secure) {
        if let Some(Extension(actor)) = actor.filter(|actor| matches!(actor.via, Via::Session(_))) {
            audit::record_in_store(
                auth.store(),
                &actor,
                "session.end",
                &actor.via.short(),
                json!({}),
            )
            .await?;
        }
        session::end(auth.store(), value).await?;
    }
    let remove = cookie::SESSION.remove(auth.0.secure);
    Ok((
        AppendHeaders([(SET_COOKIE, remove)]),
        Redirect::to("/sign-in"),
    )
        .into_response())
}

/// A person who has been authenticated.
struct Authenticated {
    name: String,
    role: Role,
    basis: Basis,
    /// The details for the audit log.
    detail: Value,
}

impl Auth {
    fn client(&self, headers: &HeaderMap, peer: SocketAddr) -> IpAddr {
        proxy::client(headers, peer, &self.0.trusted_proxies)
    }

    fn spend(&self, client: IpAddr) -> Result<(), Refusal> {
        self.0.throttle.spend(client).map_err(Refusal::TooMany)
    }

    /// Begins a session under a new id and ends the one that the browser had. This prevents session
    /// fixation: an id planted by another site becomes worthless.
    async fn begin(
        &self,
        headers: &HeaderMap,
        person: Authenticated,
        next: &str,
    ) -> Result<Response, Refusal> {
        if let Some(old) = cookie::SESSION.find(headers, self.0.secure) {
            session::end(self.store(), old).await?;
        }
        let (value, begun) = session::begin(
            self.store(),
            &self.0.sessions,
            &person.name,
            person.role,
            person.basis,
        )
        .await?;
        let actor = Actor {
            name: begun.name,
            role: begun.role,
            via: Via::Session(begun.id),
            lists: Vec::new(),
        };
        let detail = json!({ "role": actor.role.as_str(), "by": person.detail });
        audit::record_in_store(
            self.store(),
            &actor,
            "session.begin",
            &actor.via.short(),
            detail,
        )
        .await?;
        let set = cookie::SESSION.set(&value, self.0.sessions.longest, self.0.secure);
        Ok((
            AppendHeaders([(SET_COOKIE, set)]),
            Redirect::to(page_after_sign_in(next)),
        )
            .into_response())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_after_sign_in_is_on_this_server() {
        for next in [
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "evil",
            "",
            "/\nx",
            "/sign-in?next=/",
        ] {
            assert_eq!(page_after_sign_in(next), "/", "{next}");
        }
        assert_eq!(
            page_after_sign_in("/runs?status=failed"),
            "/runs?status=failed"
        );
        assert_eq!(page("", "/"), "/sign-in");
        assert_eq!(
            page("token", "/runs?status=failed"),
            "/sign-in?error=token&next=%2Fruns%3Fstatus%3Dfailed"
        );
    }
}
