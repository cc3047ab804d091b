//! A run's progress for other sites, by a signed link: a page for a frame, which reloads itself
//! without scripts, and the same as JSON for the widget's module. Read-only, without the run's
//! input, output or error.

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
use crate::dashboard::page_context::{PageContext, Preferences};
use crate::dashboard::render::render;
use crate::dashboard::view::{asks, name_of};
use crate::http::Problem;
use crate::state::App;

/// A link that was created, and the code to embed it.
#[derive(Debug, Serialize)]
pub(super) struct LinkView {
    url: String,
    frame: String,
    module: String,
    until: String,
}

#[derive(Deserialize)]
pub(super) struct WidgetQuery {
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

/// The JSON document for the module. Its field names are a stable contract.
#[derive(Serialize)]
struct ProgressDocument {
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
/// Any site may embed the frame, since access depends on the link. The page runs no scripts and
/// sends no forms.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors *";

/// `GET /widget/{link}`
pub(super) async fn page(
    State(app): State<App>,
    Path(link): Path<String>,
    Query(query): Query<WidgetQuery>,
    headers: HeaderMap,
) -> Response {
    let page = match linked_run(&app, &link).await {
        Ok(run) => render_frame(&run, &query, &headers),
        Err(problem) => Err(problem),
    };
    // If the store is unavailable, the frame retries by itself.
    page.unwrap_or_else(|problem| {
        let is_temporary = problem.status().is_server_error();
        let mut response = problem.into_response();
        if is_temporary {
            response
                .headers_mut()
                .insert(REFRESH, HeaderValue::from_static("5"));
        }
        response
    })
}

fn render_frame(run: &Run, query: &WidgetQuery, headers: &HeaderMap) -> Result<Response, Problem> {
    let preferences = Preferences::of(headers);
    let lang = query
        .lang
        .as_deref()
        .and_then(Lang::of_tag)
        .unwrap_or(preferences.lang);
    let theme = query
        .theme
        .as_deref()
        .and_then(|theme| ["light", "dark"].into_iter().find(|known| *known == theme));
    let (mut progress, mut steps) = progress_of(lang, run);
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
    Query(query): Query<WidgetQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let run = linked_run(&app, &link).await?;
    let lang = query
        .lang
        .as_deref()
        .and_then(Lang::of_tag)
        .unwrap_or(Preferences::of(&headers).lang);
    let (run, steps) = progress_of(lang, &run);
    let headers = [
        (CACHE_CONTROL, "no-store"),
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ];
    Ok((headers, Json(ProgressDocument { run, steps })).into_response())
}

async fn linked_run(app: &App, link: &str) -> Result<Run, Problem> {
    let invalid = || Problem::forbidden("this link is not valid, or has expired");
    let (id, _) =
        links::verify(app.auth().secret(), link, app.store().now()).ok_or_else(invalid)?;
    Ok(app.client().run(id).await?)
}

fn progress_of(lang: Lang, run: &Run) -> (Progress, Vec<Step>) {
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

/// A link as shown on its run's page; `None` if it belongs to another run.
pub(super) fn link_view(
    app: &App,
    context: &PageContext,
    run: RunId,
    link: &str,
) -> Option<LinkView> {
    let (of, until) =
        links::verify(app.auth().secret(), link, context.now).filter(|(of, _)| *of == run)?;
    let base = app.public_url();
    let url = format!("{base}/widget/{link}");
    debug_assert_eq!(of, run);
    let title = context.t("run.progress", &[]);
    Some(LinkView {
        frame: format!(r#"<iframe src="{url}" title="{title}" width="420" height="260"></iframe>"#),
        module: format!(
            "<script type=\"module\" src=\"{base}/assets/widget.js\"></script>\n\
             <surefoot-progress src=\"{url}/progress\"></surefoot-progress>"
        ),
        url,
        until: context.moment(until).full,
    })
}
