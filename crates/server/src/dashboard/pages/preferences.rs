//! `POST /preferences`: the switches for language and colours. They are the reader's own and are kept in cookies.

use axum::Form;
use axum::http::header::SET_COOKIE;
use axum::response::Response;

use super::Fields;
use crate::dashboard::i18n::Lang;
use crate::dashboard::visitor::{LANG, THEME, keep, redirect};
use crate::local_path::local_path;

pub(super) async fn choose(Form(fields): Form<Fields>) -> Response {
    let mut response = redirect(local_path(fields.get("return")), None);
    let headers = response.headers_mut();
    if let Some(lang) = fields.get("lang").and_then(Lang::of_tag) {
        headers.append(SET_COOKIE, keep(LANG, lang.code()));
    }
    if let Some(theme) = fields.get("theme").and_then(|theme| {
        ["auto", "light", "dark"]
            .into_iter()
            .find(|it| *it == theme)
    }) {
        headers.append(SET_COOKIE, keep(THEME, theme));
    }
    response
}
