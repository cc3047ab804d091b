//! `GET /settings`: the configuration as it is, what the health check found, and which workflows are known. Nothing is
//! changed here.

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use crate::dashboard::view::Pair;
use crate::dashboard::visitor::{Live, Visitor};
use crate::http::Problem;
use crate::state::App;
use crate::workflows::BadFile;

#[derive(Serialize)]
struct View {
    findings: Vec<FindingView>,
    settings: Vec<Pair>,
    workflows: Vec<WorkflowView>,
}

#[derive(Serialize)]
struct FindingView {
    tone: &'static str,
    icon: &'static str,
    level: &'static str,
    title: String,
    text: String,
}

#[derive(Serialize)]
struct WorkflowView {
    name: String,
    title: String,
    queue: String,
    steps: usize,
    digest: String,
}

pub(super) async fn settings(visitor: Visitor, State(app): State<App>) -> Result<Response, Problem> {
    let pair = |(name, value): &(String, String)| Pair {
        name: name.clone(),
        value: value.clone(),
        code: false,
        masked: false,
    };
    let view = View {
        findings: app.workflows().wrong().into_iter().map(FindingView::of_file).collect(),
        settings: app.options().settings_view.iter().map(pair).collect(),
        workflows: app
            .workflows()
            .iter()
            .map(|workflow| WorkflowView {
                name: workflow.name().to_owned(),
                title: workflow.title().to_owned(),
                queue: workflow.queue().to_owned(),
                steps: workflow.steps().len(),
                digest: workflow.digest().to_string()[..12].to_owned(),
            })
            .collect(),
    };
    visitor.page("settings.html", Live::default(), view).await
}

impl FindingView {
    /// A workflow file that does not count as it is.
    fn of_file(bad: BadFile) -> Self {
        Self { tone: "warning", icon: "alert", level: "warning", title: bad.file, text: bad.message }
    }
}
