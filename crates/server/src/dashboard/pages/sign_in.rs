//! `GET /sign-in`: the page. What it sends is answered by `auth`.

use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::http::header::{CACHE_CONTROL, SET_COOKIE};
use axum::response::{AppendHeaders, Html, IntoResponse as _, Response};
use minijinja::Value;
use serde::{Deserialize, Serialize};

use crate::auth::CSRF_FIELD;
use crate::dashboard::render::{render, safe};
use crate::dashboard::text::url;
use crate::dashboard::visitor::Taste;
use crate::http::Problem;
use crate::local_path::local_path;
use crate::state::App;

#[derive(Deserialize)]
pub(super) struct Asked {
    /// What went wrong, in a word.
    error: Option<String>,
    /// Where the person wants to go.
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
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let taste = Taste::of(&headers);
    let (token, cookie) = app.auth().sign_in_form(&headers);
    let next = local_path(asked.next.as_deref()).to_owned();
    let said = |word: String| {
        let known = taste.lang.try_text(&format!("sign_in.error.{word}"), &[]);
        known.unwrap_or_else(|| taste.lang.text("sign_in.error.other", &[]))
    };
    let view = View {
        lang: taste.lang.code(),
        theme: taste.theme(),
        hidden: safe(format!(
            r#"<input type="hidden" name="{CSRF_FIELD}" value="{token}">"#
        )),
        error: asked.error.filter(|word| !word.is_empty()).map(said),
        oidc: app.auth().provider().map(|name| Provider {
            href: format!("/sign-in/oidc?next={}", url(&next)),
            name: name.to_owned(),
        }),
        next,
    };
    let html =
        render(taste.lang, "sign_in.html", view).map_err(crate::dashboard::template_fault)?;
    let cookie = AppendHeaders(cookie.map(|cookie| (SET_COOKIE, cookie)));
    Ok(([(CACHE_CONTROL, "no-store")], cookie, Html(html)).into_response())
}
