//! `GET /new` and `POST /new`: choose a workflow, fill in its form, preview the steps, submit.

use std::collections::BTreeMap;

use axum::Form;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use surefoot::workflow::{DryRunStep, ParameterError, WillRun};
use surefoot::{StepPlan, StoreError, Submit, SubmitError, Workflow};

use super::Fields;
use crate::actions;
use crate::dashboard::form::{self, Answers, Field};
use crate::dashboard::page_context::{Live, PageContext};
use crate::dashboard::text::url;
use crate::http::Problem;
use crate::state::App;
use crate::submission::{NotSubmitted, Refused, RefusedKind};

#[derive(Deserialize)]
pub(super) struct NewQuery {
    workflow: Option<String>,
    /// A run whose parameters fill in the form.
    from: Option<String>,
}

#[derive(Serialize)]
struct Choice {
    name: String,
    url_name: String,
    title: String,
    description: Option<String>,
    steps: usize,
}

#[derive(Serialize)]
struct Listing {
    workflows: Vec<Choice>,
}

#[derive(Serialize)]
struct View {
    workflow: Choice,
    fields: Vec<Field>,
    errors: Vec<FieldError>,
    options: Options,
    options_open: bool,
    steps: Vec<Step>,
    plan: Vec<Step>,
}

#[derive(Serialize)]
struct FieldError {
    /// The id of the invalid field, for a link.
    field: Option<String>,
    title: String,
    text: String,
}

#[derive(Clone, Default, Serialize)]
struct Options {
    key: String,
    priority: String,
}

#[derive(Serialize)]
struct Step {
    title: String,
    action: String,
    skipped: bool,
    when: Option<String>,
    with: Option<String>,
}

pub(super) async fn form(
    context: PageContext,
    State(app): State<App>,
    Query(query): Query<NewQuery>,
) -> Result<Response, Problem> {
    let Some(name) = &query.workflow else {
        let workflows = app
            .workflows()
            .iter()
            .filter(|workflow| context.actor.check(workflow).is_ok())
            .map(|workflow| Choice::new(&workflow))
            .collect();
        return context
            .page("new.html", Live::default(), Listing { workflows })
            .await;
    };
    let workflow = app
        .workflows()
        .get(name)
        .ok_or_else(|| Problem::not_found(format!("there is no workflow {name}")))?;
    context.actor.check(&workflow).map_err(StoreError::from)?;
    let schema = form::schema(workflow.parameters());
    let answers = match query.from.as_deref() {
        Some(from) => Answers::of(
            workflow.parameters(),
            &schema,
            &parameters_of(&app, from, name).await?,
        ),
        None => Answers::defaults(&schema),
    };
    FilledForm::new(&context, &workflow, schema, answers)
        .page(StatusCode::OK, Vec::new())
        .await
}

/// The parameters of a run of the workflow, without secrets. The run's own plan determines those,
/// since the current workflow may mark others.
async fn parameters_of(app: &App, id: &str, workflow: &str) -> Result<Value, Problem> {
    let id = id.parse().map_err(|_| super::no_run(id))?;
    let run = app.client().run(id).await?;
    if run.plan.name() != workflow {
        return Err(Problem::not_found(format!(
            "run {id} is not one of workflow {workflow}"
        )));
    }
    Ok(run.shown_parameters())
}

