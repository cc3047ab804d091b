//! The dashboard: pages for people, rendered here and whole without any script.
//!
//! A page (`pages/`) asks the store and makes a view; a template (`templates/`) draws it; texts come from `messages/`. What
//! a person does is a plain form that is answered by going back to a page. A small script (`assets/surefoot.js`) fetches a
//! page again when [`live`] says that something has changed.
//!
//! **Invariant:** no page has a script or a style of its own: everything comes from `assets/`, under a strict policy.

mod assets;
mod axis;
mod charts;
mod course;
mod form;
mod i18n;
mod icons;
mod known;
mod live;
mod pages;
mod render;
mod room;
mod tail;
mod text;
mod view;
mod visitor;

pub(crate) use known::Known;

use axum::Router;
use axum::http::HeaderMap;
use serde::Serialize;

use crate::http::Problem;
use crate::state::App;

/// Every page of the dashboard.
pub(crate) fn router() -> Router<App> {
    pages::router()
}

#[derive(Serialize)]
struct ProblemView<'a> {
    lang: &'static str,
    theme: Option<&'static str>,
    status: u16,
    title: String,
    /// What it means, in the reader's language; the detail is said in English, as programs are told it.
    means: Option<String>,
    detail: Option<&'a str>,
    back: &'static str,
}

/// A problem as a page; plain text when even that cannot be drawn.
pub(crate) fn problem_page(
    headers: &HeaderMap,
    status: u16,
    title: &str,
    detail: Option<&str>,
) -> String {
    let taste = visitor::Taste::of(headers);
    let (lang, theme) = (taste.lang.code(), taste.theme());
    let say = |key: String| taste.lang.try_text(&key, &[]);
    let title = say(format!("problem.{status}")).unwrap_or_else(|| title.to_owned());
    let means = say(format!("problem.{status}.means"));
    let view = ProblemView {
        lang,
        theme,
        status,
        title,
        means,
        detail,
        back: "/",
    };
    render::render(taste.lang, "problem.html", view)
        .unwrap_or_else(|_| format!("{status} {status}"))
}

/// A template of ours that cannot be drawn: a fault of ours.
fn template_fault(error: minijinja::Error) -> Problem {
    tracing::error!(error = %format!("{error:#}"), "a page cannot be drawn");
    Problem::internal("a page cannot be drawn; the server's log says why")
}

#[cfg(test)]
mod tests;
