//! `GET /sign-in`: the sign-in page. Its form is handled by `auth`.

use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::http::header::{CACHE_CONTROL, SET_COOKIE};
use axum::response::{AppendHeaders, Html, IntoResponse as _, Response};
use minijinja::Value;
use serde::{Deserialize, Serialize};

use crate::auth::CSRF_FIELD;
use crate::dashboard::page_context::Preferences;
use crate::dashboard::render::{render, safe};
use crate::dashboard::text::url;
use crate::http::Problem;
use crate::safe_redirect::safe_redirect;
use crate::state::App;

#[derive(Deserialize)]
pub(super) struct SignInQuery {
    /// An error code.
    error: Option<String>,
    /// The page to open after the sign-in.
    next: Option<String>,
}

#[derive(Serialize)]
struct View {
    lang: &'static str,
    theme: Option<&'static str>,
    hidden: Value,
    next: String,
    error: Option<String>,
    oidc: Option<Provider>,
}

#[derive(Serialize)]
struct Provider {
    href: String,
    name: String,
}

pub(super) async fn page(
    State(app): State<App>,
    Query(query): Query<SignInQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let preferences = Preferences::of(&headers);
    let (token, cookie) = app.auth().sign_in_form(&headers);
    let next = safe_redirect(query.next.as_deref()).to_owned();
    let message = |word: String| {
        let text = preferences
            .lang
            .try_text(&format!("sign_in.error.{word}"), &[]);
        text.unwrap_or_else(|| preferences.lang.text("sign_in.error.other", &[]))
    };
    let view = View {
        lang: preferences.lang.code(),
        theme: preferences.theme(),
        hidden: safe(format!(
            r#"<input type="hidden" name="{CSRF_FIELD}" value="{token}">"#
        )),
        error: query.error.filter(|word| !word.is_empty()).map(message),
        oidc: app.auth().provider().map(|name| Provider {
            href: format!("/sign-in/oidc?next={}", url(&next)),
            name: name.to_owned(),
        }),
        next,
    };
    let html =
        render(preferences.lang, "sign_in.html", view).map_err(crate::dashboard::template_fault)?;
    let cookie = AppendHeaders(cookie.map(|cookie| (SET_COOKIE, cookie)));
    Ok(([(CACHE_CONTROL, "no-store")], cookie, Html(html)).into_response())
}
