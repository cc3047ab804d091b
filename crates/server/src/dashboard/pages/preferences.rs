//! `POST /preferences`: the choice of language and theme, kept in the reader's cookies.

use axum::Form;
use axum::http::header::SET_COOKIE;
use axum::response::Response;

use super::Fields;
use crate::dashboard::i18n::Lang;
use crate::dashboard::page_context::{LANG, THEME, redirect, store_preference};
use crate::safe_redirect::safe_redirect;

pub(super) async fn choose(Form(fields): Form<Fields>) -> Response {
    let mut response = redirect(safe_redirect(fields.get("return")), None);
    let headers = response.headers_mut();
    if let Some(lang) = fields.get("lang").and_then(Lang::of_tag) {
        headers.append(SET_COOKIE, store_preference(LANG, lang.code()));
    }
    if let Some(theme) = fields.get("theme").and_then(|theme| {
        ["auto", "light", "dark"]
            .into_iter()
            .find(|it| *it == theme)
    }) {
        headers.append(SET_COOKIE, store_preference(THEME, theme));
    }
    response
}
