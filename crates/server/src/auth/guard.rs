//! Authorization of every request, before any handler runs.

use axum::body::{Body, to_bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{ALLOW, CONTENT_TYPE};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Redirect, Response};

use super::streams::Reader;
use super::{Access, Actor, Auth, Refusal, Via, cookie, csrf};
use crate::http::routes::{self, RouteMatch};

/// Size limit of a form whose token is looked for; also the limit of what pages send.
const MAX_FORM_SIZE: usize = 1 << 20;

/// Passes allowed requests on, with their [`Actor`] among the extensions.
pub(crate) async fn guard(State(auth): State<Auth>, request: Request, next: Next) -> Response {
    let Some(path) = request.extensions().get::<MatchedPath>() else {
        return next.run(request).await;
    };
    let access = match routes::find(request.method(), path.as_str()) {
        RouteMatch::Found(access) => access,
        RouteMatch::OtherMethods(methods) => return other_method(&methods),
        RouteMatch::NotFound => return StatusCode::NOT_FOUND.into_response(),
    };
    let context = RefusalContext::of(&request);
    let reader = access.role().map(|role| {
        Reader::new(
            auth.clone(),
            request.version(),
            request.headers().clone(),
            role,
        )
    });
    match auth.authorize(access, request).await {
        Ok(request) => {
            let response = next.run(request).await;
            match reader {
                Some(reader) => reader.guard(response),
                None => response,
            }
        }
        Err(refusal) => context.answer(refusal),
    }
}

fn other_method(methods: &str) -> Response {
    let mut response = StatusCode::METHOD_NOT_ALLOWED.into_response();
    if let Ok(methods) = HeaderValue::from_str(methods) {
        response.headers_mut().insert(ALLOW, methods);
    }
    response
}

/// The properties of a request that decide how a refusal is answered.
struct RefusalContext {
    page: bool,
    back: String,
}

impl RefusalContext {
    fn of(request: &Request) -> Self {
        let page =
            request.method() == Method::GET && !routes::is_for_programs(request.uri().path());
        let back = request
            .uri()
            .path_and_query()
            .map_or("/", |path| path.as_str())
            .to_owned();
        Self { page, back }
    }

    /// Answers a refusal. A person who is not signed in is redirected to the sign-in page, and from
    /// there back to this page.
    fn answer(&self, refusal: Refusal) -> Response {
        if self.page && matches!(refusal, Refusal::SignIn { .. }) {
            return Redirect::to(&super::sign_in::page("", &self.back)).into_response();
        }
        refusal.into_response()
    }
}

impl Auth {
    async fn authorize(&self, access: Access, request: Request) -> Result<Request, Refusal> {
        let version = request.version();
        let is_write = csrf::is_write(request.method());
        let actor = match access {
            // Public GETs must work while the store is down (health probes), so authentication is
            // skipped for them.
            Access::Public if !is_write => None,
            Access::Public => self.actor(version, request.headers()).await.unwrap_or(None),
            _ => self.actor(version, request.headers()).await?,
        };
        if let Some(needed) = access.role() {
            let actor = actor.as_ref().ok_or(Refusal::SignIn { bad_token: false })?;
            if !actor.may(needed) {
                return Err(Refusal::Role {
                    needed,
                    name: actor.name.clone(),
                    role: actor.role,
                });
            }
        }
        let mut request = self.check_origin(actor.as_ref(), request).await?;
        if let Some(actor) = actor {
            request.extensions_mut().insert(actor);
        }
        Ok(request)
    }

    async fn check_origin(
        &self,
        actor: Option<&Actor>,
        request: Request,
    ) -> Result<Request, Refusal> {
        // Browsers do not attach tokens by themselves, so no other site can forge this request.
        let by_token = actor.is_some_and(|actor| matches!(actor.via, Via::Token(_)));
        if !csrf::is_write(request.method()) || by_token {
            return Ok(request);
        }
        if !csrf::is_same_origin(request.headers(), self.0.origin.as_deref()) {
            return Err(Refusal::OtherSite);
        }
        if request.uri().path() == super::sign_in::PATH {
            let browser = cookie::FORM
                .find(request.headers(), self.0.secure)
                .ok_or(Refusal::Form)?;
            let bound = super::sign_in_binding(browser);
            return self.check_token(&bound, request).await;
        }
        let Some(actor) = actor else {
            return Ok(request);
        };
        // Programs on this machine send no forms.
        if actor.via == Via::Loopback && !is_form(&request) {
            return Ok(request);
        }
        self.check_token(super::session_of(actor), request).await
    }

    async fn check_token(&self, session: &str, request: Request) -> Result<Request, Refusal> {
        if let Some(token) = request.headers().get(csrf::HEADER) {
            let token = token.to_str().unwrap_or_default();
            return if csrf::matches(&self.0.secret, session, token) {
                Ok(request)
            } else {
                Err(Refusal::Form)
            };
        }
        if !is_form(&request) {
            return Err(Refusal::Form);
        }
        let (parts, body) = request.into_parts();
        let body = to_bytes(body, MAX_FORM_SIZE)
            .await
            .map_err(|_| Refusal::Large)?;
        let found = form_urlencoded::parse(&body).any(|(name, value)| {
            name == csrf::FIELD && csrf::matches(&self.0.secret, session, &value)
        });
        if found {
            Ok(Request::from_parts(parts, Body::from(body)))
        } else {
            Err(Refusal::Form)
        }
    }
}

fn is_form(request: &Request) -> bool {
    let kind = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| {
        kind.trim()
            .eq_ignore_ascii_case("application/x-www-form-urlencoded")
    })
}