pub(super) async fn submit(
    context: PageContext,
    State(app): State<App>,
    Query(query): Query<NewQuery>,
    Form(fields): Form<Fields>,
) -> Result<Response, Problem> {
    let name = query.workflow.unwrap_or_default();
    let workflow = app
        .workflows()
        .get(&name)
        .ok_or_else(|| Problem::not_found(format!("there is no workflow {name}")))?;
    context.actor.check(&workflow).map_err(StoreError::from)?;
    let button = fields.get("do").unwrap_or("start").to_owned();
    let option = |name: &str| fields.get(name).unwrap_or_default().trim().to_owned();
    let options = Options {
        key: option("o/key"),
        priority: option("o/priority"),
    };
    let answers: Answers = fields.0.into_iter().collect();
    let schema = form::schema(workflow.parameters());
    let mut filled_form = FilledForm {
        options,
        ..FilledForm::new(&context, &workflow, schema, answers)
    };
    if let Some(name) = button.strip_prefix("more:") {
        filled_form.answers.add_row(name);
        return filled_form.page(StatusCode::OK, Vec::new()).await;
    }
    let Some(parameters) = filled_form.read() else {
        return filled_form
            .page(StatusCode::UNPROCESSABLE_ENTITY, Vec::new())
            .await;
    };
    match button.as_str() {
        "dry" => filled_form.dry_run(&app, parameters).await,
        _ => filled_form.start(&app, parameters).await,
    }
}

/// A filled_form-in form.
struct FilledForm<'a> {
    context: &'a PageContext,
    workflow: &'a std::sync::Arc<Workflow>,
    /// The schema as laid out for the form.
    schema: Value,
    answers: Answers,
    options: Options,
    /// Error messages by the path of the parameter; the empty path stands for the form as a whole.
    faults: BTreeMap<String, String>,
}

impl<'a> FilledForm<'a> {
    fn new(
        context: &'a PageContext,
        workflow: &'a std::sync::Arc<Workflow>,
        schema: Value,
        answers: Answers,
    ) -> Self {
        Self {
            context,
            workflow,
            schema,
            answers,
            options: Options::default(),
            faults: BTreeMap::new(),
        }
    }

    /// The parameters, if they are valid.
    fn read(&mut self) -> Option<Value> {
        let (parameters, faults) = form::read(&self.schema, &self.answers);
        for fault in faults {
            let text = self.context.t(fault.message, &[("detail", &fault.detail)]);
            self.faults.insert(fault.place, text);
        }
        if !self.options.priority.is_empty() && self.options.priority.parse::<i32>().is_err() {
            self.faults
                .insert(String::new(), self.context.t("form.priority_wrong", &[]));
        }
        match self.workflow.check_parameters(parameters) {
            Ok(parameters) if self.faults.is_empty() => return Some(parameters),
            Ok(_) => {}
            Err(errors) => self.add_errors(errors),
        }
        None
    }

    fn add_errors(&mut self, errors: Vec<ParameterError>) {
        for error in errors {
            self.add_fault(error.parameter, error.message);
        }
    }

    /// Adds a message; the first one of a place stays.
    fn add_fault(&mut self, place: String, message: String) {
        let place = if place == "(all)" {
            String::new()
        } else {
            place
        };
        self.faults.entry(place).or_insert(message);
    }

    async fn start(self, app: &App, parameters: Value) -> Result<Response, Problem> {
        let mut submit = Submit::new(self.workflow.clone()).parameters(parameters);
        if !self.options.key.is_empty() {
            submit = submit.key(self.options.key.clone());
        }
        submit = submit.priority(self.options.priority.parse().unwrap_or(0));
        match actions::submit(app, &self.context.actor, submit).await {
            Ok(submitted) => {
                let key = if submitted.existing {
                    "done.existing"
                } else {
                    "done.submitted"
                };
                Ok(self
                    .context
                    .done(&format!("/runs/{}", submitted.run.id), key, &[]))
            }
            Err(error) => self.not_submitted(error).await,
        }
    }

    /// The form again, with what is wrong.
    async fn not_submitted(mut self, error: NotSubmitted) -> Result<Response, Problem> {
        let mut status = StatusCode::UNPROCESSABLE_ENTITY;
        match error {
            NotSubmitted::Refused(refused) => self.refused(&refused),
            NotSubmitted::Submit(SubmitError::Parameters(errors)) => self.add_errors(errors),
            NotSubmitted::Submit(SubmitError::Store(StoreError::NotPermitted(refusal))) => {
                status = StatusCode::FORBIDDEN;
                let text = self.context.not_permitted(&refusal);
                self.add_fault(String::new(), text);
            }
            NotSubmitted::Submit(SubmitError::Store(error)) => return Err(error.into()),
            NotSubmitted::Submit(error) => {
                status = StatusCode::CONFLICT;
                self.add_fault(String::new(), error.to_string());
            }
        }
        self.page(status, Vec::new()).await
    }

