//! `GET /queues`, and what people do to queues.

use axum::Form;
use axum::extract::{Path, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::Fields;
use crate::actions;
use crate::dashboard::view::{QueueView, limit_fields};
use crate::dashboard::visitor::{Live, Visitor};
use crate::http::Problem;
use crate::local_path::local_path;
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

pub(super) async fn queues(visitor: Visitor, State(app): State<App>) -> Result<Response, Problem> {
    let queues = app.store().queues().await?;
    let view = View {
        queues: queues
            .iter()
            .map(|queue| QueueView::new(&visitor, queue))
            .collect(),
    };
    visitor.page("queues.html", Live::any(), view).await
}

pub(super) async fn pause(
    visitor: Visitor,
    State(app): State<App>,
    Path(name): Path<String>,
    Form(back): Form<Back>,
) -> Result<Response, Problem> {
    actions::pause(&app, &visitor.actor, &name).await?;
    Ok(visitor.done(
        local_path(back.to.as_deref()),
        "done.paused",
        &[("name", &name)],
    ))
}

pub(super) async fn resume(
    visitor: Visitor,
    State(app): State<App>,
    Path(name): Path<String>,
    Form(back): Form<Back>,
) -> Result<Response, Problem> {
    actions::resume(&app, &visitor.actor, &name).await?;
    Ok(visitor.done(
        local_path(back.to.as_deref()),
        "done.resumed",
        &[("name", &name)],
    ))
}

pub(super) async fn limits(
    visitor: Visitor,
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
            actions::set_queue(&app, &visitor.actor, &name, limits).await?;
            Ok(visitor.done("/queues", "done.limits", &[("name", &name)]))
        }
        Err((field, text)) => {
            let field = visitor.t(&format!("queue.field.{field}"), &[]);
            Ok(visitor.refused(
                "/queues",
                &visitor.t("queue.wrong", &[("field", &field), ("reason", &text)]),
            ))
        }
    }
}
