//! `GET /settings`: the configuration, the findings of the health check, and the workflows.
//! Read-only.

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use crate::checkup::{CheckupState, Finding, FindingLevel};
use crate::dashboard::page_context::{Live, PageContext};
use crate::dashboard::view::Pair;
use crate::http::Problem;
use crate::state::App;
use crate::workflows::BadFile;

#[derive(Serialize)]
struct View {
    findings: Vec<FindingView>,
    looking: bool,
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
    means: Option<String>,
    advice: Option<String>,
}

#[derive(Serialize)]
struct WorkflowView {
    name: String,
    title: String,
    queue: String,
    steps: usize,
    digest: String,
}

pub(super) async fn settings(
    context: PageContext,
    State(app): State<App>,
) -> Result<Response, Problem> {
    let pair = |(name, value): &(String, String)| Pair {
        name: name.clone(),
        value: value.clone(),
        code: false,
        masked: false,
    };
    let checkup = app.checkups().current().await;
    let mut findings: Vec<FindingView> = app
        .workflows()
        .faulty_files()
        .into_iter()
        .map(FindingView::of_file)
        .collect();
    if let CheckupState::Findings(found) = &checkup {
        findings.extend(found.iter().map(FindingView::of));
    }
    let view = View {
        findings,
        looking: checkup == CheckupState::Running,
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
    context.page("settings.html", Live::default(), view).await
}

impl FindingView {
    fn of(finding: &Finding) -> Self {
        let (tone, icon, level) = match finding.level {
            FindingLevel::Ok => ("ok", "completed", "ok"),
            FindingLevel::Note => ("pending", "more", "info"),
            FindingLevel::Warning => ("warning", "alert", "warning"),
            FindingLevel::Broken => ("error", "failed", "error"),
        };
        let means = Some(finding.means.clone());
        let advice = finding.advice.clone();
        Self {
            tone,
            icon,
            level,
            title: finding.subject.clone(),
            text: finding.found.clone(),
            means,
            advice,
        }
    }

    /// A workflow file that is not used as it stands.
    fn of_file(bad: BadFile) -> Self {
        Self {
            tone: "warning",
            icon: "alert",
            level: "warning",
            title: bad.file,
            text: bad.message,
            means: None,
            advice: None,
        }
    }
}
