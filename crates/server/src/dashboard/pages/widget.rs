//! A run's progress for other pages, by a signed link: a page for a frame, which has no script and loads itself again, and
//! the same as JSON for the module. Read-only: what it was given, what it wrote and why it failed are not told.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{Html, IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use surefoot::{Run, RunId, StepStatus};

use crate::auth::links;
use crate::dashboard::i18n::Lang;
use crate::dashboard::render::render;
use crate::dashboard::view::{asks, name_of};
use crate::dashboard::visitor::{Taste, Visitor};
use crate::http::Problem;
use crate::state::App;

/// A link that was made, and how to embed it.
#[derive(Debug, Serialize)]
pub(super) struct LinkView {
    url: String,
    frame: String,
    module: String,
    until: String,
}

#[derive(Deserialize)]
pub(super) struct Asked {
    lang: Option<String>,
    theme: Option<String>,
}

#[derive(Serialize)]
struct Page {
    lang: &'static str,
    theme: Option<&'static str>,
    run: Progress,
    steps: Vec<Step>,
}

/// What the module gets. Its field names are a contract.
#[derive(Serialize)]
struct Told {
    #[serde(flatten)]
    run: Progress,
    steps: Vec<Step>,
}

#[derive(Serialize)]
struct Progress {
    name: String,
    status: &'static str,
    #[serde(rename = "status_text")]
    text: String,
    progress: u8,
    ended: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    tone: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icon: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    word: Option<String>,
}

#[derive(Serialize)]
struct Step {
    id: String,
    title: String,
    status: &'static str,
    #[serde(rename = "status_text")]
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tone: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icon: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    word: Option<String>,
}

const REFRESH: HeaderName = HeaderName::from_static("refresh");
/// Any page may hold the frame: the link is what lets in. It runs nothing and sends nothing.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors *";

/// `GET /widget/{link}`
pub(super) async fn page(
    State(app): State<App>,
    Path(link): Path<String>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Response {
    let drawn = match linked(&app, &link).await {
        Ok(run) => drawn(&run, &asked, &headers),
        Err(problem) => Err(problem),
    };
    // A store that is away comes back, and a frame has nobody who would load it again.
    drawn.unwrap_or_else(|problem| {
        let passes = problem.status().is_server_error();
        let mut response = problem.into_response();
        if passes {
            response
                .headers_mut()
                .insert(REFRESH, HeaderValue::from_static("5"));
        }
        response
    })
}

fn drawn(run: &Run, asked: &Asked, headers: &HeaderMap) -> Result<Response, Problem> {
    let taste = Taste::of(headers);
    let lang = asked
        .lang
        .as_deref()
        .and_then(Lang::of_tag)
        .unwrap_or(taste.lang);
    let theme = asked
        .theme
        .as_deref()
        .and_then(|theme| ["light", "dark"].into_iter().find(|known| *known == theme));
    let (mut progress, mut steps) = told(lang, run);
    let asking = asks(run);
    let status = run.head.status.as_str();
    progress.tone = Some(if asking { "asking" } else { status });
    progress.icon = Some(if asking { "ask" } else { status });
    progress.word = Some(progress.text.clone());
    for step in &mut steps {
        (step.tone, step.icon, step.word) = (
            Some(step.status),
            Some(step.status),
            Some(step.text.clone()),
        );
    }
    let page = Page {
        lang: lang.code(),
        theme,
        run: progress,
        steps,
    };
    let html = render(lang, "widget.html", page).map_err(crate::dashboard::template_fault)?;
    let mut response = Html(html).into_response();
    let set = response.headers_mut();
    set.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    set.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    set.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if !run.head.status.is_ended() {
        set.insert(REFRESH, HeaderValue::from_static("2"));
    }
    Ok(response)
}

/// `GET /widget/{link}/progress`
pub(super) async fn progress(
    State(app): State<App>,
    Path(link): Path<String>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let run = linked(&app, &link).await?;
    let lang = asked
        .lang
        .as_deref()
        .and_then(Lang::of_tag)
        .unwrap_or(Taste::of(&headers).lang);
    let (run, steps) = told(lang, &run);
    let headers = [
        (CACHE_CONTROL, "no-store"),
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ];
    Ok((headers, Json(Told { run, steps })).into_response())
}

async fn linked(app: &App, link: &str) -> Result<Run, Problem> {
    let gone = || Problem::forbidden("this link is not valid, or has expired");
    let (id, _) = links::verify(app.auth().secret(), link, app.store().now()).ok_or_else(gone)?;
    Ok(app.client().run(id).await?)
}

fn told(lang: Lang, run: &Run) -> (Progress, Vec<Step>) {
    let word = if asks(run) {
        "asking"
    } else {
        run.head.status.as_str()
    };
    let progress = Progress {
        name: name_of(run),
        status: run.head.status.as_str(),
        text: lang.text(&format!("status.{word}"), &[]),
        progress: run.head.progress,
        ended: run.head.status.is_ended(),
        tone: None,
        icon: None,
        word: None,
    };
    let step = |(plan, status): (&surefoot::StepPlan, StepStatus)| Step {
        id: plan.id.clone(),
        title: plan.title.clone(),
        status: status.as_str(),
        text: lang.text(&format!("status.{status}"), &[]),
        tone: None,
        icon: None,
        word: None,
    };
    let steps = run
        .plan
        .steps()
        .iter()
        .zip(run.steps.iter().map(|state| state.status))
        .map(step)
        .collect();
    (progress, steps)
}

/// A link as the page of its run shows it, when it is one of that run's.
pub(super) fn shown(app: &App, visitor: &Visitor, run: RunId, link: &str) -> Option<LinkView> {
    let (of, until) =
        links::verify(app.auth().secret(), link, visitor.now).filter(|(of, _)| *of == run)?;
    let base = app.public_url();
    let url = format!("{base}/widget/{link}");
    debug_assert_eq!(of, run);
    let title = visitor.t("run.progress", &[]);
    Some(LinkView {
        frame: format!(r#"<iframe src="{url}" title="{title}" width="420" height="260"></iframe>"#),
        module: format!(
            "<script type=\"module\" src=\"{base}/assets/widget.js\"></script>\n\
             <surefoot-progress src=\"{url}/progress\"></surefoot-progress>"
        ),
        url,
        until: visitor.moment(until).full,
    })
}
