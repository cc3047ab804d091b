//! `GET /queues`, and the actions on queues.

use axum::Form;
use axum::extract::{Path, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::Fields;
use crate::actions;
use crate::dashboard::page_context::{Live, PageContext};
use crate::dashboard::view::{QueueView, limit_fields};
use crate::http::Problem;
use crate::safe_redirect::safe_redirect;
use crate::state::App;

#[derive(Serialize)]
struct View {
    queues: Vec<QueueView>,
}

#[derive(Deserialize)]
pub(super) struct Back {
    #[serde(rename = "return")]
    to: Option<String>,
}

pub(super) async fn queues(
    context: PageContext,
    State(app): State<App>,
) -> Result<Response, Problem> {
    let queues = app.store().queues().await?;
    let view = View {
        queues: queues
            .iter()
            .map(|queue| QueueView::new(&context, queue))
            .collect(),
    };
    context.page("queues.html", Live::any(), view).await
}

pub(super) async fn pause(
    context: PageContext,
    State(app): State<App>,
    Path(name): Path<String>,
    Form(back): Form<Back>,
) -> Result<Response, Problem> {
    actions::pause(&app, &context.actor, &name).await?;
    Ok(context.done(
        safe_redirect(back.to.as_deref()),
        "done.paused",
        &[("name", &name)],
    ))
}

pub(super) async fn resume(
    context: PageContext,
    State(app): State<App>,
    Path(name): Path<String>,
    Form(back): Form<Back>,
) -> Result<Response, Problem> {
    actions::resume(&app, &context.actor, &name).await?;
    Ok(context.done(
        safe_redirect(back.to.as_deref()),
        "done.resumed",
        &[("name", &name)],
    ))
}

pub(super) async fn limits(
    context: PageContext,
    State(app): State<App>,
    Path(name): Path<String>,
    Form(fields): Form<Fields>,
) -> Result<Response, Problem> {
    let text = |field: &str| fields.get(field).unwrap_or_default().to_owned();
    match limit_fields(text) {
        Ok(mut limits) => {
            let known = app.store().queues().await?;
            if let Some(known) = known.into_iter().find(|queue| queue.name == name) {
                limits.allow = known.limits.allow;
            }
            actions::set_queue(&app, &context.actor, &name, limits).await?;
            Ok(context.done("/queues", "done.limits", &[("name", &name)]))
        }
        Err((field, text)) => {
            let field = context.t(&format!("queue.field.{field}"), &[]);
            Ok(context.refused(
                "/queues",
                &context.t("queue.wrong", &[("field", &field), ("reason", &text)]),
            ))
        }
    }
}
