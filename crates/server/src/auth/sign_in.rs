//! Signing in with a token or at an identity provider, and signing out. The page itself is the dashboard's.

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
use crate::local_path::local_path;

/// What a sign-in at the provider spends.
const THERE_AND_BACK: u32 = 2;

/// Where the form of the sign-in page is sent to.
pub(super) const PATH: &str = "/sign-in";

/// The routes of signing in and out.
pub(crate) fn router() -> Router<crate::state::App> {
    Router::new()
        .route("/sign-in", post(with_token))
        .route("/sign-in/oidc", get(at_provider))
        .route("/sign-in/oidc/callback", get(from_provider))
        .route("/sign-out", post(sign_out))
}

/// Where one signs in. `error` names what went wrong, `next` is where one wants to go.
pub(super) fn page(error: &str, next: &str) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    if !error.is_empty() {
        query.append_pair("error", error);
    }
    if onward(next) != "/" {
        query.append_pair("next", onward(next));
    }
    let query = query.finish();
    if query.is_empty() {
        "/sign-in".to_owned()
    } else {
        format!("/sign-in?{query}")
    }
}

/// Where one goes on: a path of ours, and not one where one signs in again.
fn onward(next: &str) -> &str {
    match local_path(Some(next)) {
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
    let how = json!({ "token": found.id });
    let who = Who {
        name: found.name,
        role: found.role,
        basis: Basis::Token(digest),
        how,
    };
    auth.begin(&headers, who, &form.next).await
}

async fn at_provider(
    State(auth): State<Auth>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Query(asked): Query<oidc::Asked>,
) -> Result<Response, Refusal> {
    let Some(oidc) = &auth.0.oidc else {
        return Ok(Redirect::to("/sign-in").into_response());
    };
    auth.spend(auth.client(&headers, address))?;
    match oidc.start(onward(&asked.next), auth.store().now()).await {
        Ok((url, state)) => {
            let value = state.seal(&auth.0.secret);
            let set = cookie::SIGN_IN.set(&value, oidc::LONGEST, auth.0.secure);
            Ok((
                AppendHeaders([(SET_COOKIE, set)]),
                Redirect::to(url.as_str()),
            )
                .into_response())
        }
        Err(error) => Ok(failed(&auth, &error, &asked.next)),
    }
}

async fn from_provider(
    State(auth): State<Auth>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Query(answer): Query<oidc::Answer>,
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
    // Whoever went to the provider can come back with any code, and each is a request to it.
    let client = auth.client(&headers, address);
    auth.spend(client)?;
    let mut response = match oidc.finish(&state, answer).await {
        Ok(found) => {
            auth.0.throttle.give_back(client, THERE_AND_BACK);
            let how = json!({ "provider": oidc.name(), "subject": found.subject });
            let who = Who {
                name: found.name,
                role: found.role,
                basis: Basis::Provider(oidc.fingerprint().to_owned()),
                how,
            };
            auth.begin(&headers, who, &state.next).await?
        }
        Err(error) => failed(&auth, &error, &state.next),
    };
    response
        .headers_mut()
        .append(SET_COOKIE, cookie::SIGN_IN.remove(auth.0.secure));
    Ok(response)
}

fn failed(auth: &Auth, error: &oidc::OidcError, next: &str) -> Response {
    tracing::warn!(provider = auth.provider(), %error, "nobody was signed in");
    Redirect::to(&page(error.word(), next)).into_response()
}

async fn sign_out(
    State(auth): State<Auth>,
    actor: Option<Extension<Actor>>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    if let Some(value) = cookie::SESSION.find(&headers, auth.0.secure) {
        if let Some(Extension(actor)) = actor.filter(|actor| matches!(actor.via, Via::Session(_))) {
            audit::record_in(
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

/// Somebody who showed who they are.
struct Who {
    name: String,
    role: Role,
    basis: Basis,
    /// For the audit log.
    how: Value,
}

impl Auth {
    fn client(&self, headers: &HeaderMap, peer: SocketAddr) -> IpAddr {
        proxy::client(headers, peer, &self.0.trusted_proxies)
    }

    fn spend(&self, client: IpAddr) -> Result<(), Refusal> {
        self.0.throttle.spend(client).map_err(Refusal::TooMany)
    }

    /// Begins a session under a new id, and ends the one that the browser had: an id that somebody planted is worth nothing.
    async fn begin(&self, headers: &HeaderMap, who: Who, next: &str) -> Result<Response, Refusal> {
        if let Some(old) = cookie::SESSION.find(headers, self.0.secure) {
            session::end(self.store(), old).await?;
        }
        let (value, begun) = session::begin(
            self.store(),
            &self.0.sessions,
            &who.name,
            who.role,
            who.basis,
        )
        .await?;
        let actor = Actor {
            name: begun.name,
            role: begun.role,
            via: Via::Session(begun.id),
            lists: Vec::new(),
        };
        let detail = json!({ "role": actor.role.as_str(), "by": who.how });
        audit::record_in(
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
            Redirect::to(onward(next)),
        )
            .into_response())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_to_another_site() {
        for next in [
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "evil",
            "",
            "/\nx",
            "/sign-in?next=/",
        ] {
            assert_eq!(onward(next), "/", "{next}");
        }
        assert_eq!(onward("/runs?status=failed"), "/runs?status=failed");
        assert_eq!(page("", "/"), "/sign-in");
        assert_eq!(
            page("token", "/runs?status=failed"),
            "/sign-in?error=token&next=%2Fruns%3Fstatus%3Dfailed"
        );
    }
}
