//! The workflows that can be submitted, and dry runs.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use surefoot::workflow::{DryRunStep, OnInterrupt, WillRun};
use surefoot::{StepPlan, StoreError, SubmitError, Workflow, format_duration};
use utoipa::ToSchema;

use super::extract::{OptionalBody, Segment};
use super::wire::Line;
use crate::actions;
use crate::auth::Actor;
use crate::http::Problem;
use crate::state::App;

/// A workflow in a listing.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WorkflowSummary {
    name: String,
    title: String,
    description: Option<String>,
    queue: String,
    steps: usize,
    /// Equal for identical workflows.
    digest: String,
}

/// All workflows that can be submitted by name.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WorkflowList {
    workflows: Vec<WorkflowSummary>,
    /// Files of the server's folder that cannot be used.
    wrong: Vec<WrongFile>,
}

/// A file that cannot be used.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WrongFile {
    file: String,
    detail: String,
}

/// A workflow: its plan, and the JSON Schema of its parameters.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WorkflowDetail {
    name: String,
    title: String,
    description: Option<String>,
    queue: String,
    /// JSON Schema, draft 2020-12.
    #[schema(value_type = Object)]
    parameters: Value,
    /// Value that no two runs of it may have at the same time.
    unique: Option<String>,
    steps: Vec<PlanStep>,
    digest: String,
}

/// A step of a plan.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PlanStep {
    id: String,
    title: String,
    action: String,
    /// The handler's input, with expressions.
    with: Value,
    /// The step is skipped if this evaluates to false.
    #[serde(rename = "if")]
    condition: Option<String>,
    /// Share of the run's progress.
    weight: u32,
    attempts: u32,
    /// Time limit of one attempt.
    timeout: Option<String>,
    /// `rerun`, `ask` or `fail`.
    on_interrupt: &'static str,
}

impl WorkflowSummary {
    fn of(workflow: &Workflow) -> Self {
        Self {
            name: workflow.name().to_owned(),
            title: workflow.title().to_owned(),
            description: workflow.description().map(str::to_owned),
            queue: workflow.queue().to_owned(),
            steps: workflow.steps().len(),
            digest: workflow.digest().to_string(),
        }
    }
}

impl WorkflowDetail {
    fn of(workflow: &Workflow) -> Self {
        Self {
            name: workflow.name().to_owned(),
            title: workflow.title().to_owned(),
            description: workflow.description().map(str::to_owned),
            queue: workflow.queue().to_owned(),
            parameters: workflow.parameters().clone(),
            unique: workflow.unique().map(str::to_owned),
            steps: workflow.steps().iter().map(PlanStep::of).collect(),
            digest: workflow.digest().to_string(),
        }
    }
}

impl PlanStep {
    fn of(step: &StepPlan) -> Self {
        Self {
            id: step.id.clone(),
            title: step.title.clone(),
            action: step.action.clone(),
            with: step.with.clone(),
            condition: step.condition.clone(),
            weight: step.weight,
            attempts: step.retry.attempts,
            timeout: step.timeout.map(format_duration),
            on_interrupt: match step.on_interrupt {
                OnInterrupt::Rerun => "rerun",
                OnInterrupt::Ask => "ask",
                OnInterrupt::Fail => "fail",
            },
        }
    }
}

fn find(app: &App, name: &str) -> Result<Arc<Workflow>, Problem> {
    app.workflows()
        .get(name)
        .ok_or_else(|| Problem::not_found(format!("there is no workflow `{name}`")))
}

/// List the workflows that can be submitted by name.
#[utoipa::path(get, path = "/api/v1/workflows", tag = "workflows", responses((status = 200, body = WorkflowList)))]
pub(crate) async fn list(State(app): State<App>) -> Json<WorkflowList> {
    let workflows = app
        .workflows()
        .iter()
        .map(|workflow| WorkflowSummary::of(&workflow))
        .collect();
    let wrong = app
        .workflows()
        .faulty_files()
        .into_iter()
        .map(|bad| WrongFile {
            file: bad.file,
            detail: bad.message,
        });
    Json(WorkflowList {
        workflows,
        wrong: wrong.collect(),
    })
}

/// Show a workflow: its plan and the schema of its parameters.
#[utoipa::path(
    get, path = "/api/v1/workflows/{name}", tag = "workflows",
    params(("name" = Line, Path, description = "The workflow")),
    responses((status = 200, body = WorkflowDetail))
)]
pub(crate) async fn show(
    State(app): State<App>,
    Segment(name): Segment<Line>,
) -> Result<Json<WorkflowDetail>, Problem> {
    Ok(Json(WorkflowDetail::of(find(&app, &name.0)?.as_ref())))
}

/// Show the JSON Schema of a workflow's parameters.
#[utoipa::path(
    get, path = "/api/v1/workflows/{name}/schema", tag = "workflows",
    params(("name" = Line, Path, description = "The workflow")),
    responses((status = 200, body = Object, description = "JSON Schema, draft 2020-12"))
)]
pub(crate) async fn schema(
    State(app): State<App>,
    Segment(name): Segment<Line>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(find(&app, &name.0)?.parameters().clone()))
}

/// The input of a dry run.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DryRun {
    /// The workflow's parameters.
    #[serde(default)]
    #[schema(value_type = Object)]
    parameters: Map<String, Value>,
    key: Option<Line>,
}

/// The steps that a run would execute, as far as is known in advance.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Forecast {
    steps: Vec<ForeseenStep>,
}

/// A step of a dry run.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ForeseenStep {
    id: String,
    title: String,
    action: String,
    /// `yes`, `no`, or a condition that depends on earlier steps.
    runs: String,
    /// The handler's input. Parts that depend on earlier steps remain expressions.
    with: Value,
}

impl From<DryRunStep> for ForeseenStep {
    fn from(step: DryRunStep) -> Self {
        let runs = match step.runs {
            WillRun::Yes => "yes".to_owned(),
            WillRun::No => "no".to_owned(),
            WillRun::When(condition) => condition,
        };
        Self {
            id: step.id,
            title: step.title,
            action: step.action,
            runs,
            with: step.with,
        }
    }
}

/// Check parameters and predict the steps of a run. Nothing is written.
#[utoipa::path(
    post, path = "/api/v1/workflows/{name}/dry-run", tag = "workflows",
    params(("name" = Line, Path, description = "The workflow")), request_body = Option<DryRun>,
    responses((status = 200, body = Forecast))
)]
pub(crate) async fn dry_run(
    State(app): State<App>,
    actor: Actor,
    Segment(name): Segment<Line>,
    OptionalBody(dry): OptionalBody<DryRun>,
) -> Result<Json<Forecast>, Problem> {
    let workflow = find(&app, &name.0)?;
    actor.check(&workflow).map_err(StoreError::from)?;
    let checked = workflow
        .check_parameters(dry.parameters.into())
        .map_err(SubmitError::Parameters)?;
    let key = dry.key.as_ref().map(|key| key.0.as_str());
    actions::check(&app, &workflow, &checked, key).await?;
    let forecast = workflow.dry_run(checked, key);
    let steps =
        forecast.map_err(|error| Problem::unprocessable("parameters", error.to_string()))?;
    Ok(Json(Forecast {
        steps: steps.into_iter().map(Into::into).collect(),
    }))
}