    /// Shows beside its field why a parameter cannot be used.
    fn refused(&mut self, refused: &Refused) {
        let detail = ("detail", refused.message.as_str());
        let text = match &refused.kind {
            RefusedKind::ForeignTemplate { tool, file } => self
                .context
                .t("form.template_foreign", &[("tool", tool), ("file", file)]),
            RefusedKind::Template => self.context.t("form.template_wrong", &[detail]),
            RefusedKind::Values => self.context.t("form.values_wrong", &[detail]),
            RefusedKind::Other => refused.message.clone(),
        };
        self.add_fault(refused.parameter.clone(), text);
    }

    async fn dry_run(mut self, app: &App, parameters: Value) -> Result<Response, Problem> {
        let key = Some(self.options.key.as_str()).filter(|key| !key.is_empty());
        if let Err(error) = actions::check(app, self.workflow, &parameters, key).await {
            return self.not_submitted(error).await;
        }
        match self.workflow.dry_run(parameters, key) {
            Ok(steps) => {
                let plan = steps.iter().map(Step::foreseen).collect();
                self.page(StatusCode::OK, plan).await
            }
            Err(error) => {
                self.add_fault(String::new(), error.to_string());
                self.page(StatusCode::UNPROCESSABLE_ENTITY, Vec::new())
                    .await
            }
        }
    }

    async fn page(self, status: StatusCode, plan: Vec<Step>) -> Result<Response, Problem> {
        let fault = |place: &str| {
            if place.is_empty() {
                return None;
            }
            self.faults.get(place).cloned()
        };
        let view = View {
            fields: form::fields(
                self.workflow.parameters(),
                &self.schema,
                &self.answers,
                &fault,
            ),
            errors: self.errors(),
            options_open: !self.options.key.is_empty() || !self.options.priority.is_empty(),
            options: self.options.clone(),
            steps: if plan.is_empty() {
                self.workflow.steps().iter().map(Step::planned).collect()
            } else {
                Vec::new()
            },
            plan,
            workflow: Choice::new(self.workflow),
        };
        self.context
            .page_with(status, "form.html", Live::default(), view)
            .await
    }

    fn errors(&self) -> Vec<FieldError> {
        let error = |(place, text): (&String, &String)| FieldError {
            field: (!place.is_empty()).then(|| form::id(&format!("{}/{place}", form::ROOT))),
            title: place.replace('/', " / "),
            text: text.clone(),
        };
        self.faults.iter().map(error).collect()
    }
}

impl Choice {
    fn new(workflow: &Workflow) -> Self {
        Self {
            name: workflow.name().to_owned(),
            url_name: url(workflow.name()),
            title: workflow.title().to_owned(),
            description: workflow.description().map(str::to_owned),
            steps: workflow.steps().len(),
        }
    }
}

impl Step {
    fn planned(step: &StepPlan) -> Self {
        Self {
            title: step.title.clone(),
            action: step.action.clone(),
            skipped: false,
            when: step.condition.clone(),
            with: None,
        }
    }

    fn foreseen(step: &DryRunStep) -> Self {
        let with = serde_json::to_string_pretty(&step.with).ok();
        Self {
            title: step.title.clone(),
            action: step.action.clone(),
            skipped: step.runs == WillRun::No,
            when: match &step.runs {
                WillRun::When(condition) => Some(condition.clone()),
                WillRun::Yes | WillRun::No => None,
            },
            with: if step.with.is_null() { None } else { with },
        }
    }
}
