//! The dashboard: pages rendered on the server that work without scripts.
//!
//! A page (`pages/`) queries the store and builds a view; a template (`templates/`) renders it;
//! texts come from `messages/`. Actions are plain forms, answered by a redirect. A small script
//! (`assets/surefoot.js`) fetches a page again when [`live`] signals a change.
//!
//! **Invariant:** no page contains scripts or styles; they come from `assets/`, under a strict
//! policy.

mod assets;
mod axis;
mod charts;
mod form;
mod i18n;
mod icons;
mod live;
mod page_cache;
mod page_context;
mod pages;
mod recent_events;
mod render;
mod size_budget;
mod step_timeline;
mod text;
mod view;

pub(crate) use page_cache::PageCache;

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
    /// An explanation in the reader's language. The detail is English, as in the API.
    means: Option<String>,
    detail: Option<&'a str>,
    back: &'static str,
}

/// A problem as a page; plain text if even that cannot be rendered.
pub(crate) fn problem_page(
    headers: &HeaderMap,
    status: u16,
    title: &str,
    detail: Option<&str>,
) -> String {
    let preferences = page_context::Preferences::of(headers);
    let lang = preferences.lang.code();
    let theme = preferences.theme();
    let text = |key: String| preferences.lang.try_text(&key, &[]);
    let title = text(format!("problem.{status}")).unwrap_or_else(|| title.to_owned());
    let means = text(format!("problem.{status}.means"));
    let view = ProblemView {
        lang,
        theme,
        status,
        title,
        means,
        detail,
        back: "/",
    };
    render::render(preferences.lang, "problem.html", view)
        .unwrap_or_else(|_| format!("{status} {status}"))
}

/// The problem of a template that cannot be rendered, which is an internal error.
fn template_fault(error: minijinja::Error) -> Problem {
    tracing::error!(error = %format!("{error:#}"), "failed to render a page");
    Problem::internal("cannot render the page: the server's log has the details")
}

#[cfg(test)]
mod tests;
